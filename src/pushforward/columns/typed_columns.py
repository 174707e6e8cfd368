"""All columns of a table as it comes: from a frame to cells, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from pushforward.columns.base import AbstractColumn
from pushforward.columns.marginal import LEAST
from pushforward.columns.marginal_circular import CircularMarginal
from pushforward.columns.names import unknown_columns
from pushforward.columns.pairs import best_parent
from pushforward.columns.typed import TypedColumn
from pushforward.columns.typed_cells import cells_of, seen_of
from pushforward.distributions.typed_layout import Cells, Roles, Seen
from pushforward.errors import InputError
from pushforward.heads import AbstractHead, Logistics, Softmax, WrappedCauchy
from pushforward.words import quoted

GAP_SHARE = 0.005
"""Share of missing cells from which on "is missing" is a column of its own."""


@dataclass(frozen=True)
class TypedColumns:
    """The columns of a table of any kind.

    The model's columns are those that it has a head for, in the table's order; before each that lacks cells stands a
    column "is missing" of its own, so that gaps are modelled too.

    Arguments:
        every: all columns of the table.
        gaps: names of the columns whose gaps are modelled.
        parents: for each of the model's columns of many labels the column beside whose labels its own are counted, or
            None; set by `counted`.
    """

    every: tuple[TypedColumn, ...]
    gaps: tuple[str, ...] = ()
    parents: tuple[int | None, ...] = ()

    @classmethod
    def fit(
        cls,
        frame: pl.DataFrame,
        *,
        declared: Mapping[str, str | AbstractColumn] | None = None,
        ignore: Sequence[str] = (),
        gaps: bool = True,
        least: int = LEAST,
        rows: Int[np.ndarray, " n"] | None = None,
        measured: Bool[np.ndarray, " n"] | None = None,
    ) -> "TypedColumns":
        """Find the kinds of all columns and measure them.

        Arguments:
            frame: the table.
            declared: kinds by name; default none, all are guessed.
            ignore: names of columns to leave out; default none.
            gaps: whether gaps are modelled; default True.
            least: times that a value is to be seen to be kept.
            rows, measured: as of `TypedColumn.fit`.

        Raises `InputError` for a name that is no column, a table without a column to model, and what
        `TypedColumn.fit` raises.
        """
        names = [name.strip() for name in frame.columns]
        declared = {str(name): kind for name, kind in (declared or {}).items()}
        if unknown := [name for name in (*declared, *ignore) if name not in names]:
            raise InputError(unknown_columns(unknown, names, "the table"))
        every = tuple(
            TypedColumn.fit(series, declared.get(name), least, rows=rows, measured=measured)
            for name, series in zip(names, frame.get_columns(), strict=True)
            if name not in ignore
        )
        if not any(column.modelled for column in every):
            raise InputError(
                "no column is left to model: "
                + "; ".join(f"'{column.name}': {column.kind}, {column.reason}" for column in every)
            )
        lacking = tuple(
            column.name for column in every if column.modelled and column.missing >= GAP_SHARE
        )
        return cls(every, lacking if gaps else ())

    @cached_property
    def modelled(self) -> tuple[TypedColumn, ...]:
        """The columns that have a head, in the table's order."""
        return tuple(column for column in self.every if column.modelled)

    @cached_property
    def places(self) -> tuple[tuple[TypedColumn, bool], ...]:
        """The model's columns: a column of the table, and whether its gaps are meant instead of its values."""
        found: list[tuple[TypedColumn, bool]] = []
        for column in self.modelled:
            if column.name in self.gaps:
                found.append((column, True))
            found.append((column, False))
        return tuple(found)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the modelled columns."""
        return tuple(column.name for column in self.modelled)

    @cached_property
    def values(self) -> Bool[np.ndarray, " d"]:
        """Which of the model's columns are values, not gaps."""
        return np.array([not gap for _, gap in self.places])

    def read(self, frame: pl.DataFrame, *, absent: bool = False) -> dict[str, np.ndarray]:
        """The values of the modelled columns of another table.

        Arguments:
            frame: the table; other columns of it are not looked at.
            absent: whether columns may be absent, all of their cells missing; default False.

        Raises `InputError` for a column that is absent, or a cell that its column cannot hold.
        """
        found = {series.name.strip(): series for series in frame.get_columns()}
        lacking = [name for name in self.names if name not in found]
        if lacking and not absent:
            raise InputError(
                f"the table lacks column {quoted(lacking)}; it has {quoted(list(found))}"
            )
        values = {}
        for column in self.modelled:
            series = found.get(column.name)
            if series is None:
                values[column.name] = column.spelling.filled(None, len(frame))
            else:
                values[column.name] = column.read(series)
        return values

    def strays(self, frame: pl.DataFrame) -> dict[str, Bool[np.ndarray, " n"]]:
        """Of the constant columns that a table has, the rows that hold another value than all rows of the fit.

        Raises `InputError` for a cell that its column cannot hold.
        """
        constant = {column.name: column for column in self.every if column.constant is not None}
        named = {series.name.strip(): series for series in frame.get_columns()}
        return {
            name: constant[name].astray(series)
            for name, series in named.items()
            if name in constant
        }

    def log_prob_of_constants(self, frame: pl.DataFrame) -> Float[np.ndarray, " n"]:
        """What constant columns add to the log-probability of each row: 0, or -inf where one holds another value."""
        strays = [np.zeros(len(frame), bool), *self.strays(frame).values()]
        return np.where(np.logical_or.reduce(strays), -np.inf, 0.0)

    def outside(
        self,
        values: Mapping[str, np.ndarray],
        which: Bool[np.ndarray, " d"],
        frame: pl.DataFrame | None = None,
    ) -> str | None:
        """What to say of rows that are impossible because a value lies beyond the bounds of its column, or is another
        than that of a constant one; None without such rows.

        Arguments:
            values: as `read` returns them.
            which: the model's columns to look at.
            frame: the table whose constant columns are looked at; default None, no table's.
        """
        bad = {
            column.name: column.outside(values[column.name])
            for (column, gap), chosen in zip(self.places, which, strict=True)
            if chosen and not gap
        }
        strays = {} if frame is None else self.strays(frame)
        bad |= strays
        every = np.logical_or.reduce(list(bad.values())) if bad else np.zeros(0, bool)
        if not every.any():
            return None
        row = int(every.argmax())
        name = next(name for name, which in bad.items() if which[row])
        if frame is not None and name in strays:
            series = next(own for own in frame.get_columns() if own.name.strip() == name)
            what = f"{series[row]!r}, not the one value that every training row holds"
        else:
            what = (
                f"{values[name][row]:.6g}, beyond its bounds or at one that no training row touches"
            )
        return (
            f"{int(every.sum()):,} of {len(every):,} rows are impossible (log-probability -inf), the first in row "
            f"{row + 1}: column '{name}' holds {what}"
        )

    def encode(self, values: Mapping[str, np.ndarray]) -> Cells:
        """Values, as `read` returns them, to cells: in single precision, `(n, d)` and a few further features."""
        parts = [cells_of(column, values[column.name], gap) for column, gap in self.places]
        whole = [np.stack(arrays, axis=1) for arrays in list(zip(*parts, strict=True))[:-1]]
        whole.append(np.concatenate([part.extra for part in parts], axis=1))
        return Cells(*whole)

    def put(self, cells: Cells, i: int, values: np.ndarray) -> None:
        """Encode the values of the model's column i into their place among cells, which are changed. Of a column of
        gaps, NaN is a missing cell."""
        part = cells_of(self.places[i][0], values, self.places[i][1])
        for array, own in zip(cells[:7], part[:7], strict=True):
            np.asarray(array)[:, i] = own
        np.asarray(cells.extra)[:, np.array(self.extras, int) == i] = part.extra

    def seen(self, i: int, code: np.ndarray, values: np.ndarray) -> Seen:
        """Cells of the model's column i as later columns read them.

        Arguments:
            i: the column.
            code: of labels.
            values: of numbers; of columns of labels they are not looked at.
        """
        levels = self._levels[i]
        if levels is None:
            return seen_of(cells_of(self.places[i][0], values, False))
        of = [part[np.minimum(code, len(part) - 1)] for part in levels]
        return Seen(code.astype(np.int32), *of[1:])

    @cached_property
    def _levels(self) -> list[Seen | None]:
        """Every level of the columns of labels as later columns read it."""
        found: list[Seen | None] = []
        for column, gap in self.places:
            if gap:
                found.append(seen_of(cells_of(column, np.array([0.0, np.nan]), gap)))
            elif column.labels is not None:
                kind = object if column.spelling.form == "text" else float
                levels = np.array(column.labels.levels, kind)
                found.append(seen_of(cells_of(column, levels, gap)))
            else:
                found.append(None)
        return found

    @cached_property
    def extras(self) -> tuple[int, ...]:
        """The model's column of each further feature."""
        return tuple(
            i
            for i, (column, gap) in enumerate(self.places)
            if not gap
            for _ in range(2 * len(column.harmonics))
        )

    def layout(self, components: int) -> Roles:
        """A head for each of the model's columns, and how each is read; the order is left open.

        Arguments:
            components: logistics of a column of numbers.
        """
        heads: list[AbstractHead] = []
        for column, gap in self.places:
            if gap:
                heads.append(Softmax(2))
            elif column.labels is not None:
                heads.append(Softmax(column.labels.size, column.labels.open))
            elif isinstance(column.numbers, CircularMarginal):
                heads.append(WrappedCauchy(components))
            else:
                heads.append(Logistics(components))
        # Angles are read by their harmonics alone, which do not jump at the seam.
        numbers = tuple(
            not (gap or column.numbers is None or isinstance(column.numbers, CircularMarginal))
            for column, gap in self.places
        )
        names = list(self.names)
        sources = tuple(names.index(column.name) for column, _ in self.places)
        return Roles(tuple(heads), numbers, self.extras, sources, self.parents)

    def counted(
        self, cells: Cells, least: int = LEAST
    ) -> tuple["TypedColumns", dict[int, np.ndarray]]:
        """What heads of labels say before training, by the model's column: the logarithms of frequencies; for a column
        of many labels those beside each label of the column that predicts it best.

        Arguments:
            cells: the training rows.
            least: times that two labels must be seen together to be counted.

        Returns the columns, which know these parents, and the logarithms.
        """
        roles, start, parents = self.layout(1), self.log_frequencies(), []
        sizes = [head.size if isinstance(head, Softmax) else 0 for head in roles.heads]
        others = {
            i: size
            for i, size in enumerate(sizes)
            if size and i not in roles.many and self.values[i]
        }
        for column in roles.many:
            labels = self.places[column][0].labels
            assert labels is not None
            codes, present = np.asarray(cells.code), np.asarray(cells.present)
            own = np.where(present[:, column], codes[:, column], -1)
            parent, start[column] = best_parent(
                own,
                np.exp(labels.log_prob),
                {i: (np.where(present[:, i], codes[:, i], -1), size) for i, size in others.items()},
                least,
            )
            parents.append(parent)
        return replace(self, parents=tuple(parents)), start

    def log_frequencies(self) -> dict[int, np.ndarray]:
        """The logarithms of the frequencies of labels and of gaps, by the model's column."""
        found = {}
        for i, (column, gap) in enumerate(self.places):
            if gap:
                found[i] = column.log_gaps
            elif column.labels is not None:
                found[i] = column.labels.log_prob
        return found

    def decode(self, i: int, code: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Values of the model's column i from drawn codes, or points on the scale z."""
        column, gap = self.places[i]
        if gap:
            return code.astype(float)
        if column.labels is None:
            assert column.numbers is not None
            x = column.numbers.decode(z)
            if (
                isinstance(column.numbers, CircularMarginal)
                and column.spelling.decimals is not None
            ):
                # Rounded here, as rounding may reach the end of the turn.
                x = column.numbers.canonical(np.round(x, column.spelling.decimals))
            return x
        kind = object if column.spelling.form == "text" else float
        levels = np.array(column.labels.levels, kind)
        drawn: np.ndarray = levels[np.minimum(code, len(levels) - 1)]
        return drawn

    def write(
        self, values: Mapping[str, np.ndarray], rows: int, text: bool = False, before: int = 0
    ) -> pl.DataFrame:
        """Values as a frame with all columns of the table: constants come back, identifiers are numbered anew, long
        text is left out.

        Arguments:
            values: of the modelled columns.
            rows: their number.
            text: whether cells are to be written as a delimited file had them.
            before: rows that come before these, in numbers of identifiers; default 0.
        """
        found = []
        for column in self.every:
            if column.modelled:
                cells = values[column.name]
            elif column.kind == "constant":
                cells = column.spelling.filled(column.constant, rows)
            elif column.kind == "identifier":
                cells = np.arange(before + 1.0, before + rows + 1)
                if column.spelling.form == "text":
                    numbers = range(before + 1, before + rows + 1)
                    cells = np.array([str(i) for i in numbers], object)
            else:
                continue
            found.append(column.spelling.write(cells, column.name, text))
        return pl.DataFrame(found)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "every": [column.to_json() for column in self.every],
            "gaps": list(self.gaps),
            "parents": list(self.parents),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "TypedColumns":
        """The inverse of `to_json`."""
        every = tuple(TypedColumn.from_json(column) for column in data["every"])
        return cls(every, tuple(data["gaps"]), tuple(data["parents"]))


def empty_rows(frame: pl.DataFrame) -> Bool[np.ndarray, " n"]:
    """The rows in which no cell holds anything."""

    def empty(series: pl.Series) -> pl.Series:
        if series.dtype == pl.String:
            return series.is_null() | (series.str.strip_chars() == "")
        if series.dtype.is_float():
            return series.is_null() | series.is_nan().fill_null(True)
        return series.is_null()

    gone: np.ndarray = np.ones(len(frame), bool)
    for series in frame.get_columns():
        gone &= empty(series).to_numpy()
    return gone
