"""diffrax's solvers behind the same call: implicit and stiff methods."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import InputError, SolveError
from pushforward.ode.adjoints import Adjoint, Backsolve, Direct, Reversible
from pushforward.ode.control import Control
from pushforward.ode.solution import Solution, Stats
from pushforward.ode.step import State


def solve_by_diffrax(
    solver: Any,
    field: Callable[[Array, State], State],
    y0: State,
    ends: tuple[Array, Array],
    stops: Array | None,
    control: Control,
    adjoint: Adjoint,
) -> Solution:
    """`ode.solve` with a diffrax solver object; tolerances, steps and adjoint are passed on."""
    import diffrax

    t0, t1 = ends
    if control.per_row or t0.ndim or t1.ndim or (stops is not None and stops.ndim == 2):
        raise InputError("a diffrax solver has one time and one step size for the whole batch")
    if isinstance(adjoint, Reversible):
        raise InputError("adjoint='reversible' needs a method of ours, not a diffrax solver")
    if not isinstance(field, eqx.Module):
        field = eqx.filter_closure_convert(field, t0, y0)
    arrays, rest = eqx.partition(field, eqx.is_inexact_array)
    if control.steps is not None and isinstance(solver, diffrax.AbstractImplicitSolver):
        raise InputError(
            "an implicit diffrax solver takes no steps=N here: give rtol and atol, which its equations are solved to"
        )
    if isinstance(adjoint, Backsolve):
        how: Any = diffrax.BacksolveAdjoint()
    else:
        how = (
            diffrax.DirectAdjoint()
            if isinstance(adjoint, Direct)
            else diffrax.RecursiveCheckpointAdjoint()
        )
    if control.steps is None:
        steps: Any = diffrax.PIDController(rtol=control.rtol, atol=control.atol)
        first = None
    else:
        steps, first = diffrax.ConstantStepSize(), (t1 - t0) / control.steps
    times = jnp.asarray([t1]) if stops is None else jnp.concatenate([stops, t1[None]])
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, arrays: eqx.combine(arrays, rest)(t, y)),
        *(solver, t0, t1, first, y0),
        args=arrays,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=steps,
        adjoint=how,
        max_steps=control.max_steps,
        throw=False,
    )
    good = found.result == diffrax.RESULTS.successful
    status = jnp.where(good, 0, 1).astype(jnp.int32)
    if not isinstance(status, jax.core.Tracer) and int(status):
        raise SolveError(
            f"diffrax's {type(solver).__name__} stopped before {float(t1):.6g}: {found.result}",
            *(float("nan"), float("nan")),
        )
    ys = jax.tree.map(lambda leaf: jnp.where(good, leaf, jnp.nan), found.ys)
    counts = [jnp.asarray(found.stats[k]) for k in ("num_accepted_steps", "num_rejected_steps")]
    # diffrax does not count calls; tries of a step are what it knows.
    stats = Stats(jnp.asarray(found.stats["num_steps"]), None, *counts)
    last = jax.tree.map(lambda leaf: leaf[-1], ys)
    return Solution(
        last, None if stops is None else jax.tree.map(lambda leaf: leaf[:-1], ys), stats, status
    )
