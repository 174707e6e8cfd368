"""What a solve looks at on its way: times to note the state at, events to stop at, steps to keep."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from pushforward.ode.interpolation import rate, value
from pushforward.ode.step import State, put, select

SAMPLES = 4
"""In how many parts of a step the sign of an event is looked at."""


class Watch(eqx.Module):
    """What to look at. Nothing here has a gradient.

    Arguments:
        begin: the first time of the marks that is not noted yet, or each row's.
        events: functions of the fraction of the interval and the state; numbers, or one per row.
        directions: of the sign changes that count, for each event: 1, -1, or 0 for both.
        signs: `(events, *rows)`, of the events at the start; 0 where it is not known.
        active: which rows go at all; None for all.
        bounds: between which times the field is called, or each row's; None for the interval's ends.
        keep: whether to keep the polynomials of all steps.
    """

    begin: Int[Array, "*rows"]
    events: tuple[Callable[[Array, State], Array], ...] = ()
    directions: tuple[int, ...] = eqx.field(static=True, default=())
    signs: Array | None = None
    active: Bool[Array, "*rows"] | None = None
    bounds: tuple[Array, Array] | None = None
    keep: bool = eqx.field(static=True, default=False)


class Seen(NamedTuple):
    """What was seen.

    Attributes:
        ys: the states, or what is to be saved of them, at the marks; those from `begin` to `next` are written.
        next: the first mark beyond.
        steps, fractions: the step that each mark lies in, and where in it.
        looked: in how many steps there were marks.
        event: the number of the event at the end, -1 for none; of each row.
        end, end_rate: the state there and its derivative with respect to the fraction of the interval.
        end_step, end_fraction: the step that it lies in, and where in it.
        signs: of the events, so far.
        polynomials: of all steps, if they are kept.
    """

    ys: State
    next: Array
    steps: Array
    fractions: Array
    looked: Array
    event: Array | None
    end: State
    end_rate: State
    end_step: Array | None
    end_fraction: Array | None
    signs: Array | None
    polynomials: State


def lane(values: Array, i: Array) -> Array:
    """Entry `i` of the leading axis, or each row's own entry."""
    if i.ndim == 0:
        one: Array = jax.lax.dynamic_index_in_dim(values, i, 0, False)
        return one
    own: Array = values[i, jnp.arange(len(i), dtype=i.dtype)]
    return own


def lane_put(to: State, i: Array, state: State, where: Array) -> State:
    """The stacked states with entry `i` replaced, or each row's own entry where it is to be."""
    if i.ndim == 0:
        return put(to, i, state)

    def leaf(to: Array, new: Array) -> Array:
        at = jnp.where(where, i, len(to))
        return to.at[at, jnp.arange(len(i), dtype=i.dtype)].set(new, mode="drop")

    return jax.tree.map(leaf, to, state)


def nothing_seen(
    watch: Watch, marks: Array, saved: Any, y: State, rows: tuple[int, ...], degree: int, most: int
) -> Seen:
    """Before the first step.

    Arguments:
        watch, marks: what to look at.
        saved: the shapes of what is saved at a mark.
        y: the state.
        rows: the shape of an event's value.
        degree: of the polynomials.
        most: steps to keep.
    """

    def room(count: int, of: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), of)

    events, whole = bool(watch.events), jnp.zeros(rows, jnp.int32)
    return Seen(
        ys=room(len(marks), saved),
        next=watch.begin,
        steps=jnp.full(marks.shape, -1, jnp.int32),
        fractions=jnp.zeros_like(marks),
        looked=jnp.zeros((), jnp.int32),
        event=whole - 1 if events else None,
        end=y if events else None,
        end_rate=jax.tree.map(jnp.zeros_like, y) if events else None,
        end_step=whole - 1 if events else None,
        end_fraction=jnp.zeros(rows, marks.dtype) if events else None,
        signs=watch.signs,
        polynomials=jax.tree.map(
            lambda leaf: jnp.zeros((most, degree + 1, *leaf.shape), leaf.dtype), y
        )
        if watch.keep
        else None,
    )


