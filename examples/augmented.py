"""Augmented neural ODE: a disk inside of a ring, which no flow of the plane takes apart.

Points of the disk are one class, those of the ring around it the other; a linear layer looks at where the flow takes
them. In the plane the ring stays around the disk. One coordinate of zeros more and the disk is lifted out.
Source: Dupont, Doucet & Teh 2019, arXiv 1904.01681.
"""

from statistics import mean
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from experiment import Result, main, plots, say

from pushforward import Training, fit
from pushforward.fields import MLPField
from pushforward.ode import ODELayer, Solver

INNER, RING = 0.5, (1.0, 1.5)
SOLVER = Solver(rtol=1e-3, atol=1e-3, max_steps=64)


def points(n, rng):
    """Uniform in the disk and in the ring, half each; classes 0 and 1."""
    label = rng.integers(2, size=n)
    low, high = np.where(label, RING[0], 0.0), np.where(label, RING[1], INNER)
    radius = np.sqrt(low**2 + (high**2 - low**2) * rng.uniform(size=n))
    angle = rng.uniform(0, 2 * np.pi, size=n)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return x.astype(np.float32), label[:, None].astype(np.float32)


class Classifier(eqx.Module):
    layer: ODELayer
    head: eqx.nn.Linear

    def __init__(self, augment, width, key):
        field_key, head_key = jax.random.split(key)
        field = MLPField(2 + augment, width=width, time="concat", key=field_key)
        self.layer = ODELayer(field, augment=augment, solver=SOLVER)
        self.head = eqx.nn.Linear(2 + augment, 1, key=head_key)

    def __call__(self, x):
        """The logit of the ring, where the flow took the points, and the calls of the field."""
        solution = self.layer.solve(x)
        logit = solution.y1 @ self.head.weight.T + self.head.bias
        return logit, solution.y1, solution.stats.evaluations


@eqx.filter_jit
def answers(model, x):
    return model(x)


def astray(model, count):
    """How many points of a circle within the ring are taken to the disk's side.

    A loop on the ring's side of a line would have all that it encloses there, the disk too: in the plane some always
    stray.
    """
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    circle = sum(RING) / 2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return int((answers(model, jnp.asarray(circle, jnp.float32))[0] < 0).sum())


def loss(model, batch, key):
    """Cross entropy, one number per point."""
    x, label = batch
    logit = model(x)[0]
    return (jax.nn.softplus(logit) - label * logit)[:, 0]


def run(quick: bool) -> Result:
    width, epochs, seeds, n = (8, 2, 1, 256) if quick else (32, 50, 3, 2000)
    training = Training(
        batch=64 if quick else 200, max_epochs=epochs, learning_rate=1e-2, patience=0.999
    )
    around = 2 * n if quick else 100_000
    rng = np.random.default_rng(0)
    train, valid, test = points(n, rng), points(n, rng), points(2 * n, rng)
    rows: list[list[str]] = []
    histories: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    for augment in (0, 1):
        name = f"augmented by {augment}" if augment else "plain"
        found = []
        for seed in range(seeds):
            keys = jax.random.split(jax.random.key(seed))
            fitted = fit(Classifier(augment, width, keys[0]), *train, key=keys[1], loss=loss,
                         training=training, validation=valid)  # fmt: skip
            logit, moved, calls = answers(fitted.model, jnp.asarray(test[0]))
            right = float(((logit > 0) == (test[1] > 0.5)).mean())
            found.append((right, fitted.best_loss, int(calls), astray(fitted.model, around)))
            histories.setdefault(name, []).append([e.validation_loss for e in fitted.history])
            shown.setdefault(name, (np.asarray(moved), fitted.model))
            say(f"{name}, seed {seed}: {found[-1]}, {fitted.seconds:.0f} s")
        accuracies, losses, counts, lost = zip(*found, strict=True)
        rows.append([
            name,
            ", ".join(f"{100 * a:.2f} %" for a in accuracies),
            f"{mean(losses):.4f}",
            f"{mean(counts):.0f}",
            ", ".join(f"{count:,}" for count in lost),
        ])  # fmt: skip
    return Result(
        [
            "neural ODE",
            f"test accuracy, {seeds} seeds",
            "validation loss",
            "calls of the field",
            f"of {around:,} points around the ring, on the disk's side",
        ],
        rows,
        figure(test, shown, histories),
        [
            f"disk of radius {INNER:g} in a ring from {RING[0]:g} to {RING[1]:g}; {n:,} points to train on, "
            f"{2 * n:,} to test with; field of two layers of {width} units, tolerance {SOLVER.rtol:g}",
        ],
    )


def figure(test, shown, histories):
    made, axes = plots().subplots(1, 4, figsize=(14, 3.4), layout="constrained")
    labels = test[1][:, 0] > 0.5
    colours = np.where(labels, "tab:orange", "tab:blue")
    axes[0].scatter(*test[0].T, c=colours, s=2)
    axes[0].set(title="points", aspect="equal")
    for axis, (name, (moved, model)) in zip(axes[1:], shown.items(), strict=False):
        # Across the separating line or plane, and along it.
        normal = np.asarray(model.head.weight[0])
        across = normal / np.linalg.norm(normal)
        beside = np.linalg.svd(across[None])[2][1]
        axis.scatter(moved @ beside, moved @ across, c=colours, s=2)
        axis.axhline(-float(model.head.bias[0]) / np.linalg.norm(normal), color="black", lw=1)
        axis.set(
            title=f"{name}: where they are taken", xlabel="along the separation", ylabel="across"
        )
    for (name, losses), colour in zip(histories.items(), ("tab:red", "tab:green"), strict=True):
        for i, values in enumerate(losses):
            axes[3].plot(
                range(1, len(values) + 1), values, color=colour, label=name if i == 0 else None
            )
    axes[3].set(title="validation loss", xlabel="epoch", yscale="log")
    axes[3].legend()
    return made


if __name__ == "__main__":
    main(__doc__, run)
