"""The latent neural ODE: series as noisy observations of a latent path."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward import ode
from pushforward.draws import spawn
from pushforward.errors import InputError, check_count, warn
from pushforward.networks import MLP
from pushforward.networks.recurrent import RecurrentNetwork
from pushforward.rows import Numbers, broadcasting
from pushforward.series.observations import Observations, checked_times, refuse_dates

LEAST_SCALE = 1e-4
# By how much a time may lie outside the knots, as a share of their interval.
ROUNDED = 1e-3
# How near a jump a knot gives way to it, as a share of their interval.
CLOSE = 1e-2


class LatentODE(eqx.Module):
    """A latent path with learned dynamics, decoded with Gaussian noise; its start is inferred from the observations.

        z_0 ~ N(0, 1),   dz/dt = f(z),   x_i ~ N(decode(z(t_i)), noise^2)
        q(z_0 | series) = N(mean, scale^2),  from a recurrent network that runs backwards in time

    The recognition network sees the values, which of them are missing, the times and the gaps between them. The
    equation is solved once for all series, over common knots, and evaluated between them by the cubic through states
    and slopes: the field's calls do not grow with the observations, and each series has its own times. For a path that
    bends like a sine of period P, `knots` intervals leave an error of about `4 (span / (P knots))^4`.

    Values should be of order one. `z_0` is the state at the start of `span`, the times that the model is trained on.

    Arguments:
        d: coordinates of an observation.
        latent: size of the latent state; default 4.
        span: `(first, last)` time of training; default (0, 1).
        width: hidden units of the dynamics (two layers) and the decoder (one); default 32.
        memory: units of the recognition network; default 32.
        noise: the fixed standard deviation of observations; default None learns one for each coordinate.
        knots: intervals of the span; default 20.
        jumps: times within the span at which the dynamics jump, such as those of switches, in order, the same for all
            series; the dynamics receive which of them have passed. Each is one more knot. Default none.
        solver: an `ode.Solver`; default one Runge-Kutta step of order 4 between two knots.

    Raises `InputError` for sizes below 1, a span that does not go forwards, noise that is not positive, jumps out of
    order or outside the span.

    Sources: Chen et al. 2018, arXiv 1806.07366; Rubanova et al. 2019, arXiv 1907.03907.

    ```python
    >>> import jax, jax.numpy as jnp, pushforward as pf
    >>> from pushforward.series import LatentODE, NegativeELBO, Observations
    >>> times = jnp.sort(jax.random.uniform(jax.random.key(0), (40, 6)))
    >>> seen = Observations(times, jnp.sin(6 * times)[..., None])
    >>> model = LatentODE(1, latent=2, width=8, memory=8, key=jax.random.key(1))
    >>> fitted = pf.fit(model, seen, key=jax.random.key(2), loss=NegativeELBO(),
    ...                 training=pf.Training(max_epochs=1))
    >>> fitted.model.predict(seen, jnp.linspace(0, 1, 5)).shape
    (40, 5, 1)

    ```
    """

    recognition: RecurrentNetwork
    posterior: MLP
    dynamics: Callable[[Array], Array]
    decoder: Callable[[Array], Array]
    log_noise: Float[Array, " d"] | None
    fixed_noise: float | None = eqx.field(static=True)
    d: int = eqx.field(static=True)
    latent: int = eqx.field(static=True)
    span: tuple[float, float] = eqx.field(static=True)
    knots: int = eqx.field(static=True)
    jumps: tuple[float, ...] = eqx.field(static=True)
    solver: ode.Solver = eqx.field(static=True)

    def __init__(
        self,
        d: int,
        *,
        latent: int = 4,
        span: tuple[float, float] = (0.0, 1.0),
        width: int = 32,
        memory: int = 32,
        noise: float | None = None,
        knots: int = 20,
        jumps: Sequence[float] = (),
        solver: ode.Solver | None = None,
        key: PRNGKeyArray,
    ):
        for name, value in (("d", d), ("latent", latent), ("memory", memory), ("knots", knots)):
            check_count(name, value)
        first, last = (float(t) for t in span)
        if not (math.isfinite(first) and math.isfinite(last) and first < last):
            raise InputError(f"span={span}: two finite times, the earlier first, were expected")
        _check_far(f"span={span} is", first, last, last - first)
        if noise is not None and not (math.isfinite(noise) and noise > 0):
            raise InputError(f"noise={noise}: a positive standard deviation was expected")
        self.jumps = _checked_jumps(jumps, first, last, (last - first) / knots)
        keys = spawn(key, 4)
        cell = eqx.nn.GRUCell(2 * d + 2, memory, key=keys[0])
        self.recognition = RecurrentNetwork(cell, memory, reverse=True)
        network = partial(MLP, last_scale=1.0)
        self.posterior = network(
            memory, (2 * latent,), width=memory, depth=1, activation="tanh", key=keys[1]
        )
        received = latent + len(self.jumps)
        self.dynamics = network(
            received, (latent,), width=width, depth=2, activation="elu", key=keys[2]
        )
        self.decoder = network(latent, (d,), width=width, depth=1, key=keys[3])
        self.log_noise = jnp.zeros(d) - 1.0 if noise is None else None
        self.fixed_noise, self.d, self.latent = noise, d, latent
        self.span, self.knots = (first, last), knots
        self.solver = ode.Solver(method="rk4", steps=1) if solver is None else solver

    @property
    def noise(self) -> Float[Array, " d"]:
        """The standard deviation of an observation, `(d,)`."""
        if self.log_noise is not None:
            return jnp.exp(self.log_noise)
        assert self.fixed_noise is not None
        return jnp.full(self.d, self.fixed_noise)

    def encode(
        self, observations: Observations
    ) -> tuple[Float[Array, "n latent"], Float[Array, "n latent"]]:
        """Mean and standard deviation of the latent state at the start of the span, given `n` series. One observation
        of a series is enough.

        Raises `InputError` where the series do not fit the model; warns where they leave the span.
        """
        return _encode(self, *self._checked(observations))

    def encode_rows(
        self, times: Float[Array, "n k"], values: Float[Array, "n k d"], seen: Bool[Array, "n k d"]
    ) -> tuple[Float[Array, "n latent"], Float[Array, "n latent"]]:
        """`encode` for arrays, without checks; missing values must be finite."""
        first, last = self.span
        counts = seen.any(-1)
        times = jnp.where(counts, times, first)  # where nothing was observed the time is arbitrary
        # Backwards, the gap is to the next time with an observation.
        due = jnp.where(counts, times, jnp.inf)
        later = jax.lax.cummin(due, axis=1, reverse=True)
        later = jnp.concatenate([later[:, 1:], jnp.full_like(later[:, :1], jnp.inf)], 1)
        gaps = jnp.where(jnp.isfinite(later), later - times, 0.0)
        clock = jnp.stack([times - first, gaps], -1) / (last - first)
        shown = jnp.where(seen, values, 0.0)
        inputs = jnp.concatenate([shown, seen.astype(values.dtype), clock], -1)
        memory, _ = self.recognition(inputs, counts)
        found = self.posterior(memory.T).T
        return found[:, : self.latent], jax.nn.softplus(found[:, self.latent :]) + LEAST_SCALE

    def decode(self, z: Float[Array, "*batch latent"]) -> Float[Array, "*batch d"]:
        """The expected observation at latent states."""
        flat = z.reshape(-1, self.latent)
        return self.decoder(flat.T).T.reshape(*z.shape[:-1], self.d)

    def path(
        self,
        z0: Float[Array, "n latent"],
        times: Float[Array, "n k"],
        beyond: tuple[int, int] = (0, 0),
    ) -> Float[Array, "n k latent"]:
        """The latent states at times; NaN at times outside the knots.

        Arguments:
            z0: `(n, latent)` at the start of the span.
            times: `(n, k)`, in any order.
            beyond: knots before and after the span; default none.
        """
        first, last = self.span
        length = (last - first) / self.knots
        before, after = beyond
        field = _Field(self.dynamics, self.jumps)
        options: dict[str, Any] = self.solver.options(False, rows=False)
        nodes = Nodes.of(first, length, before, self.knots + after, self.jumps)

        def walked(stops: Array, jumps: tuple[float, ...] = ()) -> Array:
            given = dict(options)
            if jumps:
                # Numbers of steps count between jumps, and are meant between knots.
                given["jumps"] = np.asarray(jumps) if self.solver.steps is None else stops[:-1]
            ys = ode.solve(field, z0.T, first, stops[-1], at=stops, **given).ys
            assert ys is not None
            return jnp.asarray(ys)

        parts = [z0.T[None], walked(jnp.asarray(nodes.ahead, z0.dtype), self.jumps)]
        if before:
            back = first - length * jnp.arange(1, before + 1, dtype=z0.dtype)
            parts.insert(0, walked(back)[::-1])
        states = jnp.concatenate(parts)
        if self.jumps:
            states = states[nodes.state]
        columns = jnp.moveaxis(states, 1, 0).reshape(self.latent, -1)
        passed = np.repeat(nodes.passed, len(z0), 1)
        slopes = self.dynamics(_with(columns, jnp.asarray(passed, columns.dtype)))
        slopes = jnp.moveaxis(slopes.reshape(self.latent, *states.shape[::2]), 0, 1)
        at = (times - first) / length + before
        # Each knot's two cubics, zero beyond its neighbours. Sums, as the reverse of a gather is slow.
        u = at[..., None] - jnp.asarray(nodes.places + before, z0.dtype)[None, None]
        far = jnp.abs(u)
        if self.jumps:
            earlier, later = (jnp.asarray(w, z0.dtype)[None, None] for w in nodes.widths)
            width = jnp.where(u > 0, later, earlier)
            # At a jump two knots share the state: one reaches back, the other ahead.
            far = jnp.where(width > 0, far / jnp.where(width > 0, width, 1.0), 1.0)
        hat = jnp.square(jnp.maximum(1 - far, 0.0))
        weights = jnp.stack([hat * (1 + 2 * far), length * hat * u], -2)
        found = jnp.einsum("nkaj,jaln->nkl", weights, jnp.stack([states, slopes], 1))
        inside = (at >= -ROUNDED) & (at <= self.knots + before + after + ROUNDED)
        return jnp.where(inside[..., None], found, jnp.nan)

    def predict(
        self,
        observations: Observations,
        times: Numbers,
        *,
        key: PRNGKeyArray | None = None,
        extrapolate: bool = False,
    ) -> Float[Array, "n q d"]:
        """The expected values at any times, within the observations or beyond.

        Arguments:
            observations: `n` series.
            times: `(q,)`, or `(n, q)` for times per series; in any order.
            key: draws the latent state from its posterior; default None takes the posterior's mean.
            extrapolate: whether times outside `span` are intended; default False warns of them.

        Raises `InputError` where series or times do not fit the model.
        """
        arrays = self._checked(observations)
        refuse_dates(times, "times to predict at")
        asked = np.asarray(times, float)
        n = len(arrays[0])
        if asked.ndim not in (1, 2) or (asked.ndim == 2 and len(asked) != n) or not asked.size:
            raise InputError(f"times have shape {asked.shape}: (q,) or ({n}, q) was expected")
        if not np.isfinite(asked).all():
            raise InputError("times to predict at must be finite")
        self._flag(asked, "times to predict at", meant=extrapolate)
        first, last = self.span
        length = (last - first) / self.knots
        ends = (first - asked.min(), asked.max() - last)
        before, after = (max(math.ceil(far / length - 1e-4), 0) for far in ends)
        asked = np.broadcast_to(asked, (n, asked.shape[-1]))
        with broadcasting():
            dtype = arrays[1].dtype
            return _predict(self, arrays, jnp.asarray(asked, dtype), (before, after), key)

    def within(self, times: Numbers) -> Bool[np.ndarray, "*shape"]:
        """Whether times, of any shape, lie in the span, up to rounding.

        ```python
        >>> import jax
        >>> from pushforward.series import LatentODE
        >>> LatentODE(1, span=(0.0, 2.0), key=jax.random.key(0)).within([0.0, 1.5, 2.5]).tolist()
        [True, True, False]

        ```
        """
        refuse_dates(times, "times")
        first, last = self.span
        slack = ROUNDED * (last - first) / self.knots
        return (np.asarray(times) >= first - slack) & (np.asarray(times) <= last + slack)

    def _checked(self, observations: Observations) -> tuple[Array, Array, Array]:
        """The arrays of series, if they fit the model."""
        times, values, seen = map(jnp.asarray, jax.tree.leaves(observations))
        if values.ndim != 3 or values.shape[-1] != self.d:
            raise InputError(f"values have shape {values.shape}: (n, k, {self.d}) was expected")
        if not np.isfinite(observations.values).all():
            raise InputError("observed values must be finite: write NaN for missing ones")
        check_order(observations)
        self._flag(observations.times[observations.seen.any(-1)], "observations")
        return times, jnp.where(seen, values, 0.0), seen

    def _flag(self, times: np.ndarray, what: str, *, meant: bool = False) -> None:
        first, last = self.span
        low, high = float(times.min()), float(times.max())
        _check_far(f"{what} go to {max(high, low, key=abs):.10g},", low, high, last - first)
        if not meant and not self.within(times).all():
            warn(
                f"{what} go from {low:.6g} to {high:.6g}, outside the span ({first:g}, {last:g}) of training: this is "
                "extrapolation"
            )


def _check_far(where: str, first: float, last: float, length: float) -> None:
    """Raises `InputError` for times so far from 0 that the model's precision cannot tell them apart."""
    dtype = jnp.zeros(()).dtype
    if np.spacing(np.asarray(max(-first, last), dtype)) > 1e-3 * length:
        raise InputError(
            f"{where} too far from 0 for {dtype}, which cannot tell its times apart: count times from the first one"
        )


