"""Hare and lynx of Hudson Bay: 1900 to 1912 are seen, 1913 to 1920 are forecast.

All models see and forecast logarithms of the pelts (thousands). Neural equations are ensembles whose mean is the
forecast; the Lotka-Volterra equation is known but for its four rates. Persistence repeats 1912. The linear model is
least squares on the last p years, run on its own forecasts; the GRU is trained on windows of years, fed with its own
forecasts beyond the first four. Of the linear and GRU settings tried the table has the best on the forecast years, a
choice in their favour; the equations have one setting each.
"""

import os
import sys
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from experiment import Result, main, plots, say

import pushforward as pf
from pushforward.estimators import NeuralODERegressor

LAST = 1912
RIDGES = (1e-6, 0.1, 0.3, 1.0, 3.0)


def lotka_volterra(t, y, rates):
    """In logarithms: hares grow and are eaten, lynx starve and eat."""
    return rates["birth"] - rates["eaten"] * jnp.exp(y[1]), rates["fed"] * jnp.exp(y[0]) - rates[
        "death"
    ]


RATES = {"birth": 0.5, "eaten": 0.02, "fed": 0.02, "death": 0.8}


class GRU(eqx.Module):
    """Adds to the last values what its memory says; beyond what it is shown it goes on with its own values."""

    cell: eqx.nn.GRUCell
    change: eqx.nn.Linear

    def __init__(self, d, width, *, key):
        keys = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(d, width, key=keys[0])
        self.change = eqx.nn.Linear(width, d, key=keys[1])

    def forecast(self, shown, steps):
        """`(n, steps, d)` values after those shown, `(n, k, d)`."""

        def step(carry, given):
            memory, last = carry
            memory = jax.vmap(self.cell)(last if given is None else given, memory)
            value = (last if given is None else given) + jax.vmap(self.change)(memory)
            return (memory, value), value

        memory = jnp.zeros((len(shown), self.cell.hidden_size))
        carry, _ = jax.lax.scan(step, (memory, shown[:, 0]), jnp.moveaxis(shown, 1, 0))
        first = carry[1]
        _, later = jax.lax.scan(step, carry, None, length=steps - 1)
        return jnp.concatenate([first[:, None], jnp.moveaxis(later, 0, 1)], 1)


def gru_loss(shown):
    """Mean squares of a forecast after so many values."""

    def loss(model, batch, key):
        x = batch.x
        ours = model.forecast(x[:, :shown], x.shape[1] - shown)
        return jnp.square(ours - x[:, shown:]).mean((1, 2))

    return loss


def linear_forecast(z, lag, ridge, steps):
    """Least squares of the next values on the last `lag`, run on its own forecasts; z is centred."""
    x = np.concatenate([z[lag - 1 - i : len(z) - 1 - i] for i in range(lag)], 1)
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ z[lag:])
    path = list(z)
    for _ in range(steps):
        path.append(np.concatenate(path[: -lag - 1 : -1]) @ weights)
    return np.array(path[len(z) :])


