"""The pictures of docs/choosing.md: learned densities of the zoo, and RealNVP layer by layer.

Run: python benchmarks/zoo.py --data moons checkerboard --folder out/zoo     fits the models
     python docs/figures.py zoo out/zoo                                      draws their densities
     python docs/figures.py layers                                           fits a RealNVP and draws its layers
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import pushforward as pf
from pushforward.data.toys import toy

IMAGES = Path(__file__).parent / "img"
COLUMNS, POINTS = 8, 120
BOXES = {"moons": (-1.5, 2.5, -1.2, 1.7), "checkerboard": (-4.6, 4.6, -4.6, 4.6)}


def density_on_grid(model: Any, box: tuple[float, ...], points: int = POINTS) -> np.ndarray:
    """The density at the middles of a grid's cells, `(points, points)`."""
    at = (np.arange(points) + 0.5) / points
    x, y = np.meshgrid(box[0] + (box[1] - box[0]) * at, box[2] + (box[3] - box[2]) * at)
    rows = np.stack([x, y], -1).reshape(-1, 2)
    return np.exp(model.score_samples(rows)).reshape(points, points)


def zoo(folder: Path) -> None:
    """One panel for each fitted model and toy."""
    files = sorted(folder.glob("*_moons.safetensors"))
    names = [file.name.removesuffix("_moons.safetensors") for file in files]
    across = COLUMNS // 2
    down = -(-len(names) // across)
    figure, axes = plt.subplots(down, COLUMNS, figsize=(1.5 * COLUMNS, 1.75 * down))
    for axis in axes.flat:
        axis.set_axis_off()
    for i, name in enumerate(names):
        for j, data in enumerate(BOXES):
            path = folder / f"{name}_{data}.safetensors"
            if not path.is_file():
                continue
            axis = axes[i // across, 2 * (i % across) + j]
            picture = density_on_grid(pf.load(path), BOXES[data])
            axis.imshow(picture, origin="lower", cmap="magma", extent=BOXES[data], aspect="auto")
            axis.set_title(name.replace("-", " ") if j == 0 else "", fontsize=7, loc="left")
    figure.tight_layout(pad=0.3)
    figure.savefig(IMAGES / "zoo.png", dpi=110)


def layers() -> None:
    """Draws of the base, after each pair of layers of a RealNVP, and the data beside them."""
    x = toy("moons", 10_000)
    scaled = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    flow = pf.architectures.RealNVP(layers=8, width=64).build(2, key=jax.random.key(0))
    settings = pf.Training(max_steps=4000)
    flow = pf.fit(flow, jnp.asarray(scaled), key=jax.random.key(1), settings=settings).model
    z = flow.base.sample(jax.random.key(2), (4000,))
    stages, at = [("base", z)], z
    for i, layer in enumerate(flow.bijection.unstack(), 1):
        at = layer.forward(at)[0]
        if i % 2 == 0:
            stages.append((f"after {i} layers", at))
    stages.append(("data", scaled[:4000]))
    figure, axes = plt.subplots(1, len(stages), figsize=(2.2 * len(stages), 2.4))
    # The colour of a point is where it began: the angle of its draw from the base.
    colour = np.arctan2(np.asarray(z)[:, 1], np.asarray(z)[:, 0])
    for axis, (name, rows) in zip(axes, stages, strict=True):
        own = {"c": "0.4"} if name == "data" else {"c": colour, "cmap": "twilight"}
        axis.scatter(*np.asarray(rows).T, s=1, **own)
        axis.set_title(name, fontsize=9)
        axis.set_xlim(-3.5, 3.5)
        axis.set_ylim(-3.5, 3.5)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout(pad=0.4)
    figure.savefig(IMAGES / "realnvp_layers.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["zoo", "layers"])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/zoo"))
    options = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    if options.what == "zoo":
        zoo(options.folder)
    else:
        layers()


if __name__ == "__main__":
    main()
