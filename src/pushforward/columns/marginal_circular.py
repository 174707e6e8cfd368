"""The distribution of a column of angles, and the circle on which a model sees it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float
from scipy.interpolate import PchipInterpolator

from pushforward.columns.marginal import (
    ATOM_SHARE,
    HALVINGS,
    KNOTS,
    LEAST,
    Place,
    numbers_of,
    plain,
)

# What counts as the same place of a lattice, in steps.
_NEAR = 1e-6


@dataclass(frozen=True, eq=False)
class CircularMarginal:
    """The distribution of one column of angles, hours or other periodic values.

        F(x) = sum of masses of atoms from the seam to x + rest S(x),    z = 2 pi F(x) - pi

    S is a monotone cubic through quantiles that goes on over the seam, so that its slope is the same on both sides. On
    the circle of z the uniform distribution is the marginal itself. A value on a lattice is an arc, from half a step
    below it to half a step above it, and an atom is the jump of F: both have a probability. Every other value is a
    point, with a density.

    Values are taken modulo the period, into the turn in which the data lay. As `Marginal` does, it keeps only values
    that are seen `LEAST` times, besides the quantiles.

    Arguments:
        period: the length of a turn, in the column's unit.
        start: where the turn begins; on a lattice half a step before its first value.
        step: distance of neighbouring values of the lattice; 0 for real numbers. Where it does not divide the period,
            the last arc is longer or shorter than the others.
        atoms, masses: the values that repeat, increasing, and their probabilities.
        knots, shares: the quantiles, increasing, and S there.

    ```python
    >>> import numpy as np
    >>> from pushforward.columns.marginal_circular import CircularMarginal
    >>> wind = CircularMarginal.fit(np.array([350.0, 355.5, 5.0, 10.5]), period=360.0)
    >>> wind.canonical(np.array([-5.0, 365.0])).tolist()
    [355.0, 5.0]
    >>> (wind.log_prob(np.array([0.0, 360.0])) > wind.log_prob(np.array([180.0, 180.0]))).tolist()
    [True, True]

    ```
    """

    period: float
    start: float
    step: float
    atoms: Float[np.ndarray, " k"]
    masses: Float[np.ndarray, " k"]
    knots: Float[np.ndarray, " m"]
    shares: Float[np.ndarray, " m"]

    @classmethod
    def fit(
        cls,
        values: Float[np.ndarray, " n"],
        period: float,
        step: float = 0.0,
        least: int = LEAST,
    ) -> Self:
        """Measure a column.

        Arguments:
            values: finite, at least one.
            period: the length of a turn, in the column's unit.
            step, least: as of `Marginal.fit`.

        Values below 0 within half a turn of it say that the turn begins half a period before 0; otherwise it begins at
        0, or on a lattice behind 0 where the data hold the period itself, as hours from 1 to 24 do.
        """
        signed = values.min() < 0 and np.abs(values).max() <= period / 2
        start = -period / 2 if signed else 0.0
        if step:
            offset = float(np.mod(turned(values[:1], start, period)[0] - start, step))
            offset = 0.0 if step - offset < _NEAR * step else offset
            closed = offset == 0 and values.max() == start + period and values.min() > start
            start += offset + step * closed - step / 2
        x = np.sort(turned(values, start, period))
        n = len(x)
        distinct, counts = np.unique(x, return_counts=True)
        often = counts >= (least if step else max(10, least, ATOM_SHARE * n))
        rest = np.repeat(distinct[~often], counts[~often])
        rest = rest if len(np.unique(rest)) > 1 else x
        total = n + 0.5 * (often.sum() + 1)
        shares = (np.arange(min(KNOTS, len(rest))) + 0.5) / min(KNOTS, len(rest))
        knots = np.quantile(rest, shares)
        starts = np.flatnonzero(np.diff(knots, prepend=-np.inf) > 1e-9 * period)
        shares = np.add.reduceat(shares, starts) / np.diff(np.append(starts, len(knots)))
        return cls(
            period=float(period),
            start=float(start),
            step=float(step),
            atoms=distinct[often],
            masses=(counts[often] + 0.5) / total,
            knots=knots[starts],
            shares=shares,
        )

    @property
    def center(self) -> float:
        """The middle of the turn."""
        return self.start + self.period / 2

    @property
    def spread(self) -> float:
        """A quarter of the turn."""
        return self.period / 4

    @property
    def rest(self) -> float:
        """The probability of all values that are no atoms."""
        return float(1.0 - self.masses.sum())

    @property
    def measure(self) -> str:
        """What a value has: a probability, a density, or a probability at atoms and a density elsewhere."""
        if self.step:
            return "probability"
        return "probability at repeated values, density elsewhere" if len(self.atoms) else "density"

    def canonical(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Values modulo the period, in the turn of the data; NaN stays."""
        return turned(values, self.start, self.period)

    def encode(self, values: Float[np.ndarray, " n"]) -> Place:
        """Values to z. Cost: a search and a cubic per value."""
        x = self.canonical(np.asarray(values, np.float64))
        if self.step:
            low, high = self._arc(x)
            share = self._share(low, "left")
            width = np.maximum(self._share(high, "left") - share, 1e-30)
            return Place(2 * np.pi * share - np.pi, 2 * np.pi * width, np.zeros(len(x)))
        at = self.is_atom(x)
        share = self._share(x, "left")
        width = np.where(at, self._share(x, "right") - share, 0.0)
        slope = np.maximum(self._smooth(x, 1), 1e-12 / self.period)
        log_slope = np.where(at, 0.0, np.log(2 * np.pi * self.rest * slope))
        return Place(2 * np.pi * share - np.pi, 2 * np.pi * width, log_slope)

    def decode(self, z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The values whose cells hold z, or that lie there. Cost: 60 times that of `encode`."""
        share = np.mod(np.asarray(z, np.float64) + np.pi, 2 * np.pi) / (2 * np.pi)
        low = np.full(len(share), self.start)
        high = low + self.period
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = self._share(middle, "left") > share
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        x: np.ndarray = (low + high) / 2
        if self.step:
            first = self.start + self.step / 2
            last = np.ceil((self.period - self.step / 2) / self.step - _NEAR) - 1
            return first + self.step * np.clip(np.rint((x - first) / self.step), 0, last)
        if len(self.atoms):
            ends = self._share(self.atoms, "right")
            k = np.minimum(np.searchsorted(ends, share), len(ends) - 1)
            inside = (self._share(self.atoms, "left")[k] <= share) & (share <= ends[k])
            x = np.where(inside, self.atoms[k], x)
        return self.canonical(x)

    def log_prob(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The marginal's own log-probability, or log-density, of each value."""
        return self.log_prob_at(self.encode(values))

    @staticmethod
    def log_prob_at(place: Place) -> Float[np.ndarray, " n"]:
        """`log_prob` of values that are encoded already."""
        cell = np.log(np.where(place.width > 0, place.width, 1.0))
        found: np.ndarray = cell + place.log_slope - np.log(2 * np.pi)
        return found

    def log_share(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Log-probability of values of the lattice that are no atoms, given that a value is none."""

        def mass(x: np.ndarray) -> np.ndarray:
            low, high = self._arc(x)
            return np.asarray(self._smooth(high) - self._smooth(low))

        off_atoms = max(1.0 - float(mass(self.atoms).sum()), 1e-12)
        own = mass(self.canonical(np.asarray(values, np.float64)))
        share: np.ndarray = np.log(np.maximum(own, 1e-30)) - np.log(off_atoms)
        return share

    @property
    def offset(self) -> float:
        """The first value of the lattice."""
        return self.start + self.step / 2

    def quantile(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The values up to which the marginal has these probabilities, counted from the seam."""
        return self.decode(2 * np.pi * np.asarray(u, np.float64) - np.pi)

    def share_between(self, low: float, high: float) -> float:
        """Probability of values of the lattice from low to high that are no atoms, given that a value is none."""
        values, shares = self._off_atoms
        return float(shares[(low <= values) & (values <= high)].sum())

    def unseen(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Values of the lattice that are no atoms, with the probabilities of `log_share`, from uniform numbers."""
        values, shares = self._off_atoms
        found: np.ndarray = values[np.searchsorted(np.cumsum(shares)[:-1], u, "right")]
        return found

    @property
    def full(self) -> bool:
        """Whether every value of the lattice is an atom."""
        return len(self._off_atoms[0]) == 0

    @cached_property
    def _off_atoms(self) -> tuple[np.ndarray, np.ndarray]:
        """The values of the lattice that are no atoms, and their shares of the mass there."""
        count = int(np.ceil((self.period - self.step / 2) / self.step - _NEAR))
        values = self.decode(self.encode(self.offset + self.step * np.arange(count)).z + 1e-12)
        values = values[~self.is_atom(values)]
        shares = np.exp(self.log_share(values))
        return values, shares / max(shares.sum(), 1e-300)

    def is_atom(self, values: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which values are atoms."""
        return np.isin(self.canonical(np.asarray(values, np.float64)), self.atoms)

    def to_json(self) -> dict[str, Any]:
        """Plain data, which JSON keeps exactly."""
        return plain(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**numbers_of(cls, data))

    @cached_property
    def _cubic(self) -> PchipInterpolator:
        """S, and some way over the seam on either side."""
        turns = np.array([[-1.0], [0.0], [1.0]])
        knots = (self.knots + turns * self.period).ravel()
        return PchipInterpolator(knots, (self.shares + turns).ravel())

    def _smooth(self, x: np.ndarray, slope: int = 0) -> np.ndarray:
        """S, which is 0 at the seam and 1 after a turn, or its derivative."""
        found = self._cubic(x, slope)
        return np.asarray(found if slope else found - self._cubic(self.start))

    def _share(self, x: np.ndarray, side: Any) -> np.ndarray:
        """F, with the atom at x counted (`"right"`) or not (`"left"`)."""
        sums = np.concatenate([[0.0], np.cumsum(self.masses)])
        return np.asarray(sums[np.searchsorted(self.atoms, x, side)] + self.rest * self._smooth(x))

    def _arc(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ends of the cells of canonical values of the lattice."""
        half, end = self.step / 2, self.start + self.period
        last = x + self.step > end - self.step * _NEAR
        return np.maximum(x - half, self.start), np.where(last, end, x + half)


def turned(values: Float[np.ndarray, " n"], start: float, period: float) -> Float[np.ndarray, " n"]:
    """Values modulo the period, in `[start, start + period)`. What lies there keeps its last bit."""
    within = (values >= start) & (values < start + period)
    with np.errstate(invalid="ignore"):
        found = start + np.mod(values - start, period)
    found = np.where(found >= start + period, start, found)
    return np.where(within, values, found)
