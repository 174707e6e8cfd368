"""Typed cells as arrays, and where the features and outputs of columns stand."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from pushforward.heads import AbstractHead, Softmax
from pushforward.networks.many_levels import ManyLevels

MANY, MANY_RANK = 257, 16
"""Labels beyond which a column's logits are of low rank, and that rank (4,044 registrations of planes: -5.56 nats by
counts and rank 16 in 8 s, -6.22 by a softmax of all in 36 s)."""
# Pieces of the scale z that a number is also seen by, and where they end.
_PIECES, _END, _FAR = 8, 5.0, 12.0
_NUMBERS = 2 + _PIECES


class Cells(NamedTuple):
    """Rows of typed cells as arrays, what heads and networks see of a table.

    Attributes:
        code: numbers of labels.
        z, width, log_slope: places of numbers on their marginals' scales, see `heads.Cell`.
        log_marginal: log-probability of each cell by its column alone.
        scaled: numbers in spreads from their median, compressed beyond 5.
        present: which cells hold a value; what stands in the others is never read.
        extra: further features, such as harmonics of a date.
    """

    code: Int[Array | np.ndarray, "n d"]
    z: Float[Array | np.ndarray, "n d"]
    width: Float[Array | np.ndarray, "n d"]
    log_slope: Float[Array | np.ndarray, "n d"]
    log_marginal: Float[Array | np.ndarray, "n d"]
    scaled: Float[Array | np.ndarray, "n d"]
    present: Bool[Array | np.ndarray, "n d"]
    extra: Float[Array | np.ndarray, "n e"]


class Seen(NamedTuple):
    """The cells of one column as later ones read them.

    Attributes:
        code, z, width, log_slope, log_marginal, scaled, extra: as of `Cells`.
    """

    code: Int[Array | np.ndarray, " n"]
    z: Float[Array | np.ndarray, " n"]
    width: Float[Array | np.ndarray, " n"]
    log_slope: Float[Array | np.ndarray, " n"]
    log_marginal: Float[Array | np.ndarray, " n"]
    scaled: Float[Array | np.ndarray, " n"]
    extra: Float[Array | np.ndarray, "n e"]


class Spot(NamedTuple):
    """Where one column stands in the order of the model and among its features; None for what it has not.

    Attributes:
        column: its number.
        rank: its place in the order.
        flag: the feature that says that it is there.
        label: the feature of its first label.
        numbers: the features of a number.
        extras: its further features.
        many: its number among the columns of many labels.
    """

    column: Array
    rank: Array
    flag: Array
    label: Array | None
    numbers: Array | None
    extras: Array | None
    many: int | None


class Roles(NamedTuple):
    """What each of d columns is to the model; static.

    Attributes:
        heads: of each column.
        numbers: which columns are read as numbers too.
        extras: the column of each further feature.
        sources: the table's column that each belongs to: what says that a cell is missing has that of the cell.
        parents: for each column of many labels the column whose labels its own are counted beside, or None.
        ranks: the place of each column in the order of the model.
    """

    heads: tuple[AbstractHead, ...]
    numbers: tuple[bool, ...]
    extras: tuple[int, ...]
    sources: tuple[int, ...]
    parents: tuple[int | None, ...] = ()
    ranks: tuple[int, ...] = ()

    @property
    def many(self) -> tuple[int, ...]:
        """The columns of many labels."""
        return tuple(
            i for i, h in enumerate(self.heads) if isinstance(h, Softmax) and h.levels > MANY
        )


@dataclass(frozen=True)
class Layout:
    """Where the features and the outputs of the columns stand.

    Features: one for each label, then for the columns that are numbers z, the scaled value and eight pieces of z,
    then the further ones, then a flag for each column, then `MANY_RANK` for each column of many labels. Outputs:
    columns with equal heads side by side, so that one batched program serves them.
    """

    columns: Roles

    @cached_property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """The column and the code of each feature that stands for a label."""
        sizes = [
            h.levels if isinstance(h, Softmax) and i not in self.columns.many else 0
            for i, h in enumerate(self.columns.heads)
        ]
        column = np.repeat(np.arange(len(sizes)), sizes)
        code = np.concatenate([np.arange(size) for size in sizes] or [np.zeros(0, int)])
        return column, code.astype(np.int32)

    @cached_property
    def numbers(self) -> np.ndarray:
        """The columns that are read as numbers."""
        return np.flatnonzero(self.columns.numbers)

    @cached_property
    def feature_columns(self) -> np.ndarray:
        """The column of each feature."""
        d = len(self.columns.heads)
        pieces = np.tile(self.numbers, _NUMBERS)
        many = np.repeat(np.asarray(self.columns.many, int), MANY_RANK)
        parts = [self.labels[0], pieces, np.asarray(self.columns.extras, int), np.arange(d), many]
        return np.concatenate(parts)

    def outputs_of(self, column: int) -> int:
        """The number of outputs of a column."""
        return MANY_RANK if column in self.columns.many else self.columns.heads[column].size

    @cached_property
    def groups(self) -> tuple[tuple[AbstractHead, tuple[int, ...], int], ...]:
        """For each kind of head: it, its columns, and its first output."""
        found: dict[tuple[AbstractHead, int | None], list[int]] = {}
        for i, head in enumerate(self.columns.heads):
            found.setdefault((head, i if i in self.columns.many else None), []).append(i)
        groups, at = [], 0
        for (head, _), columns in found.items():
            groups.append((head, tuple(columns), at))
            at += self.outputs_of(columns[0]) * len(columns)
        return tuple(groups)

    @cached_property
    def output_columns(self) -> np.ndarray:
        """The column of each output."""
        return np.concatenate(
            [np.repeat(columns, self.outputs_of(columns[0])) for _, columns, _ in self.groups]
        )

    @cached_property
    def first_outputs(self) -> dict[int, int]:
        """Where the outputs of each column begin."""
        return {
            column: at + i * self.outputs_of(column)
            for _, columns, at in self.groups
            for i, column in enumerate(columns)
        }

    def features(
        self, cells: Cells, seen: Bool[Array | np.ndarray, "n d"], many: tuple[ManyLevels, ...] = ()
    ) -> Float[Array, "f n"]:
        """The features of the cells that are seen, zeros for the others; `many` looks up those of many labels."""
        column, code = self.labels
        z = (cells.z + cells.width / 2)[:, self.numbers].T
        parts = [
            (cells.code.T[column] == code[:, None]).astype(z.dtype),
            of_numbers(z, cells.scaled[:, self.numbers].T).reshape(
                _NUMBERS * z.shape[0], z.shape[1]
            ),
            cells.extra.T,
            jnp.ones(cells.code.T.shape, z.dtype),
            *(
                of.features(jnp.asarray(cells.code)[:, i])
                for i, of in zip(self.columns.many, many, strict=True)
            ),
        ]
        return jnp.where(seen.T[self.feature_columns], jnp.concatenate(parts), 0.0)

    def seen(self, cells: Cells, column: int) -> Seen:
        """One column of the cells as later columns read it."""
        own = np.array(self.columns.extras, int) == column
        code, z, width, log_slope, log_marginal, scaled = (a[:, column] for a in cells[:6])
        return Seen(code, z, width, log_slope, log_marginal, scaled, cells.extra[:, own])

    def spot(self, column: int) -> Spot:
        """Where a column stands."""
        own = np.flatnonzero(self.feature_columns == column)
        labels = len(self.labels[0])
        numbers = labels + _NUMBERS * len(self.numbers)
        extras = numbers + len(self.columns.extras)
        label = own[own < labels]
        number = own[(labels <= own) & (own < numbers)]
        extra = own[(numbers <= own) & (own < extras)]
        many = self.columns.many
        return Spot(
            jnp.asarray(column),
            jnp.asarray(self.columns.ranks[column]),
            jnp.asarray(extras + column),
            jnp.asarray(label[0]) if len(label) else None,
            jnp.asarray(number) if len(number) else None,
            jnp.asarray(extra) if len(extra) else None,
            many.index(column) if column in many else None,
        )


def of_numbers(z: Array | np.ndarray, scaled: Array | np.ndarray) -> Float[Array, "f ..."]:
    """The features of numbers at z."""
    z, scaled = jnp.asarray(z), jnp.asarray(scaled)
    starts = np.linspace(-_END, _END, _PIECES + 1)[:-1].astype(z.dtype)
    starts = starts.reshape(-1, *(1,) * z.ndim)
    pieces = jnp.clip((z[None] - starts) * (_PIECES / (2 * _END)), 0.0, 1.0)
    return jnp.concatenate([jnp.clip(z, -_FAR, _FAR)[None] / 3, scaled[None] / 2, pieces])
