"""The distribution of a column of numbers between bounds."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from pushforward.columns.bounded import Bounded
from pushforward.columns.marginal import LEAST, Marginal, Place, measured

HALF_LINE = 1e30
"""The width of a cell that reaches to the end of the scale z."""
# How near the end of a lattice's interval counts as the end, in steps.
_NEAR = 1e-6


@dataclass(frozen=True, eq=False)
class BoundedMarginal(Marginal):
    """The distribution of a column whose values lie between two bounds, above one or below one.

    As a `Marginal`, but the smooth part is a cubic of

        u = log(x - low) - log(high - x),    u = log(x - low),    u = -log(high - x)

    so that z takes the interval onto the whole line: every z is a value within, and nothing beyond has a density. A
    bound that values touch is an atom, however few do; its cell on z is a half-line. On a lattice the interval ends
    half a step beyond the outermost values, whose cells are half-lines too.

    Arguments:
        low, high: the bounds, on a lattice its outermost values; infinite where there is none.

    ```python
    >>> import numpy as np
    >>> from pushforward.columns.marginal_bounded import BoundedMarginal
    >>> share = BoundedMarginal.fit(np.linspace(0.1, 0.8, 50), low=0.0, high=1.0)
    >>> share.decode(np.array([-1e6, 1e6])).round(6).tolist()
    [0.0, 1.0]
    >>> share.log_prob(np.array([1.0, 1.2])).tolist()
    [-inf, -inf]

    ```
    """

    low: float
    high: float

    @classmethod
    def fit(
        cls,
        values: Float[np.ndarray, " n"],
        step: float = 0.0,
        least: int = LEAST,
        *,
        low: float = -np.inf,
        high: float = np.inf,
    ) -> Self:
        """Measure a column; arguments as of `Marginal.fit`, and bounds, at least one of them finite."""
        if step:
            offset = float(values[0]) % step
            low = float(offset + np.ceil((low - offset) / step - _NEAR) * step)
            high = float(offset + np.floor((high - offset) / step + _NEAR) * step)
        kept = () if step else (low, high)
        line = _Line(low, high, step)
        fields = measured(values, step, least, kept=kept, line=line)
        return cls(**fields, low=low, high=high)

    def outside(self, values: Float[np.ndarray, " n"]) -> np.ndarray:
        """Which values are impossible: beyond the bounds, or at one that no value touched."""
        x = np.asarray(values, np.float64)
        half = self.step / 2 * (1 - _NEAR)
        beyond: np.ndarray = (x < self.low - half) | (x > self.high + half)
        if not self.step:
            beyond |= ((x == self.low) | (x == self.high)) & ~self.is_atom(x)
        return beyond

    def encode(self, values: Float[np.ndarray, " n"]) -> Place:
        x = np.asarray(values, np.float64)
        beyond, half = self.outside(x), self.step / 2
        cell = self.is_atom(x) | (half > 0)
        low = self._score(x - half, "left")
        high = np.where(cell, self._score(x + half, "left" if self.step else "right"), low)
        # The edge that is finite stands for a half-line.
        z = np.where(np.isneginf(low), high, low)
        with np.errstate(invalid="ignore"):
            width = np.where(cell, np.maximum(high - low, 1e-30), 0.0)
        width = np.where(
            np.isneginf(low), -HALF_LINE, np.where(np.isposinf(high), HALF_LINE, width)
        )
        z = np.where(beyond, np.where(x > self.center, HALF_LINE, -HALF_LINE), z)
        width = np.where(beyond, 0.0, width)
        slope = np.zeros(len(x))
        point = ~cell & ~beyond
        slope[point] = self._log_slope(x[point], z[point])
        return Place(z, width, np.where(beyond, -np.inf, slope))

    def log_share(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        with np.errstate(invalid="ignore"):
            share = super().log_share(values)
        return np.where(self.outside(values), -np.inf, share)

    def to_json(self) -> dict[str, Any]:
        plain = super().to_json()
        ends = {name: plain[name] if np.isfinite(plain[name]) else None for name in ("low", "high")}
        return {**plain, **ends}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        low, high = data["low"], data["high"]
        ends = {"low": -np.inf if low is None else low, "high": np.inf if high is None else high}
        return super().from_json({**data, **ends})

    @cached_property
    def _of_line(self) -> "_Line":
        return _Line(self.low, self.high, self.step)

    def _line(self, x: np.ndarray) -> np.ndarray:
        return self._of_line(x)

    def _from_line(self, u: np.ndarray) -> np.ndarray:
        return self._of_line.interval.decode(u)

    def _log_line_slope(self, x: np.ndarray) -> np.ndarray:
        return self._of_line.interval.log_det(x)

    @property
    def _line_reach(self) -> float:
        return float(self.knots[-1] - self.knots[0])

    @property
    def _lattice(self) -> tuple[float, float]:
        ends = np.array([self.low, self.high])
        low, high = np.rint((ends - self.offset) / self.step).tolist()
        return low, high


class _Line:
    """From an interval to the whole line; what lies at its ends or beyond is infinite."""

    def __init__(self, low: float, high: float, step: float) -> None:
        self.low, self.high, self.near = low - step / 2, high + step / 2, _NEAR * step
        self.interval = Bounded(
            self.low if np.isfinite(low) else None, self.high if np.isfinite(high) else None
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        u = self.interval.encode(x)
        u = np.where(x <= self.low + self.near, -np.inf, u)
        return np.where(x >= self.high - self.near, np.inf, u)
