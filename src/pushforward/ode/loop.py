"""The loop over steps. It knows a method's step and a control, but no adjoint and no public argument."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from pushforward.ode.control import PLAIN, Control, counted, error_ratio, first_size, next_size
from pushforward.ode.interpolation import polynomial
from pushforward.ode.radau import Radau
from pushforward.ode.step import Slope, State, moved, parts, put, real_type, select, stage_loop
from pushforward.ode.watch import Seen, Watch, look, nothing_seen

RUNNING, REACHED, TOO_MANY, UNDERFLOW, NOT_FINITE, EVENTS = -1, 0, 1, 2, 3, 4
"""Status codes: still running, reached the end, too many steps, step too short, field not finite, too many events."""
SLOPES = 16
"""For how many steps the stages' slopes are kept. Most flows take no more, and the memory stays bounded."""


class Record(NamedTuple):
    """The steps that were taken, for whoever has to take them again.

    Step `i < taken` began at `starts[i]` and was `sizes[i]` long, 0 for a row that did not move in it. `states[j]` is
    the state before step `j * stride`; `slopes` are those at the stages of the first steps.
    """

    taken: Int[Array, ""]
    starts: Array
    sizes: Array
    states: State
    slopes: State
    stride: Int[Array, ""]


class Walk(NamedTuple):
    """Where a solve stands: the fraction `s` of the interval is done."""

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
    seen: Seen | None = None
    past: Array | None = None


class Looking(NamedTuple):
    """What to look at on the way: see `watch.look`."""

    watch: Watch
    marks: Array
    save: Callable[[Array, State], Any]


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
    looking: Looking | None = None,
    limits: tuple[Array | float, Array | float] | None = None,
) -> Walk:
    """Go from 0 to 1.

    Arguments:
        slope: the derivative with respect to the fraction of the interval.
        y: the state at 0.
        control: the steps' lengths.
        h: the first step; NaN to find one.
        coupling: of the reversible pair of states; None for the plain method.
        slots: how many states to keep; when they are full, every second one is dropped.
        keep_times: whether to keep where steps began and how long they were.
        ignored: how many of the last parts of the state (then a tuple) do not count towards the error.
        looking: what to look at; None for nothing. The method then has polynomials.
        limits: the least and the largest step of an adaptive control; None for none.
    """
    fixed, tableau, most = control.steps, control.tableau, control.most
    leaves = jax.tree.leaves(y)
    n = leaves[0].shape[0] if control.per_row else None
    shape, dtype = () if n is None else (n,), real_type(y)
    zero, count = jnp.zeros(shape, dtype), jnp.zeros(shape, jnp.int32)
    reuses = tableau.reuses_last and coupling is None
    k, calls = None, 0
    if fixed is None:
        known = jnp.broadcast_to(h, shape).astype(dtype)
        k, found = first_size(slope, y, control, n, ignored)
        h, calls = jnp.where(jnp.isfinite(known), jnp.minimum(known, 1.0), found), 2
        h = h if limits is None else jnp.clip(h, *limits)
    else:
        if reuses:
            k, calls = slope(zero, y), 1
        h = zero + 1.0 / fixed

    def room(*lead: int) -> State:
        return jax.tree.map(lambda leaf: jnp.zeros((*lead, *leaf.shape), leaf.dtype), y)

    times = jnp.zeros((most if keep_times or slots else 0, *shape), dtype)
    record = Record(
        taken=jnp.zeros((), jnp.int32),
        starts=times,
        sizes=times,
        # The last place is for states that are not kept.
        states=room(slots + 1) if slots else None,
        slopes=room(min(slots, SLOPES) + 1, len(tableau.a)) if slots else None,
        stride=jnp.ones((), jnp.int32),
    )
    status, seen = jnp.full(shape, RUNNING, jnp.int32), None
    if looking is not None:
        watch, marks, save = looking
        saved = jax.eval_shape(save, jnp.zeros(marks.shape[1:], marks.dtype), y)
        degree = len((tableau.dense or ((),))[0])
        seen = nothing_seen(watch, marks, saved, y, shape, degree, most)
        if watch.active is not None:
            status = jnp.where(watch.active, status, REACHED)
    start = Walk(
        s=zero,
        h=h,
        y=y,
        twin=None if coupling is None else y,
        slope=k if reuses else None,
        tries=jnp.zeros((), jnp.int32),
        calls=jnp.asarray(calls, jnp.int32),
        accepted=count,
        rejected=count,
        status=status,
        record=record,
        seen=seen,
        past=None if fixed is not None or control.pid == PLAIN else jnp.stack([zero + 1, zero + 1]),
    )

    def running(at: Walk) -> Array:
        return (at.status == RUNNING).any()

    def again(at: Walk) -> Walk:
        return _try_step(slope, at, control, coupling, slots, ignored, looking, limits)

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
    """The end of a walk. Steps of fixed length reach it whatever they meet, so the state must be finite there."""
    rows, ys = at.status.ndim, jax.tree.leaves(at.y)
    finite = [jnp.isfinite(leaf).all(tuple(range(rows, leaf.ndim))) for leaf in ys]
    lost = (at.status == REACHED) & ~jnp.stack(finite).all(0)
    return at._replace(status=jnp.where(lost, NOT_FINITE, at.status))


def _thinned(states: State) -> State:
    """Every second state, moved to the front."""

    def leaf(x: Array) -> Array:
        half = (x.shape[0] - 1) // 2
        return jax.lax.dynamic_update_slice_in_dim(x, x[0 : 2 * half : 2], 0, 0)

    return jax.tree.map(leaf, states)


