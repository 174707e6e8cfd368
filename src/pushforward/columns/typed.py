"""Columns of a table as it comes: each with a kind, its spelling, and how its cells become a model's."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from pushforward.columns.base import AbstractColumn
from pushforward.columns.declared import Declared
from pushforward.columns.guess_spelling import first_inexact, spelled
from pushforward.columns.labels import Labels
from pushforward.columns.marginal import LEAST, Marginal
from pushforward.columns.marginal_bounded import BoundedMarginal
from pushforward.columns.marginal_circular import CircularMarginal, turned
from pushforward.columns.spelling import Spelling
from pushforward.columns.typed_kinds import DAY, guessed_kind, lattice_step
from pushforward.errors import InputError

FEW_LEVELS, ROWS_PER_LEVEL = 256, 20
"""Different whole numbers up to which a column is read as labels too, and rows that each of them must have on average:
a softmax of too many levels ruins small tables (penguins: -30 nats with 256 levels, -18 with 16)."""
HARMONICS = 4
"""Sines and cosines of an angle that a model sees, of the angle itself and its multiples."""
LEVELS_AT_ALL = 100_000
"""Levels beyond which not even a declared category is taken."""


@dataclass(frozen=True)
class TypedColumn:
    """One column of a table of any kind.

    Arguments:
        name: of the column.
        kind: one of `typed_kinds.KINDS`.
        reason: why it is of that kind.
        spelling: how its values are written.
        labels: of a column of labels, and of one of few whole numbers.
        numbers: of a column of numbers, angles, dates and times.
        constant: the value of a constant column, as `Spelling.read` gives it. It has no factor in a row's probability;
            a row with another value has probability 0.
        missing: the share of missing cells.
        harmonics: periods, in the column's unit, by whose sines and cosines a model sees it besides.
    """

    name: str
    kind: str
    reason: str
    spelling: Spelling
    labels: Labels | None = None
    numbers: Marginal | CircularMarginal | None = None
    constant: Any = None
    missing: float = 0.0
    harmonics: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls,
        series: pl.Series,
        declared: str | AbstractColumn | None = None,
        least: int = LEAST,
        *,
        rows: Int[np.ndarray, " n"] | None = None,
        measured: Bool[np.ndarray, " n"] | None = None,
    ) -> "TypedColumn":
        """Find the kind of a column and measure it.

        Arguments:
            series: the column.
            declared: a kind, as on the command line: `category`, `ordinal:low,mid,high`, `whole`, `decimals`,
                `continuous`, `bounded:0,1`, `circular:360`, `date:%d/%m/%Y`, `boolean`, `constant`, `identifier`; or a
                column of `pushforward.columns`. None to guess.
            least: times that a value is to be seen to be kept: rarer ones are not in a file.
            rows: the numbers of the rows in messages; default from 1.
            measured: which rows levels, frequencies and quantiles are of; default all. The kind is by all rows.

        Raises `InputError`, naming column and row, for an unknown kind, a kind that the data contradict, and cells that
        cannot be read.
        """
        name = series.name.strip()
        series = series.alias(name)
        rows = np.arange(1, len(series) + 1) if rows is None else rows
        wanted = None if declared is None else Declared.of(declared, name)
        pattern = None if wanted is None or not wanted.pattern else (wanted.kind, wanted.pattern)
        as_text = wanted is not None and wanted.is_text
        values, spelling = spelled(series, rows, pattern=pattern, as_text=as_text)
        gone = missing_cells(values)
        _refuse_infinite(name, values, spelling, rows)
        if wanted is None:
            kind, reason = guessed_kind(name, values, gone, spelling)
            if (at := first_inexact(series, values, spelling)) is not None:
                kind, reason = _beyond_floats(name, series, at, rows)
        else:
            wanted.check(name, values, gone, spelling, rows)
            kind, reason = wanted.kind, "declared"
        share = float(gone.mean()) if len(gone) else 1.0
        column = cls(name, kind, reason, spelling, missing=share)
        every = values[~gone]
        if kind in ("identifier", "text"):
            return column
        if kind == "constant":
            return replace(column, constant=every[0] if len(every) else None)
        seen = every if measured is None else values[~gone & measured]
        if len(seen) == 0:
            return replace(column, kind="constant", reason="no row to measure it has a cell")
        if kind in ("boolean", "category", "ordinal"):
            return column._with_labels(seen, every, wanted, least)
        return column._with_numbers(seen, every, wanted, least)

    def _with_labels(
        self, seen: np.ndarray, every: np.ndarray, wanted: Declared | None, least: int
    ) -> "TypedColumn":
        """The column with the labels of the cells that are seen, of all of them."""
        if self.kind == "category":
            labels = Labels.fit(seen.tolist(), least)
            if len(labels) == 0:
                none = f"no label is seen {least} times"
                return replace(self, kind="identifier", reason=none)
            if len(labels) > LEVELS_AT_ALL:
                raise InputError(
                    f"column '{self.name}' has {len(labels):,} levels that are seen {least} times, more than "
                    f"{LEVELS_AT_ALL:,}: leave it out, or keep only levels that are seen more often"
                )
            return replace(self, labels=labels)
        order = wanted.order if wanted is not None and wanted.order else sorted(set(every.tolist()))
        return replace(self, labels=Labels.fit(seen.tolist(), 0, order, open=False))

    def _with_numbers(
        self, seen: np.ndarray, every: np.ndarray, wanted: Declared | None, least: int
    ) -> "TypedColumn":
        """The column with the distribution of the numbers that are seen, of all of them."""
        harmonics: tuple[float, ...] = ()
        if self.kind == "circular":
            period = wanted.period if wanted is not None else DAY
            step = lattice_step(turned(every, 0.0, period))
            circle = CircularMarginal.fit(seen, period, step, least)
            seen = circle.canonical(seen)
            numbers: Marginal | CircularMarginal = circle
            harmonics = tuple(period / k for k in range(1, HARMONICS + 1))
        else:
            step = (
                lattice_step(every, self.kind == "decimals") if self.kind != "continuous" else 0.0
            )
            if self.kind == "bounded":
                assert wanted is not None
                numbers = BoundedMarginal.fit(seen, step, least, low=wanted.low, high=wanted.high)
            else:
                numbers = Marginal.fit(seen, step, least)
            if self.spelling.form == "date":
                harmonics = (7.0, 365.2425)
            elif self.spelling.form == "time":
                harmonics = (DAY, 7 * DAY, 365.2425 * DAY)
        levels = None
        if step and self.kind in ("whole", "decimals", "bounded", "circular"):
            found = Labels.fit(seen.tolist(), least)
            distinct = len(found) + (found.unseen if found.others else 0)
            if distinct <= FEW_LEVELS and len(seen) >= ROWS_PER_LEVEL * distinct:
                # On a circle there may be no other value.
                full = isinstance(numbers, CircularMarginal) and numbers.full and not found.others
                levels = replace(found, open=not full)
        return replace(self, labels=levels, numbers=numbers, harmonics=harmonics)

    @property
    def modelled(self) -> bool:
        """Whether a model has a head for it."""
        return self.labels is not None or self.numbers is not None

    @property
    def log_gaps(self) -> Float[np.ndarray, " 2"]:
        """Log-probabilities of a cell that is there and of one that is missing, by their shares."""
        share = np.clip(self.missing, 1e-6, 1 - 1e-6)
        found: np.ndarray = np.log([1 - share, share])
        return found

    @property
    def measure(self) -> str:
        """What the model gives for a cell: a probability, a density, or either."""
        if self.labels is not None:
            return "probability"
        return "" if self.numbers is None else self.numbers.measure

    def read(self, series: pl.Series) -> np.ndarray:
        """The values of the same column in another table.

        Raises `InputError`, naming column and row, for a cell that cannot be one of this column.
        """
        series = series.alias(self.name)
        values = self.spelling.read(series)
        if self.labels is not None and not self.labels.open and self.spelling.form == "text":
            unknown = ~missing_cells(values) & (
                self.labels.codes(_filled(values, self.labels.levels[0])) == len(self.labels)
            )
            if unknown.any():
                row = int(unknown.argmax())
                raise InputError(
                    f"column '{self.name}' holds {values[row]!r} in row {row + 1}, not one of "
                    f"{', '.join(map(str, self.labels.levels))}"
                )
        _refuse_infinite(self.name, values, self.spelling, np.arange(1, len(values) + 1))
        if isinstance(self.numbers, CircularMarginal):
            values = self.numbers.canonical(values)
        return values

    def outside(self, values: np.ndarray) -> Bool[np.ndarray, " n"]:
        """Which values are impossible for the column, such as those beyond its bounds."""
        if not isinstance(self.numbers, BoundedMarginal):
            return np.zeros(len(values), bool)
        return self.numbers.outside(values)

    def astray(self, series: pl.Series) -> Bool[np.ndarray, " n"]:
        """Which cells of a constant column in another table hold another value. Raises `InputError` as `read` does."""
        values, own = self.read(series), self.constant
        if series.dtype == pl.Float32:
            own = float(np.float32(own))
        found: np.ndarray = ~missing_cells(values) & (values != own)
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data, which JSON keeps exactly."""
        return {
            "name": self.name,
            "kind": self.kind,
            "reason": self.reason,
            "spelling": self.spelling.to_json(),
            "labels": None if self.labels is None else self.labels.to_json(),
            "numbers": None if self.numbers is None else self.numbers.to_json(),
            "constant": self.constant,
            "missing": self.missing,
            "harmonics": list(self.harmonics),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "TypedColumn":
        """The inverse of `to_json`."""
        labels = data["labels"]
        return cls(
            **{
                **data,
                "spelling": Spelling.from_json(data["spelling"]),
                "labels": None if labels is None else Labels.from_json(labels),
                "numbers": _numbers_from_json(data["numbers"]),
                "harmonics": tuple(data["harmonics"]),
            }
        )


def missing_cells(values: np.ndarray) -> Bool[np.ndarray, " n"]:
    """Which values, as `Spelling.read` gives them, stand for missing cells."""
    if values.dtype == object:
        return np.array([cell is None for cell in values], bool)
    gone: np.ndarray = np.isnan(values)
    return gone


def _filled(values: np.ndarray, filling: Any) -> np.ndarray:
    """Values with missing cells filled."""
    return np.where(missing_cells(values), filling, values)


def _refuse_infinite(
    name: str, values: np.ndarray, spelling: Spelling, rows: Int[np.ndarray, " n"]
) -> None:
    if spelling.form == "text" or not (bad := np.isinf(values)).any():
        return
    at = int(bad.argmax())
    raise InputError(
        f"column '{name}' holds {values[at]:g} in row {rows[at]}: a number or an empty cell is expected"
    )


def _beyond_floats(
    name: str, series: pl.Series, at: int, rows: Int[np.ndarray, " n"]
) -> tuple[str, str]:
    """The kind of a column of whole numbers that floats do not tell apart, and the reason."""
    cells = series.drop_nulls()
    if cells.n_unique() == len(cells) > 20:
        return "identifier", "every cell differs, in whole numbers beyond 2^53"
    raise InputError(
        f"column '{name}' holds {series[at]} in row {rows[at]}, beyond 2^53, where floats do not tell whole numbers "
        f"apart: declare {name}=category or {name}=identifier, or {name}=continuous to have it rounded"
    )


def _numbers_from_json(data: dict[str, Any] | None) -> Marginal | CircularMarginal | None:
    if data is None:
        return None
    if "period" in data:
        return CircularMarginal.from_json(data)
    return (BoundedMarginal if "low" in data else Marginal).from_json(data)


def harmonics_of(column: TypedColumn, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
    """Sines and cosines of a column's values, for each of its periods."""
    turns = np.exp(2j * np.pi * np.mod(values[:, None] / np.array(column.harmonics), 1.0))
    return np.stack([turns.real, turns.imag], axis=2).reshape(len(values), -1)
