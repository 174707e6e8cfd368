"""Posteriors from a log-density: fitted flows with weights, evidence and a verdict.

`fit_posterior` takes a function of one event, or a `Target`, and returns a `Posterior`.
"""

from pushforward.inference.bridges import from_numpyro, from_pymc, from_stan
from pushforward.inference.evidence import evidence
from pushforward.inference.layout import Layout
from pushforward.inference.mcmc import Chains, effective_draws, split_r_hat
from pushforward.inference.posterior import Expectation, Posterior, Stage
from pushforward.inference.posterior_fit import fit_posterior
from pushforward.inference.supports import (
    SUPPORTS,
    Circle,
    Interval,
    Ordered,
    Positive,
    Real,
    Simplex,
    Support,
)
from pushforward.inference.target import Target
from pushforward.inference.verdict import Verdict
from pushforward.inference.weights import LogZ, Smoothed, k_threshold, smoothed_weights

__all__ = [
    "SUPPORTS",
    "Chains",
    "Circle",
    "Expectation",
    "Interval",
    "Layout",
    "LogZ",
    "Ordered",
    "Positive",
    "Posterior",
    "Real",
    "Simplex",
    "Smoothed",
    "Stage",
    "Support",
    "Target",
    "Verdict",
    "effective_draws",
    "evidence",
    "fit_posterior",
    "from_numpyro",
    "from_pymc",
    "from_stan",
    "k_threshold",
    "smoothed_weights",
    "split_r_hat",
]
