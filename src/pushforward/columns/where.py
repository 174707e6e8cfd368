"""Conditions on columns, such as `dep_delay > 60 and origin in JFK,LGA`: read from text, and as cuts of heads."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Bool

from pushforward.columns.marginal import Marginal
from pushforward.columns.marginal_circular import CircularMarginal
from pushforward.columns.names import unknown_columns
from pushforward.columns.typed import TypedColumn, missing_cells
from pushforward.columns.typed_columns import TypedColumns
from pushforward.errors import InputError
from pushforward.heads import Cut
from pushforward.words import quoted

FORM = (
    "COLUMN > VALUE (or >=, <, <=, =), COLUMN in VALUE,VALUE,... or COLUMN is missing is expected"
)
_CONDITION = re.compile(r"\s*(>=|<=|==|=|>|<|in\b|is\b)\s*(.*)$", re.IGNORECASE | re.DOTALL)
_PARTS = re.compile(r"(\s+and\s+|,)", re.IGNORECASE)
# How far from a value of the lattice a number may lie and still mean it, in steps.
_NEAR = 1e-6
_MOMENTS = {
    "date": ("%Y-%m-%d",),
    "time": ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"),
}


@dataclass(frozen=True)
class Condition:
    """What the cells of one column are confined to.

    Arguments:
        column: the column.
        intervals: of numbers, ends included, which do not overlap.
        labels: of labels, by number of their level.
        missing: whether the cells are to be missing.
    """

    column: TypedColumn
    intervals: tuple[tuple[float, float], ...] = ()
    labels: frozenset[int] = frozenset()
    missing: bool = False

    @property
    def empty(self) -> bool:
        """Whether no value fulfils it."""
        return not (self.missing or self.intervals or self.labels)

    def holds(self, values: np.ndarray) -> Bool[np.ndarray, " n"]:
        """Which values, as the column reads them, fulfil the condition; missing ones only where it asks for them."""
        gone = missing_cells(values)
        if self.missing:
            return gone
        found = np.zeros(len(values), bool)
        if self.column.numbers is not None:
            for low, high in self.intervals:
                found |= ~gone & (low <= values) & (values <= high)
            return found
        assert self.column.labels is not None
        codes = self.column.labels.codes(np.where(gone, self.column.labels.levels[0], values))
        found |= ~gone & np.isin(codes, list(self.labels))
        return found

    def inside(self, values: np.ndarray) -> np.ndarray:
        """Drawn numbers, moved to the nearest that fulfils the condition: rounding may leave them beyond an end."""
        if self.column.numbers is None or self.missing:
            return values
        near = np.stack([np.clip(values, low, high) for low, high in self.intervals])
        best = np.abs(near - values).argmin(0)
        moved: np.ndarray = np.take_along_axis(near, best[None], 0)[0]
        return moved

    def cut(self, gap: bool = False) -> Cut:
        """The condition for the column's head, or for that of its gaps."""
        if gap:
            one = np.ones(1, np.float32)
            return Cut(np.array([not self.missing, self.missing], np.float32), -one, one, 2 * one)
        labels, numbers = self.column.labels, self.column.numbers
        shares, low, high, width = np.ones(1), np.zeros(1), np.zeros(1), np.ones(1)
        if labels is not None:
            if numbers is None:
                shares = np.isin(np.arange(labels.size), list(self.labels)).astype(float)
            else:
                shares = self.holds(np.array(labels.levels, float)).astype(float)
                if labels.open:
                    # Of all numbers without a level of their own, those inside.
                    others = sum((numbers.share_between(*ends) for ends in self.intervals), 0.0)
                    shares = np.append(shares, min(others, 1.0))
        elif numbers is not None:
            ends = np.array(self.intervals)
            finite = np.where(np.isinf(ends), numbers.center, ends)
            first, last = (numbers.encode(finite[:, i]) for i in (0, 1))
            # A cell reaches up from z, or down where its width is negative.
            low = np.where(np.isinf(ends[:, 0]), -np.inf, first.z + np.minimum(first.width, 0))
            high = np.where(np.isinf(ends[:, 1]), np.inf, last.z + np.maximum(last.width, 0))
            # That of a single cell is more exact than the difference of its ends.
            width = np.where(ends[:, 0] == ends[:, 1], np.abs(last.width), high - low)
        f32 = np.float32
        return Cut(shares.astype(f32), low.astype(f32), high.astype(f32), width.astype(f32))