def step_polynomial(
    control: Control, coupling: float | None, h: Array, y: State, twin: State, slopes: State
) -> State:
    """The coefficients of the state between a step's ends; of a reversible pair, which its step mixes, too."""
    if coupling is None:
        return polynomial(control.tableau, h, y, slopes)

    def leaf(c: Array, y: Array, z: Array) -> Array:
        return c.at[0].set(y).at[1].add((1 - coupling) * (z - y))

    return jax.tree.map(leaf, polynomial(control.tableau, h, twin, slopes), y, twin)


def _try_step(
    slope: Slope,
    at: Walk,
    control: Control,
    coupling: float | None,
    slots: int,
    ignored: int,
    looking: Looking | None = None,
    limits: tuple[Array | float, Array | float] | None = None,
) -> Walk:
    """Take one step, or, where its error is too large, only shorten the next."""
    tableau, fixed, stages = control.tableau, control.steps, len(control.tableau.a)
    active, tries = at.status == RUNNING, at.tries + 1
    left = 1.0 - at.s
    if fixed is None:
        # A rest of rounding's size is not worth a step.
        last = at.h >= left * (1 - 1e-6)
        h = jnp.where(last, left, at.h)
        ahead = at.s + at.h
    else:
        # Positions are i / n: a sum of n steps would be off by n roundings, which the last step would have to absorb.
        last, h = tries >= fixed, at.h
        ahead = tries.astype(at.s.dtype) / fixed
    h = jnp.where(active, h, 0.0)
    y, twin, twin_after = at.y, at.twin, None
    nothing = jax.tree.map(jnp.zeros_like, y)
    iterated: Array | None = None
    if isinstance(tableau, Radau):
        stacked, iterated = tableau.slopes(slope, at.s, h, y)
    else:
        stacked = stage_loop(slope, tableau, at.s, h, y if coupling is None else twin, at.slope)
    slopes = parts(stacked, stages)
    if coupling is None:
        after, error_at = moved(y, h, slopes, tableau.b), y
        calls = stages - (at.slope is not None) if iterated is None else iterated
    else:
        change = moved(nothing, h, slopes, tableau.b)
        mixed = jax.tree.map(lambda y, z: coupling * y + (1 - coupling) * z, y, twin)
        after = jax.tree.map(jnp.add, mixed, change)
        again = stage_loop(slope, tableau, at.s + h, -h, after)
        back = moved(nothing, -h, parts(again, stages), tableau.b)
        twin_after, error_at = jax.tree.map(jnp.subtract, twin, back), twin
        calls = 2 * stages
    if fixed is None:
        error = moved(nothing, h, slopes, tableau.error or ())
        error, before, then = (counted(v, ignored) for v in (error, error_at, after))
        ratio = error_ratio(error, before, then, control).astype(at.h.dtype)
        good = active & (ratio <= 1.0)
        new_h = next_size(h, ratio, tableau.falls, control.pid, at.past)
        if limits is not None:
            # There is no shorter step to try.
            good = good | (active & jnp.isfinite(ratio) & (h <= limits[0]))
            new_h = jnp.clip(new_h, *limits)
    else:
        ratio, good, new_h = jnp.zeros_like(h), active, h
    rejected = active & ~good
    record, count = at.record, at.record.taken
    if record.starts.shape[0]:
        starts = put(record.starts, count, at.s)
        sizes = put(record.sizes, count, jnp.where(good, h, 0.0))
        record = record._replace(starts=starts, sizes=sizes)
    if slots:
        kept = jax.lax.rem(count, record.stride) == 0
        states = put(record.states, jnp.where(kept, jax.lax.div(count, record.stride), slots), y)
        most_slopes = jax.tree.leaves(record.slopes)[0].shape[0] - 1
        slopes_kept = put(record.slopes, jnp.minimum(count, most_slopes), stacked)
        record = record._replace(states=states, slopes=slopes_kept)
    s = jnp.where(good, jnp.where(last, 1.0, ahead), at.s)
    status = jnp.where(good & (last | (s >= 1.0)), REACHED, at.status)
    seen = at.seen
    if looking is not None and seen is not None:
        watch, marks, save = looking
        seen, u = look(
            *(seen, watch, marks, save, (at.s, h, s), count, good),
            lambda: step_polynomial(control, coupling, h, y, twin, stacked),
        )
        if u is not None:
            s = jnp.where(u <= 1.0, at.s + u * h, s)
            status = jnp.where(u <= 1.0, REACHED, status)
    short = rejected & (new_h < 4 * jnp.finfo(h.dtype).eps)
    status = jnp.where(short, jnp.where(jnp.isfinite(ratio), UNDERFLOW, NOT_FINITE), status)
    status = jnp.where((status == RUNNING) & (tries >= control.most), TOO_MANY, status)
    return Walk(
        s=s,
        h=jnp.where(active & ~(good & last & (new_h < at.h)), new_h, at.h),
        y=select(good, after, y),
        twin=None if coupling is None else select(good, twin_after, twin),
        slope=None if at.slope is None else select(good, slopes[-1], at.slope),
        tries=tries,
        calls=at.calls + calls,
        accepted=at.accepted + good.astype(jnp.int32),
        rejected=at.rejected + rejected.astype(jnp.int32),
        status=status,
        record=record._replace(taken=count + good.any().astype(jnp.int32)),
        seen=seen,
        past=None
        if at.past is None
        else jnp.where(good[None], jnp.stack([jnp.maximum(ratio, 1e-10), at.past[0]]), at.past),
    )
