"""Equations of series in standard units, learned or known, and their trajectories."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.errors import InputError
from pushforward.fields import MLPField
from pushforward.ode import Solver, solve
from pushforward.series.observations import Observations, checked_times

SHORTEST = 1 / 50
"""The shortest unit of time, as a share of the longest series: noise must not pass for speed."""
COARSEST = 1e-2
"""How far apart neighbouring floats may be at a time, in units of time, for trajectories to be accurate."""


class Units(eqx.Module):
    """Units in which values and rates of change are of order one.

        u = (y - center) / scale,    tau = (t - origin) / length

    The length is the time in which a column moves by its standard deviation, on average. `center` and `scale` are
    `(d,)`; `origin` and `length` are of time.
    """

    center: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]
    origin: float = eqx.field(static=True)
    length: float = eqx.field(static=True)

    @staticmethod
    def of(observed: Observations) -> "Units":
        """The units of observations. Raises `InputError` for a column that was never observed."""
        seen = observed.seen
        counts = seen.sum((0, 1))
        if not counts.all():
            column = int(np.argmin(counts))
            raise InputError(f"column {column} was never observed: leave it out of the series")
        center = np.where(seen, observed.values, 0.0).sum((0, 1)) / counts
        squares = np.where(seen, observed.values - center, 0.0) ** 2
        scale = np.sqrt(squares.sum((0, 1)) / counts)
        scale = np.where(scale > 0, scale, 1.0)
        moved, passed = 0.0, 0.0
        for t, y, here in zip(observed.times, observed.values / scale, seen, strict=True):
            for column in range(y.shape[1]):
                at = here[:, column]
                moved += np.abs(np.diff(y[at, column])).sum()
                passed += np.ptp(t[at]) if at.any() else 0.0
        longest = np.ptp(observed.times, axis=1).max()
        length = np.clip(passed / moved if moved > 0 else longest, SHORTEST * longest, longest)
        return Units(center, scale, float(observed.times.min()), float(length))

    def times(self, t: Any) -> Float[np.ndarray, "..."]:
        """Times in these units."""
        return np.asarray((np.asarray(t, np.float64) - self.origin) / self.length)

    def values(self, y: Any) -> Float[np.ndarray, "*rows d"]:
        """Values in these units."""
        return np.asarray((np.asarray(y, np.float64) - self.center) / self.scale)

    def jumps(
        self, given: Sequence[float] | None, within: tuple[float, float] | None = None
    ) -> tuple[float, ...]:
        """Times of jumps in these units. Raises `InputError` for times out of order, not finite, or not `within`."""
        if given is None:
            return ()
        times = checked_times(given, " of jumps")
        if within is not None and not (within[0] < times[0] and times[-1] < within[1]):
            raise InputError(
                f"jumps go from {times[0]:.6g} to {times[-1]:.6g}, the series from {within[0]:.6g} to {within[1]:.6g}: "
                "what follows a jump is learned from observations on both sides of it"
            )
        return tuple(float(t) for t in self.times(times))

    def solver(self, solver: Solver) -> Solver:
        """A solver whose bounds of steps are in these units."""
        least, most = (
            None if bound is None else bound / self.length
            for bound in (solver.min_step, solver.max_step)
        )
        return replace(solver, min_step=least, max_step=most)

    def restored(self, u: Any) -> Float[np.ndarray, "*rows d"]:
        """Values of these units in the data's own."""
        return np.asarray(self.center + self.scale * np.asarray(u, np.float64))

    def check_times(self, t: Float[np.ndarray, "..."], *, timed: bool, learned: bool) -> None:
        """Raises `InputError` for times that the model's precision cannot tell apart.

        Arguments:
            t: `(n, k)` times of trajectories, each row from its start.
            timed: whether the field depends on time; if not, times count from a row's start.
            learned: whether the field receives times in standard units, or as they are.
        """
        dtype = jnp.zeros(()).dtype
        unit = COARSEST * self.length
        for what, far, advice in (
            ("from the start of its trajectory", t - t[:, :1], "ask for nearer times"),
            (
                f"from {self.origin:.6g}" if learned else "from 0",
                t - (self.origin if learned else 0.0) if timed else np.zeros(1),
                "count times from a nearer one, as the field depends on time",
            ),
        ):
            place = np.unravel_index(np.argmax(np.abs(far)), far.shape)
            if np.spacing(np.abs(far[place]).astype(dtype)) > unit:
                raise InputError(
                    f"time {t[place]:.10g} is too far {what} for {dtype}, which cannot tell times there apart: "
                    f"{advice}, or use float64"
                )