def conditions_of(text: str, columns: TypedColumns) -> dict[str, Condition]:
    """The conditions of a text by column: several of one column must hold together.

    Arguments:
        text: conditions with commas or `and` between them. Names that hold signs may stand in double quotes, and so
            may values that hold commas.
        columns: what they are about. Values are spelled as the table's are, dates also as 2024-01-31.

    Raises `InputError` for text that is no condition, a name that is no column, a value that its column cannot hold,
    and conditions that no value fulfils.
    """
    parts = _split(text)
    pieces: list[tuple[str, str, list[str]]] = []
    for joint, part in parts:
        found = _read(part, columns)
        if found is not None:
            name, sign, value = found
            pieces.append((name, sign, [value]))
        elif not pieces:
            raise InputError(f"{text!r}: {_why(part, columns)}")
        elif joint.strip() != ",":
            # An "and" within a value.
            pieces[-1][2][-1] += joint + part
        elif pieces[-1][1] == "in":
            pieces[-1][2].append(part.strip())
        else:
            raise InputError(f"{text!r}: {_why(part, columns)}")
    conditions: dict[str, Condition] = {}
    for name, sign, values in pieces:
        column = next(column for column in columns.modelled if column.name == name)
        shown = f"{name} {sign} {','.join(values)}"
        new = _condition(column, sign, [value.strip() for value in values], columns, shown)
        if name in conditions:
            new = _both(conditions[name], new)
        if new.empty:
            raise InputError(f"{text!r}: column '{name}' has no such value{_about(column)}")
        conditions[name] = new
    return conditions


def _split(text: str) -> list[tuple[str, str]]:
    """Parts, each with what stands before it; commas and `and` within double quotes are left alone."""
    hidden: list[str] = []

    def hide(match: re.Match[str]) -> str:
        hidden.append(match[0])
        return f"\0{len(hidden) - 1}\0"

    def shown(part: str) -> str:
        return re.sub("\0(\\d+)\0", lambda match: hidden[int(match[1])], part)

    found = _PARTS.split(re.sub(r'"[^"]*"', hide, text))
    joints = ["", *found[1::2]]
    return [(joint, shown(part)) for joint, part in zip(joints, found[::2], strict=True)]


def _read(part: str, columns: TypedColumns) -> tuple[str, str, str] | None:
    """The column, the sign and the value of a part that begins with a column's name and a sign."""
    part = part.strip()
    for name in sorted(columns.names, key=len, reverse=True):
        for head in (name, f'"{name}"'):
            if not part.startswith(head):
                continue
            found = _CONDITION.match(part[len(head) :])
            # A name may begin with another one's, and a word may with "in".
            if found and (found[1][0] in "<>=" or part[len(head) : len(head) + 1].isspace()):
                return name, found[1].lower().replace("==", "="), found[2]
    return None


def _why(part: str, columns: TypedColumns) -> str:
    found = re.match(r'\s*"?([^"<>=]+?)"?\s*(>=|<=|==|=|>|<|\bin\b|\bis\b)', part)
    if found and found[1] not in columns.names:
        return unknown_columns([found[1]], columns.names, "the model")
    return FORM