def run(quick: bool) -> Result:
    path = Path(os.environ.get("PUSHFORWARD_DATA", "data")) / "lynx_hare.csv"
    if not path.is_file():
        say(f"{path} is missing: set PUSHFORWARD_DATA to the folder that has lynx_hare.csv")
        sys.exit(77)
    years, *pelts = np.loadtxt(path, delimiter=",", skiprows=1).T
    y = np.log(np.stack(pelts, 1))
    seen = years <= LAST
    past, future, steps = y[seen], y[~seen], int((~seen).sum())
    center, scale = past.mean(0), past.std(0)
    z = (past - center) / scale
    found = {"persistence": np.repeat(past[-1:], steps, 0)}

    def best(name, forecasts):
        restored = [center + scale * np.asarray(f) for f in forecasts]
        found[name] = min(restored, key=lambda f: np.square(f - future).mean())

    grid = [(lag, ridge) for lag in (1, 2, 3) for ridge in RIDGES]
    best("linear", [linear_forecast(z, lag, ridge, steps) for lag, ridge in grid])
    windows = np.stack([z[i : i + 8] for i in range(len(z) - 7)]).astype(np.float32)
    windows = np.tile(windows, (50, 1, 1))  # an epoch of more than one step
    forecasts = []
    for width in (8,) if quick else (8, 32):
        for rounds in (50,) if quick else (200, 1000):
            training = pf.Training(batch=6, max_steps=rounds, learning_rate=1e-2, patience=1.0)
            runs = []
            for seed in range(1 if quick else 3):
                gru = GRU(2, width, key=jax.random.key(seed))
                key = jax.random.key(100 + seed)
                gru = pf.fit(gru, windows, key=key, loss=gru_loss(4), training=training).model
                runs.append(gru.forecast(jnp.asarray(z[None]), steps)[0])
            forecasts.append(np.mean(runs, 0))
    best("GRU (3 members)", forecasts)
    say("baselines done")
    warnings.filterwarnings("ignore", message=".*extrapolation")  # a forecast is meant to be one
    members, bands = 2 if quick else 10, {}
    fits = {
        "neural ODE": NeuralODERegressor(width=16, ensemble=members, random_state=0),
        "Lotka-Volterra": NeuralODERegressor(
            lotka_volterra, params=RATES, ensemble=members, random_state=0
        ),
    }
    for name, model in fits.items():
        if quick:
            cheap = pf.ode.Solver(method="midpoint", steps=1, adjoint="direct")
            model.set_params(segments=(1,), solver=cheap, training=pf.Training(max_steps=5))
        model.fit(years[seen], past)
        bands[name] = model.predict(np.linspace(years[0], years[-1], 201), return_std=True)
        found[f"{name} ({members} members)"] = model.predict(years[~seen])
        say(f"{name}: noise {model.noise_.round(3)}")
    rates = fits["Lotka-Volterra"].params_
    rows = [
        [name, *(f"{np.square(f - future)[part].mean():.3f}" for part in (slice(4), slice(8)))]
        for name, f in found.items()
    ]
    return Result(
        ["forecast of", "MSE of logarithms, 1913 to 1916", "1913 to 1920"],
        rows,
        picture(years, y, seen, found, bands),
        [
            "Lotka-Volterra's rates a year: "
            + ", ".join(f"{name} {float(rate):.3f}" for name, rate in rates.items()),
            "bands in the figure: the members' mean, and two standard deviations of the members either way",
        ],
    )


def picture(years, y, seen, found, bands):
    plt = plots()
    figure, axes = plt.subplots(
        2, 2, figsize=(11, 6), layout="constrained", sharex=True, sharey=True
    )
    for row, (name, (mean, std)) in zip(axes, bands.items(), strict=True):
        for j, (axis, animal) in enumerate(zip(row, ("hare", "lynx"), strict=True)):
            t = np.linspace(years[0], years[-1], len(mean))
            axis.fill_between(
                t, *np.exp([mean[:, j] - 2 * std[:, j], mean[:, j] + 2 * std[:, j]]), alpha=0.3
            )
            axis.plot(t, np.exp(mean[:, j]), label=name)
            for other, style in (("linear", ":"), ("GRU (3 members)", "--")):
                axis.plot(years[~seen], np.exp(found[other][:, j]), style, color="0.4", label=other)
            axis.scatter(years, np.exp(y[:, j]), c=np.where(seen, "k", "tab:red"), s=14, zorder=3)
            axis.axvline(LAST + 0.5, color="0.8")
            axis.set(title=f"{animal}, {name}", yscale="log", ylim=(2, 300))
            axis.legend(fontsize=7)
    axes[0, 0].set_ylabel("thousand pelts")
    return figure


if __name__ == "__main__":
    main(__doc__, run)
