"""Knots at grey levels."""

from itertools import pairwise

import numpy as np
from jaxtyping import Int

from pushforward.errors import InputError

MOST = 36
"""Knots at most where none are given."""


def even_knots(levels: int) -> tuple[int, ...]:
    """Levels that are knots where nothing is known of the pictures: all of few, else the first, the last and even ones
    between."""
    if levels < MOST:
        return tuple(range(levels + 1))
    inner = np.linspace(1, levels - 1, MOST - 2).round().astype(int)
    return (0, *inner.tolist(), levels)


def knots_of(counts: Int[np.ndarray, " levels"]) -> tuple[int, ...]:
    """Levels that are knots, from how often each level is seen: bins of equal counts, by halving the fullest one.

    A level that is seen more often than that, such as a flat background, has a bin of its own.
    """
    total = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    knots = {0, len(counts)}
    while len(knots) < min(MOST, len(counts) + 1):
        ends = sorted(knots)
        # What a bin costs: its counts, if it can be cut.
        costs = [(total[b] - total[a] + 1e-9 * (b - a)) * (b - a > 1) for a, b in pairwise(ends)]
        a, b = ends[int(np.argmax(costs))], ends[int(np.argmax(costs)) + 1]
        middle = np.searchsorted(total[a : b + 1], (total[a] + total[b]) / 2) + a
        knots.add(int(np.clip(middle, a + 1, b - 1)))
    return tuple(sorted(knots))


def shares(knots: tuple[int, ...], levels: int) -> tuple[float, ...]:
    """Knots on the scale [0, 1]. Raises `InputError` unless they rise from 0 to the number of levels."""
    rising = all(a < b for a, b in pairwise(knots))
    if len(knots) < 2 or not rising or (knots[0], knots[-1]) != (0, levels):
        raise InputError(f"knots={knots}: levels that rise from 0 to {levels} were expected")
    return tuple(knot / levels for knot in knots)
