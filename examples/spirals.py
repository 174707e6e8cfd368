"""Forecasts of noisy spirals from 30, 50 or 100 observations: a latent ODE against a recurrent network.

As in Chen et al. 2018 (section 5.1), with the generator their code was published with: windows of 100 points of a
clockwise or a counter-clockwise spiral (500 points over 6 pi), begun at random places, 1,000 of them to train, noise of
0.3. Of the window 30, 50 or 100 points are observed, and as many of the 100 points after it are to be forecast, for 500
new spirals: the root mean squared error of a coordinate to the noiseless curve. The recurrent network has 25 units, is
told the time to the next observation and goes on from its own forecasts. Beyond the paper, the latent ODE also trains
on copies of the series that begin at a later observation.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from experiment import Result, main, plots

import pushforward as pf
from pushforward.networks.recurrent import RecurrentNetwork
from pushforward.series import LatentODE, NegativeELBO, Observations

POINTS, WINDOW, NOISE = 500, 100, 0.3
TIMES = np.linspace(0, 6 * np.pi, POINTS)
PAPER = {30: ("0.1642", "0.3937"), 50: ("0.1502", "0.3202"), 100: ("0.1346", "0.1813")}


def curves():
    """The two spirals, `(2, points, 2)`."""
    angle = TIMES[-1] + 1 - TIMES
    radius = 15 / angle
    clockwise = np.stack([radius * np.cos(angle) - 5, radius * np.sin(angle)], 1)
    radius = 0.3 * TIMES
    counter = np.stack([radius * np.cos(TIMES) + 5, radius * np.sin(TIMES)], 1)
    return np.stack([clockwise, counter])


def spirals(n, count, last, rng):
    """`n` windows with what follows, `(n, 2 window, 2)`, `count` places after each, and as many noisy observations."""
    start, kind = rng.integers(WINDOW, last, n), rng.permutation(np.arange(n) % 2)
    places = np.minimum(start[:, None] + np.arange(2 * WINDOW), POINTS - 1)
    truth = curves()[kind[:, None], places]
    seen = np.sort(np.argsort(rng.random((n, WINDOW)), 1)[:, :count], 1)
    values = np.take_along_axis(truth, seen[..., None], 1)
    later = WINDOW + np.sort(np.argsort(rng.random((n, WINDOW)), 1)[:, :count], 1)
    return truth, later, Observations(TIMES[seen], values + NOISE * rng.normal(size=values.shape))


def entered_later(observed, times, rng):
    """The series, and copies that begin at a later observation: what follows a place does not depend on the window."""
    n, k = observed.times.shape
    parts = [(observed.times, observed.values, observed.seen)]
    for _ in range(times):
        places = rng.integers(0, int(0.7 * k), n)[:, None] + np.arange(k)
        kept, places = places < k, np.minimum(places, k - 1)
        moved = np.take_along_axis(observed.times, places, 1)
        values = np.take_along_axis(observed.values, places[..., None], 1)
        parts.append((moved - moved[:, :1], values, np.repeat(kept[..., None], 2, 2)))
    return Observations(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


class TanhCell(eqx.Module):
    """The plain recurrent cell."""

    linear: eqx.nn.Linear

    def __call__(self, value, memory):
        return jnp.tanh(self.linear(jnp.concatenate([value, memory])))


class RNN(eqx.Module):
    """A recurrent network that predicts the next observation, told the time to it; 25 units as in the paper."""

    recurrent: RecurrentNetwork
    out: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key)
        self.recurrent = RecurrentNetwork(TanhCell(eqx.nn.Linear(3 + 25, 25, key=keys[0])), 25)
        self.out = eqx.nn.Linear(25, 2, key=keys[1])

    def __call__(self, values, gaps, memory=None):
        inputs = jnp.concatenate([values, gaps[..., None]], -1)
        last, every = self.recurrent(inputs, jnp.ones(gaps.shape, bool), memory)
        return jax.vmap(jax.vmap(self.out))(every), last

    @eqx.filter_jit
    def forecast(self, observed, later):
        """The values at later times `(n, q)`, each from the one predicted before."""
        given = observed.times, observed.values, later
        times, values, later = (jnp.asarray(a, jnp.float32) for a in given)
        found, memory = self(values, jnp.diff(times, append=later[:, :1]))

        def step(at, gap):
            value, memory = at
            after, memory = self(value, gap[:, None], memory)
            return (after, memory), value[:, 0]

        gaps = jnp.diff(later, append=later[:, -1:]).T
        return jax.lax.scan(step, (found[:, -1:], memory), gaps)[1].swapaxes(0, 1)


def next_error(model, batch, key):
    """The negative log-likelihood of each next observation, up to a constant."""
    x = batch.values
    expected, _ = model(x[:, :-1], jnp.diff(batch.times, axis=1))
    return 0.5 * jnp.square((x[:, 1:] - expected) / NOISE).sum((1, 2))


def trained(model, observed, loss, rate, steps):
    plan = {"batch": 128, "learning_rate": rate, "weight_decay": 0.0, "patience": 0.99}
    training = pf.Training(max_steps=steps, **plan)
    return pf.fit(model, observed, key=jax.random.key(1), loss=loss, training=training).model


def run(quick: bool) -> Result:
    rows: list[list[str]] = []
    shown: tuple[Any, ...] = ()
    for count in [10] if quick else PAPER:
        rng = np.random.default_rng(count)
        *_, observed = spirals(100 if quick else 1000, count, POINTS - WINDOW, rng)
        truth, later, tested = spirals(20 if quick else 500, count, POINTS - 2 * WINDOW, rng)
        span = (0.0, float(TIMES[WINDOW - 1]))
        sizes = {"width": 64, "memory": 48, "knots": 12, "noise": NOISE}
        model = LatentODE(2, span=span, **sizes, key=jax.random.key(0))
        longer = entered_later(observed, 1 if quick else 6, rng)
        model = trained(model, longer, NegativeELBO(), 1e-2, 2 if quick else 4000)
        found = np.asarray(model.predict(tested, TIMES[: 2 * WINDOW], extrapolate=True))
        # Copies, as an epoch should be long against its validation.
        copies = Observations(np.tile(observed.times, (6, 1)), np.tile(observed.values, (6, 1, 1)))
        rnn = trained(RNN(jax.random.key(0)), copies, next_error, 5e-3, 2 if quick else 2500)
        told = np.asarray(rnn.forecast(tested, TIMES[later]))
        shown = shown or (truth, tested, found, told)
        future, ours = (np.take_along_axis(a, later[..., None], 1) for a in (truth, found))
        pairs = (found[:, :WINDOW], truth[:, :WINDOW]), (ours, future), (told, future)
        errors = [f"{np.sqrt(np.mean(np.square(a - b))):.4f}" for a, b in pairs]
        of_ode, of_rnn = PAPER.get(count, ("", ""))
        rows.append([str(count), *errors[:2], of_ode, errors[2], of_rnn])
    models = ["latent ODE, within", "latent ODE, beyond", "paper", "RNN, beyond", "paper"]
    notes = ["root mean squared error of a coordinate to the noiseless curve, 500 new spirals"]
    return Result(["observations", *models], rows, figure(*shown), notes)


def figure(truth, tested, found, told):
    drawing, axes = plots().subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for i, axis in enumerate(axes):
        axis.plot(*truth[i].T, color="0.8", lw=5, label="truth")
        axis.plot(*found[i].T, color="tab:blue", label="latent ODE")
        axis.plot(*told[i].T, ".-", ms=4, lw=0.7, color="tab:red", label="RNN, forecast")
        axis.plot(*tested.values[i].T, "k.", ms=4, label="observed")
        axis.set_aspect("equal", "datalim")
    axes[0].legend(fontsize=8)
    return drawing


if __name__ == "__main__":
    main(__doc__, run)
