"""The rows of a fit, a pytree of arrays: where they come from, which are held out, how compiled programs get them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from pushforward.draws import permutation
from pushforward.errors import InputError
from pushforward.rows import Shape, block_size

BLOCK = 2048
"""Rows evaluated at once in validation, if there are as many."""
MOST_HELD = 50_000
"""Most rows held out: more would cost time and say no more."""
CHECKED = 1 << 16
"""Rows checked at once: temporary arrays as large as a large table would not fit beside it."""


class Batch(NamedTuple):
    """Events and their conditions: the rows of `fit(model, x, condition)`, and what the loss receives.

    Attributes:
        x: `(n, *event)`.
        condition: `(n, *condition)`, or None.
    """

    x: Any
    condition: Any = None


def count_of(rows: PyTree) -> int:
    """The length of the leading axis of all arrays in `rows`.

    Raises `InputError` where there is no array, or where lengths differ.
    """
    shapes: list[Shape] = [np.shape(leaf) for leaf in jax.tree.leaves(rows)]
    if not shapes or not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        said = ", ".join(map(str, shapes)) or "none"
        raise InputError(f"rows must be arrays with one leading axis; their shapes are {said}")
    return shapes[0][0]


def taken(rows: PyTree, numbers: Any) -> PyTree:
    """The rows with these numbers, from every array."""
    return jax.tree.map(lambda leaf: leaf[numbers], rows)


class Batches(Protocol):
    """Rows that come in an order of their own, such as those of a table larger than memory."""

    def rows(self, epoch: int, first: int, last: int, steps: int, low: int, high: int) -> PyTree:
        """The rows of the steps `first .. last` of an epoch, of each those at the places `low .. high` of its batch,
        filled up to `steps` steps."""

    def marks(self) -> str:
        """What tells these rows and this order from others."""

    def close(self) -> None:
        """Give up what was prepared."""


@dataclass(frozen=True)
class RowSource:
    """Rows made on demand, so that a table need not be in memory twice.

    Attributes:
        count: how many there are in an epoch.
        take: from row numbers `(k,)` to those rows, a pytree of arrays with a leading axis of `k`; for densities a
            `Batch`.
        batches: the rows of steps, where they come in an order of their own; `take` is then of a sample. Default None:
            each epoch has an order drawn anew.
    """

    count: int
    take: Callable[[np.ndarray], PyTree]
    batches: Batches | None = None

    @staticmethod
    def of(rows: PyTree) -> "RowSource":
        """The rows of arrays in memory."""
        return RowSource(count_of(rows), lambda numbers: taken(rows, numbers))

    def some(self, rows: np.ndarray) -> "RowSource":
        """The rows with these numbers, in this order."""
        return RowSource(len(rows), lambda numbers: self.take(rows[numbers]))

    def blocks(self) -> Iterator[PyTree]:
        """All rows, some at a time."""
        for start in range(0, self.count, CHECKED):
            yield self.take(np.arange(start, min(start + CHECKED, self.count)))


class Jitter(eqx.Module):
    """Uniform noise on the events of a `Batch`: dequantization.

    Attributes:
        width: `(*event)`, the width of the noise in every coordinate.
    """

    width: Float[Array | np.ndarray, " *event"]

    def __call__(self, batch: Batch, key: PRNGKeyArray) -> Batch:
        x = batch.x
        noise = jax.random.uniform(key, x.shape, x.dtype, -0.5, 0.5)
        return Batch(x + jnp.asarray(self.width, x.dtype) * noise, batch.condition)


def jittered(judge: Batch, width: np.ndarray | None) -> Batch:
    """Rows with one fixed draw of noise, so that every epoch is judged by the same."""
    x, condition = judge
    if width is not None:
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, x.shape)
        x = (x + np.asarray(width) * noise).astype(x.dtype)
    return Batch(x, condition)


def blocks_for(rows: PyTree, whole: bool) -> list[PyTree]:
    """Rows on the device, in blocks of one size. The last one is filled up by repeating rows, or, if `whole`, is
    shorter.

    Blocks of a `Batch` have few sizes, so that tables of all sizes share a few compiled programs; those of other rows
    are no larger than needed.
    """
    n = count_of(rows)
    size = block_size(n, BLOCK) if isinstance(rows, Batch) and not whole else min(n, BLOCK)

    def block(start: int) -> PyTree:
        numbers = np.arange(start, min(start + size, n) if whole else start + size) % n
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[numbers]), rows)

    return [block(start) for start in range(0, n, size)]


def holdout(count: int, share: float, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the training rows and of a random share of validation rows, at most `MOST_HELD`; with share 0 both
    are all rows."""
    order = permutation(key, count)
    held = min(max(round(share * count), 1), count - 1, MOST_HELD) if share > 0 else 0
    return order[held:], order[:held] if held else order