class LearnedField(eqx.Module):
    """`du/dtau = f(u)`, or `f(tau, u)`, by a perceptron in standard units.

    With jumps the perceptron also receives which of them have passed.

    Arguments:
        d: number of columns.
        width, depth: of the perceptron.
        autonomous: whether it does not depend on time, but for the jumps.
        jumps: times at which it jumps, in order, in standard units; default none.
    """

    network: MLPField
    autonomous: bool = eqx.field(static=True)
    jumps: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        d: int,
        width: int,
        depth: int,
        autonomous: bool,
        jumps: tuple[float, ...] = (),
        *,
        key: PRNGKeyArray,
    ):
        kind = "concat" if autonomous else "squash"
        passed = len(jumps) or None
        self.network = MLPField(d, width=width, depth=depth, time=kind, condition=passed, key=key)
        self.autonomous, self.jumps = autonomous, jumps

    @property
    def timed(self) -> bool:
        """Whether it depends on time."""
        return not self.autonomous or bool(self.jumps)

    def __call__(self, t: Array, u: Float[Array, "n d"]) -> Float[Array, "n d"]:
        passed = None
        if self.jumps:
            late = t.reshape(-1, 1) > jnp.asarray(self.jumps, t.dtype)[None]
            passed = jnp.broadcast_to(late, (len(u), len(self.jumps))).astype(u.dtype)
        return self.network(jnp.zeros_like(t) if self.autonomous else t, u, passed)


class KnownField(eqx.Module):
    """`dy/dt = f(t, y, params)`, a function with unknown parameters, in standard units.

    A parameter is `start + size * change` with `size = |start|`, or 1 where that is 0, and only `change` is trained:
    parameters of any magnitude move by similar shares.

    Arguments:
        function: `f(t, y, params)` of a time, a state `(d,)` and the parameters; returns `(d,)`, or d numbers.
        params: the initial parameters, a pytree of numbers and arrays.
        units: of the data.
        jumps: times at which it jumps, in order, in the data's units; default None.

    Attributes:
        timed: whether the function's result depends on time.

    Raises `InputError` for parameters that are not finite numbers, or a function that does not return d numbers.
    """

    function: Callable[[Array, Array, Any], Any] = eqx.field(static=True)
    start: Any
    change: Any
    center: Float[Array, " d"]
    scale: Float[Array, " d"]
    origin: float = eqx.field(static=True)
    length: float = eqx.field(static=True)
    timed: bool = eqx.field(static=True)
    jumps: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        function: Callable[[Array, Array, Any], Any],
        params: Any,
        units: Units,
        jumps: Sequence[float] | None = None,
    ):
        self.jumps = units.jumps(jumps)
        try:
            self.start = jax.tree.map(lambda p: jnp.asarray(p, jnp.zeros(()).dtype), params)
        except (TypeError, ValueError):
            raise InputError(f"params={params!r}: a pytree of numbers was expected") from None
        leaves = jax.tree.leaves(params)
        if not leaves or not all(np.isfinite(np.asarray(leaf)).all() for leaf in leaves):
            raise InputError(f"params={params!r}: finite initial numbers were expected")
        self.change = jax.tree.map(jnp.zeros_like, self.start)
        self.function, self.origin, self.length = function, units.origin, units.length
        self.center, self.scale = jnp.asarray(units.center), jnp.asarray(units.scale)
        d = len(units.center)
        example = jnp.zeros(()), jnp.zeros(d), self.start
        try:
            given = eqx.filter_eval_shape(self._rate, *example)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"field(t, y, params) cannot be called with JAX arrays: {type(error).__name__}: {reason}"
            ) from error
        if given.shape != (d,):
            raise InputError(
                f"field(t, y, params) gives shape {given.shape} for a state of {d} columns: ({d},) was expected"
            )
        program = jax.make_jaxpr(lambda *given: self._rate(*given))(*example).jaxpr
        # Of the function's inputs the first is time.
        self.timed = dce_jaxpr(program, [True] * len(program.outvars))[1][0]

    @property
    def params(self) -> Any:
        """The parameters where they are now."""
        return jax.tree.map(
            lambda p, change: p + jnp.where(p == 0, 1.0, jnp.abs(p)) * change,
            jax.lax.stop_gradient(self.start),
            self.change,
        )

    def _rate(self, t: Array, y: Array, params: Any) -> Array:
        rate = self.function(t, y, params)
        return jnp.stack(list(rate)) if isinstance(rate, (tuple, list)) else jnp.asarray(rate)

    def __call__(self, t: Array, u: Float[Array, "n d"]) -> Float[Array, "n d"]:
        center, scale = jax.lax.stop_gradient((self.center, self.scale))
        times = self.origin + self.length * jnp.broadcast_to(jnp.ravel(t), u.shape[:1])
        states = center[None] + scale[None] * u
        rates = jax.vmap(self._rate, (0, 0, None))(times, states, self.params)
        return self.length * rates / scale[None]


