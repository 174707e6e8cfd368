"""Simulation-based calibration: whether a conditional density is right on average over what was simulated."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binom

from pushforward.errors import InputError, check_count
from pushforward.models.table_model import TableModel
from pushforward.words import plural, quoted

LEVELS = (0.5, 0.8, 0.95)
"""Probabilities of the central intervals whose coverage is counted."""
CHANCE = 0.01
"""Probability that some curve of a calibrated density leaves its band."""
DRAWS = 199
"""Draws for each simulation: ranks then have 200 values."""
FEWEST = 20
"""Simulations below which ranks say nothing."""
JOINT = "log-density"
"""What the rank of the joint log-density is called."""
_POINTS = 50
_SIMULATED = 10_000
# Contraction below which a parameter is said to be hardly informed.
_UNINFORMED = 0.1


@dataclass(frozen=True)
class Calibration:
    """Whether the truth lies where the posterior says, over many simulations; printed, it says so in words.

    The rank of the truth among L draws of its posterior is uniform on 0 ... L where the posterior is right, for each
    parameter and for the posterior's own log-density. The converse does not hold: the prior itself passes, which
    `contraction` shows.

    Attributes:
        names: of the parameters.
        ranks: `(simulations, parameters + 1)`, of the truth among the draws; the last is that of the log-density.
        draws: L.
        coverage: for 50, 80 and 95 % the share of simulations whose truth lies in the central interval, by parameter.
        contraction: `1 - E[Var(theta | x)] / Var(theta)` by parameter: 0 where x says nothing, 1 where it says all.
        p_values: of the ranks' uniformity, by parameter and for the log-density, by the largest deviation of their
            empirical distribution function.

    Sources: Talts et al. 2018, arXiv 1804.06788; simultaneous bands as of Säilynoja et al. 2022, arXiv 2103.10522; the
    log-density's rank as of Modrák et al. 2023, arXiv 2211.02383.
    """

    names: tuple[str, ...]
    ranks: Int[np.ndarray, "m k"]
    draws: int
    coverage: dict[float, Float[np.ndarray, " d"]]
    contraction: Float[np.ndarray, " d"]
    p_values: Float[np.ndarray, " k"]

    @property
    def calibrated(self) -> bool:
        """Whether no curve leaves its band, which a calibrated posterior's do with a probability of 1 %."""
        return bool((self.p_values >= CHANCE / len(self.p_values)).all())

    @property
    def lines(self) -> list[str]:
        """The verdict, what speaks against it, coverage and contraction, line by line."""
        m, k = self.ranks.shape
        of = f"{m:,} simulations, {self.draws} draws each"
        if self.calibrated:
            found = [f"calibrated: {plural(k, 'curve')} of ranks within the bands of chance ({of})"]
        else:
            found = [f"not calibrated: ranks leave the bands of chance ({of})"]
        for i in np.flatnonzero(self.p_values < CHANCE / k).tolist():
            found.append(f"{(*self.names, JOINT)[i]}: {self._fault(i)}")
        for level, shares in self.coverage.items():
            error = np.sqrt(level * (1 - level) / m)
            each = ", ".join(f"{n} {s:.0%}" for n, s in zip(self.names, shares, strict=True))
            found.append(f"{level:.0%} intervals hold the truth (+- {error:.0%}): {each}")
        each = ", ".join(f"{n} {c:.2f}" for n, c in zip(self.names, self.contraction, strict=True))
        found.append(f"contraction (0: x says nothing, 1: all): {each}")
        idle = [n for n, c in zip(self.names, self.contraction, strict=True) if c < _UNINFORMED]
        if idle:
            found.append(
                f"{quoted(idle)}: hardly narrower than the prior; x does not inform it, or the fit has not learnt how"
            )
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _fault(self, i: int) -> str:
        """What the ranks of one curve mean."""
        u = (self.ranks[:, i] + 0.5) / (self.draws + 1)
        shift, spread = u.mean() - 0.5, u.var() - 1 / 12
        # Both in their standard errors under uniformity.
        bias, width = shift * np.sqrt(12 * len(u)), spread * np.sqrt(180 * len(u))
        if i == len(self.names):
            if abs(bias) < 2:
                return "the shape of the joint posterior is off"
            return "the joint posterior is too " + ("narrow" if shift < 0 else "wide")
        if abs(bias) > abs(width):
            return "the posterior lies too " + ("low" if shift > 0 else "high")
        if abs(width) < 2:
            return "the posterior's shape is off"
        return (
            "the posterior is too narrow: it is too sure"
            if spread > 0
            else "the posterior is too wide"
        )

    def figure(self) -> Any:
        """A Matplotlib figure: for each curve how far the distribution function of the ranks lies from the uniform one,
        with the band that chance allows; coverage beside what was asked for; contraction.

        Raises `InputError` where Matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise InputError("pictures need Matplotlib: pip install matplotlib") from None
        m, k = self.ranks.shape
        names = (*self.names, JOINT)
        columns = min(4, k)
        rows = -(-k // columns)
        drawing = Figure(figsize=(2.7 * max(columns, 3), 2.3 * (rows + 1)), layout="constrained")
        parts: Any = drawing.subfigures(2, 1, height_ratios=[rows, 1.1])
        above, below = parts
        z, low, high = bands(m, self.draws, CHANCE / k)
        for i, axis in enumerate(above.subplots(rows, columns, squeeze=False).ravel()):
            if i >= k:
                axis.set_axis_off()
                continue
            off = counts_below(self.ranks[:, i], self.draws) / m - z
            bad = self.p_values[i] < CHANCE / k
            axis.fill_between(z, low / m - z, high / m - z, color="0.85", lw=0, step="mid")
            axis.plot(z, off, color="tab:red" if bad else "tab:blue", drawstyle="steps-mid")
            axis.set_title(names[i], fontsize=9)
            axis.tick_params(labelsize=7)
        above.supxlabel("rank of the truth among draws", fontsize=8)
        above.supylabel("distribution function - uniform", fontsize=8)
        of_coverage, of_contraction = below.subplots(1, 2)
        of_coverage.plot([0, 1], [0, 1], color="0.7", lw=1)
        for i, name in enumerate(self.names):
            shares = [shares[i] for shares in self.coverage.values()]
            of_coverage.plot(list(self.coverage), shares, ".-", label=name)
        if len(self.names) <= 6:
            of_coverage.legend(fontsize=7)
        of_coverage.set_xlabel("probability of the interval", fontsize=8)
        of_coverage.set_ylabel("holds the truth", fontsize=8)
        of_contraction.barh(range(k - 1), np.clip(self.contraction, 0, 1), color="tab:blue")
        of_contraction.set_yticks(range(k - 1), self.names, fontsize=7)
        of_contraction.set_xlim(0, 1)
        of_contraction.invert_yaxis()
        of_contraction.set_xlabel("contraction", fontsize=8)
        for axis in (of_coverage, of_contraction):
            axis.tick_params(labelsize=7)
        return drawing


def calibration(
    model: TableModel,
    theta: Float[np.ndarray, "m d"],
    x: Float[np.ndarray, " m *c"],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Calibration:
    """Simulation-based calibration of a conditional density.

    Cost: `draws` draws for each simulation, and their log-densities.

    Arguments:
        model: the density of theta given x.
        theta, x: simulations that the fit has not seen, at least 20.
        draws: L, draws for each; default 199.
        seed: of the draws.

    Raises `InputError` for fewer simulations or another number of rows, and a model without a condition.
    """
    check_count("draws", draws)
    if model.condition is None:
        raise InputError("calibration is of a density given a condition; this model has none")
    theta, m = np.asarray(theta, np.float64), len(theta)
    if len(x) != m:
        raise InputError(f"theta has {m:,} rows, x {len(x):,}: one of each for every simulation")
    if m < FEWEST:
        raise InputError(f"{plural(m, 'simulation')}: ranks say something from {FEWEST} on")
    found = model.sample(draws, seed, x)
    log_prob = model.log_prob(
        np.concatenate([theta, found]), np.concatenate([x, np.repeat(x, draws, 0)])
    )
    found = found.reshape(m, draws, -1)
    every = np.concatenate([found, log_prob[m:].reshape(m, draws, 1)], -1)
    truth = np.concatenate([theta, log_prob[:m, None]], -1)[:, None]
    # Values that repeat have no rank of their own: any of those that they share.
    ties = (every == truth).sum(1)
    ranks = (every < truth).sum(1) + np.random.default_rng(seed).integers(0, ties + 1)
    u = (ranks[:, :-1] + 0.5) / (draws + 1)
    prior = theta.var(0)
    spread = found.var(1, ddof=min(1, draws - 1)).mean(0)
    return Calibration(
        names=model.columns.names,
        ranks=ranks,
        draws=draws,
        coverage={level: (np.abs(u - 0.5) < level / 2).mean(0) for level in LEVELS},
        contraction=1 - spread / np.where(prior > 0, prior, np.inf),
        p_values=np.array([p_value(column, draws) for column in ranks.T]),
    )


def counts_below(ranks: Int[np.ndarray, " m"], draws: int) -> Int[np.ndarray, " points"]:
    """How many ranks lie below each of the points at which distribution functions are compared."""
    return np.searchsorted(np.sort(ranks), _edges(draws), side="left")


def p_value(ranks: Int[np.ndarray, " m"], draws: int) -> float:
    """The probability that uniform ranks leave a band as narrow as the one that these just touch."""
    m = len(ranks)
    least = _tails(counts_below(ranks, draws)[None], m, draws)[0]
    # Counted with itself, so that it is never 0.
    return float((1 + (_under_chance(m, draws) <= least).sum()) / (1 + _SIMULATED))


def bands(
    m: int, draws: int, chance: float
) -> tuple[
    Float[np.ndarray, " points"], Float[np.ndarray, " points"], Float[np.ndarray, " points"]
]:
    """The values of the distribution function of uniform ranks, and the counts of `m` ranks below them between which
    the whole curve lies with probability `1 - chance`."""
    each = np.quantile(_under_chance(m, draws), chance)
    z = _edges(draws) / (draws + 1)
    return z, binom.ppf(each / 2, m, z), binom.isf(each / 2, m, z)


def _edges(draws: int) -> Int[np.ndarray, " points"]:
    """Ranks below which are counted: some of 1 ... draws."""
    points = min(draws + 1, _POINTS)
    return (draws + 1) * np.arange(1, points) // points


def _tails(counts: Int[np.ndarray, "k points"], m: int, draws: int) -> Float[np.ndarray, " k"]:
    """For each curve of counts the two-sided tail probability of its least probable point."""
    z = _edges(draws) / (draws + 1)
    every = np.arange(m + 1)[:, None]
    both = 2 * np.minimum(binom.cdf(every, m, z), binom.sf(every - 1, m, z))
    least: np.ndarray = both[counts, np.arange(len(z))].min(1)
    return least


@lru_cache(8)
def _under_chance(m: int, draws: int) -> Float[np.ndarray, " simulated"]:
    """`_tails` of many curves of uniform ranks."""
    widths = np.diff(np.concatenate([[0], _edges(draws), [draws + 1]]))
    rng = np.random.default_rng(0)
    cells = rng.multinomial(m, widths / (draws + 1), size=_SIMULATED)
    return _tails(cells.cumsum(1)[:, :-1], m, draws)
