"""Whether a posterior can be trusted, in words."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pushforward.inference.probes import Probes
from pushforward.inference.weights import LogZ, k_threshold

Word = Literal["trustworthy", "usable with weights", "do not trust"]
TRUSTWORTHY, WEIGHTS, NOT = "trustworthy", "usable with weights", "do not trust"
GREEN_SHARE = 0.8
"""Effective draws, as a share, from which plain draws are as good as weighted ones."""
NEAR_SHARE = 0.99
"""Effective draws, as a share, from which a heavier tail of the posterior holds too little mass to be seen."""
FEWEST = 400
"""Effective draws below which weighted ones are too few."""


@dataclass(frozen=True)
class Facts:
    """What a verdict rests on.

    Attributes:
        draws: of q that were judged.
        effective: share of effective draws among them.
        k: the shape of their largest weights.
        invalid: share of them at which the log-density is NaN or infinite.
        left_out: share of the fit's last draws that were not finite.
        probes: of p; None where they were left out.
        log_z: by these weights.
        again: by those of a second fit with another seed; None without one.
        size: the median of |log p|, in nats.
    """

    draws: int
    effective: float
    k: float
    invalid: float
    left_out: float
    probes: Probes | None
    log_z: LogZ
    again: LogZ | None
    size: float


@dataclass(frozen=True)
class Verdict:
    """Whether a posterior can be trusted.

    Attributes:
        word: "trustworthy": plain draws of the flow are draws of the posterior as far as was seen. "usable with
            weights": expectations need the weights (`sample(how="resampled")` or "mcmc", `expect`), and reasons say
            why. "do not trust": neither is right.
        reasons: one sentence each, the worst first.

    It equals its word: `post.verdict == "trustworthy"`.

    ```python
    >>> verdict = Verdict("usable with weights", ("draws are worth 60 %",))
    >>> print(verdict)
    usable with weights
    - draws are worth 60 %
    >>> verdict == "usable with weights"
    True

    ```
    """

    word: Word
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([self.word, *(f"- {reason}" for reason in self.reasons)])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Verdict):
            return (self.word, self.reasons) == (other.word, other.reasons)
        return self.word == other

    def __hash__(self) -> int:
        return hash(self.word)


def verdict_of(facts: Facts) -> Verdict:
    """The verdict on what was measured: the worst of what each measure says."""
    red: list[str] = []
    amber: list[str] = []
    green: list[str] = []
    if facts.probes is None:
        amber.append("the density was not probed where the flow is not: modes may be missed")
    else:
        _probes(facts.probes, red, amber, green)
    _weights(facts, red, amber, green)
    _invalid(facts, red, amber)
    if facts.again is not None:
        _again(facts.log_z, facts.again, red, amber, green)
    if facts.size * np.finfo(np.float32).eps > 0.02:
        amber.append(
            f"the log-density is of the order of {facts.size:.2g} nats, which 32 bits round by "
            f"{facts.size * np.finfo(np.float32).eps:.2g}: run under jax.enable_x64, or subtract a constant"
        )
    word: Word = "do not trust" if red else "usable with weights" if amber else "trustworthy"
    return Verdict(word, tuple(red + amber + green))


def _weights(facts: Facts, red: list[str], amber: list[str], green: list[str]) -> None:
    limit = k_threshold(facts.draws)
    worth = f"{facts.draws:,} draws are worth {facts.effective * facts.draws:,.0f} of the posterior"
    if limit < facts.k < 1 and facts.effective >= NEAR_SHARE:
        amber.append(
            f"the posterior has heavier tails than the flow (k = {facts.k:.2f}, above {limit:.2f}), but far out: "
            f"{worth}"
        )
    elif not facts.k <= limit:
        red.append(
            f"a few draws carry the weight (k = {facts.k:.2f}, above {limit:.2f}): the posterior has heavier tails "
            "than the flow, or the fit is not done; more steps= may help"
        )
    elif facts.effective * facts.draws < FEWEST:
        red.append(f"{worth}: the fit is not done; more steps= may help")
    elif facts.effective < GREEN_SHARE:
        amber.append(f"{worth}: the flow is near, not on it")
    else:
        tail = "all weights are equal" if facts.k == -np.inf else f"k = {facts.k:.2f}"
        green.append(f"{worth} ({tail})")


def _probes(probes: Probes, red: list[str], amber: list[str], green: list[str]) -> None:
    if probes.improper:
        names = ", ".join(probes.improper[:3])
        red.append(
            f"the density does not fall far out along {names}: its mass is infinite; a prior or a log-det is missing"
        )
    if probes.missed > 1e-3:
        text = (
            f"{probes.missed_modes} of the {probes.modes} modes that climbs found lie where the flow never draws, with "
            f"{_percent(probes.missed)} of the mass at least"
        )
        (red if probes.missed > 0.01 else amber).append(text)
    elif probes.modes:
        green.append("no mode that climbs found has mass where the flow never draws")
    if probes.outside > 0.02:
        text = f"{_percent(probes.outside)} of the chains that began near the flow went where it all but never draws"
        (red if probes.outside > 0.05 else amber).append(text)


def _invalid(facts: Facts, red: list[str], amber: list[str]) -> None:
    if facts.invalid > 0:
        text = (
            f"the log-density is NaN or infinite at {_percent(facts.invalid)} of the flow's draws, which were left "
            "out: mass may be there"
        )
        (red if facts.invalid > 0.005 else amber).append(text)
    if facts.left_out > 0.01:
        amber.append(
            f"{_percent(facts.left_out)} of the last draws of the fit were left out, as the log-density or its "
            "gradient is not finite there: mass may be there"
        )
    if facts.probes is not None and facts.probes.invalid > 0.01:
        amber.append(
            f"the log-density is NaN or infinite at {_percent(facts.probes.invalid)} of the points that chains near "
            "the flow tried: mass may be there"
        )


def _again(first: LogZ, again: LogZ, red: list[str], amber: list[str], green: list[str]) -> None:
    """What a short fit with another seed says. One that misses mass finds too little evidence, so that only more of it
    speaks against the first."""
    more = again.value - first.value
    error = np.hypot(first.standard_error, again.standard_error)
    if not np.isfinite(error):
        return
    if more > 4 * error + 0.02:
        text = f"a second fit finds more evidence, log Z = {again.value:.3f}, the first {first.value:.3f}"
        (red if more > 0.1 else amber).append(text)
    elif more > -4 * error - 0.02:
        green.append(f"a second fit agrees on log Z within {max(abs(more), 5e-4):.3f}")
    else:
        green.append(
            f"a second, shorter fit finds less evidence, log Z = {again.value:.3f}: it misses what this one has"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
