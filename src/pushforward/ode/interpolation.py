"""The polynomial between a step's ends, and its transpose."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.ode.methods import Method
from pushforward.ode.radau import Radau
from pushforward.ode.step import State, along_rows


def polynomial(tableau: Method, h: Array, y: State, slopes: State) -> State:
    """The coefficients of `y(u)`, the state at the fraction u of the step, stacked from the constant one up.

    Arguments:
        tableau: with polynomials.
        h: the step, or each row's.
        y: the state before the step.
        slopes: at the stages, stacked.
    """
    table = np.array(tableau.dense).T

    def leaf(y: Array, k: Array) -> Array:
        if isinstance(tableau, Radau):
            apart = jnp.tensordot(
                jnp.asarray(table, y.dtype), k, 1, precision=jax.lax.Precision.HIGHEST
            )
            return jnp.concatenate([y[None], _ahead(h, y) * apart]).astype(y.dtype)
        # Beside the first slope: differences are small where coefficients are large and cancel.
        apart = jnp.tensordot(
            jnp.asarray(table, y.dtype), k - k[:1], 1, precision=jax.lax.Precision.HIGHEST
        )
        moves = _ahead(h, y) * apart.at[0].add(k[0])
        return jnp.concatenate([y[None], moves]).astype(y.dtype)

    return jax.tree.map(leaf, y, slopes)


def value(coefficients: State, u: Array) -> State:
    """The state at the fraction `u` of the step, or at each row's."""

    def leaf(c: Array) -> Array:
        at, total = along_rows(u, c[0]).astype(c.dtype), c[-1]
        for m in range(len(c) - 2, -1, -1):
            total = total * at + c[m]
        return total

    return jax.tree.map(leaf, coefficients)


def rate(coefficients: State, u: Array) -> State:
    """The derivative of `value` with respect to `u`."""

    def leaf(c: Array) -> Array:
        at, total = along_rows(u, c[0]).astype(c.dtype), (len(c) - 1) * c[-1]
        for m in range(len(c) - 2, 0, -1):
            total = total * at + m * c[m]
        return total

    return jax.tree.map(leaf, coefficients)


def powers(given: State, u: Array, degree: int) -> State:
    """The transpose of `value`: the gradient with respect to the coefficients."""

    def leaf(g: Array) -> Array:
        at = along_rows(u, g).astype(g.dtype)
        terms = [g]
        for _ in range(degree):
            terms.append(terms[-1] * at)
        return jnp.stack(terms)

    return jax.tree.map(leaf, given)


def spread(tableau: Method, h: Array, given: State) -> tuple[State, State]:
    """The transpose of `polynomial`: the gradients with respect to the state and to the stacked slopes."""
    table = np.array(tableau.dense)

    def leaf(g: Array) -> Array:
        moves = _ahead(h, g[0]) * g[1:]
        return jnp.tensordot(
            jnp.asarray(table, g.dtype), moves, 1, precision=jax.lax.Precision.HIGHEST
        )

    return jax.tree.map(lambda g: g[0], given), jax.tree.map(leaf, given)


def _ahead(value: Array, leaf: Array) -> Array:
    """A number, or one for each row, for `leaf` with one axis more in front."""
    found = along_rows(value, leaf).astype(leaf.dtype)
    return found[None] if found.ndim else found


def dot(a: State, b: State, rows: int) -> Array:
    """The inner product of a gradient and a change of the state; of each row with `rows=1`."""
    parts = [
        (x * y).real.sum(tuple(range(rows, x.ndim)))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    ]
    total: Array = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
