"""Columns of whole numbers."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float

from pushforward.columns.base import AbstractColumn
from pushforward.columns.units import (
    ascending,
    center_and_scale,
    clipped,
    ends,
    lattice,
    restored,
    rounded,
    standardised,
)
from pushforward.columns.values import LARGEST_EXACT_INTEGER
from pushforward.errors import InputError

# A spacing wider than 1 is trusted if values repeat, or if this many distinct ones share it.
_DISTINCT_FOR_SPACING = 20


@dataclass(frozen=True, kw_only=True)
class Whole(AbstractColumn):
    """Whole numbers up to 2^53 in size, on the lattice `offset + k * grid`, standardised by their median and spread.

    A density needs noise that fills the cells of the lattice: a model is trained on `encode(x) + noise * v` with v
    uniform on `[-1/2, 1/2)`. Draws are rounded to the lattice and stay between the smallest and the largest number
    seen. The spacing is the greatest common divisor of the differences if numbers repeat or at least 20 distinct ones
    share it, else 1.

    Arguments:
        center, scale, grid, offset, lower, upper: the units, which `fit` measures; the defaults change nothing.

    Raises `InputError` for a grid that is not positive.

    ```python
    >>> import numpy as np, pushforward as pf
    >>> column = pf.columns.Whole().fit(np.array([10.0, 30.0, 10.0, 40.0]))
    >>> column.grid, column.decode(column.encode(np.array([31.0]))).tolist()
    (10.0, [30.0])

    ```
    """

    center: float = 0.0
    scale: float = 1.0
    grid: float = 1.0
    offset: float = 0.0
    lower: float = -math.inf
    upper: float = math.inf
    kind: ClassVar[str] = "whole"

    def __post_init__(self) -> None:
        if not self.grid > 0:
            raise InputError(f"whole: a grid above 0 is expected, not {self.grid!r}")

    def objection(self, values: Float[np.ndarray, " n"]) -> tuple[int, str] | None:
        row = first_not_whole(values)
        if row is None:
            return None
        too_large = abs(values[row]) > LARGEST_EXACT_INTEGER
        why = "beyond 2**53, where floats skip whole numbers" if too_large else "no whole number"
        return row, f"holds {values[row]:.6g}, {why}"

    def fit(self, values: Float[np.ndarray, " n"]) -> Self:
        ordered = ascending(values)
        center, scale = center_and_scale(ordered)
        units = {**lattice(ordered, spacing(ordered)), **ends(ordered)}
        return replace(self, center=center, scale=scale, **units)

    def encode(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return standardised(values, self.center, self.scale)

    def decode(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        values = restored(u, self.center, self.scale)
        return clipped(rounded(values, self.grid, self.offset), self.lower, self.upper)

    def log_det(self, values: Float[np.ndarray, " n"]) -> float:
        return -math.log(self.scale)

    @property
    def noise(self) -> float:
        return self.grid / self.scale

    @property
    def described(self) -> str:
        step = "" if self.grid == 1 else f" in steps of {self.grid:g}"
        return f"whole numbers{step}: dequantized for training, rounded back in samples"


def first_not_whole(values: Float[np.ndarray, " n"]) -> int | None:
    """The first row, counted from 0, without a whole number of size 2^53 or less; None if there is none."""
    bad = (np.rint(values) != values) | (np.abs(values) > LARGEST_EXACT_INTEGER)
    return int(bad.argmax()) if bad.any() else None


def spacing(ordered: Float[np.ndarray, " n"]) -> float:
    """The spacing of ascending whole numbers: the greatest common divisor of their differences if that can be trusted,
    else 1."""
    distinct = np.unique(ordered)
    if len(distinct) == len(ordered) and len(distinct) < _DISTINCT_FOR_SPACING:
        return 1.0
    return float(np.gcd.reduce(np.diff(distinct).astype(np.int64))) or 1.0
