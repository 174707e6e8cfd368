"""The joint distribution of a row of typed cells, any of which may be given or absent."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward.distributions.typed_layout import MANY_RANK, Cells, Layout, Seen, Spot, of_numbers
from pushforward.heads import AbstractHead, Cell
from pushforward.networks.context_made import ContextMADE, KnownColumns
from pushforward.networks.many_levels import ManyLevels

FLOOR = 1e-4
"""Share of the marginal in every conditional: one row far from all others does not rule a mean."""


def floored(log_prob: Array, log_marginal: Array | np.ndarray) -> Array:
    """Log-probabilities of a head with the share `FLOOR` of the marginal."""
    small, rest = (np.asarray(a, log_prob.dtype) for a in (np.log(FLOOR), np.log1p(-FLOOR)))
    return jnp.logaddexp(log_prob + rest, log_marginal + small)


class TypedRow(eqx.Module):
    """The distribution of some cells of a row given others, all that are neither being absent.

        log p(x_U | x_B) = sum over c in U of log p_c(x_c | x_(U before c), x_B)

    Each factor is `1 - FLOOR` of its column's head and `FLOOR` of the column's marginal: for every pair of sets (U, B)
    the result is a proper distribution, of probabilities for labels and cells and densities for points. Results for
    different B agree as far as the network has learnt it, and no further.

    Cost: `log_prob` one pass of the network for all cells of a row, drawing about one pass of arithmetic.

    Arguments:
        network: from features to outputs.
        many: the labels of each column that has many.
        layout: where they stand.
    """

    network: ContextMADE
    many: tuple[ManyLevels, ...]
    layout: Layout = eqx.field(static=True)

    def log_prob(
        self,
        cells: Cells,
        targets: Bool[Array | np.ndarray, "n d"],
        given: Bool[Array | np.ndarray, "known d"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "n d"]:
        """Log-probability of each target given what is given and the targets before it; 0 for other cells.

        Arguments:
            cells: the rows.
            targets: the cells to score, of those that are present.
            given: the cells that are known, none of them a target; of the last rows. In the rows before them nothing
                is known, which costs less.
            key: of the dropout; default None, without.
        """
        found: list[Array | None] = [None] * len(self.layout.columns.heads)
        for head, columns, own, of in self.conditionals(cells, targets, given, key):
            each = jax.vmap(head.log_prob)(own, of)
            for column, value in zip(columns, each, strict=True):
                found[column] = value
        by_head = jnp.stack([value for value in found if value is not None], axis=1)
        return jnp.where(targets, floored(by_head, cells.log_marginal), 0.0)

    def conditionals(
        self,
        cells: Cells,
        targets: Bool[Array | np.ndarray, "n d"],
        given: Bool[Array | np.ndarray, "known d"],
        key: PRNGKeyArray | None = None,
    ) -> Iterator[tuple[AbstractHead, tuple[int, ...], Float[Array, "k size n"], Cell]]:
        """The distributions that `log_prob` evaluates, without the marginals' share `FLOOR`.

        Arguments are those of `log_prob`. Yields a head, the k columns that have it, their parameters and their cells
        `(k, n)`.
        """
        first = len(targets) - len(given)
        x = self.layout.features(cells, targets, self.many)
        context = self.layout.features(Cells(*(a[first:] for a in cells)), given, self.many)
        params = self.network(x, context, key)
        seen = jnp.concatenate([targets[:first], targets[first:] | given])
        for head, columns, at in self.layout.groups:
            size = self.layout.outputs_of(columns[0])
            own = params[at : at + size * len(columns)].reshape(len(columns), size, -1)
            if columns[0] in self.layout.columns.many:
                own = self._logits(columns[0], own[0], cells, seen)[None]
            yield head, columns, own, self._cells_of(cells, columns)

    def start(
        self, cells: Cells, given: Bool[Array | np.ndarray, "n d"], rows: int
    ) -> KnownColumns:
        """What is known before the first draw.

        Arguments:
            cells: the rows, or one row that stands for all where nothing is given.
            given: the cells that are known.
            rows: their number.
        """
        return self.network.start(self.layout.features(cells, given, self.many), rows)

    def outputs(
        self, known: KnownColumns, head: AbstractHead, first: Array
    ) -> Float[Array, "size n"]:
        """The parameters of a column's head, once all columns before it are revealed.

        A draw from the head is without the share `FLOOR` of the marginal.

        Arguments:
            known: what is known.
            head: the column's.
            first: the number of its first output, see `Layout.first_outputs`.
        """
        return self.network.outputs(known, first, head.size)

    def outputs_of_many(
        self,
        known: KnownColumns,
        column: int,
        cells: Cells,
        seen: Bool[Array | np.ndarray, "n d"],
    ) -> Float[Array, "size n"]:
        """`outputs` of a column of many labels.

        Arguments:
            known: what is known.
            column: its number.
            cells, seen: the cells that are known, of which one may be the label that its own are counted beside.
        """
        first = jnp.asarray(self.layout.first_outputs[column])
        return self._logits(column, self.network.outputs(known, first, MANY_RANK), cells, seen)

    def parameters(
        self,
        cells: Cells,
        given: Bool[Array | np.ndarray, "n d"],
        head: AbstractHead,
        first: Array,
        many: int | None = None,
    ) -> Float[Array, "size n"]:
        """The parameters of one column's head given the given cells and nothing else; a pass of the network.

        Arguments:
            cells: the rows.
            given: the cells that are known; not the column's own.
            head: the column's.
            first: the number of its first output, see `Layout.first_outputs`.
            many: the column's number where it has many labels; default None.
        """
        context = self.layout.features(cells, given, self.many)
        outputs = self.network(jnp.zeros_like(context), context)
        size = head.size if many is None else MANY_RANK
        own = jax.lax.dynamic_slice_in_dim(outputs, first, size)
        return own if many is None else self._logits(many, own, cells, given)

    def reveal(
        self, known: KnownColumns, spot: Spot, own: Seen, seen: Bool[Array | np.ndarray, " n"]
    ) -> KnownColumns:
        """What is known with one more column.

        Arguments:
            known: what is known, with all columns before it.
            spot: where the column stands, see `Layout.spot`.
            own: its cells.
            seen: the rows in which they are seen.
        """
        first = self.network.first
        read = jnp.broadcast_to(first[:, spot.flag][:, None], known.first.shape)
        if spot.label is not None:
            read = read + first.T[spot.label + own.code].T
        if spot.numbers is not None:
            read = read + first[:, spot.numbers] @ of_numbers(own.z + own.width / 2, own.scaled)
        if spot.extras is not None:
            read = read + first[:, spot.extras] @ own.extra.T
        if spot.many is not None:
            features = self.many[spot.many].features(jnp.asarray(own.code))
            at = len(self.layout.feature_columns) - MANY_RANK * (len(self.many) - spot.many)
            read = read + first[:, at : at + MANY_RANK] @ features
        return self.network.reveal(known, spot.rank, jnp.where(seen[None], read, 0.0))

    def _logits(self, column: int, outputs: Array, cells: Cells, seen: Any) -> Array:
        """The logits of a column of many labels."""
        at = self.layout.columns.many.index(column)
        parent, of = self.layout.columns.parents[at], self.many[at]
        if parent is None:
            code = jnp.zeros(len(cells.code), jnp.int32)
        else:
            code = jnp.where(seen[:, parent], cells.code[:, parent], len(of.log_prob) - 1)
        return of.logits(outputs, code)

    def _cells_of(self, cells: Cells, columns: tuple[int, ...]) -> Cell:
        own = np.array(columns)
        return Cell(cells.code.T[own], cells.z.T[own], cells.width.T[own], cells.log_slope.T[own])
