"""The smoothed distribution of a column of numbers, and the scale on which a model sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float
from scipy.interpolate import PchipInterpolator
from scipy.special import expit, logit

KNOTS = 40
"""Quantiles that the smooth part goes through."""
LEAST = 5
"""Times that a value is seen from which on it may be an atom: rarer values are not kept."""
ATOM_SHARE = 0.01
"""Share of the rows from which on a repeated value of a column off the lattice is an atom."""
# Beyond this score a float64 of F is 0 or 1.
_FAR = 36.0
HALVINGS = 60
"""Halvings of an interval in which a value is searched."""


class Place(NamedTuple):
    """Where values lie on the scale z.

    Attributes:
        z: the point, or the lower edge of the value's cell; the upper edge where the width is negative.
        width: of the cell, negative for a cell that lies below z; 0 for a point.
        log_slope: log dz/dx of a point, -inf where a value is impossible; 0 for a cell.
    """

    z: Float[np.ndarray, " n"]
    width: Float[np.ndarray, " n"]
    log_slope: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Marginal:
    """The distribution of one column: atoms at values that repeat, and a smooth part for all others.

        F(x) = sum of masses of atoms up to x + rest S(x),    z = logit F(x)

    log S / (1 - S) is a monotone cubic through quantiles of the values that are no atoms, straight beyond them. On z a
    logistic distribution is the marginal itself, so a model starts from it. A value on a lattice is a cell, between the
    edges half a step below and above it, and an atom is the jump of F: both have a probability. Every other value is a
    point, with a density.

    Only values seen at least `LEAST` times are kept, besides the quantiles.

    Arguments:
        step, offset: values are `offset + k step`; a step of 0 for real numbers.
        atoms, masses: the values that repeat, increasing, and their probabilities.
        knots, scores: the quantiles, increasing, and log S / (1 - S) there.
        center, spread: the median, and half the distance between the 16th and the 84th percentile.

    ```python
    >>> import numpy as np
    >>> from pushforward.columns.marginal import Marginal
    >>> marginal = Marginal.fit(np.arange(100.0), step=1.0)
    >>> place = marginal.encode(np.array([3.0]))
    >>> marginal.decode(place.z + place.width / 2)
    array([3.])

    ```
    """

    step: float
    offset: float
    atoms: Float[np.ndarray, " k"]
    masses: Float[np.ndarray, " k"]
    knots: Float[np.ndarray, " m"]
    scores: Float[np.ndarray, " m"]
    center: float
    spread: float

    @classmethod
    def fit(cls, values: Float[np.ndarray, " n"], step: float = 0.0, least: int = LEAST) -> Self:
        """Measure a column.

        Arguments:
            values: finite, at least one; on a lattice of `step` where that is not 0.
            step: distance of neighbouring values of the lattice; default 0, real numbers.
            least: times that a value must be seen to be an atom. Off a lattice it is at least ten times, and in
                `ATOM_SHARE` of the rows.
        """
        return cls(**measured(values, step, least))

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

    def encode(self, values: Float[np.ndarray, " n"]) -> Place:
        """Values to z. Cost: a search and a cubic per value."""
        x = np.asarray(values, np.float64)
        if self.step:
            half = self.step / 2
            z = self._score(x - half, "left")
            return Place(z, np.maximum(self._score(x + half, "left") - z, 1e-30), np.zeros(len(x)))
        at = self.is_atom(x)
        z = self._score(x, "left")
        width = np.where(at, self._score(x, "right") - z, 0.0)
        return Place(z, width, np.where(at, 0.0, self._log_slope(x, z)))

    def decode(self, z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The values whose cells hold z, or that lie there. Cost: 60 times that of `encode`."""
        z = np.asarray(z, np.float64)
        if self.step:
            return self._lattice_values(z)
        x = self._root(z)
        if len(self.atoms):
            ends = self._score(self.atoms, "right")
            k = np.minimum(np.searchsorted(ends, z), len(ends) - 1)
            inside = (self._score(self.atoms, "left")[k] <= z) & (z <= ends[k])
            x = np.where(inside, self.atoms[k], x)
        return x

    def quantile(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The values up to which the marginal has these probabilities, by the inverse of F."""
        return self.decode(np.clip(logit(u), -_FAR, _FAR))

    def log_prob(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The marginal's own log-probability, or log-density, of each value."""
        return self.log_prob_at(self.encode(values))

    @staticmethod
    def log_prob_at(place: Place) -> Float[np.ndarray, " n"]:
        """`log_prob` of values that are encoded already."""
        z, width, log_slope = place
        # A logistic variable on z: its density at a point, its mass on a cell without cancellation. A cell below z has
        # the mass of its mirror image.
        point = -np.logaddexp(0, z) - np.logaddexp(0, -z) + log_slope
        low, size = np.where(width < 0, -z, z), np.abs(width)
        cell = -np.logaddexp(0, -(low + size)) - np.logaddexp(0, low) + _log(-np.expm1(-size))
        found: np.ndarray = np.where(size > 0, cell, point)
        return found

    def log_share(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Log-probability of values of the lattice that are no atoms, given that a value is none."""
        half, x = self.step / 2, np.asarray(values, np.float64)
        log_share: np.ndarray = self._log_mass(x - half, x + half) - np.log(self._off_atoms)
        return log_share

    def share_between(self, low: float, high: float) -> float:
        """Probability of values of the lattice from low to high, which may be infinite, that are no atoms, given that a
        value is none."""
        half = self.step / 2
        inside = self.atoms[(low <= self.atoms) & (self.atoms <= high)]
        smooth = np.exp(self._log_mass(np.array([low - half]), np.array([high + half]))[0])
        smooth -= np.exp(self._log_mass(inside - half, inside + half)).sum()
        return float(np.clip(smooth / self._off_atoms, 0.0, 1.0))

    @cached_property
    def _off_atoms(self) -> float:
        """The smooth part's mass where no atom is."""
        half = self.step / 2
        return max(
            1.0 - float(np.exp(self._log_mass(self.atoms - half, self.atoms + half)).sum()), 1e-12
        )

    def _log_mass(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Log-probability of the smooth part between two ends."""
        below, above = (self._smooth_score(self._line(end)) for end in (low, high))
        found: np.ndarray = -np.logaddexp(0, -above) - np.logaddexp(0, below)
        found += _log(-np.expm1(below - above))
        return found

    def unseen(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Values of the lattice that are no atoms, with the probabilities of `log_share`, from uniform numbers."""
        half = self.step / 2
        below, above = (
            expit(self._smooth_score(self._line(self.atoms + end))) for end in (-half, half)
        )
        skipped = np.concatenate([[0.0], np.cumsum(above - below)])
        # What lies off the atoms up to each of them, then the atoms passed are put back.
        left = u * (1.0 - skipped[-1])
        passed = skipped[np.searchsorted(below - skipped[:-1], left, "right")]
        smooth = replace(self, atoms=self.atoms[:0], masses=self.masses[:0])
        return smooth.decode(np.clip(logit(left + passed), -_FAR, _FAR))

    def is_atom(self, values: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which values are atoms."""
        return np.isin(values, self.atoms)

    def to_json(self) -> dict[str, Any]:
        """Plain data, which JSON keeps exactly."""
        return plain(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**numbers_of(cls, data))

    @cached_property
    def _smooth(self) -> tuple[PchipInterpolator, PchipInterpolator, float, float]:
        """The cubic, its derivative, and the slopes beyond its ends."""
        cubic = PchipInterpolator(self.knots, self.scores)
        slope = cubic.derivative()
        span, far = self.scores[-1] - self.scores[0], self.knots[[0, -1]]
        least = 0.05 * span / (far[1] - far[0])
        # Two extremes that happen to lie close together would make the tail as steep as the cubic is between them, and
        # what lies beyond impossible (wine: a row of -438 nats). A tail is no steeper than the outer quarter of scores.
        quarter = self.scores[[0, -1]] + np.array([span, -span]) / 4
        most = span / 4 / np.abs(np.interp(quarter, self.scores, self.knots) - far)
        below, above = np.maximum(np.minimum(slope(far), most), least).tolist()
        return cubic, slope, below, above

    def _line(self, x: np.ndarray) -> np.ndarray:
        """Values on the line on which the smooth part lives."""
        return x

    def _from_line(self, u: np.ndarray) -> np.ndarray:
        """The inverse of `_line`."""
        return u

    def _log_line_slope(self, x: np.ndarray) -> np.ndarray | float:
        """The log-derivative of `_line`."""
        return 0.0

    @property
    def _lattice(self) -> tuple[float, float]:
        """Bounds of the k of values `offset + k step`."""
        return -np.inf, np.inf

    @cached_property
    def _line_atoms(self) -> np.ndarray:
        return self._line(self.atoms)

    def _smooth_score(self, u: np.ndarray) -> np.ndarray:
        """log S / (1 - S)."""
        cubic, _, below, above = self._smooth
        low, high = self.knots[0], self.knots[-1]
        score: np.ndarray = cubic(np.clip(u, low, high))
        score += below * np.minimum(u - low, 0) + above * np.maximum(u - high, 0)
        return score

    def _score(self, x: np.ndarray, side: Any) -> np.ndarray:
        """logit F, with the atom at x counted (`"right"`) or not (`"left"`); exact in both tails."""
        return self._line_score(self._line(x), side)

    def _line_score(self, u: np.ndarray, side: Any) -> np.ndarray:
        """`_score` by the place on the line."""
        sums = np.concatenate([[0.0], np.cumsum(self.masses)])
        # Summed from above, so that small masses at the upper end are not what is left of 1.
        over = np.concatenate([np.cumsum(self.masses[::-1])[::-1], [0.0]])
        k = np.searchsorted(self._line_atoms, u, side)
        below, above, s = sums[k], over[k], self._smooth_score(u)
        score: np.ndarray = np.logaddexp(_log(below), np.log(self.rest) - np.logaddexp(0, -s))
        score -= np.logaddexp(_log(above), np.log(self.rest) - np.logaddexp(0, s))
        return score

    def _log_slope(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """log dz/dx where x is no atom: dF/dx / (F (1 - F))."""
        _, slope, below, above = self._smooth
        low, high = self.knots[0], self.knots[-1]
        u = self._line(x)
        inside = np.maximum(slope(np.clip(u, low, high)), 1e-12 / self.spread)
        ds = np.where(u < low, below, np.where(u > high, above, inside))
        s = self._smooth_score(u)
        log_slope: np.ndarray = np.log(self.rest) + np.log(ds) - np.logaddexp(0, s)
        log_slope += self._log_line_slope(x)
        log_slope += np.logaddexp(0, z) + np.logaddexp(0, -z) - np.logaddexp(0, -s)
        return log_slope

    def _brackets(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places on the line below and above those of z."""
        reach = self._line_reach
        low = np.full(len(z), self.knots[0] - reach)
        high = np.full(len(z), self.knots[-1] + reach)
        for _ in range(HALVINGS):
            short, long = self._line_score(low, "left") > z, self._line_score(high, "left") < z
            if not (short.any() or long.any()):
                break
            low, high, reach = (
                np.where(short, low - reach, low),
                np.where(long, high + reach, high),
                2 * reach,
            )
        return low, high

    @property
    def _line_reach(self) -> float:
        """How far beyond the knots a search begins."""
        return self.spread + self.step

    def _root(self, z: np.ndarray) -> np.ndarray:
        low, high = self._brackets(z)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = self._line_score(middle, "left") > z
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return self._from_line((low + high) / 2)

    def _lattice_values(self, z: np.ndarray) -> np.ndarray:
        """The first value of the lattice whose cell ends above z."""
        ends = (self._from_line(end) for end in self._brackets(z))
        low, high = (np.floor((end - self.offset) / self.step) for end in ends)
        first, last = self._lattice
        low, high = np.maximum(low - 1, first - 1), np.minimum(high + 2, last)
        while (high - low > 1).any():
            middle = np.floor((low + high) / 2)
            above = self._score(self.offset + (middle + 0.5) * self.step, "left") > z
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        values: np.ndarray = self.offset + high * self.step
        return values


def measured(
    values: Float[np.ndarray, " n"],
    step: float,
    least: int,
    *,
    kept: Sequence[float] = (),
    line: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> dict[str, Any]:
    """The fields of a `Marginal`.

    Arguments:
        values, step, least: as of `Marginal.fit`.
        kept: values that are atoms if they are seen at all.
        line: from values to the line on which the smooth part lives; infinite values there are left out of it.
    """
    n = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    enough = least if step else max(10, least, ATOM_SHARE * n)
    often = (counts >= enough) | np.isin(distinct, kept)
    atoms = distinct[often]
    rest = np.repeat(distinct[~often], counts[~often])
    # Half a count for what was never seen, and no less where everything repeats.
    total = n + 0.5 * (len(atoms) + 1)
    free = line(rest if len(np.unique(rest)) > 1 else values)
    free = free[np.isfinite(free)]
    knots, scores = _quantiles(free if len(free) else np.zeros(1), step)
    low, high = np.quantile(values, [0.16, 0.84])
    return {
        "step": step,
        "offset": float(values[0]) % step if step else 0.0,
        "atoms": atoms,
        "masses": (counts[often] + 0.5) / total,
        "knots": knots,
        "scores": scores,
        "center": float(np.median(values)),
        "spread": float(high - low) / 2 or float(values.std()) or 1.0,
    }


def plain(record: Any) -> dict[str, Any]:
    """The fields of a dataclass of numbers and arrays as plain data."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def numbers_of(kind: type[Any], data: dict[str, Any]) -> dict[str, Any]:
    """The fields of such a dataclass from plain data: lists are arrays."""
    found = {field.name: data[field.name] for field in fields(kind)}
    return {
        name: np.asarray(value, np.float64) if isinstance(value, list) else float(value)
        for name, value in found.items()
    }


def _quantiles(values: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Knots and scores through quantiles at equal distances of their scores; of equal quantiles the middle."""
    x, n = np.sort(values), len(values)
    end = np.log(2 * n - 1) if n > 1 else 1.0
    scores = np.linspace(-end, end, KNOTS)
    knots = np.interp(n / (1 + np.exp(-scores)) - 0.5, np.arange(n), x)
    near = 1e-12 * max(float(np.abs(knots).max()), 1e-300)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(knots) > near]))
    counts = np.diff(np.append(starts, len(knots)))
    knots, scores = knots[starts], np.add.reduceat(scores, starts) / counts
    if len(knots) == 1:
        half = step / 2 or abs(float(knots[0])) * 1e-6 or 0.5
        return np.array([knots[0] - half, knots[0] + half]), np.array([-3.0, 3.0])
    return knots, scores


def _log(masses: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        logs: np.ndarray = np.log(masses)
    return logs
