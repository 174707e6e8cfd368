"""Markov chains with a flow: independence Metropolis, alternated with Hamiltonian Monte Carlo in its latent space."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.distributions import Flow
from pushforward.draws import key_of
from pushforward.inference.target import COMPILER, FEW, Target
from pushforward.rows import broadcasting

LEAPS = 5
WARMUP = 200


@dataclass(frozen=True)
class Chains:
    """Draws of Markov chains.

    Attributes:
        draws: of all chains, one after another, as the log-density takes events.
        u: unconstrained, `(chains, n, d)`.
        r_hat: split R-hat of each number of u, `(d,)`: near 1 where the chains agree.
        effective: effective draws of each number of u, `(d,)`.
        acceptance: shares of independent proposals and of trajectories that were taken.
    """

    draws: Any
    u: np.ndarray
    r_hat: np.ndarray
    effective: np.ndarray
    acceptance: tuple[float, float]


def run_chains(target: Target, flow: Flow, n: int, chains: int, seed: int) -> Chains:
    """`n` draws of each chain after `WARMUP`, in which the step of the trajectories is found."""
    rng = np.random.default_rng([seed, 11])
    total = n + WARMUP

    def latent(z: Array) -> tuple[Array, Array, Array, Array, Array]:
        """x, log p and log-weight at x, and the log-density of z with its gradient."""
        (x, log_det), pull = jax.vjp(lambda z: flow.bijection.forward_rows(z, None, None), z)
        log_p, slope = target.traced_rows(x)
        (gradient,) = pull((slope, jnp.ones_like(log_det)))
        log_q = flow.base.log_prob_rows(z, None, None) - log_det
        return x, log_p, log_p - log_q, log_p + log_det, gradient

    compiled = jax.jit(latent, compiler_options=COMPILER)

    def at(z: np.ndarray) -> tuple[np.ndarray, ...]:
        with broadcasting():
            found = compiled(jnp.asarray(z, jnp.zeros(()).dtype))
        return tuple(np.asarray(array, np.float64) for array in found)

    z, weight = _proposals(flow, latent, total * chains + chains, seed)
    sizes = np.where(np.isfinite(weight), weight, -np.inf)
    # Each chain begins at a draw of its own, where p is positive.
    first = np.flatnonzero(np.isfinite(sizes))[:chains]
    if len(first) < chains:
        first = np.resize(first if len(first) else [0], chains)
    here, w = z[first], sizes[first]
    place, _, _, energy, slope = at(here)
    out = np.empty((chains, total, z.shape[1]))
    step, taken_free, taken_path = 0.5 * z.shape[1] ** -0.25, 0, 0
    for i in range(total):
        proposal = slice(chains * (i + 1), chains * (i + 2))
        free = np.log(rng.uniform(size=chains)) < sizes[proposal] - w
        here = np.where(free[:, None], z[proposal], here)
        q, momentum = here, rng.normal(size=here.shape)
        place, _, w, energy, slope = at(here)
        own = step * np.exp(0.2 * rng.normal())
        p = momentum + 0.5 * own * np.nan_to_num(slope)
        for leap in range(LEAPS):
            q = q + own * p
            there = at(q)
            p = p + (own if leap < LEAPS - 1 else 0.5 * own) * np.nan_to_num(there[4])
        with np.errstate(invalid="ignore"):
            gain = there[3] - energy + 0.5 * ((momentum**2).sum(1) - (p**2).sum(1))
        path = np.log(rng.uniform(size=chains)) < np.where(np.isfinite(gain), gain, -np.inf)
        here, place = np.where(path[:, None], q, here), np.where(path[:, None], there[0], place)
        w = np.where(path, there[2], w)
        out[:, i] = place
        if i < WARMUP:
            step *= float(np.exp(0.1 * (path.mean() - 0.8)))
        else:
            taken_free, taken_path = taken_free + int(free.sum()), taken_path + int(path.sum())
    u = out[:, WARMUP:]
    shares = taken_free / (n * chains), taken_path / (n * chains)
    return Chains(None, u, split_r_hat(u), effective_draws(u), shares)


def _proposals(flow: Flow, latent: Any, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents of independent draws, and their log-weights."""

    def block(key: Any) -> Any:
        z, _ = flow.base.sample_rows(key, FEW, None)
        return z, latent(z)[2]

    run, key, parts = jax.jit(block, compiler_options=COMPILER), key_of(seed), []
    for number in range(-(-n // FEW)):
        with broadcasting():
            found = run(jax.random.fold_in(key, number))
        parts.append([np.asarray(array, np.float64) for array in found])
    z, weights = (np.concatenate(arrays)[:n] for arrays in zip(*parts, strict=True))
    return z, weights


def split_r_hat(draws: np.ndarray) -> np.ndarray:
    """Split R-hat of each coordinate of chains `(chains, n, d)`: the spread between their halves beside that within.

    Gelman, Carlin, Stern, Dunson, Vehtari & Rubin 2013, section 11.4.

    ```python
    >>> import numpy as np
    >>> chains = np.random.default_rng(0).normal(size=(4, 500, 1))
    >>> bool(split_r_hat(chains)[0] < 1.01 < split_r_hat(chains + np.arange(4.0)[:, None, None])[0])
    True

    ```
    """
    halves = _halves(draws)
    n = halves.shape[1]
    within = halves.var(1, ddof=1).mean(0)
    between = n * halves.mean(1).var(0, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.sqrt((n - 1) / n + between / (n * within))
    return np.where(within > 0, found, np.inf)


def effective_draws(draws: np.ndarray) -> np.ndarray:
    """Effective draws of each coordinate of chains `(chains, n, d)`, by autocorrelations within halves of chains up to
    where pairs of them become negative (Geyer 1992), with the spread between them counted in.

    Vehtari, Gelman, Simpson, Carpenter & Burkner 2021 (arXiv 1903.08008), without ranks.

    ```python
    >>> import numpy as np
    >>> chains = np.random.default_rng(0).normal(size=(4, 500, 1))
    >>> bool(1700 < effective_draws(chains)[0] < 2300), bool(effective_draws(chains.cumsum(1))[0] < 50)
    (True, True)

    ```
    """
    halves = _halves(draws)
    m, n, d = halves.shape
    centred = halves - halves.mean(1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred, 2 * n, axis=1)) ** 2
    covariance = np.fft.irfft(spectrum, axis=1)[:, :n] / n
    within = covariance[:, 0].mean(0) * n / (n - 1)
    pooled = within * (n - 1) / n + halves.mean(1).var(0, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = 1 - (within - covariance.mean(0) * n / (n - 1)) / pooled
    rho[0] = 1.0
    pairs = rho[0 : n - n % 2 : 2] + rho[1:n:2]
    out = np.empty(d)
    for j in range(d):
        negative = np.flatnonzero(~(pairs[:, j] > 0))
        last = negative[0] if len(negative) else len(pairs)
        kept = np.minimum.accumulate(pairs[:last, j])
        out[j] = m * n / max(2 * kept.sum() - 1, 1 / np.log10(m * n))
    return out


def _halves(draws: np.ndarray) -> np.ndarray:
    n = draws.shape[1] // 2
    return np.concatenate([draws[:, :n], draws[:, -n:]])
