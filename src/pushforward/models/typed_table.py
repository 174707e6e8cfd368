"""A fitted joint density of a table of any kind of columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward.architectures.products import Products
from pushforward.architectures.typed import Typed
from pushforward.columns.names import unknown_columns
from pushforward.columns.spelling import as_polars
from pushforward.columns.typed_columns import TypedColumns
from pushforward.distributions.product_mixture import ProductMixture
from pushforward.distributions.typed_row import Cells, TypedRow
from pushforward.draws import key_of
from pushforward.errors import InputError, check_count
from pushforward.heads import AbstractHead, Cell
from pushforward.rows import block_size, padded
from pushforward.training.batches import taken
from pushforward.words import plural

BLOCK = 4096
"""Rows of one call of a compiled program; fewer are padded to a power of two."""


@dataclass(frozen=True)
class TypedTable:
    """The joint distribution of the cells of a row, each in the table's own units.

    A cell of a label or of a whole number has a probability, one of a real number a density; `columns` says which. Of a
    row with gaps what is there is scored. Any cells may be given; for each choice of given cells and targets the result
    is a proper distribution.

    Attributes:
        model: the distribution of cells.
        architecture: the configuration it was built from.
        columns: kinds, spelling and measures of the columns.
        summary: what the training did, JSON-able.
        trust: what was measured of it, JSON-able.
    """

    model: TypedRow | ProductMixture
    architecture: Typed | Products
    columns: TypedColumns
    summary: dict[str, Any] = field(default_factory=dict)
    trust: dict[str, Any] = field(default_factory=dict)

    @property
    def described(self) -> str:
        """What the model is, in words."""
        if isinstance(self.architecture, Typed):
            return "typed network"
        return f"mixture of {plural(self.architecture.components, 'product')}"

    def log_prob(
        self,
        table: Any,
        given: Sequence[str] = (),
        *,
        targets: Sequence[str] | None = None,
        gaps: bool = False,
        absent: bool = False,
    ) -> Float[np.ndarray, " n"]:
        """Log-probability of each row, in nats: of the cells that are present, given some of them.

        Arguments:
            table: rows, a frame or a mapping of columns.
            given: names of columns whose cells are given; default none.
            targets: names of columns to score; default all others. What is neither is left out of the row.
            gaps: whether the pattern of missing cells is scored too; default False.
            absent: whether the table may lack columns; default False.

        Raises `InputError` for a name that is no column, and for cells that their columns cannot hold.
        """
        cells = self.log_prob_cells(table, given, targets=targets, gaps=gaps, absent=absent)
        total: np.ndarray = cells.sum(1)
        return total

    def log_prob_cells(
        self,
        table: Any,
        given: Sequence[str] = (),
        *,
        targets: Sequence[str] | None = None,
        gaps: bool = False,
        absent: bool = False,
    ) -> Float[np.ndarray, "n d"]:
        """The parts of `log_prob`: of each of the model's columns given what is given and the columns before it; 0 for
        cells that are not scored. Arguments and errors as there."""
        of_values, of_gaps = self._which(given), self._which(given, gap=True)
        wanted = self.columns.values if targets is None else self._which(targets)
        if gaps:
            wanted = wanted | (
                ~self.columns.values if targets is None else self._which(targets, True)
            )
        frame, parts = as_polars(table), []
        values = self.columns.read(frame, absent=absent)
        for start in range(0, len(frame) or 1, BLOCK):
            rows = {name: column[start : start + BLOCK] for name, column in values.items()}
            cells = self.columns.encode(rows)
            present = np.asarray(cells.present)
            known = present & (of_values | (of_gaps & gaps))
            parts.append(self.log_prob_of(cells, present & wanted & ~known, known))
        return np.concatenate(parts)

    def log_prob_of(
        self, cells: Cells, targets: Bool[np.ndarray, "n d"], given: Bool[np.ndarray, "n d"]
    ) -> Float[np.ndarray, "n d"]:
        """Log-probabilities of encoded cells: the targets given the given ones, any in each row."""
        n, found = len(targets), []
        size = block_size(n, BLOCK)
        for start in range(0, n, BLOCK):
            some = taken((cells, targets, given), slice(start, start + BLOCK))
            found.append(np.asarray(_log_prob(self.model, *_blocked(some, size)), np.float64))
        found = [part[: n - i * BLOCK] for i, part in enumerate(found)]
        return np.concatenate([np.zeros((0, targets.shape[1])), *found])

    def sample(self, n: int, seed: int, given: Any = None, *, text: bool = False) -> pl.DataFrame:
        """Rows as the table had them; with `given`, n for each of its rows.

        Arguments:
            n: how many.
            seed: of the draws.
            given: rows with some cells, each with its own; missing cells are drawn, the others kept. Default None.
            text: whether cells are to be written as a delimited file had them; default False.

        Raises `InputError` for a negative n, or cells that their columns cannot hold.
        """
        check_count("n", n, 0)
        if given is None:
            values = self.columns.read(pl.DataFrame({"": np.zeros(n)}), absent=True)
        else:
            few = self.columns.read(as_polars(given), absent=True)
            values = {name: np.repeat(column, n, axis=0) for name, column in few.items()}
        rows = len(next(iter(values.values())))
        drawn = self.drawn(values, seed, gaps=given is None)
        return self.columns.write(drawn, rows, text)

    def drawn(
        self, values: Mapping[str, np.ndarray], seed: int, *, gaps: bool = False
    ) -> dict[str, np.ndarray]:
        """The values with their missing cells drawn, given the others.

        Arguments:
            values: of the modelled columns, as `TypedColumns.read` gives them.
            seed: of the draws.
            gaps: whether cells may be drawn to be missing, where the model has such gaps; default False.
        """
        n = len(next(iter(values.values())))
        blocks = []
        for number, start in enumerate(range(0, n, BLOCK)):
            rows = {name: column[start : start + BLOCK] for name, column in values.items()}
            blocks.append(self._drawn(rows, jax.random.fold_in(key_of(seed), number), gaps))
        if not blocks:
            return dict(values)
        return {name: np.concatenate([block[name] for block in blocks]) for name in values}

    def _drawn(
        self, values: dict[str, np.ndarray], key: PRNGKeyArray, gaps: bool
    ) -> dict[str, np.ndarray]:
        """One block of `drawn`: column by column in the model's order, what is drawn encoded anew for the next."""
        n = len(next(iter(values.values())))
        size = block_size(n, BLOCK)
        values = {name: column.copy() for name, column in values.items()}
        cells = self.columns.encode(values)
        given = cells.present & self.columns.values
        wanted = ~given & (self.columns.values | gaps)
        known = _start(self.model, *_blocked((cells, given), size))
        layout = self.model.layout
        missing = np.zeros_like(given)
        for column in np.argsort(layout.columns.ranks).tolist():
            seen = np.zeros_like(given)
            seen[:, column] = rows = wanted[:, column] & ~missing[:, column]
            if rows.any():
                head = layout.columns.heads[column]
                own = jax.random.fold_in(key, column)
                if column in layout.columns.many:
                    there = np.asarray(cells.present)
                    drawn = _sample_many(
                        self.model, known, column, *_blocked((cells, there), size), own
                    )
                else:
                    first = jnp.asarray(layout.first_outputs[column])
                    drawn = _sample(self.model, known, head, first, own)
                code, z = (np.asarray(a)[:n] for a in (drawn.code, drawn.z))
                of, gap = self.columns.places[column]
                found = self.columns.decode(column, code, z)
                if gap:
                    # The column of the values is the next one.
                    missing[:, column + 1] = rows & (found == 1.0)
                    found = np.where(found == 1.0, np.nan, 0.0)
                else:
                    found = values[of.name] = np.where(rows, found, values[of.name])
                self.columns.put(cells, column, found)
            # Also where nothing is drawn: the units of the next column have to be known.
            rank = jnp.asarray(layout.columns.ranks[column])
            known = _reveal(self.model, known, rank, *_blocked((cells, seen), size))
        return values

    def _which(self, names: Sequence[str], gap: bool = False) -> Bool[np.ndarray, " d"]:
        """Which of the model's columns hold the values, or the gaps, of these columns of the table."""
        names = [names] if isinstance(names, str) else list(names)
        if unknown := [name for name in names if name not in self.columns.names]:
            raise InputError(unknown_columns(unknown, self.columns.names, "the model"))
        return np.array([of.name in names and is_gap == gap for of, is_gap in self.columns.places])


def _blocked(rows: Any, size: int) -> Any:
    """Rows of any arrays on the device, padded to `size`."""
    return jax.tree.map(lambda array: padded(array, size), rows)


@eqx.filter_jit
def _log_prob(
    model: TypedRow | ProductMixture, cells: Cells, targets: Array, given: Array
) -> Array:
    return model.log_prob(cells, targets, given)


@eqx.filter_jit
def _start(model: TypedRow | ProductMixture, cells: Cells, given: Array) -> Any:
    return model.start(cells, given)


@eqx.filter_jit
def _sample(
    model: TypedRow | ProductMixture,
    known: Any,
    head: AbstractHead,
    first: Array,
    key: PRNGKeyArray,
) -> Cell:
    return model.sample(known, head, first, key)


@eqx.filter_jit
def _sample_many(
    model: TypedRow | ProductMixture,
    known: Any,
    column: int,
    cells: Cells,
    seen: Array,
    key: PRNGKeyArray,
) -> Cell:
    return model.sample_many(known, column, cells, seen, key)


@eqx.filter_jit
def _reveal(
    model: TypedRow | ProductMixture, known: Any, rank: Array, cells: Cells, seen: Array
) -> Any:
    return model.reveal(known, rank, cells, seen)
