"""Columns of a table as it comes: each with a kind, its spelling, and how its cells become a model's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from pushforward.columns.labels import Labels
from pushforward.columns.marginal import LEAST, Marginal
from pushforward.columns.spelling import Spelling, spelled
from pushforward.errors import InputError

FEW_LEVELS, ROWS_PER_LEVEL = 256, 20
"""Different whole numbers up to which a column is read as labels too, and rows that each of them must have on average:
a softmax of too many levels ruins small tables (penguins: -30 nats with 256 levels, -18 with 16)."""
MOST_LEVELS = 4096
"""Levels of text beyond which a column is not modelled."""
LONG_TEXT, WORDS = 40, 5
DECIMALS = 4
"""Digits after the point up to which rounded decimals are looked for."""
EXACT = 2.0**53
NUMBER_KINDS = ("whole", "decimals", "continuous", "date", "time")
ANGLES = ("angle", "circular")
"""Words that declare continuous numbers on a circle."""
KINDS = (*NUMBER_KINDS, "boolean", "category", "ordinal", "constant", "identifier", "text")
_IDENTIFIER = re.compile(
    r"(^|[_\W])(id|uuid|guid|key|index)$|^(unnamed.*|_duplicated.*)$", re.IGNORECASE
)


@dataclass(frozen=True)
class TypedColumn:
    """One column of a table of any kind.

    Arguments:
        name: of the column.
        kind: one of `KINDS`.
        reason: why it is of that kind.
        spelling: how its values are written.
        labels: of a column of labels, and of one of few whole numbers.
        numbers: of a column of numbers, dates and times.
        constant: the value of a constant column, as `Spelling.read` gives it.
        missing: the share of missing cells.
        harmonics: periods, in the column's unit, by whose sines and cosines a model sees it besides.
    """

    name: str
    kind: str
    reason: str
    spelling: Spelling
    labels: Labels | None = None
    numbers: Marginal | None = None
    constant: Any = None
    missing: float = 0.0
    harmonics: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls, series: pl.Series, declared: str | None = None, least: int = LEAST
    ) -> "TypedColumn":
        """Find the kind of a column and measure it.

        Arguments:
            series: the column.
            declared: a kind, as on the command line: `category`, `ordinal:low,mid,high`, `whole`, `decimals`,
                `continuous`, `identifier`, `angle:360`; None to guess.
            least: times that a value is to be seen to be kept: rarer ones are not in a file.

        Raises `InputError` for an unknown kind, and for a kind that the data contradict, naming column and row.
        """
        name = series.name.strip()
        word, _, rest = (declared or "").partition(":")
        if word in ("category", "ordinal", "identifier", "text") and series.dtype != pl.String:
            series = series.cast(pl.String)
        if word in ("category", "ordinal"):
            values, spelling = _as_text(series)
        else:
            values, spelling = spelled(series.alias(name))
        gone = missing_cells(values)
        share = float(gone.mean()) if len(gone) else 1.0
        kind, reason = _kind_of(name, values, gone, spelling)
        order: tuple[str, ...] | None = None
        if declared is not None:
            kind, reason = _declared(word, name, values, gone, spelling), "declared"
            order = tuple(part.strip() for part in rest.split(",")) if word == "ordinal" else None
        column = cls(name, kind, reason, spelling, missing=share)
        seen = values[~gone]
        if kind in ("identifier", "text"):
            return column
        if kind == "constant":
            return replace(column, constant=seen[0] if len(seen) else None)
        if kind in ("boolean", "category", "ordinal"):
            if order is not None:
                _check_order(name, seen, gone, order)
            few = least if kind == "category" else 1
            labels = Labels.fit(seen.tolist(), few, order, open=kind == "category")
            if len(labels) == 0:
                none = f"no label is seen {least} times"
                return replace(column, kind="identifier", reason=none)
            return replace(column, labels=labels)
        step = _step(seen) if kind != "continuous" else 0.0
        numbers = Marginal.fit(seen, step, least)
        levels = None
        if step and kind in ("whole", "decimals"):
            found = Labels.fit(seen.tolist(), least)
            distinct = len(found) + (found.unseen if found.others else 0)
            if distinct <= FEW_LEVELS and len(seen) >= ROWS_PER_LEVEL * distinct:
                levels = found
        harmonics = _harmonics(word, rest, spelling, seen, name)
        return replace(column, labels=levels, numbers=numbers, harmonics=harmonics)

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
        if self.spelling.form == "text" and series.dtype != pl.String:
            series = series.cast(pl.String)
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
        if self.numbers is not None:
            bad = np.isinf(values)
            if bad.any():
                raise InputError(
                    f"column '{self.name}' holds {values[bad.argmax()]:g} in row {bad.argmax() + 1}"
                )
        return values

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
        labels, numbers = data["labels"], data["numbers"]
        return cls(
            **{
                **data,
                "spelling": Spelling.from_json(data["spelling"]),
                "labels": None if labels is None else Labels.from_json(labels),
                "numbers": None if numbers is None else Marginal.from_json(numbers),
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


def _as_text(series: pl.Series) -> tuple[np.ndarray, Spelling]:
    spelling = Spelling("text", "String")
    return spelling.read(series), spelling


def _kind_of(
    name: str, values: np.ndarray, gone: np.ndarray, spelling: Spelling
) -> tuple[str, str]:
    """The kind of a column by its values, and the reason."""
    seen = values[~gone]
    if len(seen) == 0:
        return "constant", "every cell is missing"
    distinct = len(set(seen.tolist())) if values.dtype == object else len(np.unique(seen))
    if distinct == 1:
        return "constant", f"every cell holds {spelling.write(seen[:1], name, text=True)[0]}"
    if spelling.form == "truth":
        return "boolean", "holds yes and no only"
    if spelling.form in ("date", "time"):
        return (
            spelling.form,
            "holds dates" if spelling.form == "date" else "holds dates with a time of day",
        )
    if spelling.form == "text":
        return _kind_of_text(name, seen, distinct)
    whole = (np.rint(seen) == seen).all() and np.abs(seen).max() < EXACT
    if (
        whole
        and distinct == len(seen)
        and len(seen) > 20
        and (_IDENTIFIER.search(name) or _counts(seen))
    ):
        return "identifier", "every cell differs" + (
            "" if _IDENTIFIER.search(name) else " and they increase one by one"
        )
    if whole:
        return "whole", "holds whole numbers only"
    if _step(seen):
        return "decimals", f"holds multiples of {_step(seen):g} only"
    return "continuous", f"holds {seen[np.rint(seen) != seen][0]:.6g}"


def _kind_of_text(name: str, seen: np.ndarray, distinct: int) -> tuple[str, str]:
    lengths = np.array([len(cell) for cell in seen.tolist()])
    if distinct == len(seen) and len(seen) > 20:
        return "identifier", "every cell differs"
    if (
        np.mean(lengths) > LONG_TEXT
        or np.mean([cell.count(" ") for cell in seen.tolist()]) >= WORDS
    ):
        return "text", f"holds long text ({np.mean(lengths):.0f} characters on average)"
    if distinct > len(seen) / 2 and len(seen) > 20:
        return "identifier", f"{distinct:,} different texts in {len(seen):,} cells"
    if distinct > MOST_LEVELS:
        return "text", f"holds {distinct:,} different texts, more than {MOST_LEVELS:,}"
    return "category", f"holds {distinct:,} different texts"


def _counts(seen: np.ndarray) -> bool:
    """Whether numbers are 0, 1, 2, ... in the order of the rows."""
    return bool((np.diff(seen) == 1).all())


def _step(seen: np.ndarray) -> float:
    """The distance of a lattice on which all values lie, whole or of few decimals; 0 without one."""
    distinct = np.unique(seen)
    if np.abs(distinct).max() >= EXACT or len(distinct) < 2:
        return 0.0
    for digits in range(DECIMALS + 1):
        scaled = distinct * 10.0**digits
        whole = np.rint(scaled)
        if np.abs(whole).max() < EXACT and np.allclose(scaled, whole, rtol=1e-12, atol=1e-6):
            # Decimals that hardly repeat are real numbers that were printed with few digits.
            if digits and len(distinct) > 0.5 * len(seen):
                return 0.0
            return float(np.gcd.reduce(np.diff(whole).astype(np.int64))) / 10.0**digits
    return 0.0


def _declared(
    word: str, name: str, values: np.ndarray, gone: np.ndarray, spelling: Spelling
) -> str:
    """The declared kind, if the values allow it."""
    kind = "continuous" if word in ANGLES else word
    if kind not in KINDS:
        raise InputError(
            f"column '{name}': kind {word!r} is unknown; known are {', '.join((*KINDS, *ANGLES))}"
        )
    if kind in NUMBER_KINDS and spelling.form == "text" and not gone.all():
        row = int(np.argmin(gone))
        raise InputError(
            f"column '{name}' is declared {word}, but row {row + 1} holds {values[row]!r}"
        )
    if kind == "whole":
        bad = ~gone & (np.rint(np.where(gone, 0, values)) != np.where(gone, 0, values))
        if bad.any():
            row = int(bad.argmax())
            raise InputError(
                f"column '{name}' is declared whole, but row {row + 1} holds {values[row]:g}"
            )
    return kind


def _check_order(name: str, seen: np.ndarray, gone: np.ndarray, order: Sequence[str]) -> None:
    unknown = [cell not in order for cell in seen.tolist()]
    if any(unknown):
        at = int(np.argmax(unknown))
        row = int(np.flatnonzero(~gone)[at]) + 1
        raise InputError(
            f"column '{name}' is declared ordinal:{','.join(order)}, but row {row} holds {seen[at]!r}"
        )


_DAY = 86_400 * 1_000_000.0


def _harmonics(
    word: str, rest: str, spelling: Spelling, seen: np.ndarray, name: str
) -> tuple[float, ...]:
    """Periods by which a model sees a column besides."""
    if word in ANGLES:
        try:
            period = float(rest) if rest else 2 * np.pi
        except ValueError:
            raise InputError(f"column '{name}': {rest!r} is not a period") from None
        return (period, period / 2)
    if spelling.form == "date":
        return (7.0, 365.2425)
    if spelling.form == "time":
        return (_DAY, 7 * _DAY, 365.2425 * _DAY)
    return ()


def harmonics_of(column: TypedColumn, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
    """Sines and cosines of a column's values, for each of its periods."""
    turns = np.exp(2j * np.pi * np.mod(values[:, None] / np.array(column.harmonics), 1.0))
    return np.stack([turns.real, turns.imag], axis=2).reshape(len(values), -1)
