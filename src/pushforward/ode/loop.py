"""The loop over steps: it knows a method's step and a control, no adjoint and no public argument."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from pushforward.ode.control import Control, counted, error_ratio, first_size, next_size
from pushforward.ode.step import Slope, State, moved, parts, put, stage_loop, where

RUNNING, REACHED, TOO_MANY, UNDERFLOW, NOT_FINITE = -1, 0, 1, 2, 3
SLOPES = 16
"""For how many steps the slopes at the stages are kept: as many as states for most flows, at a bounded price."""
"""Status codes: still running, reached the end, too many steps, step too short, field not finite."""


class Record(NamedTuple):
    """The steps that were taken, for whoever has to take them again.

    Step `i < taken` began at `starts[i]` and was `sizes[i]` long; a row that did not move in it has size 0. State
    number `j` of `states` stood before step `j * stride`; `slopes` are the stages' of the first steps.
    """

    taken: Int[Array, ""]
    starts: Array
    sizes: Array
    states: State
    slopes: State
    stride: Int[Array, ""]


class Walk(NamedTuple):
    """Where a solve stands: `s` of the way is done, in units of the interval."""

    s: Array
    h: Array
    y: State
    twin: State
    slope: State
    tries: Int[Array, ""]
    calls: Int[Array, ""]
    accepted: Array
    rejected: Array
    status: Array
    record: Record


def walk(
    slope: Slope,
    y: State,
    control: Control,
    h: Array,
    *,
    coupling: float | None = None,
    slots: int = 0,
    keep_times: bool = False,
    ignored: int = 0,
) -> Walk:
    """Go from 0 to 1.

    Arguments:
        slope: the derivative by the fraction of the interval.
        y: the state at 0.
        control: the steps' lengths.
        h: the first step; NaN to find one.
        coupling: of the reversible pair of states; None for the plain method.
        slots: how many states to keep; when they are full, every second one is dropped.
        keep_times: whether to keep where steps began and how long they were.
        ignored: how many of the last parts of the state (a tuple, then) do not count for the error.
    """
    per_row = control.per_row
    n = jax.tree.leaves(y)[0].shape[0] if per_row else None
    dtype = jnp.result_type(*jax.tree.leaves(y))
    shape = (n,) if per_row else ()
    fixed, tableau = control.steps, control.tableau
    most = control.max_steps if fixed is None else fixed
    zero = jnp.zeros(shape, dtype)
    k, calls = None, 0
    if fixed is None:
        known = jnp.broadcast_to(h, shape).astype(dtype)
        k, found = first_size(slope, y, control, n, ignored)
        h = jnp.where(jnp.isfinite(known), jnp.minimum(known, 1.0), found)
        calls = 2
    else:
        if tableau.reuses_last and coupling is None:
            k, calls = slope(zero, y), 1
        h = zero + 1.0 / fixed
    times = most if keep_times or slots else 0
    kept = slopes = None
    if slots:
        kept_slopes = min(slots, SLOPES)
        slopes = jax.tree.map(
            lambda leaf: jnp.zeros((kept_slopes + 1, len(tableau.a), *leaf.shape), leaf.dtype), y
        )
        # The last place is for states that are not kept.
        kept = jax.tree.map(lambda leaf: jnp.zeros((slots + 1, *leaf.shape), leaf.dtype), y)
    record = Record(
        taken=jnp.zeros((), jnp.int32),
        starts=jnp.zeros((times, *shape), dtype),
        sizes=jnp.zeros((times, *shape), dtype),
        states=kept,
        slopes=slopes,
        stride=jnp.ones((), jnp.int32),
    )
    reuse = k if tableau.reuses_last and coupling is None else None
    start = Walk(
        *(zero, h, y, None if coupling is None else y, reuse),
        *(jnp.zeros((), jnp.int32), jnp.asarray(calls, jnp.int32)),
        *(jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.int32)),
        *(jnp.full(shape, RUNNING, jnp.int32), record),
    )

    def running(at: Walk) -> Array:
        return (at.status == RUNNING).any()

    def again(at: Walk) -> Walk:
        return _try_step(slope, at, control, coupling, slots, most, ignored)

    def fill(at: Walk) -> Walk:
        at = jax.lax.while_loop(
            lambda w: running(w) & (w.record.taken < slots * w.record.stride), again, at
        )
        thin, record = running(at), at.record
        states = jax.lax.cond(thin, _thinned, lambda kept: kept, record.states)
        stride = jnp.where(thin, 2 * record.stride, record.stride)
        return at._replace(record=record._replace(states=states, stride=stride))

    return _ended(jax.lax.while_loop(running, fill if 0 < slots < most else again, start))


def _ended(at: Walk) -> Walk:
    """The walk's end, which steps of a fixed length reach whatever they meet: its state must be finite."""
    rows = at.status.ndim
    finite = [
        jnp.isfinite(leaf).all(tuple(range(rows, leaf.ndim))) for leaf in jax.tree.leaves(at.y)
    ]
    lost = (at.status == REACHED) & ~jnp.stack(finite).all(0)
    return at._replace(status=jnp.where(lost, NOT_FINITE, at.status))