def check_order(observations: Observations) -> None:
    """Raises `InputError` unless each series has observations, at finite, increasing times."""
    counts = np.any(observations.seen, axis=-1)
    for i, (t, count) in enumerate(zip(observations.times, counts, strict=True)):
        if not count.any():
            raise InputError(f"series {i} has no observation: leave it out")
        checked_times(t[count], f" of series {i}")


def _checked_jumps(
    jumps: Sequence[float], first: float, last: float, length: float
) -> tuple[float, ...]:
    """The times of jumps as numbers, if they are in order, within the span, and apart from its ends and each other."""
    if len(jumps) == 0:
        return ()
    times = checked_times(jumps, " of jumps")
    if (np.diff([first, *times, last]) < CLOSE * length).any():
        raise InputError(
            f"jumps={[float(t) for t in times]}: times within the span ({first:g}, {last:g}) were expected, at least "
            f"{CLOSE * length:g} apart and from its ends, a hundredth of the interval between two knots"
        )
    return tuple(float(t) for t in times)


class Nodes(NamedTuple):
    """Where the cubics of a path meet, in intervals between knots from the start of the span.

    Attributes:
        ahead: the times after the start that the path is solved at.
        places: those of the cubics' ends; a jump is there twice.
        state: which of the solved states each has.
        passed: `(jumps, nodes)`, which jumps lie before it.
        widths: of the cubics before and after it; 0 where there is none.
    """

    ahead: np.ndarray
    places: np.ndarray
    state: np.ndarray
    passed: np.ndarray
    widths: tuple[np.ndarray, np.ndarray]

    @staticmethod
    def of(
        first: float, length: float, before: int, count: int, jumps: tuple[float, ...]
    ) -> "Nodes":
        """Of `before` and `count` intervals before and after the start; a knot next to a jump gives way to it."""
        knots, marks = np.arange(1, count + 1), (np.asarray(jumps) - first) / length
        near = np.abs(knots[:, None] - marks[None]) < CLOSE
        kept = knots[~near.any(1)]
        # Jumps as they were given: a time rounded otherwise would lie on their other side.
        ahead = np.sort(np.concatenate([first + length * kept, jumps]))
        solved = np.sort(np.concatenate([np.arange(-before, 1), kept, marks]))
        twice = np.isin(solved, marks)
        state = np.repeat(np.arange(len(solved)), 1 + twice)
        places = solved[state]
        second = np.append(False, state[1:] == state[:-1])
        passed = (places[None] > marks[:, None]) | (second[None] & (places[None] == marks[:, None]))
        gaps = np.diff(places)
        widths = np.append(1.0, gaps), np.append(gaps, 1.0)
        return Nodes(ahead, places, state, passed, widths)


def _with(z: Array, passed: Array) -> Array:
    """Columns of states, with which jumps have passed below."""
    return jnp.concatenate([z, passed]) if len(passed) else z


class _Field(eqx.Module):
    """The dynamics as a field of columns, which does not depend on time but for the jumps."""

    dynamics: Callable[[Array], Array]
    jumps: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, t: Array, z: Array) -> Array:
        if not self.jumps:
            return self.dynamics(z)
        late = (t > jnp.asarray(self.jumps, t.dtype)).astype(z.dtype)
        return self.dynamics(_with(z, jnp.broadcast_to(late[:, None], (len(late), z.shape[1]))))


_encode = eqx.filter_jit(LatentODE.encode_rows)


@eqx.filter_jit
def _predict(
    model: LatentODE,
    arrays: tuple[Array, Array, Array],
    times: Array,
    beyond: tuple[int, int],
    key: PRNGKeyArray | None,
) -> Array:
    mean, scale = model.encode_rows(*arrays)
    z0 = mean if key is None else mean + scale * jax.random.normal(key, mean.shape, mean.dtype)
    return model.decode(model.path(z0, times, beyond))
