"""Tempered sequential Monte Carlo: particles of p, from wide to p, all modes at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from pushforward.inference.start import Frame
from pushforward.inference.target import FEW, MANY, Target
from pushforward.inference.weights import effective_share, systematic

KEPT = 0.7
"""The share of effective particles of each step to a higher inverse temperature."""
MOVES, LEAPS = 4, 8
TARGET_ACCEPTANCE = 0.7
MOST_STAGES = 200


@dataclass(frozen=True)
class Particles:
    """Equally weighted particles of p.

    Attributes:
        x: `(n, d)`.
        log_z: the evidence, in nats.
        stages: inverse temperatures that were gone through.
        acceptance: share of the last stage's moves that were taken.
    """

    x: np.ndarray
    log_z: float
    stages: int
    acceptance: float


def reference_of(found: list[Frame]) -> Frame:
    """A wide normal distribution over all modes that matter, each counted once."""
    masses = np.asarray([frame.log_mass for frame in found])
    near = [f for f, mass in zip(found, masses, strict=True) if mass > masses.max() - 20]
    places = np.stack([frame.shift for frame in near])
    own = np.mean([(frame.scale**2).sum(1) for frame in near], axis=0)
    spread = 1.5 * np.sqrt(places.var(0) + own)
    return Frame(places.mean(0), np.diag(spread))


def tempered(
    target: Target,
    reference: Frame,
    rng: np.random.Generator,
    n: int,
    report: Callable[[float], bool | None] | None = None,
) -> Particles:
    """Particles of p by way of `reference^(1 - b) p^b`, with b from 0 to 1 as fast as `KEPT` effective particles allow.

    Each stage weights, resamples, and moves all particles by Hamiltonian Monte Carlo, whose step follows its
    acceptance. Del Moral, Doucet & Jasra 2006.

    Arguments:
        target: p.
        reference: where particles begin; it must be wider than p.
        rng: of all randomness.
        n: particles.
        report: called after each stage with b; True stops, which leaves particles that are too wide.
    """
    block = FEW if n <= FEW else MANY
    spread = np.diag(reference.scale)

    def rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope = target.rows(x, block)
        bad = ~np.isfinite(value) | ~np.isfinite(slope).all(1)
        return np.where(bad, -np.inf, value), np.where(bad[:, None], 0.0, slope)

    x = reference.draws(rng, n)
    value, slope = rows(x)
    base, b, log_z, step, stages, acceptance = reference.log_prob(x), 0.0, 0.0, 0.3, 0, 0.0
    while b < 1 and stages < MOST_STAGES:
        with np.errstate(invalid="ignore"):
            ratio = np.where(np.isneginf(value), -np.inf, value - base)
        rise = _rise(ratio, 1 - b)
        log_weights = rise * ratio
        log_z += float(logsumexp(log_weights) - np.log(n))
        b, stages = min(1.0, b + rise), stages + 1
        kept = systematic(np.exp(log_weights - logsumexp(log_weights)), n, rng)
        x, value, slope, base = x[kept], value[kept], slope[kept], base[kept]
        mass = x.std(0)
        for _ in range(MOVES):
            momentum = rng.normal(size=x.shape)
            own = step * np.exp(0.3 * rng.normal(size=(n, 1))) * mass[None]

            def pull(x: np.ndarray, slope: np.ndarray, b: float = b) -> np.ndarray:
                found: np.ndarray = b * slope - (1 - b) * (x - reference.shift) / spread**2
                return found

            y, ys = x, slope
            p = momentum + 0.5 * own * pull(y, ys)
            for leap in range(LEAPS):
                y = y + own * p
                yv, ys = rows(y)
                p = p + (own if leap < LEAPS - 1 else 0.5 * own) * pull(y, ys)
            yb = reference.log_prob(y)
            with np.errstate(invalid="ignore"):
                gain = b * (yv - value) + (1 - b) * (yb - base)
                gain = gain + 0.5 * ((momentum**2).sum(1) - (p**2).sum(1))
            taken = np.log(rng.uniform(size=n)) < np.where(np.isfinite(gain), gain, -np.inf)
            x, slope = np.where(taken[:, None], y, x), np.where(taken[:, None], ys, slope)
            value, base = np.where(taken, yv, value), np.where(taken, yb, base)
            acceptance = float(taken.mean())
            step *= float(np.exp(0.4 * (acceptance - TARGET_ACCEPTANCE)))
        if report is not None and report(b):
            break
    return Particles(x, log_z, stages, acceptance)


def _rise(ratio: np.ndarray, most: float) -> float:
    """The largest rise of the inverse temperature that keeps enough effective particles."""
    alive = max(float(np.isfinite(ratio).mean()), 1e-9)

    def share(rise: float) -> float:
        return effective_share(rise * ratio)

    if share(most) >= KEPT * alive:
        return most
    low, high = 0.0, most
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if share(middle) >= KEPT * alive else (low, middle)
    return max(low, 1e-6)
