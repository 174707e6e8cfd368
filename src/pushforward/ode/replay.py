"""The gradient through the steps that were taken: each is taken again, last one first, from the states kept."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.ode.control import Control
from pushforward.ode.loop import Record
from pushforward.ode.methods import Method
from pushforward.ode.radau import Radau
from pushforward.ode.step import (
    Slope,
    State,
    along_rows,
    moved,
    parts,
    put,
    real_type,
    stage,
    stage_loop,
    taken,
)


class Extra(NamedTuple):
    """Gradients of what was seen in a step: with respect to the state before it, and to its stacked slopes.

    `any` says whether there are any in the step.
    """

    state: State
    slopes: State
    any: Array


Reader = Callable[[Array, Array, State, State, Any, Any], tuple[Any, Extra, Any]]
"""`reader(step, h, state, slopes, total, reading)`: the gradient with respect to `held` so far, what is extra in this
step, and where the reader stands then."""


def zeros(tree: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, tree)


def plus(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


def replayed(
    slope_of: Callable[[Any], Slope],
    held: Any,
    y: State,
    control: Control,
    record: Record,
    slots: int,
    given: State,
    reader: Reader | None = None,
    reading: Any = None,
) -> tuple[Any, State, Any]:
    """The gradients with respect to `held` and to the initial state, and the last `reading`.

    Arguments:
        slope_of: the slope as a function of `held`.
        held: a pytree of arrays.
        y: a state, for its shapes.
        control, record, slots: of the walk to take again.
        given: the gradient with respect to the final state.
        reader: finds the gradient of what was seen in a step with respect to its state and slopes.
        reading: where the reader begins.
    """
    slope, tableau = slope_of(held), control.tableau
    known = jax.tree.leaves(record.slopes)[0].shape[0] - 1

    def back(i: Array, y: State, carry: Any) -> Any:
        s, h = taken(record.starts, i), taken(record.sizes, i)
        slopes = jax.lax.cond(
            i < known, lambda: taken(record.slopes, i), lambda: stage_loop(slope, tableau, s, h, y)
        )
        total, after, reading = carry
        extra = None
        if reader is not None:
            total, extra, reading = reader(i, h, y, slopes, total, reading)
        return (
            *pulled(slope_of, held, tableau, s, h, y, slopes, (total, after), extra),
            reading,
        )

    carry: tuple[Any, State, Any] = (zeros(held), given, reading)
    if control.most <= slots:

        def one(i: Array, carry: Any) -> Any:
            n = record.taken - 1 - i
            return back(n, taken(record.states, n), carry)

        carry = jax.lax.fori_loop(0, record.taken, one, carry)
        return carry

    longest = 2
    while longest * slots < control.most:
        longest *= 2
    room = jax.tree.map(lambda leaf: jnp.zeros((longest, *leaf.shape), leaf.dtype), y)
    stretches = jax.lax.div(record.taken + record.stride - 1, record.stride)

    def block(i: Array, carry: Any) -> Any:
        room, carry = carry
        j = stretches - 1 - i
        first = j * record.stride
        n = jnp.minimum(record.stride, record.taken - first)

        def ahead(k: Array, at: Any) -> Any:
            room, y = at
            s, h = taken(record.starts, first + k - 1), taken(record.sizes, first + k - 1)
            slopes = stage_loop(slope, tableau, s, h, y)
            y = moved(y, h, parts(slopes, len(tableau.a)), tableau.b)
            return put(room, k, y), y

        y = taken(record.states, j)
        room, _ = jax.lax.fori_loop(1, n, ahead, (put(room, 0, y), y))

        def one(k: Array, carry: Any) -> Any:
            at = n - 1 - k
            return back(first + at, taken(room, at), carry)

        return room, jax.lax.fori_loop(0, n, one, carry)

    _, carry = jax.lax.fori_loop(0, stretches, block, (room, carry))
    return carry


def pulled(
    slope_of: Callable[[Any], Slope],
    held: Any,
    tableau: Method,
    s: Array,
    h: Array,
    y: State,
    slopes: State,
    carry: tuple[Any, State],
    extra: Extra | None = None,
) -> tuple[Any, State]:
    """One step's derivative, transposed: stage by stage, the last one first.

        kbar_i = h (b_i ybar_1 + sum_l a_li Ybar_l),  Ybar_i = (dk_i/dY_i)^T kbar_i,  ybar_0 = ybar_1 + sum_i Ybar_i

    Written out, as the slopes are known: nothing is stored between stages, and the compiler meets the field's
    derivative once. `carry` is the gradient with respect to `held` so far, and to the state after the step; `extra` are
    gradients with respect to the state before it and to the slopes, of what was seen between its ends.
    """
    total, after = carry
    if isinstance(tableau, Radau):
        # The equations are solved already: what is left is their derivative.
        _, pull = jax.vjp(
            lambda held, y: tableau.slopes(slope_of(held), s, h, y, slopes)[0], held, y
        )
        given = jax.tree.map(lambda g: _outer(h, g, tableau.b), after)
        more, bar = pull(given if extra is None else plus(given, extra.slopes))
        bar = plus(after, bar)
        return plus(total, more), bar if extra is None else plus(bar, extra.state)
    # In some methods the last stage serves only the error and the next step, and what is seen in this one.
    count = len(tableau.a) - (tableau.reuses_last and extra is None)
    table = np.zeros((count, count))
    for i, row in enumerate(tableau.a[:count]):
        table[i, : len(row)] = row
    dtype = real_type(y)
    columns, outer = jnp.asarray(table.T, dtype), jnp.asarray(tableau.b[:count], dtype)

    def one(turn: Array, carry: Any) -> Any:
        total, bars = carry
        i = count - 1 - turn
        column = columns[i]
        weights = [outer[i], *(column[j] for j in range(1, count))]
        given = moved(zeros(y), h, [after, *parts(bars, count)[1:]], weights)
        if extra is not None:
            given = plus(given, taken(extra.slopes, i))
        at, state = stage(tableau, s, h, y, slopes, i)
        _, pull = jax.vjp(lambda held, state: slope_of(held)(at, state), held, state)
        more, bar = pull(given)
        return plus(total, more), put(bars, i, bar)

    bars = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), y)
    begin = 0 if extra is None or not tableau.reuses_last else 1 - extra.any.astype(jnp.int32)
    total, bars = jax.lax.fori_loop(begin, count, one, (total, bars))
    found = jax.tree.map(lambda g, bar: g + bar.sum(0), after, bars)
    return total, found if extra is None else plus(found, extra.state)


def _outer(h: Array, given: Array, weights: tuple[float, ...]) -> Array:
    """The gradient with respect to stacked slopes of `h sum_i b_i k_i`."""
    moved_by = along_rows(h, given).astype(given.dtype) * given
    return jnp.stack([weight * moved_by for weight in weights])
