"""The rows of a fit: what they must be, which are held out, how they are laid out for compiled programs."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.draws import permutation
from pushforward.errors import InputError
from pushforward.rows import block_size

Pair = tuple[np.ndarray, np.ndarray | None]
"""Rows, and their conditions if there are any."""
BLOCK = 2048
"""Rows evaluated at once in validation, if there are as many."""


class PaddedRows(eqx.Module):
    """Rows padded to a round number, so that data of about one size shares one compiled program.

    The padding repeats the rows: a loss that looks at a block as a whole sees nothing but data.
    """

    x: Array
    condition: Array | None
    count: Array

    @staticmethod
    def pad(x: np.ndarray, condition: np.ndarray | None) -> "PaddedRows":
        n = x.shape[0]
        # A power of two up to a block, two significant bits beyond: 100 -> 128, 3,283 -> 4,096, 18,000 -> 24,576.
        unit = max(block_size(n, BLOCK), 1 << max(n.bit_length() - 2, 0))
        extra = -n % unit

        def padded(a: np.ndarray) -> Array:
            return jnp.asarray(np.concatenate([a, a[np.arange(extra) % n]]))

        return PaddedRows(
            padded(x), None if condition is None else padded(condition), jnp.asarray(n)
        )

    def take(self, rows: Array) -> tuple[Array, Array | None]:
        return self.x[rows], None if self.condition is None else self.condition[rows]


def holdout(
    x: np.ndarray, condition: np.ndarray | None, share: float, key: PRNGKeyArray
) -> tuple[Pair, Pair]:
    """Rows to train on and a share of rows to judge by, drawn at random; with share 0 both are all rows."""
    order = permutation(key, x.shape[0])
    held = min(max(round(share * x.shape[0]), 1), x.shape[0] - 1) if share > 0 else 0
    train, judge = order[held:], order[:held] if held else order
    if condition is None:
        return (x[train], None), (x[judge], None)
    return (x[train], condition[train]), (x[judge], condition[judge])


def jittered(judge: Pair, jitter: Any) -> Pair:
    """Validation rows with one fixed draw of noise: the same measure in every epoch."""
    x, condition = judge
    if jitter is not None:
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, x.shape)
        x = (x + np.asarray(jitter) * noise).astype(x.dtype)
    return x, condition


def check_rows(x: np.ndarray, condition: np.ndarray | None, name: str) -> None:
    """Raises `InputError` for too few rows, such as are not finite floating-point numbers, or other conditions."""
    least = 2 if name == "x" else 1
    if x.ndim < 1 or x.shape[0] < least:
        raise InputError(f"a fit needs at least {least} rows in {name}; its shape is {x.shape}")
    if not np.issubdtype(x.dtype, np.floating):
        raise InputError(f"{name} must be floating-point rows, not {x.dtype}")
    for what, rows in ((name, x), ("condition", condition)):
        if rows is not None and not np.isfinite(rows).all():
            raise InputError(
                f"{what} has {int((~np.isfinite(rows)).sum())} values that are not finite"
            )
    if condition is not None and condition.shape[0] != x.shape[0]:
        raise InputError(f"{x.shape[0]} rows in {name}, but {condition.shape[0]} conditions")
