"""Verdicts on 20 set-ups: ten posteriors that a fit gets right, ten that are wrong on purpose.

A false green is a wrong one that is called trustworthy, a false red a right one that is not to be trusted. Modes are
missed on purpose by leaving the particles out; a wrong sign and a missing log-det are mistakes in the log-density. One
that is refused with a reason counts as red.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import harness
import posteriors

HALF = 0.5 * math.log(2 * math.pi)
NO_PARTICLES = ("starts", "affine", "probes", "repeat")
Setup = tuple[Any, Any, dict[str, Any]]


def _normal(x: Any, mean: Any = 0.0, sd: Any = 1.0) -> Any:
    import jax.numpy as jnp

    return -0.5 * ((x - mean) / sd) ** 2 - jnp.log(sd) - HALF


def _modes(apart: float, d: int) -> Any:
    import jax.numpy as jnp

    return lambda x: jnp.logaddexp(_normal(x, -apart).sum(), _normal(x, apart).sum())


def right() -> dict[str, Setup]:
    import jax.numpy as jnp
    import numpy as np

    factor = np.linalg.cholesky(0.9 ** np.abs(np.arange(10)[:, None] - np.arange(10)[None]))
    inverse = jnp.asarray(np.linalg.inv(factor), float)
    schools, mix = posteriors.eight_schools(), posteriors.gauss_mix()
    return {
        "normal": (lambda x: _normal(x).sum(), 5, {}),
        "correlated": (lambda x: -0.5 * ((inverse @ x) ** 2).sum(), 10, {}),
        "far and wide": (lambda x: _normal(x, 300.0, 20.0).sum(), 3, {}),
        "eight schools": (schools.log_density, schools.event, {"support": schools.support}),
        "mixture model": (mix.log_density, mix.event, {"support": mix.support}),
        "gamma": (lambda x: (2 * jnp.log(x) - x).sum(), 3, {"support": "positive"}),
        "dirichlet": (
            lambda p: (jnp.asarray([1.0, 2.0, 4.0]) * jnp.log(p["w"])).sum(),
            {"w": np.ones(3) / 3},
            {"support": {"w": "simplex"}},
        ),
        "banana": (
            lambda x: _normal(x[0], 0.0, 2.0) + _normal(x[1], 0.5 * x[0] ** 2, 1.0),
            2,
            {},
        ),
        "two near modes": (_modes(1.2, 2), 2, {}),
        "tails of 10 degrees": (lambda x: -5.5 * jnp.log1p(x**2 / 10).sum(), 3, {}),
    }


def wrong() -> dict[str, Setup]:
    import jax.numpy as jnp

    from pushforward.inference import Target

    schools, many = posteriors.eight_schools(), posteriors.many_well(4)
    funnel, forty = posteriors.funnel(), posteriors.gaussians()
    options = {"support": schools.support}

    def corner(x: Any) -> Any:
        return jnp.where((x[0] > 0.5) & (x[1] > 0.5), jnp.nan, _normal(x).sum())

    def no_log_det(u: Any) -> Any:
        return schools.log_density({"z": u[:8], "mu": u[8], "tau": jnp.exp(u[9])})

    return {
        "a missed mode": (_modes(8.0, 3), 3, {"stages": NO_PARTICLES}),
        "missed wells": (many.log_density, many.event, {"stages": NO_PARTICLES}),
        "missed Gaussians": (forty.log_density, 2, {"stages": NO_PARTICLES}),
        "too few steps": (funnel.log_density, 10, {"steps": 125}),
        "too few steps, bent": (
            lambda x: _normal(x[0], 0.0, 10.0) + _normal(x[1:], 0.1 * x[0] ** 2, 1.0).sum(),
            6,
            {"steps": 125},
        ),
        "wrong sign": (lambda p: -schools.log_density(p), schools.event, options),
        "wrong sign of the prior": (lambda x: x.sum() - 2 * _normal(x[0]), 3, {}),
        "a missing log-det": (Target(10, no_log_det), None, {}),
        "tails of 1 degree": (lambda x: -jnp.log1p(x**2).sum(), 4, {}),
        "a NaN corner": (corner, 3, {}),
    }


def run(kind: str, name: str, seed: int) -> dict[str, Any]:
    import pushforward as pf

    setups: Callable[[], dict[str, Setup]] = right if kind == "right" else wrong
    log_density, event, options = setups()[name]
    began = time.process_time()
    try:
        post = pf.fit_posterior(log_density, event, seed=seed, **options)
        word, why = post.verdict.word, post.verdict.reasons[0]
    except pf.InputError as error:
        word, why = "refused", str(error)
    return {"word": word, "why": why, "cpu": time.process_time() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--names", nargs="+", default=None)
    asked = parser.parse_args()
    print("| set-up | seed | wanted | verdict | the first reason | CPU s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind, setups in (("right", right()), ("wrong", wrong())):
        for name in setups:
            for seed in asked.seeds:
                if asked.names is not None and name not in asked.names:
                    continue
                found = harness.worker("verdicts.py", kind=kind, name=name, seed=seed)
                if found is None:
                    continue
                cells = name, seed, kind, found["word"], found["why"], f"{found['cpu']:.1f}"
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    if not harness.is_worker(run):
        main()
