"""The units of a column: median and spread, the range of its values, and the lattice of whole numbers."""

import math

import numpy as np
from jaxtyping import Float

# Quantile levels p, and the width of the range [p, 1 - p] of a standard normal.
_RANGES = (
    (0.16, 1.9889157646),
    (0.10, 2.5631031311),
    (0.05, 3.2897072539),
    (0.02, 4.1074978211),
    (0.005, 5.1516586072),
    (0.001, 6.1804646123),
)
# Even a Cauchy column's spread grows by less than 4 from one range to the next. Where it grows by more than this, the
# narrower range barely leaves a cluster such as the zeros.
_JUMP = 10.0
_ROUNDING = 8 * float(np.finfo(np.float64).eps)


def ascending(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The values sorted; not copied if they are sorted already."""
    return values if (values[:-1] <= values[1:]).all() else np.sort(values)


def center_and_scale(ordered: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The median and the spread of ascending values; the spread estimates a standard deviation, and is 1 for a
    constant.

    The spread is the range between two quantiles, divided by that range for a standard normal: the middle 68 %, or a
    wider range if that is empty or nearly so (a column that is mostly zero), or at last the standard deviation.
    """
    center = float(np.median(ordered))
    return center, 1.0 if ordered[0] == ordered[-1] else _spread(ordered, center)


def ends(ordered: Float[np.ndarray, " n"]) -> dict[str, float]:
    """The fields `lower` and `upper` of a column with these ascending values."""
    return {"lower": float(ordered[0]), "upper": float(ordered[-1])}


def lattice(ordered: Float[np.ndarray, " n"], grid: float) -> dict[str, float]:
    """The fields `grid` and `offset` of a column whose ascending values are `offset + k * grid`; no lattice for 0."""
    return {"grid": grid, "offset": float(ordered[0] % grid) if grid else 0.0}


def rounded(values: Float[np.ndarray, " n"], grid: float, offset: float) -> Float[np.ndarray, " n"]:
    """The nearest numbers `offset + k * grid`."""
    return offset + grid * np.rint((values - offset) / grid)


def standardised(
    values: Float[np.ndarray, " n"], center: float, scale: float
) -> Float[np.ndarray, " n"]:
    """`(x - center) / scale`. A value far outside the training range may overflow to infinity."""
    with np.errstate(over="ignore"):
        return (values - center) / scale


def restored(u: Float[np.ndarray, " n"], center: float, scale: float) -> Float[np.ndarray, " n"]:
    """`u * scale + center`."""
    with np.errstate(over="ignore"):
        return u * scale + center


def clipped(values: Float[np.ndarray, " n"], low: float, high: float) -> Float[np.ndarray, " n"]:
    """The values, with those beyond the range moved to its ends."""
    within: np.ndarray = np.clip(values, low, high)
    return within


def _spread(ordered: np.ndarray, center: float) -> float:
    spreads = []
    for p, normal in _RANGES:
        at = math.floor(p * (len(ordered) - 1) + 0.5)
        low, high = float(ordered[at]), float(ordered[-1 - at])
        # A range that rounding errors could fill counts as empty.
        noise = _ROUNDING * max(abs(low), abs(high))
        spreads.append((high - low) / normal if high - low > noise else 0.0)
    for spread, wider in zip(spreads, [*spreads[1:], 0.0], strict=True):
        if spread > 0 and wider <= _JUMP * spread:
            return spread
    away = ordered - center
    largest = float(np.abs(away).max())
    # Divided first, so that squares neither overflow nor vanish.
    return largest * float(np.std(away / largest)) or largest
