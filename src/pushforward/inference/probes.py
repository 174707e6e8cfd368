"""What draws of a flow cannot show: where p has mass and q has none. Asked of p, from its modes and along its axes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from pushforward.inference.start import Frame
from pushforward.inference.target import FEW, Target

LogProb = Callable[[np.ndarray], np.ndarray]
CHAINS, STEPS = FEW, 60
OF_MODE = 64
"""Draws near each mode."""
BEYOND = 1.0
"""How far above the largest log-weight of q's draws a log-weight lies beyond q's reach, in nats."""
REACH = (30.0, 300.0, 3000.0)
"""Standard deviations along the axes."""
LOWEST = 200.0
"""How far below its middle a density may be flat, in nats."""


@dataclass(frozen=True)
class Probes:
    """What probes of p found.

    Attributes:
        modes: ends of climbs that differ.
        missed_modes: of these, those whose mass q does not reach.
        missed: share of all mass that was found there; a lower bound.
        outside: share of chains that begin near q and end where p is as high as at its draws but q hardly draws.
        invalid: share of the chains' proposals at which p is NaN or infinite.
        improper: names of the numbers along which the density does not fall.
    """

    modes: int
    missed_modes: int
    missed: float
    outside: float
    invalid: float
    improper: tuple[str, ...]


def probe(
    target: Target,
    found: list[Frame],
    frame: Frame,
    log_q: LogProb,
    near: np.ndarray,
    log_weights: np.ndarray,
    log_p: np.ndarray,
    rng: np.random.Generator,
) -> Probes:
    """Ask p where q may have missed it.

    Arguments:
        target: p.
        found: Gaussians at the ends of climbs.
        frame: the Gaussian that q was fitted in: the units of chains and axes.
        log_q: the log-density of q at rows.
        near: draws of q.
        log_weights, log_p: of q's draws; -inf where p is 0 or unknown.
        rng: of all randomness.
    """
    largest = float(log_weights.max())
    log_z = float(logsumexp(log_weights) - np.log(len(log_weights)))
    missed_modes, log_missed = missed_mass(target, found, log_q, largest + BEYOND, rng)
    missed = float(np.exp(log_missed - np.logaddexp(log_missed, log_z)))
    ends, values, invalid = _chains(target, frame, near, rng)
    order = np.argsort(log_p)
    share = np.exp(log_weights[order] - logsumexp(log_weights)).cumsum()
    typical = log_p[order[min(int(np.searchsorted(share, 0.01)), len(order) - 1)]]
    with np.errstate(invalid="ignore"):
        beyond = values - log_q(ends) > largest + BEYOND
    outside = float((beyond & (values >= typical)).mean())
    return Probes(len(found), missed_modes, missed, outside, invalid, improper_axes(target, frame))


def missed_mass(
    target: Target, found: list[Frame], log_q: LogProb, limit: float, rng: np.random.Generator
) -> tuple[int, float]:
    """How many modes have most of their mass where log-weights are above `limit`, and the logarithm of all mass there:
    importance weights of draws from the Gaussians of all modes."""
    highest = max((frame.log_mass for frame in found), default=-np.inf)
    found = [frame for frame in found if frame.log_mass > highest - 12]
    if not found:
        return 0, -np.inf
    x = np.concatenate([frame.draws(rng, OF_MODE) for frame in found])
    value = target.values(x)
    value = np.where(np.isfinite(value), value, -np.inf)
    mixture = logsumexp([frame.log_prob(x) for frame in found], axis=0) - np.log(len(found))
    beyond = value - log_q(x) > limit
    weights = np.where(beyond, value - mixture, -np.inf)
    of_mode = np.exp(value - mixture - (value - mixture).max()).reshape(len(found), OF_MODE)
    lost = (of_mode * beyond.reshape(of_mode.shape)).sum(1) > 0.5 * of_mode.sum(1)
    return int(lost.sum()), float(logsumexp(weights) - np.log(len(weights)))


def _chains(
    target: Target, frame: Frame, near: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """The ends of Langevin chains with Metropolis steps, half from q's draws and half from beyond, their log-densities,
    and the share of invalid proposals."""
    d, n = target.dim, CHAINS
    start = near[rng.integers(len(near), size=n)]
    u = np.linalg.solve(frame.scale, (start - frame.shift).T).T
    centre = np.median(u, axis=0)
    u[n // 2 :] = centre + 2 * (u[n // 2 :] - centre)

    def rows(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        value, slope = target.rows(frame.shift + u @ frame.scale.T)
        bad = np.isnan(value) | (value == np.inf) | ~np.isfinite(slope).all(1)
        slope = np.where(bad[:, None], 0.0, np.nan_to_num(slope)) @ frame.scale
        size = np.linalg.norm(slope, axis=1, keepdims=True)
        slope *= np.minimum(1, 10 * np.sqrt(d) / np.maximum(size, 1e-30))
        return np.where(bad, -np.inf, value), slope, bad

    value, slope, _ = rows(u)
    step, invalid = np.full(n, 0.1 / d ** (1 / 3)), 0
    for _ in range(STEPS):
        wide = np.sqrt(2 * step)[:, None]
        v = u + step[:, None] * slope + wide * rng.normal(size=u.shape)
        new, bend, bad = rows(v)
        invalid += int(bad.sum())
        back = ((u - v - step[:, None] * bend) ** 2).sum(1) / (4 * step)
        there = ((v - u - step[:, None] * slope) ** 2).sum(1) / (4 * step)
        with np.errstate(invalid="ignore"):
            ratio = new - value - back + there
        # A chain that begins where p is 0 goes anywhere.
        taken = ~bad & (
            (np.log(rng.uniform(size=n)) < ratio) | (np.isneginf(value) & (new > value))
        )
        u = np.where(taken[:, None], v, u)
        slope = np.where(taken[:, None], bend, slope)
        value = np.where(taken, new, value)
        step *= np.exp(0.2 * (np.where(taken, 1.0, 0.0) - 0.57))
    return frame.shift + u @ frame.scale.T, value, invalid / (n * STEPS)


def improper_axes(target: Target, frame: Frame) -> tuple[str, ...]:
    """Names of the numbers along which the density falls no faster than 1 over the distance, hundreds of standard
    deviations out: its mass is then infinite."""
    assert target.names is not None
    d = target.dim
    axes = np.arange(min(d, 256))
    spread = np.sqrt((frame.scale**2).sum(1))[axes]
    units = np.eye(d)[axes] * spread[:, None]
    reach = np.asarray(REACH)
    at = frame.shift + np.stack([units, -units])[:, :, None] * reach[None, None, :, None]
    value = target.values(at.reshape(-1, d)).reshape(2, len(axes), len(reach)) + np.log(reach)
    # A plateau far below, where a model clips what it cannot compute, has no mass that a computer could count.
    finite = np.isfinite(value) & (value > target.values(frame.shift[None])[0] - LOWEST)
    far = finite[..., 1] & finite[..., 2] & (value[..., 2] > value[..., 1] - 0.1)
    lost = ~np.isfinite(value[..., 2])
    middle = finite[..., 0] & finite[..., 1] & lost & (value[..., 1] > value[..., 0] - 0.1)
    return tuple(target.names[i] for i in axes[(far | middle).any(0)])
