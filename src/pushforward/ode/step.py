"""One step of a Runge-Kutta method, and arithmetic on states that are pytrees."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.ode.tableaus import Tableau

State = Any
"""A pytree of floating-point arrays; rows, if any, on the leading axis of each."""
Slope = Callable[[Array, State], State]
"""`slope(s, y)`: the derivative of the state by the fraction `s` of the interval that has passed."""


def along_rows(value: Array, leaf: Array) -> Array:
    """A number, or a number for each row, with as many axes as `leaf`."""
    return value if value.ndim == 0 else value.reshape(-1, *[1] * (leaf.ndim - 1))


def moved(y: State, h: Array, slopes: Sequence[State], weights: Sequence[float]) -> State:
    """`y + h sum_i w_i k_i`; slopes of weight 0 are left out."""
    pairs = [(w, k) for w, k in zip(weights, slopes, strict=False) if w != 0.0]
    if not pairs:
        return y
    factors = [w for w, _ in pairs]

    def leaf(y: Array, *ks: Array) -> Array:
        total = factors[0] * ks[0]
        for w, k in zip(factors[1:], ks[1:], strict=True):
            total = total + w * k
        return y + along_rows(h, y).astype(y.dtype) * total

    return jax.tree.map(leaf, y, *(k for _, k in pairs))


def stages(
    slope: Slope, tableau: Tableau, s: Array, h: Array, y: State, first: State | None = None
) -> list[State]:
    """The slopes at the method's stages; `first` is the first one where it is known already."""
    slopes: list[State] = []
    for i, (row, c) in enumerate(zip(tableau.a, tableau.c, strict=True)):
        if i == 0 and first is not None:
            slopes.append(first)
        else:
            slopes.append(slope(s + c * h, moved(y, h, slopes, row)))
    return slopes


def increment(slope: Slope, tableau: Tableau, s: Array, h: Array, y: State) -> State:
    """What one step adds to the state."""
    slopes = stages(slope, tableau, s, h, y)
    nothing = jax.tree.map(jnp.zeros_like, y)
    return moved(nothing, h, slopes, tableau.b)


def step(slope: Slope, tableau: Tableau, s: Array, h: Array, y: State) -> State:
    """The state after one step."""
    return moved(y, h, stages(slope, tableau, s, h, y), tableau.b)


def where(condition: Array, a: State, b: State) -> State:
    """`a` where the condition holds, for the whole state or row by row, else `b`."""
    return jax.tree.map(lambda a, b: jnp.where(along_rows(condition, a), a, b), a, b)
