"""What the parts of image flows are worth: one change at a time, at equal CPU time, on digits of 12 x 12 pixels.

1. Glow's ablation (Kingma & Dhariwal 2018, section 6.1): channels reversed, shuffled or mixed by a 1 x 1 convolution,
   with additive or affine couplings.
2. The coupling: affine, rational-quadratic spline, mixture of logistics; the networks' kernels.
3. One scale, of four or eight steps, or two of four: after the first, half of the values leave.
4. The series of a residual flow: cut after 2 or 10 terms, or of a random number of them.
5. Uniform noise within the levels, or noise that is learned.

Each fit sees 4,000 pictures of MNIST, 2 x 2 pixels as their mean and a border of one cut off, for `SECONDS` of CPU time
after the first epoch, which compiles; the step size is constant and the weights are averaged. Bits per dimension are of
1,000 test pictures by one draw of the noise, with their standard error over pictures. Curves are of held-out training
pictures.
"""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from experiment import Result, main, plots, say

from pushforward import Training
from pushforward.architectures import ImageFlowPlusPlus, ImageGlow, ImageResidualFlow
from pushforward.architectures.images.scales import squeezed
from pushforward.data.pictures import read_pictures
from pushforward.fitting.fit_images import fit_images
from pushforward.transformers import LogisticMixtureCDF, RationalQuadratic

SECONDS, PICTURES, TESTED = 30, 4000, 1000


@dataclass(frozen=True)
class Coupled(ImageGlow):
    """Glow with another map in its couplings."""

    map: object = RationalQuadratic(bins=8, bound=4.0)

    def of_scale(self, event, condition, key):
        squeeze, latent = squeezed(event)
        return [self._stack(latent, self.map, condition, key, self.mixing), squeeze]


@dataclass(frozen=True)
class Series(ImageResidualFlow):
    """A residual flow whose series is cut, where `terms` are given."""

    terms: int | None = None

    def build(self, event, condition=None, *, key):
        log_det = "roulette" if self.terms is None else "truncated"
        return self.built(event, condition, key, "lipswish", log_det=log_det, terms=self.terms)


def compared(levels):
    """The panels, and what each compares, by name."""
    glow = ImageGlow(steps=4, width=32, levels=levels)
    coupled = Coupled(steps=4, width=32, levels=levels)
    residual = Series(steps=2, width=32, levels=levels)
    learned = ImageFlowPlusPlus(steps=1, width=32, levels=levels)
    return {
        "mixing and coupling": {
            f"{mixing}, {coupling}": replace(glow, mixing=mixing, coupling=coupling)
            for coupling in ("additive", "affine")
            for mixing in ("reverse", "shuffle", "conv")
        },
        "the same Glow with": {
            "splines": coupled,
            "mixtures of logistics": replace(coupled, map=LogisticMixtureCDF(4)),
            "kernels 3, 3, 1": replace(glow, sizes=(3, 3, 1)),
            "kernels 3, 1, 1": replace(glow, sizes=(3, 1, 1)),
        },
        "scales of Glow": {
            "1 of 4 steps": replace(glow, scales=1),
            "1 of 8 steps": replace(glow, scales=1, steps=8),
            "2 of 4 steps": glow,
        },
        "series of a residual flow": {
            "2 terms": replace(residual, terms=2),
            "10 terms": replace(residual, terms=10),
            "roulette": residual,
        },
        "noise of Flow++": {
            "uniform": replace(learned, noise=None),
            "learned": learned,
        },
    }


def pictures(quick):
    """Pictures to train on, to test on, and the number of levels."""
    if quick:
        from sklearn.datasets import load_digits

        digits = load_digits().images.astype(np.uint8)[..., None]
        return digits[:200, ::2, ::2], digits[200:300, ::2, ::2], 17
    parts = [("mnist:train", PICTURES), ("mnist:test", TESTED)]
    train, test = (small(read_pictures(source).pixels[:n]) for source, n in parts)
    return train, test, 256


def small(pixels):
    n, h, w, c = pixels.shape
    means = pixels.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4)).astype(np.uint8)
    return means[:, 1:-1, 1:-1]


def curve(architecture, train, test, seconds):
    """CPU seconds and held-out bits as they go, then bits of the test pictures, their error, and steps."""
    clock, points, steps = [], [], []

    def progress(step):
        clock.append(time.process_time())
        steps.append((step.epoch - 1) * step.steps + step.step)
        return clock[-1] - clock[0] > seconds

    def report(epoch):
        points.append((clock[-1] - clock[0], epoch.validation_loss))

    model = fit_images(
        train,
        architecture=architecture,
        training=Training(max_steps=1_000_000, batch=32, patience=1.0),
        progress=progress,
        report=report,
        trust=False,
    )
    bits = model.bits_per_dim(test)
    return np.array(points), bits.mean(), bits.std() / math.sqrt(len(bits)), steps[-1]


def run(quick):
    plt = plots()
    train, test, levels = pictures(quick)
    panels = compared(levels)
    if quick:
        # The smallest there is.
        plain = ImageGlow(steps=1, width=4, scales=1, levels=levels)
        panels = {"mixing and coupling": {"conv, affine": plain}}
    figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.4), squeeze=False)
    rows = []
    for axis, (panel, members) in zip(axes[0], panels.items(), strict=True):
        for name, architecture in members.items():
            points, bits, error, steps = curve(architecture, train, test, 0 if quick else SECONDS)
            say(f"{panel}: {name}: {bits:.3f}")
            rows.append([panel, name, f"{bits:.3f} ± {error:.3f}", f"{steps:,}"])
            axis.plot(*points.T, marker=".", label=name)
        axis.set(title=panel, xlabel="CPU seconds")
        if not quick:
            axis.set_ylim(1.8, 3.6)
        axis.legend(fontsize="x-small")
    axes[0, 0].set_ylabel("bits per dimension, held out")
    figure.tight_layout()
    header = ["", "", "bits per dimension, test", "steps"]
    notes = [
        f"{len(train):,} pictures to train on, {len(test):,} to test, {SECONDS} CPU s each, batches of 32, seed 0",
    ]
    return Result(header, rows, figure, notes)


if __name__ == "__main__":
    main(__doc__, run)
