"""The picture of the guide to pictures: digits, draws of two models, and pictures between two.

Run: python docs/picture_figures.py     (five minutes)
"""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt
import numpy as np
from guide_figures import saved
from sklearn.datasets import load_digits

import pushforward as pf
from pushforward.data.pictures import grid

SIDE = 8
"""Pictures of a line of a grid."""


def main(steps: int) -> None:
    digits = load_digits()
    X, y = (15 * digits.images).astype(np.uint8), digits.target
    training = pf.Training(max_steps=steps, batch=32)
    by_name = {
        "pixel_spline": pf.architectures.PixelSpline(width=64, hidden=32),
        "image_nsf": pf.architectures.ImageNSF(scales=2, steps=3, width=32),
    }
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.9))
    panels = [("digits", X[: SIDE**2])]
    for name, architecture in by_name.items():
        density = pf.ImageDensity(architecture, training=training, random_state=0).fit(X)
        held = density.model_.trust["held_out"]
        title = f"draws of {name}\n{held['bits']:.2f} bits per dimension"
        panels.append((title, density.sample(SIDE**2, random_state=1)))
    # The last one has latents that interpolate.
    apart = [np.flatnonzero(y == digit)[0] for digit in range(SIDE)]
    ways = zip(apart, np.roll(apart, -1), strict=True)
    lines = [density.interpolate(X[i], X[j], SIDE) for i, j in ways]
    panels.append(("from one digit to the next", np.concatenate(lines)))
    for axis, (title, pictures) in zip(axes, panels, strict=True):
        shown = grid(pictures[..., None], SIDE)
        axis.imshow(shown[..., 0], cmap="gray", vmin=0, vmax=255)
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    saved(figure, "guide_pictures.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    main(parser.parse_args().steps)
