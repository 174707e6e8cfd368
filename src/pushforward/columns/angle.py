"""Columns of angles and of other periodic values."""

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float

from pushforward.columns.base import AbstractColumn
from pushforward.columns.units import (
    ascending,
    clipped,
    ends,
    lattice,
    restored,
    rounded,
    standardised,
)
from pushforward.columns.whole import first_not_whole, spacing
from pushforward.errors import InputError

TURN = 2 * math.pi
# How far beyond a turn rounding may put an angle, as a fraction of the turn.
_ROUNDING = 1e-6 / TURN


@dataclass(frozen=True, kw_only=True)
class Angle(AbstractColumn):
    """Periodic values, such as directions or times of day.

    They become angles in radians, `u = 2 pi (x - center) / period` within `[-pi, pi]`. Training data lie either within
    half a period of 0, and the center is 0, or within `[0, period]`, and the center is half a period; draws lie where
    the data do. Rows to be scored may follow either convention, or none: `encode` removes whole turns. Whole numbers
    lie on a lattice as those of `Whole` do, which closes after a turn, if the period is a whole number too.

    Arguments:
        period: the length of a turn in the column's units; default 2 pi, for radians. 360 is for degrees, 24 for hours.
        center, grid, offset, lower, upper: the units, which `fit` measures; grid 0 stands for no lattice.

    Raises `InputError` for a period that is not positive.

    ```python
    >>> import numpy as np, pushforward as pf
    >>> wind = pf.columns.Angle(360).fit(np.array([20.0, 350.5]))
    >>> wind.encode(np.array([180.0, 180.0 + 720.0])).tolist()
    [0.0, 0.0]

    ```
    """

    period: float = field(default=TURN, kw_only=False)
    center: float = 0.0
    grid: float = 0.0
    offset: float = 0.0
    lower: float = -math.inf
    upper: float = math.inf
    kind: ClassVar[str] = "angle"

    def __post_init__(self) -> None:
        object.__setattr__(self, "period", float(self.period))
        if not 0 < self.period < math.inf:
            raise InputError(f"angle: a period above 0 is expected, not {self.period!r}")

    @property
    def scale(self) -> float:
        """The column's units per radian."""
        return self.period / TURN

    def objection(self, values: Float[np.ndarray, " n"]) -> tuple[int, str] | None:
        half, rounding = self.period / 2, _ROUNDING * self.period
        signed = values.min() < -rounding
        beyond = np.abs(values) > half + rounding if signed else values > self.period + rounding
        if not beyond.any():
            return None
        row, either = int(beyond.argmax()), f"[{-half:g}, {half:g}] or [0, {self.period:g}]"
        if self.period == TURN:
            either = "[-pi, pi] or [0, 2 pi], as angles in radians do; angle:360 takes degrees"
        lies = f"beside {values.min():g}" if signed else "beyond a turn"
        return row, f"holds {values[row]:g} {lies}: values must lie within {either}"

    def fit(self, values: Float[np.ndarray, " n"]) -> Self:
        ordered = ascending(values)
        half = self.period / 2
        center = 0.0 if ordered[-1] <= half * (1 + 2 * _ROUNDING) else half
        grid = 0.0
        if self.period.is_integer() and first_not_whole(ordered) is None:
            grid = float(math.gcd(int(spacing(ordered)), int(self.period)))
        return replace(self, center=center, **lattice(ordered, grid), **ends(ordered))

    def encode(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        u = standardised(values, self.center, self.scale)
        # Any angle will do for what overflows. What lies within a turn keeps its last bit.
        u = np.where(np.isfinite(u), u, 0.0)
        return np.where(np.abs(u) <= math.pi, u, np.mod(u + math.pi, TURN) - math.pi)

    def decode(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        values = restored(u, self.center, self.scale)
        start, end = self.center - self.period / 2, self.center + self.period / 2
        if self.grid == 0:
            return clipped(values, start, end)
        # The seam has two names; take the one in the data.
        first = start + self.grid if self.upper == end and self.lower > start else start
        turned: np.ndarray = np.mod(rounded(values, self.grid, self.offset) - first, self.period)
        return first + turned

    def log_det(self, values: Float[np.ndarray, " n"]) -> float:
        return -math.log(self.scale)

    @property
    def noise(self) -> float:
        return self.grid / self.scale

    @property
    def described(self) -> str:
        period = "2 pi" if self.period == TURN else f"{self.period:g}"
        step = f", whole numbers in steps of {self.grid:g}" if self.grid else ""
        return f"angles of period {period}{step}"
