"""The evidence by bridge sampling, with anybody's draws."""

import math
from typing import Any

import numpy as np
from scipy.special import logsumexp

from pushforward.errors import InputError
from pushforward.inference.mcmc import effective_draws
from pushforward.inference.posterior import Posterior
from pushforward.inference.reverse_kl import log_prob_of
from pushforward.inference.weights import LogZ

FEWEST = 50


def evidence(post: Posterior, draws: Any) -> LogZ:
    """The logarithm of the evidence from draws of the posterior, such as those of NUTS, and draws of the flow.

    Bridge sampling needs overlap alone: it stands where importance weights have heavy tails. It cannot see modes that
    neither the draws nor the flow have.

    Meng & Wong 1996; the error is that of Frühwirth-Schnatter 2004, with the draws' autocorrelation.

    Arguments:
        post: a fitted posterior that has its log-density.
        draws: of the posterior, as the log-density takes events, with the draws on the first axis, in the order of
            their chain. For a target with supports of its own that cannot undo them, unconstrained rows `(n, d)`.

    Returns value and standard error in nats. Raises `InputError` for fewer than 50 draws, for draws outside the
    supports, and without the log-density.

    ```python
    >>> import numpy as np, pushforward as pf
    >>> post = pf.fit_posterior(lambda x: -0.5 * (x**2).sum(), 2, steps=125)
    >>> draws = np.random.default_rng(0).normal(size=(1000, 2))
    >>> abs(pf.inference.evidence(post, draws).value - np.log(2 * np.pi)) < 0.05
    True

    ```
    """
    target = post._known()
    u = post.unconstrained(draws)
    if len(u) < FEWEST:
        raise InputError(f"{len(u)} draws: at least {FEWEST} are needed")
    log_p = target.values(u)
    if not (np.isfinite(u).all() and np.isfinite(log_p).all()):
        wrong = int((~(np.isfinite(u).all(1) & np.isfinite(log_p))).sum())
        raise InputError(
            f"{wrong} of {len(u)} draws lie where the log-density is not finite, or outside the supports"
        )
    theirs = log_p - log_prob_of(post.flow, u)
    ours = post.log_p - post.log_q
    n, m = len(theirs), len(ours)
    # Draws that hang together count as fewer.
    worth = min(float(n), float(np.median(effective_draws(u[None]))))
    log_s, log_t = math.log(worth / (worth + m)), math.log(m / (worth + m))
    value = float(np.median(theirs))
    for _ in range(1000):
        above = logsumexp(ours - np.logaddexp(log_s + ours, log_t + value)) - math.log(m)
        below = logsumexp(-np.logaddexp(log_s + theirs, log_t + value)) - math.log(n)
        last, value = value, float(above - below)
        if abs(value - last) < 1e-10:
            break
    f1 = np.exp(ours - np.logaddexp(log_s + ours, log_t + value))
    f2 = np.exp(-np.logaddexp(log_s + theirs, log_t + value))
    hanging = n / max(1.0, min(float(n), float(effective_draws(f2[None, :, None])[0])))
    variance = f1.var() / f1.mean() ** 2 / m + hanging * f2.var() / f2.mean() ** 2 / n
    return LogZ(value, math.sqrt(variance), f"bridge sampling with {n:,} draws given")
