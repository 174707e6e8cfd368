"""diffrax's solvers behind the same call: implicit and stiff methods."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import InputError, SolveError
from pushforward.ode.adjoint import Adjoint
from pushforward.ode.adjoints import Backsolve, Direct, Reversible
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
            "an implicit diffrax solver takes no steps=N here: its equations are solved to rtol and atol, give these"
        )
    how: Any = diffrax.RecursiveCheckpointAdjoint()
    if isinstance(adjoint, Backsolve | Direct):
        backsolve = isinstance(adjoint, Backsolve)
        how = diffrax.BacksolveAdjoint() if backsolve else diffrax.DirectAdjoint()
    assert isinstance(control.rtol, float)
    assert isinstance(control.atol, float)
    steps: Any = diffrax.PIDController(rtol=control.rtol, atol=control.atol)
    first = None
    if control.steps is not None:
        steps, first = diffrax.ConstantStepSize(), (t1 - t0) / control.steps
    times = jnp.asarray([t1]) if stops is None else jnp.concatenate([stops, t1[None]])
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, arrays: eqx.combine(arrays, rest)(t, y)),
        solver,
        t0,
        t1,
        first,
        y0,
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
        name = type(solver).__name__
        message = f"diffrax's {name} stopped before {float(t1):.6g}: {found.result}"
        raise SolveError(message, time=math.nan, step=math.nan)
    ys = jax.tree.map(lambda leaf: jnp.where(good, leaf, jnp.nan), found.ys)
    counts = [jnp.asarray(found.stats[k]) for k in ("num_accepted_steps", "num_rejected_steps")]
    # diffrax counts tries of a step, not calls.
    stats = Stats(jnp.asarray(found.stats["num_steps"]), None, *counts)
    y1, before = (jax.tree.map(lambda leaf, i=i: leaf[i], ys) for i in (-1, slice(-1)))
    return Solution(y1, None if stops is None else before, stats, status)
