"""A solve that looks around: from jump to jump and from event to event, with the states between the steps' ends."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.ode.adjoint import Adjoint, Run, Watched
from pushforward.ode.control import Control
from pushforward.ode.events import Event, Signal, first_signs, settled, without_gradient
from pushforward.ode.loop import EVENTS, REACHED
from pushforward.ode.packing import PackedField, Packing, packing_of
from pushforward.ode.path import Path, steps_in_time
from pushforward.ode.solution import Happened, Stats
from pushforward.ode.step import State, along_rows, select
from pushforward.ode.watch import Watch, lane, lane_put
from pushforward.ode.whole import Found, finished


class Asked(eqx.Module):
    """What is asked of a solve beside its end.

    Arguments:
        at: times to note the state at, or each row's.
        save: what to note of it; None for all.
        jumps: times to start anew at, or each row's.
        then: the state after a jump; None for the state before.
        events: to look for.
        dense: whether to keep all steps.
    """

    at: Array
    save: Callable[[Array, State], Any] | None
    jumps: Array
    then: Callable[[Array, State], State] | None
    events: tuple[Event, ...]
    dense: bool = eqx.field(static=True)


class _Stand(NamedTuple):
    """Where the solve stands between two legs."""

    t: Array
    y: State
    ys: Any
    jump: Array
    mark: Array
    edge: Array
    fired: Array
    done: Array
    status: Array
    time: Array
    size: Array
    stats: Stats
    met: Array
    happened: Happened | None


@eqx.filter_jit
def solve_by_legs(
    field: Any,
    y0: State,
    ends: tuple[Array, Array],
    asked: Asked,
    control: Control,
    adjoint: Adjoint,
) -> Found:
    """Solve, looking at whatever is asked for."""
    t0, t1 = ends
    rows = jax.tree.leaves(y0)[0].shape[:1]
    if control.per_row or any(v.ndim for v in ends) or asked.at.ndim == 2 or asked.jumps.ndim == 2:
        t0, t1 = (jnp.broadcast_to(t, rows) for t in (t0, t1))
    lanes, shape = t0.shape, rows if control.per_row else ()

    def across(times: Array) -> Array:
        """Times on the leading axis, for each row where rows have their own."""
        return jnp.broadcast_to(times, (*lanes, times.shape[-1])).T if lanes else times

    at, jumps = across(asked.at), across(asked.jumps)
    example = along_rows(t0, jax.tree.leaves(y0)[0])
    packs = adjoint.packs and not control.by_component
    packing = packing_of(y0, bool(lanes)) if packs else None

    def taken(function: Any) -> Any:
        """A function of time and state as a module, of the packed state, with its result."""
        if function is None:
            return None
        if not isinstance(function, eqx.Module):
            function = eqx.filter_closure_convert(function, example, y0)
        return function if packing is None else _OfPacked(function, packing)

    def mapped(function: Any) -> Any:
        made = taken(function)
        return made if made is None or packing is None else _Packed(made, packing)

    events = tuple(
        Event(
            taken(event.function),
            direction=event.direction,
            ends=event.ends,
            then=mapped(event.then),
            most=event.most,
        )
        for event in asked.events
    )
    after_jump, save = mapped(asked.then), taken(asked.save)
    if not isinstance(field, eqx.Module):
        field = eqx.filter_closure_convert(field, example, y0)
    if packing is not None:
        field, y0 = PackedField(field, packing), packing.pack(y0)
    arrays, rest = eqx.partition(Watched(field, save), eqx.is_inexact_array)
    calls, most = adjoint.calls(control), sum(event.most for event in events)
    stops = jnp.concatenate([jumps, t1[None]])
    zeros, none = jnp.zeros(shape, jnp.int32), jnp.zeros(lanes, jnp.int32)

    def leg(stand: _Stand) -> tuple[_Stand, Any]:
        a, b = stand.t, lane(stops, jnp.minimum(stand.jump, len(jumps)))
        active, times = ~stand.done, (a, b)
        length = b - a
        still = length == 0
        gone = at - a[None]
        # A leg of no length, as to a jump at the start, sees no time but its own.
        marks = jnp.where(
            still[None],
            jnp.where(gone == 0, 0.0, 2.0).astype(gone.dtype),
            gone / jnp.where(still, 1.0, length)[None],
        )
        fixed = jax.lax.stop_gradient((arrays, times))
        lower, upper = fixed[1]
        signs, bounds = None, None
        signals: tuple[Signal, ...] = ()
        if events:
            still_y, still_events = jax.lax.stop_gradient(stand.y), without_gradient(events)
            slope = Run(fixed, rest, control).slope(jnp.zeros(shape, a.dtype), still_y)
            signs = first_signs(still_events, slope, lower, upper - lower, still_y, stand.fired)
            signals = tuple(Signal(event.function, lower, upper) for event in still_events)
        if len(jumps):
            low = jnp.where(stand.edge, _beside(lower, upper), lower)
            high = jnp.where(stand.jump < len(jumps), _beside(upper, lower), upper)
            bounds = (jnp.minimum(low, high), jnp.maximum(low, high))
        watch = Watch(
            begin=stand.mark,
            events=signals,
            directions=tuple(event.direction for event in events),
            signs=signs,
            active=active,
            bounds=bounds,
            keep=asked.dense,
        )
        run = Run((arrays, times), rest, control, marks, watch)
        part = adjoint.advance(run, stand.y, jnp.full(shape, jnp.nan, a.dtype))
        noted = part.noted
        assert noted is not None
        part = part._replace(status=_constant(part.status))
        noted = noted._replace(
            next=_constant(noted.next),
            event=None if noted.event is None else _constant(noted.event),
        )
        # A row that is done stays as it is.
        fired = zeros - 1 if noted.event is None else noted.event
        hit = fired >= 0
        status = jnp.where(stand.status == REACHED, part.status, stand.status)
        good = active & (part.status == REACHED)
        t, y = jnp.where(active, b, a), part.y
        if events:
            s = jax.lax.stop_gradient(part.reached)
            t = jnp.where(active, jnp.where(hit, a + s * length, b), a)
            speed = jax.tree.map(
                lambda k: k / along_rows(jnp.where(still, 1.0, length), k).astype(k.dtype),
                jax.lax.stop_gradient(noted.end_rate),
            )
            time, state = settled(events, fired, t, y, speed)
            t, y = jnp.where(hit, time, t), select(hit, state, y)
        happened, met = stand.happened, stand.met
        if happened is not None:
            place = jnp.minimum(met, most - 1)

            def noting(old: Any, new: Any) -> Any:
                kept = jax.tree.map(lambda leaf: lane(leaf, place), old)
                return lane_put(old, place, select(hit, new, kept), hit)

            happened = Happened(*map(noting, happened, (t, y, fired)))
            met = met + hit.astype(jnp.int32)
        at_jump = good & ~hit & (stand.jump < len(jumps))
        done = stand.done | ~good | (~hit & (stand.jump >= len(jumps)))
        moved = y
        for i, event in enumerate(events):
            if event.ends:
                done = done | (fired == i)
            elif event.then is not None:
                moved = select(
                    fired == i, event.then(along_rows(t, jax.tree.leaves(y)[0]), y), moved
                )
        if after_jump is not None:
            new = after_jump(along_rows(t, jax.tree.leaves(y)[0]), y)
            moved = select(at_jump, new, moved)
        numbers = jnp.arange(len(at), dtype=jnp.int32).reshape(-1, *[1] * len(lanes))
        fresh = (numbers >= stand.mark[None]) & (numbers < noted.next[None])
        ys = jax.tree.map(
            lambda new, old: jnp.where(_lead(fresh, new), new, old), noted.ys, stand.ys
        )
        backward = None
        if calls is not None:
            more = part.accepted.max(initial=0) if asked.dense else noted.looked
            reused = int(control.tableau.reuses_last)
            backward = part.accepted.max(initial=0) * calls + reused * (more + int(bool(events)))
        steps = None
        if asked.dense:
            assert noted.steps is not None
            steps = steps_in_time(noted.steps, a, b, t)
        lost = a + jnp.where(active, part.reached, 0.0) * length
        return _Stand(
            t=t,
            y=moved,
            ys=ys,
            jump=stand.jump + at_jump.astype(jnp.int32),
            mark=noted.next,
            edge=at_jump,
            fired=fired,
            done=done,
            status=status,
            time=jax.lax.stop_gradient(jnp.where(active, lost, stand.time)),
            size=jax.lax.stop_gradient(jnp.where(active, part.h * jnp.abs(length), stand.size)),
            stats=jax.tree.map(
                jnp.add, stand.stats, Stats(part.calls, backward, part.accepted, part.rejected)
            ),
            met=met,
            happened=happened,
        ), steps

    room = jax.eval_shape(
        lambda y: Run((arrays, (t0, t1)), rest, control).save_of((arrays, (t0, t1)))(
            jnp.zeros(lanes, t0.dtype), y
        ),
        y0,
    )
    nothing = jnp.zeros((), jnp.int32)
    start = _Stand(
        t=t0,
        y=y0,
        ys=jax.tree.map(lambda leaf: jnp.zeros((len(at), *leaf.shape), leaf.dtype), room),
        jump=zeros,
        mark=none,
        edge=jnp.zeros(shape, bool),
        fired=zeros - 1,
        done=jnp.zeros(shape, bool),
        status=zeros,
        time=jax.lax.stop_gradient(t0),
        size=jnp.full(lanes, jnp.nan, t0.dtype),
        stats=Stats(nothing, None if calls is None else nothing, zeros, zeros),
        met=zeros,
        happened=Happened(
            jnp.full((most, *shape), jnp.nan, t0.dtype),
            jax.tree.map(lambda leaf: jnp.full((most, *leaf.shape), jnp.nan, leaf.dtype), y0),
            jnp.full((most, *shape), -1, jnp.int32),
        )
        if events
        else None,
    )
    legs = len(jumps) + sum(event.most for event in events if not event.ends) + 1
    if legs == 1:
        stand, steps = leg(start)
    else:
        empty = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(leg, start)[1]
        )

        def next_leg(stand: _Stand, _: None) -> tuple[_Stand, Any]:
            def rest_of(stand: _Stand) -> tuple[_Stand, Any]:
                if empty is None:
                    return stand, None
                polynomials, begins, lengths, ends = empty
                return stand, (polynomials, begins, lengths, ends + stand.t[None])

            found: tuple[_Stand, Any] = jax.lax.cond((~stand.done).any(), leg, rest_of, stand)
            return found

        stand, steps = jax.lax.scan(next_leg, start, None, length=legs)
        if steps is not None:
            steps = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), steps)
    status = jnp.where((stand.status == REACHED) & ~stand.done, EVENTS, stand.status)
    ys = stand.ys
    if events:
        numbers = jnp.arange(len(at), dtype=jnp.int32).reshape(-1, *[1] * len(lanes))
        seen = numbers < stand.mark[None]
        ys = jax.tree.map(lambda leaf: jnp.where(_lead(seen, leaf), leaf, jnp.nan), ys)
    path = None
    if steps is not None:
        polynomials, begins, lengths, reached = steps
        path = Path(polynomials, begins, lengths, reached, t0, t1, packing)
    happened = stand.happened
    if happened is not None and packing is not None:
        happened = happened._replace(states=packing.unpack(happened.states))
    found = Found(
        *(stand.y, ys if len(at) else None, stand.stats, status, stand.time, stand.size),
        *(happened, path),
    )
    return finished(found, packing, saves=save is not None)


def _lead(mask: Array, leaf: Array) -> Array:
    """A mask `(k, *rows)` with as many axes as a leaf that is stacked alike."""
    return mask.reshape(*mask.shape, *[1] * (leaf.ndim - mask.ndim))


def _constant(whole: Array) -> Array:
    """Whole numbers without a tangent: a loop would carry that of a compiled solve's, though it is nothing."""
    return whole.astype(jnp.uint32).astype(whole.dtype)


def _beside(t: Array, towards: Array) -> Array:
    """The next number, which is a normal one: processors take others for 0."""
    least = jnp.asarray(jnp.finfo(t.dtype).tiny, t.dtype)
    beside = jnp.nextafter(t, towards)
    small = jnp.where(towards > t, least, -least)
    return jnp.where((jnp.abs(beside) < least) & (towards != t), small, beside)


class _OfPacked(eqx.Module):
    """A function of time and state, given packed states."""

    function: Callable[[Array, State], Any]
    packing: Packing

    def __call__(self, t: Array, packed: Array) -> Any:
        if t.ndim:
            t = t.reshape(-1, *[1] * (len(self.packing.shapes[0]) - 1))
        return self.function(t, self.packing.unpack(packed))


class _Packed(eqx.Module):
    """A map of the state, of packed ones."""

    function: Callable[[Array, State], State]
    packing: Packing

    def __call__(self, t: Array, packed: Array) -> Array:
        return self.packing.pack(self.function(t, packed))