SeriesField = LearnedField | KnownField


class _Later(eqx.Module):
    """A field whose clock is 0 at each row's start."""

    field: SeriesField
    begins: Float[Array, " n"]
    marks: Float[Array, "n jumps"]

    def __call__(self, t: Array, u: Float[Array, "n d"]) -> Float[Array, "n d"]:
        clock = jax.lax.stop_gradient(self.begins)[:, None] + t
        jumps = self.field.jumps
        if jumps:
            # The solver keeps its times on their side of a jump; a sum must not round them to the other.
            origin = getattr(self.field, "origin", 0.0) / getattr(self.field, "length", 1.0)
            least = 8 * float(jnp.finfo(clock.dtype).eps) * (max(map(abs, jumps)) + abs(origin))
            edges = jnp.asarray([-jnp.inf, *jumps, jnp.inf], clock.dtype)
            passed = (jax.lax.stop_gradient(self.marks) < t).sum(1)
            low, high = edges[passed][:, None] + least, edges[passed + 1][:, None] - least
            clock = clock + jax.lax.stop_gradient(jnp.clip(clock, low, high) - clock)
        return self.field(clock, u)


def trajectories(
    field: SeriesField,
    starts: Float[Array, "n d"],
    times: Float[Array, "n k"],
    solver: Solver,
    per_row: bool = False,
    begins: Float[Array, " n"] | None = None,
) -> Float[Array, "n k d"]:
    """The solutions through `starts` at `times[:, 0]`, at all times, in either direction; all in standard units.

    Arguments:
        field: the equation.
        starts: `(n, d)`.
        times: `(n, k)`, in order; repeated times repeat the state.
        solver: how to solve.
        per_row: whether each row has its own step sizes, so that its solution does not depend on the others.
        begins: `(n,)` on the field's clock, from where the times count; default 0. Times that count from their row's
            start keep their precision, however far that lies.
    """
    if times.shape[1] == 1:
        return starts[:, None]
    first, last, options = times[:, 0], times[:, -1], solver.options(per_row)
    moving: Any = field
    if field.timed:
        begins = jnp.zeros_like(first) if begins is None else begins
        marks = jnp.asarray(field.jumps, first.dtype)[None] - begins[:, None]
        moving = _Later(field, begins, marks)
        if field.jumps:
            # Those beyond a row's ends fall onto them, where a step ends anyway.
            way = jnp.where(last < first, -1.0, 1.0)[:, None].astype(first.dtype)
            ends = ((way[:, 0] * t)[:, None] for t in (first, last))
            options["jumps"] = way * jnp.sort(jnp.clip(way * marks, *ends), 1)
    found = solve(moving, starts, first, last, at=times[:, 1:], **options)
    return jnp.concatenate([starts[:, None], jnp.moveaxis(jnp.asarray(found.ys), 0, 1)], 1)
