"""Held-out nats per row of defaults: Gaussian, Gaussian mixture, flowjax and pushforward.

Every fit runs in a process of its own; its seconds hold compilation and model choice, not imports.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from statistics import mean

import harness
import numpy as np
from datasets import DATASETS, Absent, load

Scorer = Callable[[np.ndarray], float]
Fitter = Callable[[np.ndarray, int], tuple[Scorer, dict[str, object]]]


def gaussian(train: np.ndarray, seed: int) -> tuple[Scorer, dict[str, object]]:
    from sklearn.mixture import GaussianMixture

    return GaussianMixture(1, reg_covar=0.0).fit(train.astype(np.float64)).score, {}


def mixture(train: np.ndarray, seed: int) -> tuple[Scorer, dict[str, object]]:
    """Components and ridge by a tenth held out, then fitted again to every row."""
    from sklearn.mixture import GaussianMixture

    train = train.astype(np.float64)
    order = np.random.default_rng(seed).permutation(len(train))
    held = len(train) // 10
    valid, rest = train[order[:held]], train[order[held:]]
    candidates = {
        (components, ridge): GaussianMixture(
            components, reg_covar=ridge, max_iter=500, random_state=seed
        )
        for components in (1, 2, 4, 8, 16, 32, 64)
        for ridge in (1e-6, 1e-3, 1e-2)
    }
    score = {choice: model.fit(rest).score(valid) for choice, model in candidates.items()}
    best = max(score, key=score.__getitem__)
    facts = {"components": best[0], "ridge": best[1], "valid": score[best]}
    return candidates[best].fit(train).score, facts


def flowjax_spline(train: np.ndarray, seed: int) -> tuple[Scorer, dict[str, object]]:
    from flowjax.bijections import RationalQuadraticSpline

    return _flowjax(train, seed, RationalQuadraticSpline(knots=8, interval=4))


def flowjax_affine(train: np.ndarray, seed: int) -> tuple[Scorer, dict[str, object]]:
    return _flowjax(train, seed, None)


def _flowjax(train: np.ndarray, seed: int, transformer: object) -> tuple[Scorer, dict[str, object]]:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_data

    key, fit_key = jax.random.split(jax.random.key(seed))
    flow = masked_autoregressive_flow(
        key,
        base_dist=Normal(jnp.zeros(train.shape[1])),
        transformer=transformer,
        flow_layers=8,
        nn_width=64,
        nn_depth=2,
    )
    flow, losses = fit_to_data(fit_key, flow, train, show_progress=False)
    log_prob = eqx.filter_jit(lambda x: flow.log_prob(x))
    return lambda x: float(log_prob(x).mean()), {"epochs": len(losses["train"])}


def pushforward(train: np.ndarray, seed: int) -> tuple[Scorer, dict[str, object]]:
    import pushforward as pf

    return pf.FlowDensity(random_state=seed).fit(train).score, {}


SYSTEMS: dict[str, tuple[list[str], Fitter]] = {  # what to import before the clock, and the fit
    "full-covariance Gaussian": (["sklearn.mixture"], gaussian),
    "Gaussian mixture, by validation": (["sklearn.mixture"], mixture),
    "flowjax, affine": (["flowjax.flows", "flowjax.train"], flowjax_affine),
    "flowjax, splines": (["flowjax.flows", "flowjax.train"], flowjax_spline),
    "pushforward, defaults": (["pushforward.estimators"], pushforward),
}


def run(system: str, dataset: str, seed: int) -> dict[str, object]:
    """Fit one system to one data set in this process."""
    packages, fit = SYSTEMS[system]
    for package in packages:
        __import__(package)
    split = load(dataset)
    start = time.perf_counter()
    score, facts = fit(split.train, seed)
    seconds = time.perf_counter() - start
    return {"nats": float(score(split.test)), "seconds": seconds, **facts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), help="parts of the labels")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args()
    systems = [name for name in SYSTEMS if any(part in name for part in options.systems)]

    present = []
    for dataset in options.datasets:
        try:
            load(dataset)
            present.append(dataset)
        except Absent as reason:
            harness.say(f"{dataset}: skipped: {reason}")

    results = defaultdict(list)
    for seed in options.seeds:
        for dataset in present:
            for system in systems:
                answer = harness.worker("nats.py", system=system, dataset=dataset, seed=seed)
                if answer is not None:
                    harness.record("nats", system=system, dataset=dataset, seed=seed, **answer)
                    harness.say(f"{dataset}, {system}, seed {seed}: {answer}")
                    results[system, dataset].append(answer)

    def entry(system: str, dataset: str) -> str:
        fits = results[system, dataset]
        if not fits:
            return "-"
        took = mean(fit["seconds"] for fit in fits)
        return f"{mean(fit['nats'] for fit in fits):.2f} in {took:.{1 if took < 10 else 0}f} s"

    def price(dataset: str) -> str:
        """Seconds of pushforward over seconds of whichever flowjax scored better."""
        ours = results["pushforward, defaults", dataset]
        theirs = [results[name, dataset] for name in SYSTEMS if name.startswith("flowjax")]
        if not ours or not all(theirs):
            return "-"
        better = max(theirs, key=lambda fits: mean(fit["nats"] for fit in fits))
        return f"{mean(f['seconds'] for f in ours) / mean(f['seconds'] for f in better):.2f} x"

    rows = [[system, *(entry(system, dataset) for dataset in present)] for system in systems]
    rows.append(["seconds of pushforward / of the better flowjax", *map(price, present)])
    print(harness.table(["nats per held-out row", *present], rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
