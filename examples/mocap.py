"""Motion capture, subject 35: 19 walks to learn from, 4 to forecast, of 300 frames and 50 channels.

Three frames of a walk are given, the other 297 are forecast; the error is the mean square over all channels, in the
channels' units. The learned models see a walk's state at the third frame: principal components, and their speeds over
two frames. The neural equation's state is that state. The latent ODE, of six coordinates, infers where it starts from
it. The GRU goes on in steps of three frames. All three are the mean of five members, trained on their own forecasts
from any frame of the training walks, from states with noise added. The linear model is least squares of the next
frame's components on the last three.

Of the data's three validation walks two are slower than all of its 16 training walks. So models are chosen by
cross-validation: of all 19 a quarter is left out in turn. For the linear model and the GRU the best of a grid is taken,
here; the equations have one setting each, found on walks left out before (one quarter, for the neural equation). Final
models learn from all 19.
"""

import itertools
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from experiment import Result, main, plots, say
from hare_lynx import GRU, RIDGES

import pushforward as pf
from pushforward.estimators import NeuralODERegressor
from pushforward.series import LatentODE, Observations

GIVEN, SPEEDS, FOLDS = 3, 2, 4
START_NOISE = 0.3
LATENT = {"latent": 6, "knots": 25}
CHEAP = pf.ode.Solver(method="midpoint", steps=1, adjoint="direct")  # of the miniature


class Components:
    """Principal components of the training frames, and states made of them."""

    def __init__(self, walks, q):
        frames = walks.reshape(-1, walks.shape[-1])
        self.mean = frames.mean(0)
        self.axes = np.linalg.svd(frames - self.mean, full_matrices=False)[2][:q]
        self.scale = self.states(walks).std((0, 1))

    def of(self, walks):
        return (walks - self.mean) @ self.axes.T

    def back(self, z):
        return z[..., : len(self.axes)] @ self.axes + self.mean

    def states(self, walks):
        """Components and their speeds over two frames, from the third frame on."""
        z = self.of(walks)
        return np.concatenate([z[:, SPEEDS:], z[:, SPEEDS:] - z[:, :-SPEEDS]], -1)


def error(forecast, walks):
    """Mean square over the frames that were not given."""
    return float(np.square(forecast - walks[:, GIVEN:]).mean())


