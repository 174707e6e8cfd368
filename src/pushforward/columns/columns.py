"""All columns of a table: conversion from its units to those of a model, and back."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pushforward.columns.angle import Angle
from pushforward.columns.base import AbstractColumn
from pushforward.columns.bounded import Bounded
from pushforward.columns.constant import Constant
from pushforward.columns.continuous import Continuous
from pushforward.columns.dependence import check_dependence
from pushforward.columns.guess import guess
from pushforward.columns.kinds import (
    column_from_json,
    columns_from_lists,
    damaged,
    declared_column,
)
from pushforward.columns.names import stand_in_names, unknown_columns
from pushforward.columns.relations import Units
from pushforward.columns.values import check_finite
from pushforward.columns.whole import Whole
from pushforward.errors import InputError
from pushforward.words import plural, quoted

LARGEST = float(np.finfo(np.float64).max) / 4
"""Larger numbers are refused: their differences would overflow."""
FAR = 1e18
"""Encoded values are clipped to this many spreads, whose square still fits in float32."""
FEWEST_ROWS = 3
DECLARED = "declared"
"""The reason for a kind that is not guessed."""


def row_name(row: int) -> str:
    """What to call a row in messages, by its index."""
    return f"row {row + 1}"


@dataclass(frozen=True)
class Columns:
    """The columns of a table, each with its kind and units.

    Rows of the table `(n, d)` become rows of a model `(n, width)`, where constant columns are left out. For a
    log-density in the table's units, add `log_det` to the model's. Columns of whole numbers, and others on a lattice,
    need noise in training: fit to `encode(x) + noise * v` with v uniform on `[-1/2, 1/2)`.

    Arguments:
        names: the d names.
        kinds: the d columns.
        reasons: why each is of its kind; default empty, for unknown.

    ```python
    >>> import numpy as np, pushforward as pf
    >>> columns = pf.columns.Columns.fit(np.array([[0.5, 10], [1.5, 30], [2.7, 10], [3.1, 40]]), ["a", "n"])
    >>> [kind.kind for kind in columns.kinds], columns.reasons
    (['continuous', 'whole'], ('holds 0.5', 'holds whole numbers only'))
    >>> columns.decode(columns.encode(np.array([[0.5, 10.0]])))
    array([[ 0.5, 10. ]])

    ```
    """

    names: tuple[str, ...]
    kinds: tuple[AbstractColumn, ...]
    reasons: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        values: Float[np.ndarray, "n d"],
        names: Sequence[str] | None = None,
        *,
        declared: Mapping[str, AbstractColumn | str] | None = None,
        modelled: bool = True,
        where: str = "the table",
        at: Callable[[int], str] = row_name,
    ) -> "Columns":
        """Learn kinds and units from a table. This is where the values of arrays are checked, once for everybody.

        Arguments:
            values: `(n, d)`, finite, n at least 3.
            names: the d columns; default None, for `x0, x1, ...`.
            declared: kinds by name, as instances or texts (`declared_column`), instead of guessed ones; default none.
            modelled: whether a density of these columns is wanted; default True. Columns of a condition may be copies
                of each other, and a constant one is continuous.
            where: what to call the table in messages.
            at: what to call a row in messages, by its index.

        Raises `InputError` for too few rows, missing cells, a kind that the data contradict, a name in `declared` that
        is not a column, a table whose columns are all constant, two columns that are the same up to shift and scale, or
        a value too large or too far out to standardise. Warns of columns that follow from others.
        """
        values = np.asarray(values)
        if values.dtype != np.float32:
            # Large tables in single precision are not copied.
            values = np.asarray(values, np.float64)
        names = _checked(values, names, where)
        kinds = {str(name): declared_column(kind) for name, kind in (declared or {}).items()}
        if unknown := [name for name in kinds if name not in names]:
            raise InputError(unknown_columns(unknown, names, where))
        found, reasons = [], []
        for name, column in zip(names, values.T, strict=True):
            column = column.astype(np.float64)
            if max(-column.min(), column.max()) > LARGEST:
                raise InputError(f"column '{name}' goes beyond {LARGEST:.1e}; rescale it")
            fitted, reason = _fitted(column, name, kinds.get(name), modelled, at)
            _refuse_wild_values(fitted, name, column, at)
            found.append(fitted)
            reasons.append(reason)
        columns = cls(names, tuple(found), tuple(reasons))
        if modelled and columns.width == 0:
            noun, verb = ("column", "is") if len(names) == 1 else ("columns", "are")
            raise InputError(f"{noun} {quoted(names)} {verb} constant: there is no density")
        if modelled:
            check_dependence(columns._units(values), columns._some(values))
        return columns

    @cached_property
    def modelled(self) -> tuple[int, ...]:
        """The numbers of the columns that are coordinates of the model: all but constant ones."""
        return tuple(i for i, kind in enumerate(self.kinds) if not isinstance(kind, Constant))

    @property
    def width(self) -> int:
        """The number of the model's coordinates."""
        return len(self.modelled)

    @cached_property
    def angles(self) -> tuple[bool, ...]:
        """Which of the model's coordinates are angles."""
        return tuple(isinstance(self.kinds[i], Angle) for i in self.modelled)

    @cached_property
    def noise(self) -> Float[np.ndarray, " width"]:
        """The width of each coordinate's cell in the model's units; 0 for values without a cell."""
        return np.array([self.kinds[i].noise for i in self.modelled])

    @property
    def whole(self) -> tuple[bool, ...]:
        """Which of the d columns are known to hold whole numbers only."""
        return tuple(
            kind.noise > 0 or (isinstance(kind, Constant) and kind.value.is_integer())
            for kind in self.kinds
        )

    def encode(self, values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n width"]:
        """Convert rows of the table to rows of the model, float64 within `+-FAR`. Values that a column cannot hold are
        replaced by the nearest ones that it can.

        Raises `InputError` unless `values` is `(n, d)`.
        """
        values = self._table(values, len(self.names))
        u = np.empty((len(values), self.width))
        for j, i in enumerate(self.modelled):
            u[:, j] = self.kinds[i].encode(values[:, i].astype(np.float64, copy=False))
        return np.clip(u, -FAR, FAR, out=u)

    @property
    def features_width(self) -> int:
        """The number of a condition's features: `features` gives an angle two."""
        return self.width + sum(self.angles)

    def features(self, values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n features"]:
        """Convert rows of a condition to a network's inputs: encoded, with angles as cosines, then sines, at the end.

        Raises `InputError` unless `values` is `(n, d)`.
        """
        u, angles = self.encode(values), np.array(self.angles)
        if not angles.any():
            return u
        return np.concatenate([u[:, ~angles], np.cos(u[:, angles]), np.sin(u[:, angles])], axis=1)

    def decode(self, u: Float[np.ndarray, "n width"]) -> Float[np.ndarray, "n d"]:
        """Convert rows of the model to rows of the table, float64.

        Whole numbers are rounded to the lattice of the data and stay within their range, other values stay within the
        bounds of their column, and constant columns are restored.

        Raises `InputError` unless `u` is `(n, width)`.
        """
        u = self._table(u, self.width)
        place = {i: j for j, i in enumerate(self.modelled)}
        values = np.empty((len(u), len(self.names)))
        for i, kind in enumerate(self.kinds):
            values[:, i] = kind.decode(u[:, place.get(i, 0)].astype(np.float64, copy=False))
        return values

    def log_det(self, values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """`log |du/dx|` of each row, which turns a log-density of `u` into one of `x` when added. `-inf` for a row with
        a value that its column cannot hold: one beyond bounds, or other than a constant.

        Raises `InputError` unless `values` is `(n, d)`.
        """
        parts = self._log_dets(self._table(values, len(self.names)))
        total = np.full(len(values), math.fsum(part for part in parts if isinstance(part, float)))
        for part in parts:
            if not isinstance(part, float):
                total += part
        return total

    def mean_log_det(self, values: Float[np.ndarray, "n d"], rows: Int[np.ndarray, " m"]) -> float:
        """The mean of `log_det` over the rows with these indices."""
        return math.fsum(float(np.mean(part)) for part in self._log_dets(values, rows))

    def _log_dets(self, values: np.ndarray, rows: Any = slice(None)) -> list[Any]:
        """`log |du/dx|` of each column; one number if it is the same in every row."""
        columns = (values[rows, i].astype(np.float64, copy=False) for i in range(len(self.kinds)))
        return [kind.log_det(column) for kind, column in zip(self.kinds, columns, strict=True)]

    def outside(self, values: Float[np.ndarray, "n d"]) -> tuple[Bool[np.ndarray, " n"], str]:
        """Which rows have a value that its column cannot hold, and a message on the first of them."""
        values = self._table(values, len(self.names))
        rows, what = np.zeros(len(values), bool), ""
        for i, part in enumerate(self._log_dets(values)):
            if isinstance(part, float) or not (bad := np.isneginf(part)).any():
                continue
            row = int(bad.argmax())
            if not rows[: row + 1].any():
                what = f"column '{self.names[i]}' holds {values[row, i]:.6g}, not {self.kinds[i].described}"
            rows |= bad
        return rows, what

    def on_lattice(self, u: Float[np.ndarray, "n width"]) -> Bool[np.ndarray, "n width"]:
        """Which values of encoded rows lie on the lattice of their column."""
        found = np.zeros(u.shape, bool)
        for j, i in enumerate(self.modelled):
            kind = self.kinds[i]
            if isinstance(kind, Whole | Angle) and kind.grid > 0:
                steps = (u[:, j] * kind.scale + kind.center - kind.offset) / kind.grid
                with np.errstate(invalid="ignore"):
                    found[:, j] = np.abs(steps - np.rint(steps)) < 1e-4
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data, which JSON keeps exactly."""
        return {
            "names": list(self.names),
            "kinds": [kind.to_json() for kind in self.kinds],
            "reasons": list(self.reasons),
        }

    @classmethod
    def from_json(cls, data: Any) -> "Columns":
        """The inverse of `to_json`, which also reads the lists of earlier files.

        Raises `InputError` for a missing field, one of the wrong length, or an impossible number.
        """
        try:
            names = tuple(map(str, data["names"]))
            reasons = tuple(map(str, data.get("reasons", ())))
            kinds = data["kinds"] if "kinds" in data else columns_from_lists(data)
            kinds = tuple(
                kind if isinstance(kind, AbstractColumn) else column_from_json(kind)
                for kind in kinds
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise damaged(repr(error)) from None
        if not names or len(kinds) != len(names) or len(reasons) not in (0, len(names)):
            raise damaged("lengths differ")
        return cls(names, kinds, reasons)

    def _some(self, values: np.ndarray) -> np.ndarray:
        """The modelled columns of a table, not copied if these are all."""
        return values if self.width == len(self.names) else values[:, self.modelled]

    def _units(self, values: np.ndarray) -> Units:
        """Names and linear units of the modelled columns."""
        kinds = []
        for i in self.modelled:
            kind = self.kinds[i]
            plain = isinstance(kind, Continuous | Whole)
            kinds.append(kind if plain else Continuous().fit(values[:, i].astype(np.float64)))
        keys = ("center", "scale", "lower", "upper")
        return Units(
            names=[self.names[i] for i in self.modelled],
            whole=np.array([isinstance(kind, Whole) for kind in kinds]),
            **{key: np.array([getattr(kind, key) for kind in kinds]) for key in keys},
        )

    def _table(self, values: np.ndarray, width: int) -> np.ndarray:
        values = np.asarray(values)
        if values.ndim != 2 or values.shape[1] != width:
            raise InputError(
                f"rows of {plural(width, 'column')} ({quoted(self.names)}) are expected; given shape {values.shape}"
            )
        return values


def _checked(values: np.ndarray, names: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """The names of a table's columns, after its shape and its cells are checked."""
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"rows by columns (n, d) are expected, given shape {values.shape}")
    found = stand_in_names(values.shape[1]) if names is None else tuple(map(str, names))
    if len(found) != values.shape[1]:
        raise InputError(f"{len(found)} names for {plural(values.shape[1], 'column')}")
    if len(set(found)) != len(found):
        raise InputError(f"column names must differ; given {quoted(found)}")
    check_finite(values, found, where)
    if len(values) < FEWEST_ROWS:
        raise InputError(
            f"{plural(len(values), 'row')} given; at least {FEWEST_ROWS} are needed: two to fit, one to judge by"
        )
    return found


def _fitted(
    values: np.ndarray,
    name: str,
    declared: AbstractColumn | None,
    modelled: bool,
    at: Callable[[int], str],
) -> tuple[AbstractColumn, str]:
    """A column with its units, and why it is of that kind."""
    kind, reason = guess(values)
    constant = isinstance(kind, Constant)
    if declared is not None:
        if not modelled and isinstance(declared, Bounded | Constant):
            raise InputError(f"column '{name}' of the condition cannot be {declared.kind}")
        if problem := declared.objection(values):
            row, what = problem
            is_declared = f"column '{name}' is declared {declared.declaration}"
            raise InputError(f"{is_declared}, but {at(row)} {what}")
        if not (constant and modelled):
            kind, reason = declared, DECLARED
    elif constant and not modelled:
        kind = Continuous()
    return kind.fit(values), reason


def _refuse_wild_values(
    kind: AbstractColumn, name: str, values: np.ndarray, at: Callable[[int], str]
) -> None:
    for extreme in (kind.lower, kind.upper):
        if abs(kind.encode(np.array([extreme]))[0]) > FAR:
            row = at(int(np.argmax(values == extreme)))
            raise InputError(
                f"column '{name}' holds {extreme:.4g} in {row}, over 1e18 spreads from its "
                f"median {kind.median:.4g}; drop the row or transform the column"
            )
