"""Densities on a grid: what they integrate to, and how much of it falls into each cell."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy import stats

from pushforward.testing.subjects import Subject

POINTS = {1: 2**16, 2: 2**9}
CELLS = {1: 64, 2: 16}
ORDERS, AGREED = (8, 10), 1e-4
"""Orders of Gauss's rule in a cell, and how much they may differ in all cells together."""
SUM = 1e-3
"""What the integral of a density may differ from 1 by."""
FINER = (1, 4)
"""Factors of points that are tried until the masses sum to 1: slopes of e^5 may turn within few nodes."""


@dataclass(eq=False)
class Grid:
    """A 1-D or 2-D density by quadrature in coordinates that cover the whole line.

    Gauss's rule serves cells where two of its orders agree, as they do where a density is smooth; the midpoint rule on
    many more points serves the others, such as those where a spline bends.

    A point is `x = m + s tan(pi (u - 1/2))` with u on an even grid in (0, 1) and m, s the median and half the
    interquartile range of the subject's draws, which covers tails as heavy as a Student t's; on a declared support x is
    even.
    """

    subject: Subject

    @cached_property
    def _place(self) -> tuple[np.ndarray, np.ndarray]:
        quartiles = np.percentile(self._drawn, [25, 50, 75], axis=0)
        return quartiles[1], (quartiles[2] - quartiles[0]) / 2

    @property
    def _drawn(self) -> np.ndarray:
        return self.subject.draws[0].reshape(-1, self.subject.size).astype(np.float64)

    def to_x(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points `(n, D)` from `u` in (0, 1), and their volume per unit of u's."""
        if self.subject.support is not None:
            low, high = self.subject.support
            return low + (high - low) * u, np.full(len(u), (high - low) ** self.subject.size)
        middle, spread = self._place
        tangent = np.tan(np.pi * (u - 0.5))
        return middle + spread * tangent, np.prod(spread * np.pi * (1 + tangent**2), axis=1)

    def to_u(self, x: np.ndarray) -> np.ndarray:
        """The inverse of `to_x`."""
        if self.subject.support is not None:
            low, high = self.subject.support
            return (x - low) / (high - low)
        middle, spread = self._place
        u: np.ndarray = 0.5 + np.arctan((x - middle) / spread) / np.pi
        return u

    @cached_property
    def masses(self) -> np.ndarray:
        """Probability of each cell, `(cells,) * D`, by the density, float64."""
        d = self.subject.size
        every = np.ones([CELLS[d]] * d, bool)
        coarse, fine = (self._by(*leggauss(k), every).reshape(every.shape) for k in ORDERS)
        apart = np.abs(fine - coarse)
        if apart.sum() > AGREED:
            # The other cells differ by less than that in total.
            rough = apart > AGREED / apart.size
            for finer in FINER:
                points = POINTS[d] * finer // CELLS[d]
                places = (2 * np.arange(points) + 1) / points - 1
                fine[rough] = self._by(places, np.full(points, 2 / points), rough)
                if abs(fine.sum() - 1) <= SUM:
                    break
        return fine

    def _by(self, nodes: np.ndarray, weights: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The masses of the chosen cells by a rule on (-1, 1), applied to each."""
        d = self.subject.size

        def product(of_axis: np.ndarray) -> np.ndarray:
            return np.stack(np.meshgrid(*[of_axis] * d, indexing="ij"), -1).reshape(-1, d)

        corners = np.argwhere(chosen)[:, None]
        u = (corners + product((nodes + 1) / 2)) / CELLS[d]
        x, volume = self.to_x(u.reshape(-1, d))
        events = x.reshape(-1, *self.subject.initial.event_shape)
        density = np.exp(self.subject.log_prob64(events, self.subject.one_condition))
        shares = product(weights / (2 * CELLS[d])).prod(1)
        masses: np.ndarray = (density * volume).reshape(len(corners), -1) @ shares
        return masses

    @cached_property
    def counts(self) -> np.ndarray:
        """How many draws fall into each cell."""
        d, cells = self.subject.size, CELLS[self.subject.size]
        return np.histogramdd(self.to_u(self._drawn), bins=cells, range=[(0, 1)] * d)[0]

    def p_value(self) -> float:
        """Of the chi-squared test that the draws follow the density; cells that expect under 10 are pooled."""
        n, mass, counts = len(self._drawn), self.masses.ravel(), self.counts.ravel()
        if counts.sum() != n:
            return 0.0
        large = n * mass >= 10
        expected = np.append(n * mass[large], n * max(1 - mass[large].sum(), 1 / n))
        found = np.append(counts[large], counts[~large].sum())
        statistic = ((found - expected) ** 2 / expected).sum()
        return float(stats.chi2.sf(statistic, large.sum()))


@lru_cache(maxsize=1)
def grid_of(subject: Subject) -> Grid:
    """The grid of a subject; the last one is kept, as more than one check reads it."""
    return Grid(subject)
