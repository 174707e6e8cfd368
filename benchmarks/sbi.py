"""Posteriors of two simulators by `AmortizedPosterior` with all defaults, against the exact ones.

How well a classifier tells draws from those of the exact posterior (C2ST, 0.5 is best), calibration, and CPU seconds of
the fit with its report. Two moons and SLCP as in Lueckmann et al. 2021 (sbibm, arXiv 2101.04653), 10,000 simulations;
five observations of our own, simulated with parameters drawn from the prior (seed 1). Of two moons the posterior is
drawn exactly, of SLCP by 4,000 chains of differential evolution that begin at 1,000,000 weighted draws of the prior.
The classifier is sbibm's: a perceptron of two layers of 10 d units, five folds, 2,000 draws of each.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import harness
import numpy as np

LIMITS = {"two_moons": 1.0, "slcp": 3.0}
COLUMNS = {"two_moons": 2, "slcp": 5}
CHAINS, STEPS = 4000, 1500


def simulate(name: str, theta: Any, rng: Any) -> Any:
    """What each theta gives."""
    n = len(theta)
    if name == "two_moons":
        angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(0.1, 0.01, n)
        moon = np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], 1)
        total, other = theta.sum(1), theta[:, 1] - theta[:, 0]
        return moon + np.stack([-np.abs(total), other], 1) / np.sqrt(2)
    first, second, correlation = theta[:, 2:3] ** 2, theta[:, 3:4] ** 2, np.tanh(theta[:, 4:])
    e = rng.normal(size=(n, 4, 2))
    mixed = correlation * e[..., 0] + np.sqrt(1 - correlation**2) * e[..., 1]
    x = np.stack([theta[:, :1] + first * e[..., 0], theta[:, 1:2] + second * mixed], -1)
    return x.reshape(n, 8)


def exact_draws(name: str, x: Any, n: int, rng: Any) -> Any:
    """Draws of the exact posterior."""
    if name == "slcp":
        return slcp_draws(x, n, rng)
    # The crescent's points that could have led to x, and what leads there: the map is linear up to a sign.
    angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, 4 * n), rng.normal(0.1, 0.01, 4 * n)
    total = np.sqrt(2) * (radius * np.cos(angle) + 0.25 - x[0])
    other = np.sqrt(2) * (x[1] - radius * np.sin(angle))
    possible = total >= 0
    total = total * rng.choice([-1, 1], 4 * n)
    theta = np.stack([total - other, total + other], 1) / 2
    return theta[possible & (np.abs(theta) < 1).all(1)][:n]


def slcp_log_likelihood(theta: Any, x: Any) -> Any:
    first, second, rho = theta[:, 2:3] ** 2, theta[:, 3:4] ** 2, np.tanh(theta[:, 4:])
    points = x.reshape(4, 2)
    a, b = (points[None, :, i] - theta[:, i : i + 1] for i in (0, 1))
    with np.errstate(all="ignore"):
        a, b, left = a / first, b / second, 1 - rho**2
        terms = -0.5 * (a**2 - 2 * rho * a * b + b**2) / left
        value = (terms - np.log(first * second) - 0.5 * np.log(left)).sum(1)
    return np.where((np.abs(theta) < 3).all(1) & np.isfinite(value), value, -np.inf)


def slcp_draws(x: Any, n: int, rng: Any) -> Any:
    """Differential evolution from weighted draws of the prior; the likelihood has the signs of two parameters free."""
    theta = rng.uniform(-3, 3, (1_000_000, 5))
    value = slcp_log_likelihood(theta, x)
    weights = np.exp(value - value.max())
    theta = theta[rng.choice(len(theta), CHAINS, p=weights / weights.sum())]
    value = slcp_log_likelihood(theta, x)
    for step in range(STEPS):
        one, other = rng.permutation(CHAINS), rng.permutation(CHAINS)
        length = 1.0 if step % 10 == 0 else 2.38 / np.sqrt(10) * rng.uniform(0.3, 1, (CHAINS, 1))
        proposed = (
            theta + length * (theta[one] - theta[other]) + 1e-3 * rng.normal(size=theta.shape)
        )
        proposed[:, 2:4] *= rng.choice([-1, 1], (CHAINS, 2))
        new = slcp_log_likelihood(proposed, x)
        taken = np.log(rng.uniform(size=CHAINS)) < new - value
        theta[taken], value[taken] = proposed[taken], new[taken]
    return theta[rng.choice(CHAINS, n, replace=False)]


def c2st(draws: Any, exact: Any) -> float:
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    both = (np.concatenate([draws, exact]) - exact.mean(0)) / exact.std(0)
    of_ours = np.repeat([0, 1], [len(draws), len(exact)])
    hidden = (10 * draws.shape[1],) * 2
    network = MLPClassifier(hidden, max_iter=1000, random_state=1)
    folds = KFold(5, shuffle=True, random_state=1)
    return float(cross_val_score(network, both, of_ours, cv=folds).mean())


def run(name: str, seed: int, simulations: int) -> dict[str, Any]:
    """C2ST for each observation, the check, and seconds of the processor for the fit with its report."""
    import pushforward as pf

    limit, d = LIMITS[name], COLUMNS[name]
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-limit, limit, (simulations, d))
    x = simulate(name, theta, rng)
    began, wall = time.process_time(), time.perf_counter()
    posterior = pf.AmortizedPosterior(support=(-limit, limit), random_state=seed).fit(theta, x)
    checked = posterior.check()
    used, wall = time.process_time() - began, time.perf_counter() - wall
    other = np.random.default_rng(1)
    observed = simulate(name, other.uniform(-limit, limit, (5, d)), other)
    found = []
    for i, one in enumerate(observed):
        exact = exact_draws(name, one, 2000, np.random.default_rng(100 + i))
        found.append(c2st(posterior.sample(one, 2000, random_state=i), exact))
    return {"c2st": found, "check": checked.lines, "cpu": used, "wall": wall}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="*", default=tuple(LIMITS), choices=tuple(LIMITS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--simulations", type=int, default=10_000)
    options = parser.parse_args()
    rows = []
    for name in options.tasks:
        for seed in range(options.seeds):
            answer = harness.worker("sbi.py", name=name, seed=seed, simulations=options.simulations)
            if answer is None:
                raise SystemExit(1)
            harness.record("sbi", task=name, seed=seed, simulations=options.simulations, **answer)
            each = " ".join(f"{value:.3f}" for value in answer["c2st"])
            mean = f"{sum(answer['c2st']) / 5:.3f}"
            verdict = answer["check"][0].partition(":")[0]
            rows.append([name, str(seed), mean, each, verdict, f"{answer['cpu']:.0f}"])
    print(harness.table(["task", "seed", "C2ST", "of each observation", "ranks", "CPU s"], rows))


if __name__ == "__main__":
    if not harness.is_worker(run):
        main()
