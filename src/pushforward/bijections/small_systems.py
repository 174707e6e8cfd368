"""Orthonormal factors and triangular systems, where each row may have its own.

XLA's CPU runtime (JAX 0.10, two cores) may never return from programs with several batched calls of LAPACK. Within
`rows.each_row`, where all would be batched, these functions therefore do without it, by loops over columns that
vectorise over the rows.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.rows import row_by_row


def orthonormal(factor: Float[Array, "d m"]) -> Float[Array, "d m"]:
    """The factor Q of `factor = Q R`, m at most d, with LAPACK's signs. Cost: `2 d m^2` multiply-adds."""
    if not row_by_row():
        return jnp.linalg.qr(factor)[0]
    d, m = factor.shape
    place = jnp.arange(d)

    def reduce(rest: Array, j: Array) -> tuple[Array, Array]:
        column = jnp.where(place >= j, rest[:, j], 0.0)
        length = jnp.sqrt(jnp.maximum(column @ column, jnp.finfo(rest.dtype).tiny))
        # Away from the entry that stays, so that nothing cancels. One entry by itself is left as it is.
        moved = column.at[j].add(jnp.where(column[j] < 0, -length, length))
        v = jnp.where(j < d - 1, moved / jnp.sqrt(moved @ moved), 0.0)
        return rest - 2 * v[:, None] * (v @ rest)[None], v

    def turn(q: Array, v: Array) -> tuple[Array, None]:
        return q - 2 * v[:, None] * (v @ q)[None], None

    _, reflections = jax.lax.scan(reduce, factor, jnp.arange(m))
    start = jnp.eye(d, m, dtype=factor.dtype)
    q: Array = jax.lax.scan(turn, start, reflections, reverse=True)[0]
    return q


def triangular_solve(
    matrix: Float[Array, "k k"],
    b: Float[Array, "k n"],
    *,
    trans: bool = False,
    lower: bool = False,
    unit_diagonal: bool = False,
) -> Float[Array, "k n"]:
    """The x of `matrix x = b`, as `jax.scipy.linalg.solve_triangular` gives it. Cost: `k^2 n / 2` multiply-adds, twice
    that row by row."""
    if not row_by_row():
        return jax.scipy.linalg.solve_triangular(
            matrix, b, trans=int(trans), lower=lower, unit_diagonal=unit_diagonal
        )
    if trans:
        matrix, lower = matrix.T, not lower
    # The other triangle may hold anything.
    beside = jnp.tril(matrix, -1) if lower else jnp.triu(matrix, 1)
    scale = jnp.ones_like(b[:, 0]) if unit_diagonal else jnp.diagonal(matrix)

    def substitute(x: Array, i: Array) -> tuple[Array, None]:
        return x.at[i].set((b[i] - beside[i] @ x) / scale[i]), None

    order = jnp.arange(len(b)) if lower else jnp.arange(len(b))[::-1]
    x: Array = jax.lax.scan(substitute, jnp.zeros_like(b), order)[0]
    return x
