"""Missing measurements of intensive care: a latent ODE on the first 8 hours of PhysioNet 2012.

Heart rate, invasive blood pressures and temperature of stays, at times rounded to 10 minutes. A fifth of what was
measured in the test stays is hidden from all methods, which fill it in. The recurrent networks, which see the past and
the future, are trained on that task: a part of the values is hidden anew in every step.
"""

import os
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from experiment import Result, main, plots, say

import pushforward as pf
from pushforward.networks.recurrent import RecurrentNetwork
from pushforward.series import LatentODE, NegativeELBO, Observations, pack

COLUMNS = ("HR", "SysABP", "DiasABP", "MAP", "Temp")
HOUR, HOURS, MINUTES, HIDDEN = 60, 8, 10, 0.2


def measured(path: Path, stays: int):
    """Times in hours `(n, k)` and values `(n, k, columns)`, NaN where nothing was measured."""
    import polars as pl

    table = pl.read_parquet(path, columns=["record", "Time", "Parameter", "Value"])
    clock = pl.col("Time").str.split(":").list
    slot = ((clock.get(0).cast(int) * HOUR + clock.get(1).cast(int)) // MINUTES).alias("slot")
    table = table.with_columns(pl.col("Parameter").cast(str), slot)
    table = table.filter(pl.col("Parameter").is_in(COLUMNS), pl.col("Value") > 0)
    table = table.filter(pl.col("slot") * MINUTES < HOURS * HOUR)
    keys = {"index": ["record", "slot"], "values": "Value", "aggregate_function": "mean"}
    wide = table.pivot("Parameter", **keys).sort("record", "slot")
    groups = [g for g in wide.partition_by("record", maintain_order=True) if len(g) >= 6][:stays]
    times = [group["slot"].to_numpy() * MINUTES / HOUR for group in groups]
    packed = pack(times, [group.select(COLUMNS).to_numpy() for group in groups])
    return packed.times, np.where(packed.seen, packed.values, np.nan)


class Filler(eqx.Module):
    """Recurrent networks over visible values in both directions, and a line from their memories to all columns."""

    ways: tuple[RecurrentNetwork, RecurrentNetwork]
    out: eqx.nn.Linear

    def __init__(self, key):
        keys, d, width = jax.random.split(key, 3), len(COLUMNS), 32
        cells = [eqx.nn.GRUCell(2 * d + 1, width, key=keys[i]) for i in range(2)]
        one, two = cells
        self.ways = (
            RecurrentNetwork(one, width),
            RecurrentNetwork(two, width, reverse=True),
        )
        self.out = eqx.nn.Linear(2 * width, d, key=keys[2])

    def __call__(self, x, times, shown):
        inputs = [jnp.where(shown, x, 0.0), shown, times[..., None] / HOURS]
        seen, every = jnp.concatenate(inputs, -1), jnp.ones(times.shape, bool)
        memories = jnp.concatenate([way(seen, every)[1] for way in self.ways], -1)
        return jax.vmap(jax.vmap(self.out))(memories)


def filling_error(model, batch, key):
    """The squared error at values hidden at random."""
    times, x, seen = batch.times, batch.values, batch.seen
    key = jax.random.key(0) if key is None else key
    hidden = seen & jax.random.bernoulli(key, HIDDEN, seen.shape)
    found = model(x, times, seen & ~hidden)
    return jnp.where(hidden, jnp.square(found - x), 0.0).sum((1, 2))


def carried(times, values, shown):
    """The last visible value, and the line between those before and after; the mean where there is none."""
    last, line = np.zeros_like(values), np.zeros_like(values)
    for i, j in np.ndindex(len(values), values.shape[2]):
        at, known = times[i][shown[i, :, j]], values[i][shown[i, :, j], j]
        if len(at):
            place = np.searchsorted(at, times[i], "right") - 1
            last[i, :, j] = np.where(place >= 0, known[np.maximum(place, 0)], 0.0)
            line[i, :, j] = np.interp(times[i], at, known)
    return last, line


def data(path: Path, stays: int):
    """Rows to train on, rows to judge by, test series as shown, their values, what is hidden of them, and notes."""
    times, values = measured(path, stays)
    train, judge = len(times) * 6 // 10, len(times) * 7 // 10
    mean, spread = np.nanmean(values[:train], (0, 1)), np.nanstd(values[:train], (0, 1))
    values = (values - mean) / spread
    # Beyond 5 standard deviations are slips of the record.
    values[np.abs(values) > 5] = np.nan
    parts = []
    for some in (slice(0, train), slice(train, judge), slice(judge, None)):
        kept = (~np.isnan(values[some])).sum((1, 2)) > 4
        parts.append(Observations(times[some][kept], values[some][kept]))
    # Copies make an epoch long against its validation.
    rows = jax.tree.map(lambda a: np.concatenate([a] * 8), parts[0])
    whole = parts[2]
    hidden = whole.seen & (np.random.default_rng(0).random(whole.seen.shape) < HIDDEN)
    hidden &= (whole.seen & ~hidden).any((1, 2), keepdims=True)
    shown = Observations(whole.times, whole.values, whole.seen & ~hidden)
    note = (
        f"{len(parts[0].times)} stays to train, {len(whole.times)} to test, {int(hidden.sum())} hidden values; "
        "mean squared error in units of the column's variance"
    )
    return rows, parts[1], shown, whole.values, hidden, note


def run(quick: bool) -> Result:
    path = Path(os.environ.get("PUSHFORWARD_DATA", "")) / "physionet2012_a.parquet"
    if not path.is_file():
        say("PUSHFORWARD_DATA has no physionet2012_a.parquet")
        sys.exit(77)
    rows, judge, test, truth, hidden, note = data(path, 40 if quick else 2000)
    epochs, key = (1 if quick else 40), jax.random.key(0)
    training = pf.Training(batch=128, max_epochs=epochs, learning_rate=5e-3, weight_decay=0.0)

    def fitted(model, loss):
        found = pf.fit(model, rows, key=key, loss=loss, training=training, validation=judge)
        say(f"{type(model).__name__}: {found.seconds:.0f} s")
        return found.model

    last, line = carried(test.times, test.values, test.seen)
    names = ("mean", "last value carried", "line between values")
    guesses = dict(zip(names, (np.zeros_like(line), last, line), strict=True))
    arrays = [jnp.asarray(a, jnp.float32) for a in (test.values, test.times)]
    model = fitted(Filler(key), filling_error)
    guesses["GRU, both ways"] = np.asarray(eqx.filter_jit(model)(*arrays, jnp.asarray(test.seen)))
    sizes = {"latent": 10, "width": 48, "memory": 48, "knots": 16}
    model = LatentODE(len(COLUMNS), span=(0.0, HOURS), **sizes, key=key)
    model = fitted(model, NegativeELBO(hide=HIDDEN))
    guesses["latent ODE"] = np.asarray(model.predict(test, test.times))
    table = []
    for name, guess in guesses.items():
        errors = np.where(hidden, np.square(guess - truth), 0.0).sum((0, 1))
        many = hidden.sum((0, 1))
        table.append([name, *(f"{v:.3f}" for v in (errors.sum() / many.sum(), *errors / many))])
    return Result(["method", "all", *COLUMNS], table, figure(model, test, truth, hidden), [note])


def figure(model, test, truth, hidden):
    drawing, axes = plots().subplots(1, 3, figsize=(11, 3), layout="constrained", sharey=True)
    at, keys = np.linspace(0, HOURS, 97), jax.random.split(jax.random.key(2), 20)
    draws = np.stack([model.predict(test, at, key=key) for key in keys])
    for axis, i in zip(axes, np.argsort(-hidden.sum((1, 2)), kind="stable"), strict=False):
        for j in range(2):
            axis.plot(at, draws[:, i, :, j].T, color=f"C{j}", lw=0.5, alpha=0.3)
            for mask, mark, label in ((test.seen, ".", COLUMNS[j]), (hidden, "x", "hidden")):
                there, look = mask[i, :, j], {"color": f"C{j}", "label": label}
                axis.plot(test.times[i][there], truth[i][there, j], mark, **look)
        axis.set_xlabel("hours")
    axes[0].legend(fontsize=8)
    return drawing


if __name__ == "__main__":
    main(__doc__, run)