def _condition(
    column: TypedColumn, sign: str, texts: list[str], columns: TypedColumns, shown: str
) -> Condition:
    if sign == "is":
        if texts[0].lower() not in ("missing", "null", "na"):
            raise InputError(f"{shown!r}: 'is missing' is expected")
        if column.name not in columns.gaps:
            raise InputError(
                f"{shown!r}: the gaps of column '{column.name}' are not modelled"
                + (f"; modelled are {quoted(columns.gaps)}" if columns.gaps else "")
            )
        return Condition(column, missing=True)
    if not all(texts):
        raise InputError(f"{shown!r}: {FORM}")
    values = _values(column, texts, shown)
    if column.numbers is not None:
        intervals = [_interval(column.numbers, sign, float(value)) for value in values]
        return Condition(column, tuple(sorted(i for i in intervals if i[0] <= i[1])))
    labels = column.labels
    assert labels is not None
    codes = labels.codes(values)
    if (codes == len(labels)).any():
        raise InputError(
            f"{shown!r}: column '{column.name}' has no label {texts[int((codes == len(labels)).argmax())]!r}"
            f"{_about(column)}"
        )
    if sign in ("=", "in"):
        return Condition(column, labels=frozenset(codes.tolist()))
    if column.kind != "ordinal":
        raise InputError(
            f"{shown!r}: the labels of column '{column.name}' have no order: use = or in"
        )
    every = np.arange(len(labels))
    of = {">": every > codes[0], ">=": every >= codes[0], "<": every < codes[0]}
    return Condition(column, labels=frozenset(every[of.get(sign, every <= codes[0])].tolist()))


def _values(column: TypedColumn, texts: Sequence[str], shown: str) -> np.ndarray:
    """Values as the column reads them, from text."""
    texts = [text.strip('"') for text in texts]
    spelling = column.spelling
    series = pl.Series(column.name, texts, pl.String)
    spellings = [spelling]
    if spelling.form == "truth":
        words = [("false", "true"), ("no", "yes"), ("0", "1")]
        spellings = [replace(spelling, words=w) for w in (spelling.words, *words) if w]
    elif spelling.form in _MOMENTS:
        patterns = [spelling.pattern, *_MOMENTS[spelling.form]]
        spellings = [replace(spelling, pattern=pattern) for pattern in patterns if pattern]
    for one in spellings:
        try:
            values = one.read(series)
        except InputError:
            continue
        if not missing_cells(values).any():
            return values
    what = {"number": "a number", "truth": "yes or no", "text": "a label"}
    raise InputError(f"{shown!r}: {what.get(spelling.form, f'a {spelling.form}')} is expected")


def _interval(numbers: Marginal | CircularMarginal, sign: str, value: float) -> tuple[float, float]:
    """The closed interval of values of the column; empty, upside down, where there is none."""
    step, inf = numbers.step, np.inf
    if step:
        at = (value - numbers.offset) / step
        up, down = np.ceil(at - _NEAR), np.floor(at + _NEAR)
        low = {">": down + 1, ">=": up, "=": up, "in": up}.get(sign, -inf)
        high = {"<": up - 1, "<=": down, "=": down, "in": down}.get(sign, inf)
        return float(numbers.offset + low * step), float(numbers.offset + high * step)
    if sign in ("=", "in") and not numbers.is_atom(np.array([value])).any():
        return inf, -inf
    low = {">": np.nextafter(value, inf), ">=": value, "=": value, "in": value}.get(sign, -inf)
    high = {"<": np.nextafter(value, -inf), "<=": value, "=": value, "in": value}.get(sign, inf)
    return float(low), float(high)


def _both(one: Condition, other: Condition) -> Condition:
    crossed = [
        (max(a, c), min(b, d))
        for a, b in one.intervals
        for c, d in other.intervals
        if max(a, c) <= min(b, d)
    ]
    return Condition(
        one.column,
        tuple(sorted(set(crossed))),
        one.labels & other.labels,
        one.missing and other.missing,
    )


def _about(column: TypedColumn) -> str:
    """What the column holds instead."""
    if column.numbers is not None:
        return (
            ""
            if column.numbers.step
            else "; single values of real numbers have no probability, give a range"
        )
    assert column.labels is not None
    return f"; it has {quoted([str(level) for level in column.labels.levels])}"
