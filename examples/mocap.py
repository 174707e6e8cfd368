"""Motion capture, subject 35: 16 walks to learn from, 3 to choose by, 4 to forecast, of 300 frames and 50 channels.

Three frames of a walk are given, the other 297 are forecast; the error is the mean square over all channels, in the
channels' units. The neural equation sees five principal components and their speeds (over two frames), every sixth
frame, and is asked for every frame. The linear model is least squares of the next frame's components on the last three;
the GRU sees components and speeds of every third frame, is trained on its own forecasts over the whole walk, and is
interpolated. Components, ridge, width and rounds of the baselines are chosen on the validation walks.
"""

import itertools
import os
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from experiment import Result, main, plots, say
from hare_lynx import GRU, RIDGES, gru_loss

import pushforward as pf
from pushforward.estimators import NeuralODERegressor

GIVEN, SPEEDS = 3, 2


class Components:
    """Principal components of the training frames."""

    def __init__(self, walks):
        frames = walks.reshape(-1, walks.shape[-1])
        self.mean = frames.mean(0)
        self.axes = np.linalg.svd(frames - self.mean, full_matrices=False)[2]

    def of(self, walks, q):
        return (walks - self.mean) @ self.axes[:q].T

    def back(self, z):
        return z @ self.axes[: z.shape[-1]] + self.mean


def error(forecast, walks):
    """Mean square over the frames that were not given."""
    return float(np.square(forecast - walks[:, GIVEN:]).mean())


def states(z):
    """Components and their speeds over two frames, from the third frame on."""
    return np.concatenate([z[:, SPEEDS:], z[:, SPEEDS:] - z[:, :-SPEEDS]], -1)


def linear(train, q, ridge, parts):
    """Least squares of components on those of the last three frames; forecasts run on their own."""

    def last(z, i):
        return np.concatenate([z[:, GIVEN - 1 - k : z.shape[1] - k - i] for k in range(GIVEN)], -1)

    z = parts.of(train, q)
    x = last(z, 1).reshape(-1, GIVEN * q)
    target = z[:, GIVEN:].reshape(-1, q)
    weights = np.linalg.solve(x.T @ x + 1000 * ridge * np.eye(len(x.T)), x.T @ target)

    def forecast(walks):
        path = list(np.moveaxis(parts.of(walks[:, :GIVEN], q), 1, 0))
        for _ in range(GIVEN, walks.shape[1]):
            path.append(np.concatenate(path[: -GIVEN - 1 : -1], -1) @ weights)
        return parts.back(np.stack(path[GIVEN:], 1))

    return forecast


def gru(train, q, width, rounds, parts):
    """Trained on its own forecasts from the third frame on; every third frame, with speeds, in standard units."""
    z = states(parts.of(train, q))[:, ::3]
    scale = z.std((0, 1))
    rows = np.tile(z / scale, (10, 1, 1)).astype(np.float32)
    settings = pf.Training(batch=16, max_steps=rounds, learning_rate=3e-3, patience=1.0)
    model = GRU(2 * q, width, key=jax.random.key(width))
    model = pf.fit(model, rows, key=jax.random.key(0), loss=gru_loss(1), settings=settings).model

    def forecast(walks):
        first = states(parts.of(walks[:, :GIVEN], q))
        seen = np.arange(0, walks.shape[1] - GIVEN + 1, 3)
        path = model.forecast(jnp.asarray(first / scale), len(seen) - 1)
        path = (np.concatenate([first, np.asarray(path) * scale], 1))[..., :q]
        every = np.arange(1, walks.shape[1] - GIVEN + 1)
        between = [[np.interp(every, seen, c) for c in walk.T] for walk in path]
        return parts.back(np.moveaxis(np.array(between), 1, 2))

    return forecast


def neural(train, valid, q, settings, parts):
    """The neural equation of components and speeds."""
    model = NeuralODERegressor(
        starts="observed",
        solver=pf.ode.Solver(method="rk4", steps=1, adjoint="direct"),
        random_state=0,
        **settings,
    )

    times = np.arange(GIVEN - 1, train.shape[1]) / 100

    def series(walks):
        return [times[::6]] * len(walks), list(states(parts.of(walks, q))[:, ::6])

    model.fit(*series(train), validation=series(valid))
    say(f"last epochs: {[stage[-1] for stage in model.members_[0].history]}")

    def forecast(walks):
        path = model.predict(times, states(parts.of(walks[:, :GIVEN], q))[:, 0])
        return parts.back(path[:, 1:, :q])

    return forecast


def run(quick: bool) -> Result:
    path = Path(os.environ.get("PUSHFORWARD_DATA", "data")) / "mocap35.npz"
    if not path.is_file():
        say(f"{path} is missing: set PUSHFORWARD_DATA to the folder that has mocap35.npz")
        sys.exit(77)
    train, valid, test = (np.load(path)[part].astype(float) for part in ("train", "valid", "test"))
    if quick:
        train, valid, test = (walks[:, :33] for walks in (train, valid, test))
    parts = Components(train)
    warnings.filterwarnings("ignore", message=".*extrapolation")  # by the last four frames

    def best(makers):
        return min((make() for make in makers), key=lambda f: error(f(valid), valid))

    sizes = (3,) if quick else (3, 5, 10, 15)
    found = {
        "persistence": lambda walks: np.repeat(
            walks[:, GIVEN - 1 : GIVEN], walks.shape[1] - GIVEN, 1
        ),
        "linear": best(
            lambda q=q, ridge=ridge: linear(train, q, ridge, parts)
            for q, ridge in itertools.product(sizes, RIDGES)
        ),
    }
    grid = [(3, 8, 20)] if quick else [(5, 64, 500), (5, 64, 2000), (5, 128, 1000)]
    found["GRU"] = best(lambda g=g: gru(train, *g, parts) for g in grid)
    say(f"GRU {error(found['GRU'](test), test):.2f}")
    settings = {"segments": (4, 1), "width": 64, "ensemble": 3}
    rounds = pf.Training(max_steps=1000, learning_rate=1e-2, patience=1.0)
    if quick:
        settings, rounds = {"segments": (1,), "width": 8}, pf.Training(max_steps=3)
    settings["training"] = rounds
    found["neural ODE"] = neural(train, valid, 3 if quick else 5, settings, parts)
    rows = [
        [name, *(f"{error(f(walks), walks):.2f}" for walks in (train, valid, test))]
        for name, f in found.items()
    ]
    plt = plots()
    figure, axes = plt.subplots(2, 3, figsize=(12, 5), layout="constrained", sharex=True)
    channels = np.argsort(-test.std((0, 1)))[: axes.size]
    paths = {name: f(test[:1])[0] for name, f in found.items()}
    for axis, channel in zip(axes.flat, channels, strict=True):
        axis.plot(test[0, :, channel], "k", lw=2, label="observed")
        for name, forecast in paths.items():
            axis.plot(np.arange(GIVEN, test.shape[1]), forecast[:, channel], label=name)
        axis.set(title=f"channel {channel}")
    axes[0, 0].legend(fontsize=7)
    return Result(
        ["forecast from 3 frames", "MSE, training walks", "validation", "test"], rows, figure
    )


if __name__ == "__main__":
    main(__doc__, run)