def kept(record: Record, i: Array) -> Array:
    """Whether the state before step `i` is among those kept."""
    return jax.lax.rem(i, record.stride) == 0


def _thinned(states: State) -> State:
    """Every second state, moved to the front."""

    def leaf(x: Array) -> Array:
        half = (x.shape[0] - 1) // 2
        return jax.lax.dynamic_update_slice_in_dim(x, x[0 : 2 * half : 2], 0, 0)

    return jax.tree.map(leaf, states)


def _try_step(
    slope: Slope,
    at: Walk,
    control: Control,
    coupling: float | None,
    slots: int,
    most: int,
    ignored: int,
) -> Walk:
    """Take one step, or, where its error is too large, only shorten the next."""
    tableau, fixed = control.tableau, control.steps
    active = at.status == RUNNING
    left = 1.0 - at.s
    if fixed is None:
        # A rest of rounding's size is not worth a step of its own.
        last = at.h >= left * (1 - 1e-6)
        h = jnp.where(last, left, at.h)
        ahead = at.s + at.h
    else:
        # Positions are i / n: a sum of n steps would be off by n roundings, which the last step had to take.
        last, h = at.tries + 1 >= fixed, at.h
        ahead = (at.tries + 1).astype(at.s.dtype) / fixed
    h = jnp.where(active, h, 0.0)
    y, twin = at.y, at.twin
    if coupling is None:
        stacked = stage_loop(slope, tableau, at.s, h, y, at.slope)
        slopes = parts(stacked, len(tableau.a))
        after, error_at = moved(y, h, slopes, tableau.b), y
        per_try = len(tableau.a) - (at.slope is not None)
    else:
        stacked = stage_loop(slope, tableau, at.s, h, twin)
        slopes = parts(stacked, len(tableau.a))
        change = moved(jax.tree.map(jnp.zeros_like, twin), h, slopes, tableau.b)
        mixed = jax.tree.map(lambda y, z: coupling * y + (1 - coupling) * z, y, twin)
        after = jax.tree.map(jnp.add, mixed, change)
        again = stage_loop(slope, tableau, at.s + h, -h, after)
        nothing = jax.tree.map(jnp.zeros_like, twin)
        back = moved(nothing, -h, parts(again, len(tableau.a)), tableau.b)
        twin_after, error_at = jax.tree.map(jnp.subtract, twin, back), twin
        per_try = 2 * len(tableau.a)
    if fixed is None:
        nothing = jax.tree.map(jnp.zeros_like, y)
        error = moved(nothing, h, slopes, tableau.error or ())
        error, before, then = (counted(v, ignored) for v in (error, error_at, after))
        ratio = error_ratio(error, before, then, control)
        ratio = ratio.astype(at.h.dtype)
        good = ratio <= 1.0
        new_h = next_size(h, ratio, tableau.order)
    else:
        ratio, good, new_h = jnp.zeros_like(h), jnp.ones_like(active), h
    good = good & active
    rejected = active & ~good
    record, count = at.record, at.record.taken
    if record.starts.shape[0]:
        starts = put(record.starts, count, at.s)
        sizes = put(record.sizes, count, jnp.where(good, h, 0.0))
        record = record._replace(starts=starts, sizes=sizes)
    if slots:
        place = jnp.where(kept(record, count), jax.lax.div(count, record.stride), slots)
        states = put(record.states, place, y)
        most_slopes = jax.tree.leaves(record.slopes)[0].shape[0] - 1
        slopes_kept = put(record.slopes, jnp.minimum(count, most_slopes), stacked)
        record = record._replace(states=states, slopes=slopes_kept)
    record = record._replace(taken=count + good.any())
    s = jnp.where(good, jnp.where(last, 1.0, ahead), at.s)
    tries = at.tries + 1
    status = jnp.where(good & (last | (s >= 1.0)), REACHED, at.status)
    short = rejected & (new_h < 4 * jnp.finfo(h.dtype).eps)
    status = jnp.where(short, jnp.where(jnp.isfinite(ratio), UNDERFLOW, NOT_FINITE), status)
    status = jnp.where((status == RUNNING) & (tries >= most), TOO_MANY, status)
    reuse = None if at.slope is None else where(good, slopes[-1], at.slope)
    return Walk(
        s=s,
        h=jnp.where(active & ~(good & last & (new_h < at.h)), new_h, at.h),
        y=where(good, after, y),
        twin=None if coupling is None else where(good, twin_after, twin),
        slope=reuse,
        tries=tries,
        calls=at.calls + per_try,
        accepted=at.accepted + good,
        rejected=at.rejected + rejected,
        status=status,
        record=record,
    )


def failed(status: Array) -> Any:
    return status > REACHED
