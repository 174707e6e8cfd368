"""Columns of real numbers between bounds."""

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float

from pushforward.columns.base import AbstractColumn
from pushforward.columns.units import (
    ascending,
    center_and_scale,
    clipped,
    ends,
    restored,
    standardised,
)
from pushforward.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Bounded(AbstractColumn):
    """Real numbers above `low`, below `high` or between them; no density and no draw leaves the bounds.

        v = log(x - low) - log(high - x),    v = log(x - low),    v = -log(high - x)

    for both bounds, only a lower and only an upper one, and `u = (v - center) / scale`. A row on a bound or beyond it
    has density 0.

    Arguments:
        low, high: the bounds, at least one of them; default None, no bound.
        center, scale, lower, upper: the units, which `fit` measures: median and spread of v, smallest and largest
            value.

    Raises `InputError` without bounds, or unless `low < high`.

    ```python
    >>> import numpy as np, pushforward as pf
    >>> share = pf.columns.Bounded(0, 1).fit(np.array([0.1, 0.5, 0.9]))
    >>> share.encode(np.array([0.5])).tolist(), share.decode(np.array([-1e3, 0.0, 1e3])).round(3).tolist()
    ([0.0], [0.0, 0.5, 1.0])
    >>> share.log_det(np.array([1.5])).tolist()
    [-inf]

    ```
    """

    low: float | None = field(default=None, kw_only=False)
    high: float | None = field(default=None, kw_only=False)
    center: float = 0.0
    scale: float = 1.0
    lower: float = -math.inf
    upper: float = math.inf
    kind: ClassVar[str] = "bounded"

    def __post_init__(self) -> None:
        low, high = self._bounds
        if (low, high) == (-math.inf, math.inf):
            what = "at least one bound is expected, as in bounded:0,1 or bounded:0,"
            raise InputError(f"bounded: {what}")
        if not low < high:
            raise InputError(
                f"bounded: the lower bound {low:g} is not below the upper one {high:g}"
            )

    @property
    def _bounds(self) -> tuple[float, float]:
        low = -math.inf if self.low is None else self.low
        return low, math.inf if self.high is None else self.high

    def objection(self, values: Float[np.ndarray, " n"]) -> tuple[int, str] | None:
        bad = ~self._within(values)
        if not bad.any():
            return None
        row = int(bad.argmax())
        if values[row] in self._bounds:
            return row, (
                f"holds {values[row]:.6g}, a bound itself, where a density has no limit; leave such rows out, widen "
                "the bounds, or leave the column continuous"
            )
        return row, f"holds {values[row]:.6g}, beyond the bounds"

    def fit(self, values: Float[np.ndarray, " n"]) -> Self:
        ordered = ascending(values)
        center, scale = center_and_scale(self._free(ordered))
        return replace(self, center=center, scale=scale, **ends(ordered))

    def encode(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return standardised(self._free(self._inside(values)), self.center, self.scale)

    def decode(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        v = restored(u, self.center, self.scale)
        low, high = self._bounds
        with np.errstate(over="ignore"):
            if self.low is None:
                x = high - np.exp(-v)
            elif self.high is None:
                x = low + np.exp(v)
            else:
                # Measured from the nearer bound, which keeps digits.
                part = (high - low) / (1 + np.exp(np.abs(v)))
                x = np.where(v < 0, low + part, high - part)
        # Rounding can put draws on a bound or at infinity.
        return self._inside(x)

    def log_det(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        x = self._inside(values)
        # The derivatives are 1 / (x - low) and 1 / (high - x), or their sum (high - low) / ((x - low) (high - x)).
        total = np.full(len(x), -math.log(self.scale))
        if self.low is not None:
            total -= np.log(x - self.low)
        if self.high is not None:
            total -= np.log(self.high - x)
        if self.low is not None and self.high is not None:
            total += math.log(self.high - self.low)
        return np.where(self._within(values), total, -np.inf)

    @property
    def median(self) -> float:
        return float(self.decode(np.zeros(1))[0])

    @property
    def described(self) -> str:
        if self.high is None:
            return f"real numbers above {self.low:g}"
        if self.low is None:
            return f"real numbers below {self.high:g}"
        return f"real numbers between {self.low:g} and {self.high:g}"

    def _within(self, values: np.ndarray) -> np.ndarray:
        low, high = self._bounds
        return (values > low) & (values < high)

    def _inside(self, values: np.ndarray) -> np.ndarray:
        """The values, with those on a bound or beyond it moved to the next float within."""
        low, high = self._bounds
        return clipped(values, math.nextafter(low, math.inf), math.nextafter(high, -math.inf))

    def _free(self, x: np.ndarray) -> np.ndarray:
        """Map values within the bounds to the whole line."""
        if self.low is None:
            return -np.log(self._bounds[1] - x)
        if self.high is None:
            return np.log(x - self.low)
        return np.log(x - self.low) - np.log(self.high - x)
