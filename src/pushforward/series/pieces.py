"""Series cut into pieces: where the pieces lie, and the pieces themselves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from pushforward.series.observations import Observations

FEWEST = 2
"""Fewest intervals of a piece: a single one shows a speed, but no change of it."""
LITTLE = 16_384
"""Values in the pieces of a fit up to which all its stages have one shape."""


class Segments(eqx.Module):
    """Pieces of series in standard units; where one ends the next begins, with the same observation.

    Attributes:
        times: `(m, h)` since the piece's start, so that no precision is lost far from 0; padding repeats the last.
        begins: `(m,)` the time of the start.
        values, seen: `(m, h, d)`.
        weights: `(m, h)` of the observations in the loss.
        following: `(m,)` the piece that continues the series; its own number where there is none.
    """

    times: Float[Array, "m h"]
    begins: Float[Array, " m"]
    values: Float[Array, "m h d"]
    seen: Bool[Array, "m h d"]
    weights: Float[Array, "m h"]
    following: Int[Array, " m"]


@dataclass(frozen=True)
class Cuts:
    """Where pieces lie: the series `(m,)` of each, and its rows `(m, h)` there. Padding repeats the last row; a piece
    of one row is empty."""

    owner: Int[np.ndarray, " m"]
    rows: Int[np.ndarray, "m h"]

    @property
    def used(self) -> Bool[np.ndarray, " m"]:
        """Which pieces are not empty."""
        return self.rows[:, -1] > self.rows[:, 0]


def sizes(observed: Observations, pieces: Sequence[int]) -> list[int]:
    """Intervals of a piece in each stage, from the number of pieces of the longest series; equal stages in a row are
    merged."""
    whole = int(observed.lengths.max()) - 1
    each = [max(math.ceil(whole / number), min(FEWEST, whole)) for number in pieces]
    return [size for i, size in enumerate(each) if not i or size != each[i - 1]]


def cut(observed: Observations, size: int) -> Cuts:
    """Cut series into pieces of `size` intervals; the last piece of a series may be shorter."""
    lengths = observed.lengths
    begins = [(i, at) for i, k in enumerate(lengths) for at in range(0, max(k - 1, 1), size)]
    owner, first = (np.array(column) for column in zip(*begins, strict=True))
    return Cuts(owner, np.minimum(first[:, None] + np.arange(size + 1), lengths[owner, None] - 1))


def stages(observed: Observations, sizes: Sequence[int]) -> list[Cuts]:
    """The cuts of all stages.

    Where there is little data all stages get one shape, padded with empty pieces: compiling a stage would take longer
    than the padding costs.
    """
    cuts = [cut(observed, size) for size in sizes]
    m, h = (max(axis) for axis in zip(*(c.rows.shape for c in cuts), strict=True))

    def padded(cuts: Cuts) -> Cuts:
        more = m - len(cuts.owner)
        rows = np.pad(cuts.rows, ((0, 0), (0, h - cuts.rows.shape[1])), mode="edge")
        return Cuts(np.pad(cuts.owner, (0, more)), np.pad(rows, ((0, more), (0, 0))))

    little = m * h * observed.values.shape[2] <= LITTLE
    return [padded(c) for c in cuts] if little else cuts


def filled(observed: Observations) -> Float[np.ndarray, "n k d"]:
    """The values with missing ones interpolated in time; 0 where a series has no value of a column."""
    values = observed.values.copy()
    for t, y, here in zip(observed.times, values, observed.seen, strict=True):
        for column in np.flatnonzero(here.any(0)):
            at = here[:, column]
            y[:, column] = np.interp(t, t[at], y[at, column])
    return values


def segments(observed: Observations, cuts: Cuts, weights: Float[np.ndarray, "n k"]) -> Segments:
    """The pieces themselves, of observations in standard units."""
    owner, rows = cuts.owner[:, None], cuts.rows
    # Padding repeats the last row.
    real = (np.diff(rows, axis=1, prepend=-1) > 0) & cuts.used[:, None]
    number = np.arange(len(rows))
    # Whether the next piece continues the series: not so for another series' first piece, and for empty ones.
    goes_on = np.append((cuts.owner[1:] == cuts.owner[:-1]) & (rows[1:, 0] > 0), False)
    times = observed.times[owner, rows]
    return Segments(
        jnp.asarray(times - times[:, :1]),
        jnp.asarray(times[:, 0]),
        jnp.asarray(observed.values[owner, rows]),
        jnp.asarray(observed.seen[owner, rows] & real[..., None]),
        jnp.asarray(weights[owner, rows]),
        jnp.asarray(np.where(goes_on, number + 1, number)),
    )
