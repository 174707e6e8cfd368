"""Probabilities of labels."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.heads.base import AbstractHead, Cell, Cut


@dataclass(frozen=True)
class Softmax(AbstractHead):
    """A label out of `levels`: `p(k) = exp(a_k) / sum_j exp(a_j)`.

    In an open column the last level stands for all labels without a level of their own: each has the share of it that
    its cell's `log_slope` says. It is scored and never drawn.

    Cost: `levels` operations per row, either way.

    Arguments:
        levels: the number of levels, the one for all others among them.
        open: whether the last level is that one; default False.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.heads import Cell, Softmax
    >>> zero = jnp.zeros(1)
    >>> float(Softmax(4).log_prob(jnp.zeros((4, 1)), Cell(jnp.zeros(1, int), zero, zero, zero))[0])
    -1.3862943649291992

    ```
    """

    levels: int
    open: bool = False

    @property
    def size(self) -> int:
        return self.levels

    def log_probs(self, params: Float[Array, "size n"]) -> Float[Array, "size n"]:
        """Log-probabilities of all codes."""
        return jax.nn.log_softmax(params, axis=0)

    def log_prob(self, params: Float[Array, "size n"], cell: Cell) -> Float[Array, " n"]:
        # By a mask and a sum: the derivative of an index would be a scatter, which is far slower.
        at = jnp.arange(self.levels)[:, None] == cell.code[None]
        return jnp.where(at, self.log_probs(params), 0.0).sum(0) + cell.log_slope

    def sample(self, params: Float[Array, "size n"], key: PRNGKeyArray) -> Cell:
        code = jax.random.categorical(key, params[: self.levels - self.open], axis=0)
        zero = jnp.zeros(code.shape, params.dtype)
        return Cell(code.astype(jnp.int32), zero, zero, zero)

    def sample_within(
        self, params: Float[Array, "size n"], cut: Cut, key: PRNGKeyArray
    ) -> tuple[Cell, Float[Array, " n"]]:
        inside = self.log_probs(params) + jnp.log(cut.shares)[:, None]
        code = jax.random.categorical(key, inside[: self.levels - self.open], axis=0)
        zero = jnp.zeros(code.shape, params.dtype)
        cell = Cell(code.astype(jnp.int32), zero, zero, zero)
        return cell, jax.nn.logsumexp(inside, axis=0)
