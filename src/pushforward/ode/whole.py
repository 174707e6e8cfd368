"""A solve from its start to its end: over one interval, or stop by stop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import SolveError
from pushforward.ode.adjoint import Adjoint, Run
from pushforward.ode.control import Control
from pushforward.ode.loop import EVENTS, NOT_FINITE, REACHED, TOO_MANY, UNDERFLOW
from pushforward.ode.packing import PackedField, Packing, packing_of
from pushforward.ode.path import Path
from pushforward.ode.solution import Happened, Stats
from pushforward.ode.step import State, along_rows


class Found(NamedTuple):
    """What a compiled solve returns."""

    y1: State
    ys: State | None
    stats: Stats
    status: Array
    time: Array
    size: Array
    happened: Happened | None = None
    path: Path | None = None


@eqx.filter_jit
def solve_through(
    field: Any,
    y0: State,
    ends: tuple[Array, Array],
    stops: Array | None,
    control: Control,
    adjoint: Adjoint,
) -> Found:
    """Solve, step by step onto each of the stops."""
    t0, t1 = ends
    rows = jax.tree.leaves(y0)[0].shape[:1]
    if control.per_row or t0.ndim or t1.ndim or (stops is not None and stops.ndim == 2):
        t0, t1 = (jnp.broadcast_to(t, rows) for t in (t0, t1))
        stops = None if stops is None else jnp.broadcast_to(stops, (*rows, stops.shape[-1])).T
    if not isinstance(field, eqx.Module):
        # What a function closes over becomes its leaves, so that gradients reach it.
        field = eqx.filter_closure_convert(field, along_rows(t0, jax.tree.leaves(y0)[0]), y0)
    packs = adjoint.packs and not control.by_component
    packing = packing_of(y0, control.per_row or t0.ndim > 0) if packs else None
    if packing is not None:
        field, y0 = PackedField(field, packing), packing.pack(y0)

    arrays, rest = eqx.partition(field, eqx.is_inexact_array)
    calls = adjoint.calls(control)

    def interval(at: Found, times: tuple[Array, Array]) -> tuple[Found, State]:
        """Solve from one time to the next; steps carry on with the length they had, in units of time."""
        a, b = times
        length = jnp.abs(b - a) if control.per_row else jnp.abs(b - a).max()
        some = length > 0
        # One step is enough where there is nowhere to go.
        h = jnp.where(some, at.size / jnp.where(some, length, 1.0), 1.0)
        run = Run((arrays, times), rest, control)
        part = adjoint.advance(run, at.y1, jax.lax.stop_gradient(h))
        going = at.status == REACHED
        backward = None if calls is None else part.accepted.max(initial=0) * calls
        stats = Stats(part.calls, backward, part.accepted, part.rejected)
        found = Found(
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
    start = Found(
        y1=y0,
        ys=None,
        stats=Stats(zero, None if calls is None else zero, zeros, zeros),
        status=jnp.full(shape, REACHED, jnp.int32),
        time=jax.lax.stop_gradient(jnp.broadcast_to(t0, jnp.broadcast_shapes(t0.shape, shape))),
        size=jnp.full(shape, jnp.nan, t0.dtype),
    )
    if stops is None:
        return finished(interval(start, (t0, t1))[0], packing)
    times = jnp.concatenate([t0[None], stops, t1[None]])
    end, ys = jax.lax.scan(interval, start, (times[:-1], times[1:]))
    return finished(end._replace(ys=jax.tree.map(lambda leaf: leaf[:-1], ys)), packing)


def finished(found: Found, packing: Packing | None, saves: bool = False) -> Found:
    """States that are not a solution become NaN; packed ones what they were. With `saves`, `ys` are no states."""
    bad = found.status > REACHED

    def mark(leaf: Array) -> Array:
        # A product, whose gradient is NaN too.
        return leaf * jnp.where(along_rows(bad, leaf), jnp.nan, 1.0).astype(leaf.dtype)

    y1, ys = jax.tree.map(mark, found.y1), found.ys
    ys = None if ys is None else jax.vmap(lambda state: jax.tree.map(mark, state))(ys)
    if packing is not None:
        y1, ys = packing.unpack(y1), ys if ys is None or saves else packing.unpack(ys)
    return found._replace(y1=y1, ys=ys)


def raise_if_failed(
    found: Found, control: Control, stiff: Callable[[int], str | None] | None = None
) -> None:
    """The error of a solve outside of `jit` that did not reach its end.

    Arguments:
        found, control: of the solve.
        stiff: says of a row that failed whether the field was too stiff for the method; None for nothing to say.
    """
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
            "raise max_steps or the tolerances",
        ),
        UNDERFLOW: (
            "the step became too short for the dtype",
            "raise the tolerances, use float64, or look for a singularity or for noise in the field",
        ),
        NOT_FINITE: (
            "the field is not finite there"
            + ", or the method's equations were not solved" * control.tableau.implicit,
            "look at what the field returns at this time, and at the size of the state",
        ),
        EVENTS: (
            "events that do not end the solve happened more often than their `most`",
            "raise most, or end the solve by an event of its own",
        ),
    }[int(status[i])]
    advice = (None if stiff is None else stiff(int(i))) or advice
    message = f"{who} stopped at time {time:.6g} with a step of {size:.3g}: {reason}; {advice}"
    raise SolveError(message, time, size, int(i) if many > 1 else None)
