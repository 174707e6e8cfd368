"""The rows of a fit: what they must be, which are held out, how they are laid out for compiled programs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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
MOST_HELD = 50_000
"""Rows held out at most: more would cost time and tell no more."""
_CHECKED = 1 << 16
# Rows looked at at once: temporary arrays of the size of a large table would not fit beside it.


@dataclass(frozen=True)
class RowSource:
    """Rows that are made as they are taken, so that a table need not lie in memory twice.

    Attributes:
        count: how many there are.
        take: row numbers `(k,)` to those rows and their conditions, as arrays of the model's precision.
    """

    count: int
    take: Callable[[np.ndarray], Pair]

    @staticmethod
    def of(x: np.ndarray, condition: np.ndarray | None) -> "RowSource":
        """Those of two arrays."""
        return RowSource(len(x), lambda i: (x[i], None if condition is None else condition[i]))

    def some(self, rows: np.ndarray) -> "RowSource":
        """Those of these numbers, in this order."""
        return RowSource(len(rows), lambda i: self.take(rows[i]))

    def blocks(self) -> Iterator[Pair]:
        """All rows, some at a time."""
        for start in range(0, self.count, _CHECKED):
            yield self.take(np.arange(start, min(start + _CHECKED, self.count)))


def padded_blocks(x: np.ndarray, condition: np.ndarray | None) -> list[tuple[Array, Array | None]]:
    """Rows on the device in blocks of one size, so that tables of all sizes share a few compiled programs.

    The last block is filled by repeating the rows: a loss that looks at a block as a whole sees nothing but data.
    """
    size = block_size(len(x), BLOCK)

    def block(a: np.ndarray, start: int) -> Array:
        return jnp.asarray(a[np.arange(start, start + size) % len(a)])

    return [
        (block(x, start), None if condition is None else block(condition, start))
        for start in range(0, len(x), size)
    ]


def holdout(count: int, share: float, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the rows to train on and of a share of them to judge by, at most `MOST_HELD`, drawn at random;
    with share 0 both are all rows."""
    order = permutation(key, count)
    held = min(max(round(share * count), 1), count - 1, MOST_HELD) if share > 0 else 0
    return order[held:], order[:held] if held else order


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
        if rows is None:
            continue
        starts = range(0, len(rows), _CHECKED)
        wrong = sum(int((~np.isfinite(rows[i : i + _CHECKED])).sum()) for i in starts)
        if wrong:
            raise InputError(f"{what} has {wrong} values that are not finite")
    if condition is not None and condition.shape[0] != x.shape[0]:
        raise InputError(f"{x.shape[0]} rows in {name}, but {condition.shape[0]} conditions")
