"""Comparing arrays, in sentences."""

import numpy as np
from jaxtyping import ArrayLike


def differ(found: ArrayLike, expected: ArrayLike, tolerance: float, what: str) -> str | None:
    """None where two arrays agree to `tolerance * (1 + |expected|)` without NaN, else a sentence; equal infinities
    agree."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        return f"{what}: shape {found.shape}, expected {expected.shape}"
    with np.errstate(invalid="ignore"):
        error = np.where(found == expected, 0.0, np.abs(found - expected))
    allowed = tolerance * (1 + np.abs(expected))
    bad = ~(error <= allowed)
    if not bad.any():
        return None
    worst = np.unravel_index(np.where(np.isnan(error), np.inf, error).argmax(), error.shape)
    return (
        f"{what}: {bad.sum()} of {bad.size} values differ by more than {tolerance:g}; at "
        f"{tuple(map(int, worst))} {found[worst]:.9g} instead of {expected[worst]:.9g}"
    )


def first(*details: str | None) -> str | None:
    """The first sentence that is not None."""
    return next((detail for detail in details if detail is not None), None)