def look(
    seen: Seen,
    watch: Watch,
    marks: Array,
    save: Callable[[Array, State], Any],
    step: tuple[Array, Array, Array],
    count: Array,
    good: Array,
    polynomial: Callable[[], State],
) -> tuple[Seen, Array | None]:
    """Look at a step.

    Arguments:
        seen: so far.
        watch, marks, save: what to look at: fractions of the interval in order, and what of the state to keep there.
        step: where it begins, its length and where it ends.
        count: its number.
        good: whether it was accepted, or which rows of it.
        polynomial: makes its coefficients.

    Returns what was seen, and the fraction of the step at which an event ends it (2 for none; None without events).
    """
    begins, h, ends = step
    u, coefficients = None, None
    if watch.events or watch.keep:
        coefficients = polynomial()
    if watch.keep:
        seen = seen._replace(polynomials=put(seen.polynomials, count, coefficients))
    if watch.events:
        seen, u = _happened(seen, watch, begins, h, good, coefficients, count)
        ends = jnp.where(u <= 1.0, begins + u * h, ends)
    if len(marks):

        def due(at: Array) -> Array:
            return good & (at < len(marks)) & (lane(marks, jnp.minimum(at, len(marks) - 1)) <= ends)

        def note(seen: Seen) -> Seen:
            found = polynomial() if coefficients is None else coefficients

            def one(seen: Seen) -> Seen:
                at, now = seen.next, due(seen.next)
                mark = lane(marks, jnp.minimum(at, len(marks) - 1))
                safe = jnp.where(h > 0, h, 1.0)
                part = jnp.where(h > 0, jnp.clip((mark - begins) / safe, 0.0, 1.0), 0.0)
                return seen._replace(
                    ys=lane_put(seen.ys, at, save(mark, value(found, part)), now),
                    steps=lane_put(seen.steps, at, jnp.broadcast_to(count, at.shape), now),
                    fractions=lane_put(seen.fractions, at, jnp.broadcast_to(part, at.shape), now),
                    next=at + now.astype(jnp.int32),
                )

            seen = seen._replace(looked=seen.looked + 1)
            return jax.lax.while_loop(lambda seen: due(seen.next).any(), one, seen)

        seen = jax.lax.cond(due(seen.next).any(), note, lambda seen: seen, seen)
    return seen, u


def _sign(g: Array, before: Array) -> Array:
    """The sign of an event; where it is not a number, the one before."""
    sign = (g > 0).astype(jnp.int32) - (g < 0).astype(jnp.int32)
    return jnp.where(jnp.isnan(g), before, sign)


def _happened(
    seen: Seen, watch: Watch, begins: Array, h: Array, good: Array, found: State, count: Array
) -> tuple[Seen, Array]:
    """The first event of a step: signs at a few places, then bisection between two of them."""
    assert seen.signs is not None
    assert seen.event is not None
    assert seen.end_step is not None
    assert seen.end_fraction is not None
    rows, dtype = seen.event.ndim, h.dtype
    numbers = len(watch.events)
    wanted = jnp.asarray(watch.directions, jnp.int32).reshape(-1, *[1] * rows)

    def values(u: Array) -> Array:
        """Each event at its own fraction of the step."""
        parts = [
            event(begins + u[i] * h, value(found, u[i])) for i, event in enumerate(watch.events)
        ]
        return jnp.stack(parts).astype(dtype)

    sign, before = seen.signs, jnp.zeros_like(seen.signs)
    low = high = jnp.zeros(sign.shape, dtype)
    got = jnp.zeros(sign.shape, bool)

    def sample(i: Array, carry: Any) -> Any:
        sign, before, low, high, got = carry
        u = (i + 1).astype(dtype) / SAMPLES
        now = _sign(values(jnp.broadcast_to(u, sign.shape)), sign)
        counts = (wanted == 0) | (wanted == -sign)
        crossed = (sign != 0) & (now != sign) & counts & good[None]
        first = crossed & ~got
        return (
            jnp.where(now != 0, now, sign),
            jnp.where(first, sign, before),
            jnp.where(first, u - 1 / SAMPLES, low),
            jnp.where(first, u, high),
            got | crossed,
        )

    carry = (sign, before, low, high, got)
    after, before, low, high, got = jax.lax.fori_loop(0, SAMPLES, sample, carry)

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        same = _sign(values(middle), before) == before
        return jnp.where(same, middle, low), jnp.where(same, high, middle)

    def search(ends: tuple[Array, Array]) -> tuple[Array, Array]:
        found: tuple[Array, Array] = jax.lax.fori_loop(0, jnp.finfo(dtype).nmant, halve, ends)
        return found

    _, high = jax.lax.cond(got.any(), search, lambda ends: ends, (low, high))
    at = jnp.where(got, high, 2.0)
    u, which = at.min(0), at.argmin(0).astype(jnp.int32)
    hit = u <= 1.0
    part = jnp.where(hit, u, 0.0)
    safe = jnp.where(h > 0, h, 1.0)
    speed = jax.tree.map(
        lambda leaf: leaf / safe.reshape(-1, *[1] * (leaf.ndim - 1)) if rows else leaf / safe,
        rate(found, part),
    )
    assert numbers == len(at)
    return (
        seen._replace(
            event=jnp.where(hit, which, seen.event),
            end=select(hit, value(found, part), seen.end),
            end_rate=select(hit, speed, seen.end_rate),
            end_step=jnp.where(hit, count, seen.end_step),
            end_fraction=jnp.where(hit, part, seen.end_fraction),
            signs=jnp.where(good[None], after, sign),
        ),
        u,
    )
