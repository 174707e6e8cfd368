"""Initial-value problems."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import InputError
from pushforward.ode.adjoint import Adjoint, Run
from pushforward.ode.adjoints import Backsolve, backsolved
from pushforward.ode.arguments import (
    adjoint_of,
    as_state,
    bounds_of,
    check,
    check_field,
    check_implicit,
    check_looks,
    check_times,
    controller_of,
    forward_mode_named,
    least_of,
    method_of,
    number_of,
    pid_of,
    stops_of,
    time_of,
    tolerance_of,
)
from pushforward.ode.control import Control
from pushforward.ode.events import Event, Jumps, listed
from pushforward.ode.legs import Asked, solve_by_legs
from pushforward.ode.methods import METHODS, Method
from pushforward.ode.radau import Radau
from pushforward.ode.solution import Happened, Solution, Stats
from pushforward.ode.step import State, along_rows, real_type
from pushforward.ode.stiffness import stiffness
from pushforward.ode.tableaus import Tableau
from pushforward.ode.whole import raise_if_failed, solve_through
from pushforward.rows import Numbers, kept_whole


def solve(
    field: Callable[[Array, State], State],
    y0: State,
    t0: Numbers,
    t1: Numbers,
    *,
    at: Numbers | None = None,
    interpolate: bool | None = None,
    dense: bool = False,
    save: Callable[[Array, State], Any] | None = None,
    jumps: Numbers | Jumps | None = None,
    events: Event | Sequence[Event] | None = None,
    method: str | Method | Any = "dopri5",
    rtol: Any = 1e-5,
    atol: Any = 1e-5,
    steps: int | None = None,
    control: str | Any = "shared",
    adjoint: str | Adjoint = "checkpoint",
    max_steps: int = 4096,
    min_step: float | None = None,
    max_step: float | None = None,
    pid: tuple[float, float, float] | None = None,
) -> Solution:
    """Solve `dy/dt = field(t, y)`, `y(t0) = y0` up to `t1`, in either direction of time.

    Differentiable in reverse mode with respect to the state, the arrays that the field holds or closes over, `t0`,
    `t1` and `at`; with `adjoint="direct"` in forward mode and to any order too. Cost: a call of the field for each
    stage of each try of a step; the adjoint decides the memory.

    Arguments:
        field: any function or module of time and state that returns the derivative, of the state's structure and
            shapes. The batch stays inside the state. Time is a number; with times per row or `control="per_row"` it is
            an array `(n, 1, ..., 1)` of the (first) state array's rank.
        y0: the state at `t0`, a pytree of floating-point arrays, real or complex.
        t0, t1: the interval, numbers, or arrays `(n,)` with an interval for each row.
        at: times between them, in order, at which states are returned: `(k,)`, or `(n, k)` for times per row. They cost
            no call of the field: states between the ends of steps are those of the method's polynomials (`METHODS`).
        interpolate: whether they are; False to step onto each time. Default None: they are, but with `steps=N` alone,
            which counts the steps between two times.
        dense: whether the solution can be called, `solution(t)`, which keeps `max_steps` steps; default False.
        save: `save(t, y)`, what of a state to return at the times `at`; default None, all of it.
        jumps: times, in order, at which the field jumps: `(k,)`, or `(n, k)` for times per row. Steps end there, before
            it the field is called with earlier times only, after it with later ones; `steps=N` counts between them.
            Where the state jumps too, `Jumps`.
        events: an `Event` or several: functions whose sign changes end the solve, note a time or change the state.
        method: a name in `METHODS`, a `Tableau` or a diffrax solver object; default "dopri5"; stiff: "radau5".
        rtol, atol: the error of a step is at most `atol + rtol |y|`, as a root mean square; default 1e-5 each.
            Numbers, or for each component: an array, or a pytree of the state's structure, that broadcasts against it.
        steps: a number of equal steps between two times in place of tolerances; default None.
        control: `"shared"` (default): the batch has one step size and one error; `"per_row"`: each row (of the leading
            axis) has its own steps, so that its solution does not depend on the others. With a diffrax solver a
            diffrax step-size controller too.
        adjoint: `"checkpoint"` (default), `"direct"`, `"backsolve"`, `"reversible"`, or one of the records of
            these names, with options. `"backsolve"` with a diffrax solver is diffrax's: no gradient to times.
        max_steps: most tries of a step between two times; default 4096.
        min_step, max_step: bounds of adaptive steps, in units of time; default None. A step of the least length is
            accepted whatever its error.
        pid: how errors decide the next step: coefficients of the error's change, of the error itself, and of its second
            change; default None: (0, 1, 0), for implicit methods (0.2, 0.7, 0). (0.3, 0.4, 0) is smoother where
            steps are limited by stability.

    A field that draws new noise at every call is not a function, and no step is small enough for it: fix the noise
    outside. A field that is zero except for a short while may be stepped over: put `jumps` around it.

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
    y0 = jax.tree.map(as_state, y0)
    leaves = jax.tree.leaves(y0)
    if not leaves:
        raise InputError("y0 has no arrays: a pytree of floating-point arrays was expected")
    dtype = real_type(y0)
    chosen, kind, watched = method_of(method), adjoint_of(adjoint), listed(events)
    tableau = chosen if isinstance(chosen, Method) else METHODS["euler"]
    rtol, atol = (tolerance_of(v, n, y0) for v, n in ((rtol, "rtol"), (atol, "atol")))
    bounds = bounds_of(min_step, max_step)
    controller = controller_of(control, chosen, steps)
    settings = Control(
        *(
            tableau,
            rtol,
            atol,
            steps,
            control == "per_row",
            max_steps,
            pid_of(pid, tableau.implicit),
            *bounds,
        )
    )
    check(settings, "shared" if controller is not None else control, chosen, leaves, dtype)
    if isinstance(tableau, Radau):
        check_implicit(settings, leaves, kind)
        if steps is None:
            least = (least_of(settings.rtol), least_of(settings.atol))
            settings = replace(settings, tableau=tableau.within(*least))
    ends = (time_of(t0, "t0", leaves, dtype), time_of(t1, "t1", leaves, dtype))
    stops = None if at is None else stops_of(at, "at", leaves, dtype)
    check_times(t0, at, t1, dtype)
    given = jumps if isinstance(jumps, Jumps) else Jumps(() if jumps is None else jumps)
    breaks = stops_of(given.times, "jumps", leaves, dtype)
    check_times(t0, given.times, t1, dtype, "jumps")
    by_row = any(t.ndim for t in ends) or 2 in {breaks.ndim, 0 if stops is None else stops.ndim}
    rows = leaves[0].shape[:1] if settings.per_row or by_row else ()
    example = jnp.zeros(rows, dtype)
    check_field(field, along_rows(example, leaves[0]), y0)
    looks = dense or bool(watched) or jumps is not None
    between = steps is None or looks if interpolate is None else interpolate
    looks = looks or save is not None or (at is not None and between)
    if not isinstance(chosen, Method):
        from pushforward.ode.bridge import solve_by_diffrax

        if dense or watched or jumps is not None or save is not None:
            raise InputError(
                "dense, jumps, events and save need a method of ours, not a diffrax solver"
            )
        if settings.by_component or any(map(jnp.iscomplexobj, leaves)):
            raise InputError(
                "a complex state and tolerances per component need a method of ours, not a diffrax solver"
            )
        return solve_by_diffrax(chosen, field, y0, ends, stops, settings, kind, controller)
    with kept_whole(), forward_mode_named():
        if not looks:
            found = solve_through(field, y0, ends, stops, settings, kind)
        else:
            check_looks(
                interpolate, save, stops, given.then, watched, example, y0, settings, by_row
            )
            if dense and not kind.keeps_all:
                raise InputError(f"{kind} keeps no steps, as dense=True needs: take 'checkpoint'")
            nowhere = jnp.zeros(0, dtype)
            asked = Asked(
                nowhere if stops is None else stops, save, breaks, given.then, watched, dense
            )
            settings = replace(settings, tableau=settings.tableau.interpolating())
            found = solve_by_legs(field, y0, ends, asked, settings, kind)
    raise_if_failed(found, settings, partial(stiffness, field, y0, ends, found, settings))
    happened = Happened(None, None, None) if found.happened is None else found.happened
    return Solution(found.y1, found.ys, found.stats, found.status, *happened, found.path)


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
    y1, cotangent = jax.tree.map(as_state, (y1, cotangent))
    leaves = jax.tree.leaves(y1)
    dtype = real_type(y1)
    tableau = method_of(method)
    if not isinstance(tableau, Tableau):
        raise InputError("backsolve needs an explicit method of ours, a name or a Tableau")
    rtol, atol = number_of(rtol, "rtol"), number_of(atol, "atol")
    settings = Control(tableau, rtol, atol, steps, False, max_steps)
    check(settings, "shared", tableau, leaves, dtype)
    times = (time_of(t0, "t0", leaves, dtype), time_of(t1, "t1", leaves, dtype))
    check_times(t0, None, t1, dtype)
    check_field(field, along_rows(times[0], leaves[0]), y1)
    arrays, rest = eqx.partition(field, eqx.is_inexact_array)
    run = Run((arrays, times), rest, settings)
    (by_held, by_y), at = backsolved(Backsolve(seminorm), run, y1, cotangent)
    stats = Stats(at.calls, None, at.accepted, at.rejected)
    return Adjoints(at.y[0], by_y, *by_held, stats, at.status)
