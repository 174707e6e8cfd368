"""One step of a Runge-Kutta method, and arithmetic on states that are pytrees."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.ode.methods import Method
from pushforward.ode.radau import Radau
from pushforward.ode.tableaus import Tableau

State = Any
"""A pytree of floating-point arrays; rows, if any, on the leading axis of each."""
Slope = Callable[[Array, State], State]
"""`slope(s, y)`: the derivative of the state with respect to the fraction `s` of the interval."""


def real_type(state: State) -> Any:
    """The type of times and errors beside a state: that of its real numbers."""
    return jnp.finfo(jnp.result_type(*jax.tree.leaves(state))).dtype


def along_rows(value: Array, leaf: Array | np.generic) -> Array:
    """A number, or a number for each row, with as many axes as `leaf`."""
    return value if value.ndim == 0 else value.reshape(-1, *[1] * (leaf.ndim - 1))


def moved(y: State, h: Array, slopes: Sequence[State], weights: Sequence[float | Array]) -> State:
    """`y + h sum_i w_i k_i`; slopes of weight 0 are left out."""
    used = [i for i, w in enumerate(weights) if not (isinstance(w, float) and w == 0.0)]
    if not used:
        return y

    def leaf(y: Array, *ks: Array) -> Array:
        def times(w: float | Array, k: Array) -> Array:
            return (w if isinstance(w, float) else w.astype(k.dtype)) * k

        total = times(weights[used[0]], ks[0])
        for i, k in zip(used[1:], ks[1:], strict=True):
            total = total + times(weights[i], k)
        return (y + along_rows(h, y).astype(y.dtype) * total).astype(y.dtype)

    return jax.tree.map(leaf, y, *(slopes[i] for i in used))


def stages(
    slope: Slope, tableau: Method, s: Array, h: Array, y: State, first: State | None = None
) -> list[State]:
    """The slopes at the method's stages; `first` is the first of them, where it is known already."""
    if isinstance(tableau, Radau):
        return parts(tableau.slopes(slope, s, h, y)[0], len(tableau.a))
    slopes: list[State] = []
    for i, (row, c) in enumerate(zip(tableau.a, tableau.c, strict=True)):
        known = i == 0 and first is not None
        slopes.append(first if known else slope(s + c * h, moved(y, h, slopes, row)))
    return slopes


def stage_loop(
    slope: Slope, tableau: Method, s: Array, h: Array, y: State, first: State | None = None
) -> State:
    """The slopes of `stages` stacked on a leading axis, found by a loop, so that the compiler meets the field once.

    A derivative through the loop would store and copy what every stage computes: see `replay.pulled`.
    """
    if isinstance(tableau, Radau):
        return tableau.slopes(slope, s, h, y)[0]
    count, begin = len(tableau.a), 0 if first is None else 1
    slopes = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), y)
    if first is not None:
        slopes = put(slopes, 0, first)
    if count - begin > 1:
        return jax.lax.fori_loop(
            begin, count, lambda i, k: put(k, i, slope(*stage(tableau, s, h, y, k, i))), slopes
        )
    return put(slopes, begin, slope(*stage(tableau, s, h, y, slopes, jnp.asarray(begin))))


def stage(
    tableau: Method, s: Array, h: Array, y: State, slopes: State, i: Array
) -> tuple[Array, State]:
    """Where stage `i` evaluates the field: the fraction of the interval, and the state."""
    assert isinstance(tableau, Tableau)
    count = len(tableau.a)
    rows = np.array([[*row, *[0.0] * (count - len(row))] for row in tableau.a])
    weights = jnp.asarray(rows, real_type(y))[i]
    node = jnp.asarray(np.array(tableau.c), s.dtype)[i]
    # Columns of zeros are left out, such as the last.
    used = [weights[j] if rows[:, j].any() else 0.0 for j in range(count)]
    return s + node * h, moved(y, h, parts(slopes, count), used)


def put(to: State, i: int | Array, state: State) -> State:
    """The stacked states with one of them replaced."""
    return jax.tree.map(
        lambda to, leaf: jax.lax.dynamic_update_index_in_dim(to, leaf, i, 0), to, state
    )


def taken(states: State, i: int | Array) -> State:
    """One of stacked states."""
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, i, 0, False), states)


def parts(states: State, count: int) -> list[State]:
    """Stacked states as a list."""
    return [jax.tree.map(lambda leaf, i=i: leaf[i], states) for i in range(count)]


def increment(slope: Slope, tableau: Method, s: Array, h: Array, y: State) -> State:
    """What one step adds to the state."""
    return moved(jax.tree.map(jnp.zeros_like, y), h, stages(slope, tableau, s, h, y), tableau.b)


def select(condition: Array, a: State, b: State) -> State:
    """`a` where the condition holds, for the whole state or per row, else `b`."""
    return jax.tree.map(lambda a, b: jnp.where(along_rows(condition, a), a, b), a, b)
