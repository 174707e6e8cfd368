"""A fitted joint density of a table of any kind of columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import numpy as np
import polars as pl
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward.architectures.products import Products
from pushforward.architectures.typed import Typed
from pushforward.columns.names import unknown_columns
from pushforward.columns.spelling import as_polars
from pushforward.columns.typed_columns import TypedColumns
from pushforward.columns.where import Condition
from pushforward.distributions.product_mixture import ProductMixture
from pushforward.distributions.typed_layout import Cells
from pushforward.distributions.typed_row import TypedRow
from pushforward.draws import key_of
from pushforward.errors import InputError, check_count, warn
from pushforward.models.steps import Steps, blocked
from pushforward.rows import block_size, broadcasting, share_of_blocks
from pushforward.training.batches import taken
from pushforward.words import plural

BLOCK = 4096
"""Rows of one call of a compiled program; fewer are padded, see `GROWTH`."""
GROWTH = 8
"""Of `block_size`: calls have 64, 512 or 4,096 rows. The programs of a table, some for each column, compile for half a
minute and run for a second."""


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

        Constant columns have no factor; a row with another value there is impossible, -inf, unless `targets` name what
        is scored.

        Arguments:
            table: rows, a frame or a mapping of columns.
            given: names of columns whose cells are given; default none.
            targets: names of columns to score; default all others. What is neither is left out of the row.
            gaps: whether the pattern of missing cells is scored too; default False.
            absent: whether the table may lack columns; default False.

        Raises `InputError` for a name that is no column, and for cells that their columns cannot hold.
        """
        frame = as_polars(table)
        cells = self.log_prob_cells(frame, given, targets=targets, gaps=gaps, absent=absent)
        total: np.ndarray = cells.sum(1)
        return total if targets is not None else total + self.columns.log_prob_of_constants(frame)

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
        parts = [
            self.log_prob_of(*block)
            for block in self.asked(table, given, targets=targets, gaps=gaps, absent=absent)
        ]
        return np.concatenate(parts)

    def asked(
        self,
        table: Any,
        given: Sequence[str] = (),
        *,
        targets: Sequence[str] | None = None,
        gaps: bool = False,
        absent: bool = False,
    ) -> Iterator[tuple[Cells, Bool[np.ndarray, "n d"], Bool[np.ndarray, "n d"]]]:
        """The rows of a table as cells, which of them are to be scored and which are given, some rows at a time.
        Arguments and errors as of `log_prob`."""
        of_values, of_gaps = self._which(given), self._which(given, gap=True)
        wanted = self.columns.values if targets is None else self._which(targets)
        if gaps:
            wanted = wanted | (
                ~self.columns.values if targets is None else self._which(targets, True)
            )
        frame = as_polars(table)
        values = self.columns.read(frame, absent=absent)
        every = frame if targets is None else None
        if (impossible := self.columns.outside(values, wanted & ~of_values, every)) is not None:
            warn(impossible)
        for start in range(0, len(frame) or 1, BLOCK):
            rows = {name: column[start : start + BLOCK] for name, column in values.items()}
            cells = self.columns.encode(rows)
            present = np.asarray(cells.present)
            known = present & (of_values | (of_gaps & gaps))
            yield cells, present & wanted & ~known, known

    def log_prob_of(
        self, cells: Cells, targets: Bool[np.ndarray, "n d"], given: Bool[np.ndarray, "n d"]
    ) -> Float[np.ndarray, "n d"]:
        """Log-probabilities of encoded cells: the targets given the given ones, any in each row."""
        n, found = len(targets), []
        size = block_size(n, BLOCK, GROWTH)
        for start in range(0, n, BLOCK):
            rows = slice(start, start + BLOCK)
            some, wanted, known = blocked(taken((cells, targets, given), rows), size)
            # Where nothing is given the encoder has nothing to do.
            known = known if given[rows].any() else known[:0]
            found.append(np.asarray(_log_prob(self.model, some, wanted, known), np.float64))
        found = [part[: n - i * BLOCK] for i, part in enumerate(found)]
        return np.concatenate([np.zeros((0, targets.shape[1])), *found])

    def sample(
        self,
        n: int,
        seed: int,
        given: Any = None,
        *,
        text: bool = False,
        share: tuple[int, int] = (1, 1),
    ) -> pl.DataFrame:
        """Rows as the table had them; with `given`, n for each of its rows.

        Arguments:
            n: how many.
            seed: of the draws.
            given: rows with some cells, each with its own; missing cells are drawn, the others kept. Default None.
            text: whether cells are to be written as a delimited file had them; default False.
            share: of several workers, which draw all rows together, the number of this one, from 1, and how many there
                are; default the only one.

        Raises `InputError` for a negative n, or cells that their columns cannot hold.
        """
        check_count("n", n, 0)
        few = None if given is None else self.columns.read(as_polars(given), absent=True)
        every = n if few is None else n * len(next(iter(few.values())))
        blocks = share_of_blocks(every, BLOCK, share)
        start, stop = blocks.start * BLOCK, min(blocks.stop * BLOCK, every)
        if few is None:
            values = self.columns.read(pl.DataFrame({"": np.zeros(stop - start)}), absent=True)
        else:
            at = np.arange(start, stop) // max(n, 1)
            values = {name: column[at] for name, column in few.items()}
        wanted = self.columns.values | (given is None)
        drawn, _ = self.walk(values, key_of(seed), wanted, first=blocks.start)
        return self.columns.write(drawn, stop - start, text, before=start)

    def drawn(
        self, values: Mapping[str, np.ndarray], seed: int, *, gaps: bool = False
    ) -> dict[str, np.ndarray]:
        """The values with their missing cells drawn, given the others.

        Arguments:
            values: of the modelled columns, as `TypedColumns.read` gives them.
            seed: of the draws.
            gaps: whether cells may be drawn to be missing, where the model has such gaps; default False.
        """
        return self.walk(values, key_of(seed), self.columns.values | gaps)[0]

    def walk(
        self,
        values: Mapping[str, np.ndarray],
        key: PRNGKeyArray,
        wanted: Bool[np.ndarray, " d"],
        conditions: Mapping[str, Condition] | None = None,
        *,
        first: int = 0,
    ) -> tuple[dict[str, np.ndarray], Float[np.ndarray, " n"]]:
        """The values with missing cells drawn column by column, and the log of each row's weight: of the mass of the
        parts of the columns from which it was drawn; -inf where a given cell does not fulfil a condition.

        Arguments:
            values: of the modelled columns, as `TypedColumns.read` gives them. Cells that are there are given.
            key: of the draws.
            wanted: which of the model's columns are drawn; the others are left out of the rows.
            conditions: by column; default none.
            first: the number of the first block, where others are drawn elsewhere; default 0.
        """
        n = len(next(iter(values.values())))
        blocks, weights = [], [np.zeros(0)]
        for number, start in enumerate(range(0, n, BLOCK), first):
            rows = {name: column[start : start + BLOCK].copy() for name, column in values.items()}
            own = jax.random.fold_in(key, number)
            weights.append(self._walk(rows, own, wanted, conditions or {}))
            blocks.append(rows)
        if not blocks:
            return dict(values), weights[0]
        drawn = {name: np.concatenate([block[name] for block in blocks]) for name in values}
        return drawn, np.concatenate(weights)

    def _walk(
        self,
        values: dict[str, np.ndarray],
        key: PRNGKeyArray,
        wanted: Bool[np.ndarray, " d"],
        conditions: Mapping[str, Condition],
    ) -> Float[np.ndarray, " n"]:
        """One block of `walk`, whose values are filled in: in the model's order, each column read by the next."""
        n = len(next(iter(values.values())))
        size = block_size(n, BLOCK, GROWTH)
        cells = self.columns.encode(values)
        given = np.asarray(cells.present) & self.columns.values
        steps = Steps(self.model, cells, given, size)
        layout, missing, weight = self.model.layout, np.zeros_like(given), np.zeros(n)
        for column in steps.order(wanted):
            of, gap = self.columns.places[column]
            condition = conditions.get(of.name)
            if condition is not None and not gap:
                weight[given[:, column] & ~condition.holds(values[of.name])] = -np.inf
            # The column of the values is the next one: a cell that is given is not missing.
            rows = wanted[column] & ~given[:, column + gap] & ~missing[:, column]
            code, found = np.zeros(n, np.int32), values[of.name]
            if rows.any():
                cut = None if condition is None else condition.cut(gap)
                one = jax.random.fold_in(key, column)
                drawn, mass = steps.draw(column, cells, cells.present, one, cut)
                code, z = (np.asarray(a)[:n] for a in (drawn.code, drawn.z))
                found = self.columns.decode(column, code, z)
                if condition is not None and mass is not None:
                    weight += np.where(rows, np.asarray(mass, np.float64)[:n], 0.0)
                    found = found if gap else condition.inside(found)
                if gap:
                    missing[:, column + 1] = rows & (code == 1)
                else:
                    values[of.name] = found = np.where(rows, found, values[of.name])
                    cells.code[rows, column] = code[rows]
                    cells.present[rows, column] = True
            # Also where nothing is drawn: the units of the next column have to be known.
            own = (
                self.columns.seen(column, code, found) if rows.any() else layout.seen(cells, column)
            )
            steps.reveal(column, own, rows)
        return weight

    def _which(self, names: Sequence[str], gap: bool = False) -> Bool[np.ndarray, " d"]:
        """Which of the model's columns hold the values, or the gaps, of these columns of the table."""
        names = [names] if isinstance(names, str) else list(names)
        if unknown := [name for name in names if name not in self.columns.names]:
            raise InputError(unknown_columns(unknown, self.columns.names, "the model"))
        return np.array([of.name in names and is_gap == gap for of, is_gap in self.columns.places])


@eqx.filter_jit
def _log_prob(
    model: TypedRow | ProductMixture, cells: Cells, targets: Array, given: Array
) -> Array:
    with broadcasting():
        return model.log_prob(cells, targets, given)
