"""Initial-value problems."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import InputError, SolveError
from pushforward.ode.adjoints import Adjoint, Backsolve, Direct, Reversible, advance, backsolved
from pushforward.ode.arguments import (
    adjoint_of,
    check,
    check_field,
    check_times,
    method_of,
    number_of,
    stops_of,
    time_of,
)
from pushforward.ode.control import Control
from pushforward.ode.loop import NOT_FINITE, REACHED, TOO_MANY, UNDERFLOW
from pushforward.ode.packing import PackedField, Packing, packing_of
from pushforward.ode.solution import Solution, Stats
from pushforward.ode.step import State, along_rows
from pushforward.ode.tableaus import METHODS, Tableau
from pushforward.rows import Numbers, as_float, kept_whole


def solve(
    field: Callable[[Array, State], State],
    y0: State,
    t0: Numbers,
    t1: Numbers,
    *,
    at: Numbers | None = None,
    method: str | Tableau | Any = "dopri5",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    steps: int | None = None,
    control: str = "shared",
    adjoint: str | Adjoint = "checkpoint",
    max_steps: int = 4096,
) -> Solution:
    """Solve `dy/dt = field(t, y)`, `y(t0) = y0` up to `t1`, in either direction of time.

    Differentiable in reverse mode with respect to the state, the arrays that the field holds or closes over, `t0`,
    `t1` and `at`; with `adjoint="direct"` in forward mode and to any order too. Cost: a call of the field for each
    stage of each try of a step; the adjoint decides the memory.

    Arguments:
        field: any function or module of time and state that returns the derivative, of the state's structure and
            shapes. The batch stays inside the state. Time is a number; with times per row or `control="per_row"` it is
            an array `(n, 1, ..., 1)` of the (first) state array's rank.
        y0: the state at `t0`, a pytree of floating-point arrays.
        t0, t1: the interval, numbers, or arrays `(n,)` with an interval for each row.
        at: times between them, in order, at which states are returned: `(k,)`, or `(n, k)` for times per row. The
            solver steps to each of them.
        method: a name in `METHODS`, a `Tableau`, or a diffrax solver object (implicit, stiff); default "dopri5".
        rtol, atol: the error of a step is at most `atol + rtol |y|`, as a root mean square; default 1e-5 each.
        steps: a number of equal steps between two times in place of tolerances; default None.
        control: `"shared"` (default): the batch has one step size and one error; `"per_row"`: each row (of the leading
            axis) has its own steps, so that its solution does not depend on the others.
        adjoint: `"checkpoint"` (default), `"direct"`, `"backsolve"`, `"reversible"`, or one of the records of
            these names, with options. `"backsolve"` with a diffrax solver is diffrax's: no gradient to times.
        max_steps: most tries of a step between two times; default 4096.

    A field that draws new noise at every call is not a function, and no step is small enough for it: fix the noise
    outside. A field that is zero except for a short while may be stepped over: put times of `at` around it.

    Raises `InputError` for unknown names, a field that gives other shapes than the state's, times out of order or too
    close for the state's precision, tolerances that are not positive; `SolveError`, outside of `jit`, where the end is
    not reached or not finite. Under `jit` the states are NaN there and `status` is not 0. Warns of tolerances below
    the dtype's precision.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> solution = pf.ode.solve(lambda t, y: -y, jnp.ones(2), 0.0, 1.0)
    >>> solution.y1.round(4).tolist(), int(solution.stats.evaluations)
    ([0.36789998412132263, 0.36789998412132263], 26)

    ```
    """
    y0 = jax.tree.map(as_float, y0)
    leaves = jax.tree.leaves(y0)
    if not leaves:
        raise InputError("y0 has no arrays: a pytree of floating-point arrays was expected")
    dtype = jnp.result_type(*leaves)
    chosen, kind = method_of(method), adjoint_of(adjoint)
    tableau = chosen if isinstance(chosen, Tableau) else METHODS["euler"]
    rtol, atol = number_of(rtol, "rtol"), number_of(atol, "atol")
    settings = Control(tableau, rtol, atol, steps, control == "per_row", max_steps)
    check(settings, control, chosen, leaves, dtype)
    ends = (time_of(t0, "t0", leaves, dtype), time_of(t1, "t1", leaves, dtype))
    stops = None if at is None else stops_of(at, leaves, dtype)
    check_times(t0, at, t1, dtype)
    by_row = any(t.ndim for t in ends) or (stops is not None and stops.ndim == 2)
    rows = leaves[0].shape[:1] if settings.per_row or by_row else ()
    check_field(field, along_rows(jnp.zeros(rows, dtype), leaves[0]), y0)
    if not isinstance(chosen, Tableau):
        from pushforward.ode.bridge import solve_by_diffrax

        return solve_by_diffrax(chosen, field, y0, ends, stops, settings, kind)
    with kept_whole():
        found = _solve(field, y0, ends, stops, settings, kind)
    _raise_if_failed(found, settings)
    return Solution(found.y1, found.ys, found.stats, found.status)


class Adjoints(NamedTuple):
    """What a backward solve finds.

    Attributes:
        y0: the state at `t0`, as recomputed.
        by_y0: the loss's gradient with respect to it.
        by_field: the gradient with respect to the field's arrays, as a field.
        by_times: the gradients with respect to `t0` and `t1`.
        stats: what the backward solve cost.
        status: as a `Solution`'s.
    """

    y0: State
    by_y0: State
    by_field: Any
    by_times: tuple[Array, Array]
    stats: Stats
    status: Array


def backsolve(
    field: Any,
    y1: State,
    cotangent: State,
    t0: Numbers,
    t1: Numbers,
    *,
    method: str | Tableau = "dopri5",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    steps: int | None = None,
    seminorm: bool = True,
    max_steps: int = 4096,
) -> Adjoints:
    """The adjoint sensitivity method by itself: from a solve's end, and the loss's gradient there, back to its start.

    With `a = dL/dy`: `da/dt = -a df/dy`, `dL/dtheta = int a df/dtheta dt`, and the state is recomputed alongside. This
    is what `adjoint="backsolve"` does, with its counts. Cost: one solve of state, adjoint and parameters together.

    Arguments:
        field: a module; its arrays are the parameters.
        y1: the state at `t1`.
        cotangent: the loss's gradient with respect to `y1`.
        t0, t1: the interval.
        method, rtol, atol, steps, max_steps: as of `solve`.
        seminorm: leave the parameter integral out of the error estimate; default True.

    Raises `InputError` as `solve` does. Where the end is not reached, gradients are NaN and `status` is not 0.

    Source: Chen et al. 2018, arXiv 1806.07366.

    ```python
    >>> import jax, jax.numpy as jnp, pushforward as pf
    >>> field = pf.fields.MLPField(2, width=4, key=jax.random.key(0))
    >>> end = pf.ode.solve(field, jnp.ones((3, 2)), 0.0, 1.0).y1
    >>> found = pf.ode.backsolve(field, end, jnp.ones((3, 2)), 0.0, 1.0)
    >>> found.by_y0.shape, bool(found.stats.evaluations > 0)
    ((3, 2), True)

    ```
    """
    y1, cotangent = jax.tree.map(as_float, (y1, cotangent))
    leaves = jax.tree.leaves(y1)
    dtype = jnp.result_type(*leaves)
    tableau = method_of(method)
    if not isinstance(tableau, Tableau):
        raise InputError("backsolve needs a method of ours, not a diffrax solver")
    rtol, atol = number_of(rtol, "rtol"), number_of(atol, "atol")
    settings = Control(tableau, rtol, atol, steps, False, max_steps)
    check(settings, "shared", tableau, leaves, dtype)
    times = (time_of(t0, "t0", leaves, dtype), time_of(t1, "t1", leaves, dtype))
    check_times(t0, None, t1, dtype)
    check_field(field, along_rows(times[0], leaves[0]), y1)
    arrays, rest = eqx.partition(field, eqx.is_inexact_array)
    held = (arrays, times)
    (by_held, by_y), at = backsolved(Backsolve(seminorm), held, rest, settings, y1, cotangent)
    stats = Stats(at.calls, None, at.accepted, at.rejected)
    return Adjoints(at.y[0], by_y, *by_held, stats, at.status)


class _Found(NamedTuple):
    y1: State
    ys: State | None
    stats: Stats
    status: Array
    time: Array
    size: Array


@eqx.filter_jit
def _solve(
    field: Any,
    y0: State,
    ends: tuple[Array, Array],
    stops: Array | None,
    control: Control,
    adjoint: Adjoint,
) -> _Found:
    t0, t1 = ends
    rows = jax.tree.leaves(y0)[0].shape[:1]
    if control.per_row or t0.ndim or t1.ndim or (stops is not None and stops.ndim == 2):
        t0, t1 = (jnp.broadcast_to(t, rows) for t in (t0, t1))
        stops = None if stops is None else jnp.broadcast_to(stops, (*rows, stops.shape[-1])).T
    if not isinstance(field, eqx.Module):
        # What a function closes over becomes its leaves, so that gradients reach it.
        field = eqx.filter_closure_convert(field, along_rows(t0, jax.tree.leaves(y0)[0]), y0)
    direct = isinstance(adjoint, Direct)
    packing = None if direct else packing_of(y0, control.per_row or t0.ndim > 0)
    if packing is not None:
        field, y0 = PackedField(field, packing), packing.pack(y0)

    def interval(at: _Found, times: tuple[Array, Array]) -> tuple[_Found, State]:
        """Solve from one time to the next; steps carry on with the length they had, in units of time."""
        a, b = times
        length = jnp.abs(b - a) if control.per_row else jnp.abs(b - a).max()
        some = length > 0
        # One step is enough where there is nowhere to go.
        h = jnp.where(some, at.size / jnp.where(some, length, 1.0), 1.0)
        part = advance(adjoint, field, times, at.y1, control, jax.lax.stop_gradient(h))
        going = at.status == REACHED
        backward = None
        if not isinstance(adjoint, Backsolve):
            # A last stage that is the next step's first has no part in the step's own result.
            calls = len(control.tableau.a) - control.tableau.reuses_last
            calls *= 2 if isinstance(adjoint, Reversible) else 1
            backward = part.accepted.max(initial=0) * calls
        stats = Stats(part.calls, backward, part.accepted, part.rejected)
        found = _Found(
            y1=part.y,
            ys=None,
            stats=jax.tree.map(jnp.add, at.stats, stats),
            status=jnp.where(going, part.status, at.status),
            time=jax.lax.stop_gradient(jnp.where(going, a + part.reached * (b - a), at.time)),
            size=jax.lax.stop_gradient(jnp.where(some, part.h * length, at.size)),
        )
        return found, part.y

    shape = rows if control.per_row else ()
    zero, zeros = jnp.zeros((), jnp.int32), jnp.zeros(shape, jnp.int32)
    start = _Found(
        y1=y0,
        ys=None,
        stats=Stats(zero, None if isinstance(adjoint, Backsolve) else zero, zeros, zeros),
        status=jnp.full(shape, REACHED, jnp.int32),
        time=jax.lax.stop_gradient(jnp.broadcast_to(t0, jnp.broadcast_shapes(t0.shape, shape))),
        size=jnp.full(shape, jnp.nan, t0.dtype),
    )
    if stops is None:
        return _finished(interval(start, (t0, t1))[0], packing)
    times = jnp.concatenate([t0[None], stops, t1[None]])
    end, ys = jax.lax.scan(interval, start, (times[:-1], times[1:]))
    return _finished(end._replace(ys=jax.tree.map(lambda leaf: leaf[:-1], ys)), packing)


def _finished(found: _Found, packing: Packing | None) -> _Found:
    """States that are not a solution become NaN; packed ones become what they were."""
    bad = found.status > REACHED

    def mark(leaf: Array) -> Array:
        # A product, whose gradient is NaN too.
        return leaf * jnp.where(along_rows(bad, leaf), jnp.nan, 1.0).astype(leaf.dtype)

    y1, ys = jax.tree.map(mark, found.y1), found.ys
    ys = None if ys is None else jax.vmap(lambda state: jax.tree.map(mark, state))(ys)
    if packing is not None:
        y1, ys = packing.unpack(y1), None if ys is None else packing.unpack(ys)
    return found._replace(y1=y1, ys=ys)


def _raise_if_failed(found: _Found, control: Control) -> None:
    """The error of a solve outside of `jit` that did not reach its end."""
    if isinstance(found.status, jax.core.Tracer):
        return
    status = np.asarray(found.status).ravel()
    bad = np.flatnonzero(status > REACHED)
    if not len(bad):
        return
    i, many, times = bad[0], len(status), np.ravel(found.time)
    time, size = float(times[i if len(times) > 1 else 0]), float(np.ravel(found.size)[i])
    who = f"row {i}, one of {len(bad)} rows of {many}" if many > 1 else "the solve"
    reason, advice = {
        TOO_MANY: (
            f"max_steps={control.max_steps} tries of a step were not enough",
            "raise max_steps or the tolerances; a stiff field wants an implicit diffrax solver as method",
        ),
        UNDERFLOW: (
            "the step became too short for the dtype",
            "raise the tolerances, use float64, or look for a singularity or for noise in the field",
        ),
        NOT_FINITE: (
            "the field is not finite there",
            "look at what the field returns at this time, and at the size of the state",
        ),
    }[int(status[i])]
    message = f"{who} stopped at time {time:.6g} with a step of {size:.3g}: {reason}; {advice}"
    raise SolveError(message, time, size, int(i) if many > 1 else None)
