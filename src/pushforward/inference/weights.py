"""Importance weights: how many draws they are worth, whether they can be trusted, and the evidence that they give."""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from pushforward.errors import InputError


class Smoothed(NamedTuple):
    """Smoothed weights.

    Attributes:
        log_weights: normalised, their exponentials sum to 1.
        k: the shape of the generalised Pareto distribution of the largest weights.
    """

    log_weights: np.ndarray
    k: float


class LogZ(NamedTuple):
    """The logarithm of an evidence.

    Attributes:
        value: in nats.
        standard_error: in nats; NaN where the weights have no variance that draws could show.
        how: the estimator, in words.
    """

    value: float
    standard_error: float
    how: str


EQUAL, FEWEST_IN_TAIL = 1e-3, 5
"""Nats that equal log-weights differ by at most, and the fewest weights that a tail is fitted to."""


def smoothed_weights(log_weights: np.ndarray) -> Smoothed:
    """Pareto-smoothed importance weights: the largest ones are replaced by quantiles of the generalised Pareto
    distribution that is fitted to them.

    Its shape k says how heavy the tail is: below `k_threshold(n)` estimates can be trusted, above 1 the weights have no
    mean. As Vehtari, Simpson, Gelman, Yao & Gabry 2024 (arXiv 1507.02646), with the fit of Zhang & Stephens 2009.

    Arguments:
        log_weights: log-ratios `log p(x) - log q(x)` of draws of q, `(n,)`, -inf where p is 0.

    Raises `InputError` for fewer than 25 of them.

    ```python
    >>> import numpy as np
    >>> ratios = np.random.default_rng(0).normal(size=1000)
    >>> round(smoothed_weights(0.1 * ratios).k, 1) < round(smoothed_weights(5 * ratios).k, 1)
    True

    ```
    """
    if len(log_weights) < 25:
        raise InputError(f"{len(log_weights)} weights: at least 25 are needed")
    centred = np.asarray(log_weights, np.float64) - np.max(log_weights)
    n = len(centred)
    count = int(min(0.2 * n, 3 * math.sqrt(n)))
    order = np.argsort(centred)
    if np.isfinite(centred).all() and np.ptp(centred) < EQUAL:
        return Smoothed(centred - logsumexp(centred), -math.inf)
    low, tail = centred[order[-count - 1]], order[-count:]
    # Rounded log-densities have ties, of which none lies beyond the others.
    tail = tail[centred[tail] > low]
    cut = np.exp(low)
    beyond = np.exp(centred[tail]) - cut
    if len(tail) < FEWEST_IN_TAIL or not beyond[0] > 0 or beyond[-1] - beyond[0] < 1e-300:
        # Fewer positive weights than a tail has: no tail to fit.
        return Smoothed(centred - logsumexp(centred), math.inf)
    k, scale = _pareto(beyond)
    p = (np.arange(len(tail)) + 0.5) / len(tail)
    quantiles = scale * np.expm1(-k * np.log1p(-p)) / k if abs(k) > 1e-9 else -scale * np.log1p(-p)
    out = centred.copy()
    out[tail] = np.minimum(np.log(quantiles + cut), 0.0)
    return Smoothed(out - logsumexp(out), float(k))


def _pareto(beyond: np.ndarray) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution of sorted positive values."""
    n = len(beyond)
    grid = np.arange(1, 31 + int(math.sqrt(n)))
    quarter = beyond[int(n / 4 + 0.5) - 1]
    slopes = 1 / beyond[-1] + (1 - np.sqrt((30 + int(math.sqrt(n))) / (grid - 0.5))) / (3 * quarter)
    shapes = np.log1p(-slopes[:, None] * beyond[None]).mean(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        likelihood = n * (np.log(-slopes / shapes) - shapes - 1)
    likelihood = np.where(np.isfinite(likelihood), likelihood, -np.inf)
    weights = np.exp(likelihood - logsumexp(likelihood))
    slope = (slopes * weights).sum()
    k = np.log1p(-slope * beyond).mean()
    scale = -k / slope
    # A weak prior towards 1/2, worth 10 values.
    return float((n * k + 5) / (n + 10)), float(scale)


def k_threshold(n: int) -> float:
    """The largest k with which `n` weights can be trusted, `min(1 - 1 / log10 n, 0.7)`."""
    return min(1 - 1 / math.log10(n), 0.7)


def effective_share(log_weights: np.ndarray) -> float:
    """Effective draws as a share of all, `(sum w)^2 / (n sum w^2)`.

    ```python
    >>> import numpy as np
    >>> float(effective_share(np.array([0.0, 0.0, -np.inf, -np.inf])))
    0.5

    ```
    """
    if not np.isfinite(log_weights).any():
        return 0.0
    ratio = 2 * logsumexp(log_weights) - logsumexp(2 * log_weights)
    return float(np.exp(ratio) / len(log_weights))


def importance_log_z(log_weights: np.ndarray, k: float) -> LogZ:
    """The evidence as the mean weight. Its error is NaN where k is beyond the threshold."""
    n = len(log_weights)
    value = float(logsumexp(log_weights) - math.log(n))
    spread = float(np.exp(log_weights - value).std() / math.sqrt(n))
    trusted = k <= k_threshold(n)
    return LogZ(value, spread if trusted else math.nan, f"importance weights of {n:,} draws")


def systematic(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of `n` draws with replacement, in proportion to weights, with the least noise."""
    ends = np.cumsum(weights)
    points = (rng.uniform() + np.arange(n)) / n * ends[-1]
    found: np.ndarray = np.minimum(np.searchsorted(ends, points, side="right"), len(weights) - 1)
    return found
