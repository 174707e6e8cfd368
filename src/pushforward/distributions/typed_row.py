"""The joint distribution of a row of typed cells, any of which may be given or absent."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from pushforward.heads import AbstractHead, Cell, Softmax
from pushforward.networks.context_made import ContextMADE, KnownColumns

FLOOR = 1e-4
"""Share of the marginal in every conditional: one row far from all others does not rule a mean."""
# Pieces of the scale z that a number is also seen by, and where they end.
_PIECES, _END, _FAR = 8, 5.0, 12.0


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


class Roles(NamedTuple):
    """What each of d columns is to the model; static.

    Attributes:
        heads: of each column.
        numbers: which columns are read as numbers too.
        extras: the column of each further feature.
        sources: the table's column that each belongs to: what says that a cell is missing has that of the cell.
        ranks: the place of each column in the order of the model.
    """

    heads: tuple[AbstractHead, ...]
    numbers: tuple[bool, ...]
    extras: tuple[int, ...]
    sources: tuple[int, ...]
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Where the features and the outputs of the columns stand.

    Features: one for each label, then for the columns that are numbers z, the scaled value and eight pieces of z,
    then the further ones, then a flag for each column. Outputs: columns with equal heads side by side, so that one
    batched program serves them.
    """

    columns: Roles

    @cached_property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """The column and the code of each feature that stands for a label."""
        sizes = [h.levels if isinstance(h, Softmax) else 0 for h in self.columns.heads]
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
        pieces = np.tile(self.numbers, 2 + _PIECES)
        parts = [self.labels[0], pieces, np.asarray(self.columns.extras, int), np.arange(d)]
        return np.concatenate(parts)

    @cached_property
    def groups(self) -> tuple[tuple[AbstractHead, tuple[int, ...], int], ...]:
        """For each kind of head: it, its columns, and its first output."""
        found: dict[AbstractHead, list[int]] = {}
        for i, head in enumerate(self.columns.heads):
            found.setdefault(head, []).append(i)
        groups, at = [], 0
        for head, columns in found.items():
            groups.append((head, tuple(columns), at))
            at += head.size * len(columns)
        return tuple(groups)

    @cached_property
    def output_columns(self) -> np.ndarray:
        """The column of each output."""
        return np.concatenate([np.repeat(columns, head.size) for head, columns, _ in self.groups])

    @cached_property
    def first_outputs(self) -> dict[int, int]:
        """Where the outputs of each column begin."""
        return {
            column: at + i * head.size
            for head, columns, at in self.groups
            for i, column in enumerate(columns)
        }

    def features(self, cells: Cells, seen: Bool[Array | np.ndarray, "n d"]) -> Float[Array, "f n"]:
        """The features of the cells that are seen, zeros for the others."""
        column, code = self.labels
        z = (cells.z + cells.width / 2)[:, self.numbers].T
        scaled = cells.scaled[:, self.numbers].T
        starts = np.linspace(-_END, _END, _PIECES + 1)[:-1].astype(z.dtype)
        pieces = jnp.clip((z - starts[:, None, None]) * (_PIECES / (2 * _END)), 0.0, 1.0)
        parts = [
            (cells.code.T[column] == code[:, None]).astype(z.dtype),
            jnp.clip(z, -_FAR, _FAR) / 3,
            scaled / 2,
            pieces.reshape(-1, z.shape[1]),
            cells.extra.T,
            jnp.ones(cells.code.T.shape, z.dtype),
        ]
        return jnp.where(seen.T[self.feature_columns], jnp.concatenate(parts), 0.0)


class TypedRow(eqx.Module):
    """The distribution of some cells of a row given others, all that are neither being absent.

        log p(x_U | x_B) = sum over c in U of log p_c(x_c | x_(U before c), x_B)

    Each factor is `1 - FLOOR` of its column's head and `FLOOR` of the column's marginal: for every pair of sets (U, B)
    the result is a proper distribution, of probabilities for labels and cells and densities for points. Results for
    different B agree as far as the network has learnt it, and no further.

    Cost: `log_prob` one pass of the network for all cells of a row, drawing about one pass of arithmetic.

    Arguments:
        network: from features to outputs.
        layout: where they stand.
    """

    network: ContextMADE
    layout: Layout = eqx.field(static=True)

    def log_prob(
        self,
        cells: Cells,
        targets: Bool[Array | np.ndarray, "n d"],
        given: Bool[Array | np.ndarray, "n d"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "n d"]:
        """Log-probability of each target given what is given and the targets before it; 0 for other cells.

        Arguments:
            cells: the rows.
            targets: the cells to score, of those that are present.
            given: the cells that are known; none of them a target.
            key: of the dropout; default None, without.
        """
        features = self.layout.features(cells, targets | given)
        of = self.layout.feature_columns
        x, context = (jnp.where(mask.T[of], features, 0.0) for mask in (targets, given))
        params = self.network(x, context, key)
        found: list[Array | None] = [None] * len(self.layout.columns.heads)
        for head, columns, at in self.layout.groups:
            own = params[at : at + head.size * len(columns)].reshape(len(columns), head.size, -1)
            each = jax.vmap(head.log_prob)(own, self._cells_of(cells, columns))
            for column, value in zip(columns, each, strict=True):
                found[column] = value
        by_head = jnp.stack([value for value in found if value is not None], axis=1)
        mixed = jnp.logaddexp(
            by_head + np.log1p(-FLOOR).astype(by_head.dtype),
            cells.log_marginal + np.log(FLOOR).astype(by_head.dtype),
        )
        return jnp.where(targets, mixed, 0.0)

    def start(self, cells: Cells, given: Bool[Array | np.ndarray, "n d"]) -> KnownColumns:
        """What is known before the first draw."""
        return self.network.start(self.layout.features(cells, given))

    def sample(
        self, known: KnownColumns, head: AbstractHead, first: Array, key: PRNGKeyArray
    ) -> Cell:
        """A draw of one column, once all before it are revealed.

        It is of the head alone, without the share `FLOOR` of the marginal.

        Arguments:
            known: what is known.
            head: the column's.
            first: the number of its first output, see `Layout.first_outputs`.
            key: of the draw.
        """
        return head.sample(self.network.outputs(known, first, head.size), key)

    def reveal(
        self, known: KnownColumns, rank: Array, cells: Cells, seen: Bool[Array | np.ndarray, "n d"]
    ) -> KnownColumns:
        """What is known with the column of that rank too, in the rows where it is seen."""
        return self.network.reveal(known, rank, self.layout.features(cells, seen))

    def _cells_of(self, cells: Cells, columns: tuple[int, ...]) -> Cell:
        own = np.array(columns)
        return Cell(cells.code.T[own], cells.z.T[own], cells.width.T[own], cells.log_slope.T[own])
