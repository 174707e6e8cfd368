"""From data units to the units a model sees, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from pushforward.data.dependence import check_dependence
from pushforward.data.source import (
    LARGEST_EXACT_INTEGER,
    check_finite,
    plural,
    quoted,
    stand_in_names,
    unknown_columns,
)
from pushforward.errors import InputError

LARGEST = float(np.finfo(np.float64).max) / 4
"""Larger numbers are refused: their differences would overflow."""
LARGEST_ENCODED = 1e18
"""Model values stay below it, so that their squares fit in float32."""
# Quantile levels p, and the width of the range [p, 1 - p] of a standard normal.
_RANGES = (
    (0.16, 1.9889157646),
    (0.10, 2.5631031311),
    (0.05, 3.2897072539),
    (0.02, 4.1074978211),
    (0.005, 5.1516586072),
    (0.001, 6.1804646123),
)
# A regular spacing wider than 1 is believed when values repeat or this many distinct ones share it.
_DISTINCT_FOR_SPACING = 20
# Even a Cauchy column's spread grows by less than 4 from one range to the next; where it grows by
# more than this, the narrower range only just leaves a cluster such as the zeros.
_JUMP = 10.0
_ROUNDING = 8 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Preprocessing:
    """Per-column standardisation ``u = (x - center) / scale``, and the lattice of integer columns.

    A continuous column has grid 0. A column of whole numbers lies on the lattice
    ``offset + k * grid``; there a density makes sense only with noise that fills the cells, so
    train on ``encode(x) + jitter * noise`` with noise uniform on ``[-1/2, 1/2)``. The log density
    in data units, ``model(encode(x)) + log_det``, is then per unit of ``x``, read at the lattice
    point; adding ``log(grid)`` for each lattice column makes it the log probability of the cell.

    Args:
        names: the d columns.
        center: the median of each.
        scale: the spread of each, the standard deviation of a normal column.
        grid: the spacing of the lattice, 0 for a continuous column.
        offset: where the lattice starts, in ``[0, grid)``; 0 for a continuous column.
        lower: the smallest observed value.
        upper: the largest observed value.
        angles: whether the columns are angles in radians, which are the same after a turn.

    ```python
    >>> import numpy as np
    >>> pre = Preprocessing.fit(np.array([[0.5, 10], [1.5, 30], [2.7, 10], [3.1, 40]]), ["a", "n"])
    >>> pre.grid
    (0.0, 10.0)
    >>> pre.decode(pre.encode(np.array([[0.5, 10.0]])))
    array([[ 0.5, 10. ]])

    ```
    """

    names: tuple[str, ...]
    center: tuple[float, ...]
    scale: tuple[float, ...]
    grid: tuple[float, ...]
    offset: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    angles: bool = field(default=False, kw_only=True)

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        names: Sequence[str] | None = None,
        *,
        modelled: bool = True,
    ) -> Preprocessing:
        """Learn the units from a table.

        The center is the median. The scale is the range between two quantiles, divided by that
        range for a standard normal: first the middle 68 %, then wider ranges while they are empty
        or all but empty (a column that is mostly zero), at last the standard deviation.

        A column is on a lattice when all its values are whole numbers up to 2**53 in size. Its
        spacing is the greatest common divisor of their differences where values repeat or at least
        20 distinct ones share it, else 1. Columns rounded to decimals are not looked for.

        Args:
            values: ``(n, d)``, finite, n at least 2.
            names: the d columns; None calls them ``x0, x1, ...``.
            modelled: whether a density of these columns is wanted. Columns that a density is
                conditioned on may be constant (their scale is 1) or copies of each other.

        Raises:
            InputError: too few rows, missing cells, a constant column, two columns that are the
                same up to shift and scale, or a value that float arithmetic cannot standardise.
        """
        values = np.asarray(values)
        if values.dtype != np.float32:
            # Single precision stays: a large table is not copied.
            values = np.asarray(values, np.float64)
        if values.ndim != 2 or values.shape[1] == 0:
            raise InputError(f"rows by columns (n, d) are expected, given shape {values.shape}")
        columns = stand_in_names(values.shape[1]) if names is None else tuple(map(str, names))
        if len(columns) != values.shape[1]:
            raise InputError(f"{len(columns)} names for {plural(values.shape[1], 'column')}")
        if len(set(columns)) != len(columns):
            raise InputError(f"column names must differ; given {quoted(columns)}")
        if len(values) < 2:
            raise InputError(f"{plural(len(values), 'row')} given; at least 2 are needed to fit")
        check_finite(values, columns, "the table")
        lower, upper = (of(axis=0).astype(np.float64) for of in (values.min, values.max))
        constant = [name for i, name in enumerate(columns) if lower[i] == upper[i]]
        if constant and modelled:
            noun, verb = ("column", "is") if len(constant) == 1 else ("columns", "are")
            raise InputError(
                f"{noun} {quoted(constant)} {verb} constant: there is no density; drop such columns"
            )
        for i, name in enumerate(columns):
            if max(-lower[i], upper[i]) > LARGEST:
                raise InputError(f"column '{name}' goes beyond {LARGEST:.1e}; rescale it")
        center, scale, grid, offset = np.transpose(
            [_fit_column(column.astype(np.float64)) for column in values.T]
        )
        pre = cls(
            columns,
            *(tuple(float(v) for v in a) for a in (center, scale, grid, offset, lower, upper)),
        )
        _refuse_wild_values(pre, values)
        if modelled:
            check_dependence(pre, values)
        return pre

    def of_angles(self) -> Preprocessing:
        """The same columns as angles in radians, moved to ``[-pi, pi]`` and not rescaled.

        A column within ``[0, 2 pi]`` is moved by half a turn, one within ``[-pi, pi]`` stays. Other rows may follow
        either convention, or none: ``encode`` takes whole turns off.

        Raises:
            InputError: a column goes beyond both.
        """
        turn, rounding = math.pi, 1e-6
        for name, low, high in zip(self.names, self.lower, self.upper, strict=True):
            if not (low >= -turn - rounding and high <= turn + rounding) and not (
                low >= -rounding and high <= 2 * turn + rounding
            ):
                raise InputError(
                    f"column '{name}' goes from {low:g} to {high:g}, but the model takes angles in radians, "
                    "within [-pi, pi] or [0, 2 pi]; convert degrees by * pi / 180"
                )
        center = tuple(0.0 if high <= turn + rounding else turn for high in self.upper)
        ones, zeros = (1.0,) * len(center), (0.0,) * len(center)
        return replace(self, center=center, scale=ones, grid=zeros, offset=zeros, angles=True)

    @property
    def log_det(self) -> float:
        """``log |du/dx| = -sum(log(scale))``: a log density of ``u`` plus this is one of ``x``."""
        return -math.fsum(math.log(scale) for scale in self.scale)

    @property
    def jitter(self) -> np.ndarray:
        """The width ``(d,)`` of a lattice cell in model units: ``grid / scale``, else 0."""
        return np.array(self.grid) / np.array(self.scale)

    @property
    def lattice(self) -> tuple[bool, ...]:
        """Which columns lie on a lattice, so that their decoded values are whole numbers."""
        return tuple(grid > 0 for grid in self.grid)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Data units to model units: ``(x - center) / scale``, ``(n, d)`` float64; angles within ``[-pi, pi]``.

        Raises:
            InputError: ``values`` is not ``(n, d)``.
        """
        values = self._table(values)
        # A value far outside the training range may overflow to infinity, whose density is 0.
        with np.errstate(over="ignore"):
            u = (values - np.array(self.center)) / np.array(self.scale)
        if not self.angles:
            return u
        # What lies within a turn stays as it is, to the last bit.
        return np.where(np.abs(u) <= math.pi, u, np.mod(u + math.pi, 2 * math.pi) - math.pi)

    def decode(self, u: np.ndarray) -> np.ndarray:
        """Model units to data units, ``(n, d)`` float64, lattice columns rounded to the lattice that was seen.

        A density puts a little beyond the smallest and the largest whole number seen; such draws become these.

        Raises:
            InputError: ``u`` is not ``(n, d)``.
        """
        u = self._table(u)
        with np.errstate(over="ignore"):
            values = u * np.array(self.scale) + np.array(self.center)
        for i, (grid, offset) in enumerate(zip(self.grid, self.offset, strict=True)):
            if grid > 0:
                whole = offset + grid * np.rint((values[:, i] - offset) / grid)
                values[:, i] = np.clip(whole, self.lower[i], self.upper[i])
        return values

    def match(self, names: Sequence[str] | None, width: int | None = None) -> np.ndarray:
        """Where this model's columns stand in another table: ``other[:, match(names)]`` fits.

        Args:
            names: the other table's columns, in any order and with any others; None if it has none,
                then it must have exactly d columns, in the order of the training table.
            width: its number of columns, needed when there are no names.

        Returns:
            The d indices.

        Raises:
            InputError: a column is missing, or the number of columns differs.
        """
        if names is None:
            if width != len(self.names):
                raise InputError(
                    f"the model has {plural(len(self.names), 'column')} ({quoted(self.names)}); "
                    f"given {width} without names"
                )
            return np.arange(len(self.names))
        place = {str(name): i for i, name in enumerate(names)}
        missing = [name for name in self.names if name not in place]
        if missing:
            raise InputError(unknown_columns(missing, list(place), "the model's input"))
        return np.array([place[name] for name in self.names])

    def to_json(self) -> dict[str, Any]:
        """Plain lists, which JSON keeps exactly."""
        lists = {key: list(getattr(self, key)) for key in _FIELDS}
        return {**lists, "angles": True} if self.angles else lists

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocessing:
        """The inverse of ``to_json``.

        Raises:
            InputError: a field is missing, has the wrong length or holds an impossible number.
        """
        try:
            numbers = [tuple(float(v) for v in data[key]) for key in _FIELDS[1:]]
            names = tuple(str(name) for name in data["names"])
            pre = cls(names, *numbers, angles=data.get("angles", False) is True)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the preprocessing is damaged ({error!r})") from None
        width = len(pre.names)
        good = all(len(v) == width and all(map(math.isfinite, v)) for v in numbers)
        if not (width and good and min(pre.scale) > 0 and min(pre.grid) >= 0):
            raise InputError(
                "the preprocessing is damaged (lengths differ or a number is impossible)"
            )
        return pre

    def _table(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise InputError(
                f"rows of {plural(len(self.names), 'column')} ({quoted(self.names)}) are expected; "
                f"given shape {values.shape}"
            )
        return values


_FIELDS = tuple(f.name for f in fields(Preprocessing) if f.name != "angles")


def _fit_column(column: np.ndarray) -> tuple[float, float, float, float]:
    """Center, scale, grid and offset of a column."""
    ordered = np.sort(column)
    center = float(np.median(ordered))
    if ordered[0] == ordered[-1]:
        return center, 1.0, 0.0, 0.0
    return center, _spread(ordered, center), *_lattice(ordered)


def _spread(ordered: np.ndarray, center: float) -> float:
    spreads = []
    for p, normal in _RANGES:
        at = math.floor(p * (len(ordered) - 1) + 0.5)
        low, high = float(ordered[at]), float(ordered[-1 - at])
        # A range that rounding noise could fill is as good as empty.
        noise = _ROUNDING * max(abs(low), abs(high))
        spreads.append((high - low) / normal if high - low > noise else 0.0)
    for spread, wider in zip(spreads, [*spreads[1:], 0.0], strict=True):
        if spread > 0 and wider <= _JUMP * spread:
            return spread
    away = ordered - center
    largest = float(np.abs(away).max())
    # Divided first, so that squares neither overflow nor vanish.
    return largest * float(np.std(away / largest)) or largest


def _lattice(ordered: np.ndarray) -> tuple[float, float]:
    largest = max(-ordered[0], ordered[-1])
    if largest > LARGEST_EXACT_INTEGER or not np.array_equal(np.rint(ordered), ordered):
        return 0.0, 0.0
    distinct = np.unique(ordered)
    spacing = float(np.gcd.reduce(np.diff(distinct).astype(np.int64)))
    if len(distinct) == len(ordered) and len(distinct) < _DISTINCT_FOR_SPACING:
        spacing = 1.0
    return spacing, float(ordered[0] % spacing)


def _refuse_wild_values(pre: Preprocessing, values: np.ndarray) -> None:
    for i, name in enumerate(pre.names):
        for extreme in (pre.lower[i], pre.upper[i]):
            if abs(extreme - pre.center[i]) > LARGEST_ENCODED * pre.scale[i]:
                row = int(np.argmax(values[:, i] == extreme)) + 1
                raise InputError(
                    f"column '{name}' holds {extreme:.4g} in row {row}, over 1e18 spreads from its "
                    f"median {pre.center[i]:.4g}; drop the row or transform the column"
                )
