"""Kinds of typed columns that users declare, and whether the data allow them."""

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from jaxtyping import Bool, Int

from pushforward.columns.angle import TURN, Angle
from pushforward.columns.base import AbstractColumn
from pushforward.columns.bounded import Bounded
from pushforward.columns.kinds import declared_column
from pushforward.columns.spelling import Spelling
from pushforward.columns.typed_kinds import ANGLES, DECIMALS, KINDS, NUMBER_KINDS, TEXT_KINDS
from pushforward.errors import InputError

_NUMBERS = ("number", "clock", "duration")


@dataclass(frozen=True)
class Declared:
    """The kind that somebody declares for a column.

    Arguments:
        kind: one of `typed_kinds.KINDS`.
        text: as it was declared.
        order: the levels of an ordinal column.
        period: of a circular column.
        low, high: of a bounded column; infinite where there is none.
        pattern: of dates and times in text, as of `strptime`.
    """

    kind: str
    text: str
    order: tuple[str, ...] = ()
    period: float = TURN
    low: float = -np.inf
    high: float = np.inf
    pattern: str | None = None

    @classmethod
    def of(cls, declared: "str | AbstractColumn", name: str) -> "Declared":
        """What a text such as `bounded:0,1`, `ordinal:low,high` or `date:%d/%m/%Y` declares, or a column of
        `pushforward.columns`.

        Arguments:
            declared: the text or the column.
            name: of the column, for messages.

        Raises `InputError` for an unknown kind, and for what its kind cannot have.
        """
        if isinstance(declared, AbstractColumn):
            return cls._of_column(declared, declared.kind)
        text = str(declared).strip()
        word, colon, rest = text.partition(":")
        kind = "circular" if word in ANGLES else word
        if kind not in KINDS:
            known = ", ".join((*KINDS, "angle"))
            raise InputError(f"column '{name}': kind {word!r} is unknown; known are {known}")
        if kind in ("circular", "bounded"):
            try:
                column = declared_column(f"{'angle' if kind == 'circular' else word}{colon}{rest}")
            except InputError as error:
                what = "circular:24" if kind == "circular" else "bounded:0,1 or bounded:0,"
                raise InputError(
                    f"column '{name}': {text!r} is not understood; {what} is expected ({error})"
                ) from None
            return cls._of_column(column, text)
        if kind == "ordinal":
            order = tuple(part.strip() for part in rest.split(","))
            if len(order) < 2 or len(set(order)) < len(order) or not all(order):
                raise InputError(
                    f"column '{name}': {text!r}: the levels in their order are expected, such as ordinal:low,mid,high"
                )
            return cls(kind, text, order=order)
        if kind in ("date", "time") and rest:
            return cls("time" if "%H" in rest or "%I" in rest else "date", text, pattern=rest)
        if rest:
            raise InputError(f"column '{name}': {text!r}: {word} stands alone")
        return cls(kind, text)

    @classmethod
    def _of_column(cls, column: AbstractColumn, text: str) -> "Declared":
        if isinstance(column, Angle):
            return cls("circular", text, period=column.period)
        if isinstance(column, Bounded):
            low = -np.inf if column.low is None else column.low
            return cls(
                "bounded", text, low=low, high=np.inf if column.high is None else column.high
            )
        return cls(column.kind, text)

    @property
    def is_text(self) -> bool:
        """Whether cells are labels as they stand, whatever they look like."""
        return self.kind in TEXT_KINDS

    def check(
        self,
        name: str,
        values: np.ndarray,
        gone: Bool[np.ndarray, " n"],
        spelling: Spelling,
        rows: Int[np.ndarray, " n"],
    ) -> None:
        """Raise `InputError` for the first row whose cell cannot be of the kind.

        Arguments:
            name: of the column.
            values: as `Spelling.read` gives them.
            gone: which are missing.
            spelling: how they are written.
            rows: their numbers in the table.
        """
        seen, rows = values[~gone], rows[~gone]
        if len(seen) == 0 or self.kind in ("category", "identifier", "text"):
            return

        def refuse(bad: np.ndarray, hint: str = "") -> None:
            if bad.any():
                at = int(bad.argmax())
                self._refuse(name, int(rows[at]), spelling.shown(seen[at]), hint)

        every = np.ones(len(seen), bool)
        if self.kind == "ordinal":
            refuse(np.array([cell not in self.order for cell in seen.tolist()]))
        elif self.kind == "constant":
            refuse(seen != seen[0], f" and row {rows[0]} holds {spelling.shown(seen[0])}")
        elif self.kind == "boolean":
            if spelling.form == "text" or spelling.form not in ("truth", "number"):
                refuse(
                    every,
                    ": yes and no, true and false or 1 and 0 are read; other labels are a category",
                )
            refuse(~np.isin(seen, (0.0, 1.0)))
        elif self.kind in ("date", "time"):
            if spelling.form != self.kind:
                other = {"date": "; it holds dates", "time": "; it holds dates with a time of day"}
                refuse(
                    every, other.get(spelling.form, "; a pattern may be given, as in date:%d/%m/%Y")
                )
        elif self.kind in NUMBER_KINDS:
            if spelling.form not in _NUMBERS:
                refuse(every)
            if self.kind == "whole":
                refuse(np.rint(seen) != seen)
            elif self.kind == "decimals":
                scaled = seen * 10.0**DECIMALS
                refuse(
                    np.abs(scaled - np.rint(scaled)) > 1e-6 + 1e-12 * np.abs(scaled),
                    f"; decimals have up to {DECIMALS} digits, others are continuous",
                )
            elif self.kind == "bounded":
                refuse((seen < self.low) | (seen > self.high))

    def _refuse(self, name: str, row: int, shown: str, hint: str) -> NoReturn:
        raise InputError(
            f"column '{name}' is declared {self.text}, but row {row} holds {shown}{hint}"
        )
