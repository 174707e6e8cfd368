"""diffrax's solvers behind the same call."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import InputError, SolveError
from pushforward.ode.adjoint import Adjoint
from pushforward.ode.adjoints import Backsolve, Direct, RecomputeSteps
from pushforward.ode.control import Control
from pushforward.ode.solution import Solution, Stats
from pushforward.ode.step import State

ADJOINTS: dict[type[Adjoint], str] = {
    RecomputeSteps: "RecursiveCheckpointAdjoint",
    Direct: "DirectAdjoint",
    Backsolve: "BacksolveAdjoint",
}
"""Which of diffrax's adjoints stand for ours; a subclass may do something else."""
NAMES = "'checkpoint', 'direct' and 'backsolve'"


class _Calls:
    """How often diffrax's solves have called their fields."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


CALLS = _Calls()


class _Counted(eqx.Module):
    """A field, given its arrays, whose calls are counted while they happen."""

    rest: Any
    counts: bool = eqx.field(static=True)

    def __call__(self, t: Array, y: State, arrays: Any) -> State:
        if self.counts:
            jax.debug.callback(CALLS)
        return eqx.combine(arrays, self.rest)(t, y)


def solve_by_diffrax(
    solver: Any,
    field: Callable[[Array, State], State],
    y0: State,
    ends: tuple[Array, Array],
    stops: Array | None,
    control: Control,
    adjoint: Adjoint,
    controller: Any = None,
) -> Solution:
    """`ode.solve` with a diffrax solver object; tolerances, steps, their control and the adjoint are passed on.

    Calls of the field are counted by a callback, outside of `jit` and transformations only. Raises `InputError` for
    what a diffrax solver cannot do, `SolveError` where it stops before the end.
    """
    import diffrax
    import optimistix

    name, (t0, t1) = type(solver).__name__, ends
    if control.per_row or t0.ndim or t1.ndim or (stops is not None and stops.ndim == 2):
        raise InputError("a diffrax solver has one time and one step size for the whole batch")
    if type(adjoint) not in ADJOINTS:
        raise InputError(f"{adjoint} needs a method of ours: a diffrax solver takes {NAMES}")
    if not isinstance(field, eqx.Module):
        field = eqx.filter_closure_convert(field, t0, y0)
    arrays, rest = eqx.partition(field, eqx.is_inexact_array)
    leaves = jax.tree.leaves((arrays, y0, ends, stops))
    counts = not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
    assert isinstance(control.rtol, float)
    assert isinstance(control.atol, float)
    first = None
    if controller is not None:
        steps = controller
    elif control.steps is None:
        p, i, d = control.pid
        steps = diffrax.PIDController(
            *(control.rtol, control.atol),
            pcoeff=p,
            icoeff=i,
            dcoeff=d,
            dtmin=control.min_step,
            dtmax=control.max_step,
        )
    else:
        steps, first = diffrax.ConstantStepSize(), (t1 - t0) / control.steps
        finder = getattr(solver, "root_finder", None)
        if finder is not None and not isinstance(finder.rtol, float):
            solver = eqx.tree_at(
                lambda s: (s.root_finder.rtol, s.root_finder.atol, s.root_finder.norm),
                solver,
                (control.rtol, control.atol, optimistix.max_norm),
            )
    times = jnp.asarray([t1]) if stops is None else jnp.concatenate([stops, t1[None]])
    before, moving = CALLS.count, _Counted(rest, counts)
    try:
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(moving),  # type: ignore[arg-type]
            solver,
            t0,
            t1,
            first,
            y0,
            args=arrays,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=steps,
            adjoint=getattr(diffrax, ADJOINTS[type(adjoint)])(),
            max_steps=control.max_steps,
            throw=False,
        )
    except ValueError as error:
        why = str(error).partition("\n")[0]
        if type(error).__name__ == "TermAndSolverIncompatible":
            why = "it is for equations of another kind than dy/dt = f(t, y)"
        raise InputError(f"diffrax's {name} does not solve this: {why}") from error
    good = found.result == diffrax.RESULTS.successful
    status = jnp.where(good, 0, 1).astype(jnp.int32)
    if not isinstance(status, jax.core.Tracer) and int(status):
        message = f"diffrax's {name} stopped before {float(t1):.6g}: {found.result}"
        raise SolveError(message.partition("\n")[0], time=math.nan, step=math.nan)
    calls = jnp.asarray(-1, jnp.int32)
    if counts:
        jax.effects_barrier()
        calls = jnp.asarray(CALLS.count - before, jnp.int32)
    ys = jax.tree.map(lambda leaf: jnp.where(good, leaf, jnp.nan), found.ys)
    accepted, rejected = (
        jnp.asarray(found.stats[k]) for k in ("num_accepted_steps", "num_rejected_steps")
    )
    y1, before_end = (jax.tree.map(lambda leaf, i=i: leaf[i], ys) for i in (-1, slice(-1)))
    stats = Stats(calls, None, accepted, rejected)
    return Solution(y1, None if stops is None else before_end, stats, status)