def left_out(make, walks):
    """The error of walks left out, a quarter in turn."""
    places = np.random.default_rng(0).permutation(len(walks))
    errors = []
    for fold in range(FOLDS):
        out = places[fold::FOLDS]
        rest = np.setdiff1d(places, out)[: len(walks) - -(-len(walks) // FOLDS)]  # one shape
        errors.append(len(out) * error(make(walks[rest])(walks[out]), walks[out]))
    return sum(errors) / len(walks)


def linear(train, q, ridge):
    """Least squares of components on those of the last three frames; forecasts run on their own."""
    parts = Components(train, q)

    def last(z, i):
        return np.concatenate([z[:, GIVEN - 1 - k : z.shape[1] - k - i] for k in range(GIVEN)], -1)

    z = parts.of(train)
    x = last(z, 1).reshape(-1, GIVEN * q)
    target = z[:, GIVEN:].reshape(-1, q)
    weights = np.linalg.solve(x.T @ x + 1000 * ridge * np.eye(len(x.T)), x.T @ target)

    def forecast(walks):
        path = list(np.moveaxis(parts.of(walks[:, :GIVEN]), 1, 0))
        for _ in range(GIVEN, walks.shape[1]):
            path.append(np.concatenate(path[: -GIVEN - 1 : -1], -1) @ weights)
        return parts.back(np.stack(path[GIVEN:], 1))

    return forecast


def begun_later(states, copies, every):
    """States in steps of so many frames, and copies that begin at a later frame; which of them are there."""
    n, k, _ = states.shape
    firsts = np.random.default_rng(0).integers(0, int(0.8 * k), (copies, n))
    firsts[0] = 0
    places = firsts[..., None] + np.arange(0, k, every)
    rows = states[np.arange(n)[:, None], np.minimum(places, k - 1)]
    there = places < k
    return rows.reshape(-1, *rows.shape[2:]), there.reshape(-1, there.shape[-1], 1)


class ForecastLoss(eqx.Module):
    """Half the squared error of a frame's components, in the channels' units, and what the forecast costs.

    The state that a forecast starts from gets noise, in standard units: walks are few, and a network knows them by
    their posture and remembers how fast each went.
    """

    weights: jax.Array
    noise: jax.Array

    def __call__(self, model, batch, key):
        x, there = batch
        start, draw = x[:, :1], None
        if key is not None:
            key, draw = jax.random.split(key)
            start = start + self.noise * jax.random.normal(key, start.shape, x.dtype)
        ours, cost = followed(model, start, x.shape[1], draw)
        far = (jnp.square(ours - x) * self.weights * there).sum((1, 2))
        return (0.5 * far + cost) / there.sum((1, 2))


def followed(model, start, steps, key):
    """States from the first on, and 30 times the divergence of a latent start from N(0, 1)."""
    if isinstance(model, GRU):
        return jnp.concatenate([start, model.forecast(start, steps - 1)], 1), 0.0
    times = jnp.broadcast_to(jnp.linspace(0.0, 1.0, steps), (len(start), steps))
    mean, scale = model.encode_rows(times[:, :1], start, jnp.ones(start.shape, bool))
    drawn = mean if key is None else mean + scale * jax.random.normal(key, mean.shape, mean.dtype)
    divergence = 0.5 * (jnp.square(mean) + jnp.square(scale) - 1) - jnp.log(scale)
    return model.decode(model.path(drawn, times)), 30.0 * divergence.sum(1)


def learned(build, train, q, rounds, rate, noise, members, copies=20, every=3):
    """The mean forecast of networks trained by `ForecastLoss`."""
    parts = Components(train, q)
    x, there = begun_later(parts.states(train) / parts.scale, copies, every)
    rows = x.astype(np.float32), there.astype(np.float32)
    shares = np.where(np.arange(2 * q) < q, np.square(parts.scale), 0.0)  # speeds are not scored
    loss = ForecastLoss(jnp.asarray(shares, jnp.float32), jnp.float32(noise))
    training = pf.Training(
        batch=64, max_steps=rounds, learning_rate=rate, weight_decay=0.0, patience=1.0
    )
    models = []
    for seed in range(members):
        plan = {"key": jax.random.key(100 + seed), "loss": loss, "training": training}
        # By the training loss: no walk is left to choose epochs by.
        models.append(pf.fit(build(jax.random.key(seed)), *rows, validation=rows, **plan).model)

    def forecast(walks):
        start = parts.states(walks[:, :GIVEN]) / parts.scale
        frames = np.arange(walks.shape[1] - GIVEN + 1)
        paths = [path(model, start, frames, every) for model in models]
        return parts.back(np.mean(paths, 0)[:, 1:] * parts.scale)

    return forecast


def path(model, start, frames, every):
    """A network's states at every frame."""
    if isinstance(model, LatentODE):
        there = Observations(np.zeros(start.shape[:2]), start)
        return np.asarray(model.predict(there, frames / frames[-1]))
    seen = frames[::every]
    found, _ = followed(model, jnp.asarray(start, jnp.float32), len(seen), None)
    between = [[np.interp(frames, seen, c) for c in walk.T] for walk in np.asarray(found)]
    return np.moveaxis(np.array(between), 1, 2)


def neural(train, q, training, settings, copies, every=6):
    """The neural equation of components and speeds."""
    parts = Components(train, q)
    x, there = begun_later(parts.states(train), copies, every)
    # Starts are what was observed, and noise.
    x[:, 0] += START_NOISE * parts.scale * np.random.default_rng(1).normal(size=x[:, 0].shape)
    counts = there.sum((1, 2))
    times = np.arange(train.shape[1] - GIVEN + 1) / 100
    model = NeuralODERegressor(
        starts="observed",
        solver=pf.ode.Solver(method="rk4", steps=1, adjoint="direct"),
        training=training,
        random_state=0,
        **settings,
    )
    model.fit([times[::every][:k] for k in counts], [s[:k] for s, k in zip(x, counts, strict=True)])

    def forecast(walks):
        path = model.predict(times, parts.states(walks[:, :GIVEN])[:, 0])
        return parts.back(path[:, 1:])

    return forecast


def run(quick: bool) -> Result:
    path = Path(os.environ.get("PUSHFORWARD_DATA", "data")) / "mocap35.npz"
    if not path.is_file():
        say(f"{path} is missing: set PUSHFORWARD_DATA to the folder that has mocap35.npz")
        sys.exit(77)
    data = np.load(path)
    train = np.concatenate([data["train"], data["valid"]]).astype(float)
    test = data["test"].astype(float)
    if quick:
        train, test = train[:3, :33], test[:3, :33]
    warnings.filterwarnings("ignore", message=".*extrapolation")  # by the last frames
    notes = []

    def chosen(name, make, grid):
        """The point of the grid with the least error on what is left out."""
        if quick:
            return grid[0]
        found = [left_out(lambda rest, g=g: make(rest, *g), train) for g in grid]
        notes.append(f"{name}: {grid[int(np.argmin(found))]}, left-out walks {min(found):.2f}")
        say(f"{name}: {list(zip(grid, found, strict=True))}")
        return grid[int(np.argmin(found))]

    members, rounds = (1, 3) if quick else (5, 500)
    q, width = (3, 8) if quick else (10, 64)

    def gru(walks, q, noise, *, members=1):
        def build(key):
            return GRU(2 * q, width, key=key)

        return learned(build, walks, q, rounds, 3e-3, noise, members)

    def latent(key):
        sizes: dict[str, Any] = LATENT
        if quick:
            sizes = {"latent": 3, "width": 8, "memory": 8, "knots": 2, "solver": CHEAP}
        return LatentODE(2 * q, noise=1.0, **sizes, key=key)

    lines = list(itertools.product((3,) if quick else (5, 10, 15, 20, 30), RIDGES))
    found = {
        "persistence": lambda walks: np.repeat(
            walks[:, GIVEN - 1 : GIVEN], walks.shape[1] - GIVEN, 1
        ),
        "linear": linear(train, *chosen("linear, (components, ridge)", linear, lines)),
    }
    grid = [(q, 0.0), (q, 1.0)]
    found["GRU"] = gru(train, *chosen("GRU, (components, noise)", gru, grid), members=members)
    settings = {"segments": (4, 1), "width": 64, "ensemble": members}
    training = pf.Training(
        batch=64, max_steps=300, learning_rate=1e-2, weight_decay=0.0, patience=1.0
    )
    if quick:
        settings, training = {"segments": (1,), "width": 8, "depth": 1}, pf.Training(max_steps=3)
    found["neural ODE"] = neural(train, 3 if quick else 5, training, settings, 2 if quick else 10)
    say("neural ODE done")
    found["latent ODE"] = learned(latent, train, q, 2 * rounds, 1e-2, 1.0, members)
    # All walks in one call, as each number of walks is a program to compile.
    paths = {name: f(np.concatenate([train, test])) for name, f in found.items()}
    rows = []
    for name, path in paths.items():
        parts = zip(np.split(path, [len(train)]), (train, test), strict=True)
        rows.append([name, *(f"{error(forecast, walks):.2f}" for forecast, walks in parts)])
    return Result(
        ["forecast from 3 frames", "MSE, walks learned from", "test"],
        rows,
        picture(test[0], {name: path[len(train)] for name, path in paths.items()}),
        [
            *notes,
            "published, learned from 16 of the walks and tested on the same (Li et al. 2020, arXiv 2001.01328): latent "
            "ODE 5.98, latent SDE 4.03",
        ],
    )


def picture(walk, paths):
    plt = plots()
    figure, axes = plt.subplots(2, 3, figsize=(12, 5), layout="constrained", sharex=True)
    channels = np.argsort(-walk.std(0))[: axes.size]
    for axis, channel in zip(axes.flat, channels, strict=True):
        axis.plot(walk[:, channel], "k", lw=2, label="observed")
        for name, path in paths.items():
            axis.plot(np.arange(GIVEN, len(walk)), path[:, channel], label=name)
        axis.set(title=f"channel {channel}")
    axes[0, 0].legend(fontsize=7)
    return figure


if __name__ == "__main__":
    main(__doc__, run)
