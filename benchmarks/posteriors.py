"""Posteriors from a log-density, seed by seed: `pf.fit_posterior` with its defaults on targets whose truth is known.

ESS and k are those of 20,000 draws; log Z has its standard error and, where the truth is known, its own error. `means`
is the root mean square error of posterior means in standard deviations, of flow draws and of weighted ones, beside
10,000 reference draws (posteriordb: that is their own noise, 0.01) or exact means. The one-compartment model's tails
are so heavy that medians stand in for means there. Seconds of the process and of the wall are those of the whole call,
compilation included.

Targets. Four of posteriordb (their data: `posteriordb.json`, BSD-3; draws: `PUSHFORWARD_DATA`). `funnel`: Neal's, 10-D,
sd 3. `gaussians`: 40 in the plane, sd log(1 + e), means uniform in a square of side 80 (NumPy, seed 0).
`many_well`: 16 double wells `x/2 + 6 x^2 - x^4` and 16 standard normals.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness

NAMES = (
    *("eight_schools", "gauss_mix", "lotka_volterra", "one_comp"),
    *("funnel", "gaussians", "many_well"),
)
DATA = Path(__file__).resolve().parent / "posteriordb.json"
HALF = 0.5 * math.log(2 * math.pi)


@dataclass
class Problem:
    """A target with its truth. `columns` are names of its numbers in the order of the reference."""

    log_density: Any
    event: Any
    support: Any = None
    log_z: float | None = None
    reference: Any = None
    means: Any = None
    sds: Any = None
    shown: Any = None


def _normal(x: Any, mean: Any, sd: Any) -> Any:
    import jax.numpy as jnp

    return -0.5 * ((x - mean) / sd) ** 2 - jnp.log(sd) - HALF


def _half_cauchy(x: Any, scale: float) -> Any:
    import jax.numpy as jnp

    return math.log(2 / (math.pi * scale)) - jnp.log1p((x / scale) ** 2)


def _reference(name: str) -> Any:
    import numpy as np

    folder = os.environ.get("PUSHFORWARD_DATA")
    if folder is None:
        raise SystemExit("PUSHFORWARD_DATA is not set: the reference draws are there")
    draws = np.load(Path(folder) / "posteriordb" / f"{name}.npz")["draws"]
    return draws.reshape(-1, draws.shape[-1])


def eight_schools() -> Problem:
    import jax.numpy as jnp
    import numpy as np

    y = jnp.array([28.0, 8, -3, 7, -1, 1, 18, 12])
    sigma = jnp.array([15.0, 10, 16, 11, 9, 11, 10, 18])

    def log_density(p: Any) -> Any:
        z, mu, tau = p["z"], p["mu"], p["tau"]
        likelihood = _normal(y, mu + tau * z, sigma).sum()
        return (
            likelihood + _normal(z, 0.0, 1.0).sum() + _normal(mu, 0.0, 5.0) + _half_cauchy(tau, 5.0)
        )

    def shown(p: Any) -> Any:
        theta = p["mu"][:, None] + p["tau"][:, None] * p["z"]
        return np.column_stack([theta, p["mu"], p["tau"]])

    return Problem(
        log_density, {"z": np.zeros(8), "mu": 0.0, "tau": 1.0}, {"tau": "positive"}, -31.3112,
        _reference("eight_schools-eight_schools_noncentered"), shown=shown,
    )  # fmt: skip


def gauss_mix() -> Problem:
    import jax.numpy as jnp
    import numpy as np
    from jax.scipy.special import gammaln

    y = jnp.array(json.loads(DATA.read_text())["low_dim_gauss_mix"]["y"], float)

    def log_density(p: Any) -> Any:
        mu, sigma, theta = p["mu"], p["sigma"], p["theta"]
        prior = _normal(mu, 0.0, 2.0).sum() + (_normal(sigma, 0.0, 2.0) + math.log(2)).sum()
        prior += 4 * jnp.log(theta) + 4 * jnp.log1p(-theta) + gammaln(10.0) - 2 * gammaln(5.0)
        first = jnp.log(theta) + _normal(y, mu[0], sigma[0])
        second = jnp.log1p(-theta) + _normal(y, mu[1], sigma[1])
        return prior + jnp.logaddexp(first, second).sum()

    event = {"mu": np.array([-1.0, 1.0]), "sigma": np.ones(2), "theta": 0.5}
    support = {"mu": "ordered", "sigma": "positive", "theta": "interval:0,1"}
    return Problem(
        log_density, event, support, -2115.683, _reference("low_dim_gauss_mix-low_dim_gauss_mix"),
        shown=lambda p: np.column_stack([p["mu"], p["sigma"], p["theta"]]),
    )  # fmt: skip


def lotka_volterra() -> Problem:
    """Ten Runge-Kutta steps a year, in the logs of the populations: the exact path to about 1e-5."""
    import jax
    import jax.numpy as jnp

    data = json.loads(DATA.read_text())["hudson_lynx_hare"]
    first, y = jnp.array(data["y_init"], float), jnp.array(data["y"], float)

    def log_density(p: Any) -> Any:
        a, b, c, d = p[:4]
        sigma, begin = p[6:8], jnp.log(p[4:6])

        def slope(logs: Any) -> Any:
            u, v = jnp.exp(jnp.clip(logs, -30, 30))
            return jnp.array([a - b * v, -c + d * u])

        def step(logs: Any, _: Any) -> Any:
            h = 0.1
            k1 = slope(logs)
            k2 = slope(logs + h / 2 * k1)
            k3 = slope(logs + h / 2 * k2)
            return logs + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(logs + h * k3)), None

        def year(logs: Any, _: Any) -> Any:
            logs, _ = jax.lax.scan(step, logs, None, length=10)
            return logs, logs

        _, path = jax.lax.scan(year, begin, None, length=20)
        prior = _normal(p[jnp.array([0, 2])], 1.0, 0.5).sum()
        prior += _normal(p[jnp.array([1, 3])], 0.05, 0.05).sum()
        prior += (_normal(jnp.log(sigma), -1.0, 1.0) - jnp.log(sigma)).sum()
        prior += (_normal(begin, jnp.log(10.0), 1.0) - begin).sum()
        likelihood = (_normal(jnp.log(first), begin, sigma) - jnp.log(first)).sum()
        return prior + likelihood + (_normal(jnp.log(y), path, sigma) - jnp.log(y)).sum()

    return Problem(
        log_density, 8, "positive", -147.076, _reference("hudson_lynx_hare-lotka_volterra")
    )


def one_comp() -> Problem:
    """Twenty Runge-Kutta steps between observations."""
    import jax
    import jax.numpy as jnp

    data = json.loads(DATA.read_text())["one_comp_mm_elim_abs"]
    seen, dose, volume = jnp.array(data["C_hat"], float), float(data["D"]), float(data["V"])

    def log_density(p: Any) -> Any:
        ka, km, vm, sigma = p

        def slope(t: Any, c: Any) -> Any:
            return jnp.exp(-ka * t) * dose * ka / volume - vm / volume * c / (km + c)

        def step(at: Any, _: Any) -> Any:
            (t, c), h = at, 0.5 / 20
            k1 = slope(t, c)
            k2 = slope(t + h / 2, c + h / 2 * k1)
            k3 = slope(t + h / 2, c + h / 2 * k2)
            k4 = slope(t + h, c + h * k3)
            return (t + h, c + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)), None

        def observed(at: Any, _: Any) -> Any:
            at, _ = jax.lax.scan(step, at, None, length=20)
            return at, at[1]

        begin = (jnp.zeros(()), jnp.zeros(()))
        _, c = jax.lax.scan(observed, begin, None, length=len(seen))
        c = jnp.maximum(c, 1e-6)
        likelihood = (_normal(jnp.log(seen), jnp.log(c), sigma) - jnp.log(seen)).sum()
        return likelihood + _half_cauchy(p, 1.0).sum()

    return Problem(
        log_density, 4, "positive", -41.134, _reference("one_comp_mm_elim_abs-one_comp_mm_elim_abs")
    )


def funnel(d: int = 10) -> Problem:
    import jax.numpy as jnp
    import numpy as np

    def log_density(u: Any) -> Any:
        return _normal(u[0], 0.0, 3.0) + _normal(u[1:], 0.0, jnp.exp(u[0] / 2)).sum()

    sds = np.array([3.0] + [math.exp(9 / 4)] * (d - 1))
    return Problem(log_density, d, None, 0.0, means=np.zeros(d), sds=sds)


def gaussians() -> Problem:
    import jax
    import jax.numpy as jnp
    import numpy as np

    places = (np.random.default_rng(0).random((40, 2)) - 0.5) * 80
    sd = math.log1p(math.e)

    def log_density(u: Any) -> Any:
        each = _normal(u[None], jnp.asarray(places, float), sd).sum(1)
        return jax.nn.logsumexp(each) - math.log(40)

    sds = np.sqrt(places.var(0) + sd * sd)
    return Problem(log_density, 2, None, 0.0, means=places.mean(0), sds=sds)


def many_well(wells: int = 16) -> Problem:
    import numpy as np

    grid = np.linspace(-4, 4, 200_001)
    density = np.exp(0.5 * grid + 6 * grid**2 - grid**4)
    mass = np.trapezoid(density, grid)
    mean = np.trapezoid(density * grid, grid) / mass
    sd = math.sqrt(np.trapezoid(density * grid**2, grid) / mass - mean**2)

    def log_density(u: Any) -> Any:
        x, v = u[0::2], u[1::2]
        return (0.5 * x + 6.0 * x**2 - x**4 - 0.5 * v**2).sum()

    log_z = wells * (math.log(mass) + HALF)
    means, sds = np.tile([mean, 0.0], wells), np.tile([sd, 1.0], wells)
    return Problem(log_density, 2 * wells, None, log_z, means=means, sds=sds)


def run(name: str, seed: int) -> dict[str, Any]:
    """One fit and what is measured of it."""
    import numpy as np

    import pushforward as pf

    problem: Problem = globals()[name]()
    wall, cpu = time.perf_counter(), time.process_time()
    post = pf.fit_posterior(problem.log_density, problem.event, support=problem.support, seed=seed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    (draws, log_weights), flow = post.sample(20_000, "weighted"), post.sample(20_000, "flow")
    weights = np.exp(log_weights)
    errors = [
        error_of_means(name, problem, flow, np.full(len(weights), 1 / len(weights))),
        error_of_means(name, problem, draws, weights),
    ]
    answer = {
        "name": name, "seed": seed, "ess": post.facts.effective, "k": post.facts.k,
        "log_z": post.log_z.value, "se": post.log_z.standard_error,
        "error": post.log_z.value - (problem.log_z or 0.0), "flow": errors[0], "weighted": errors[1],
        "verdict": post.verdict.word, "why": post.verdict.reasons[0], "cpu": cpu, "wall": wall,
        "stages": [[stage.name, round(stage.seconds, 1), stage.text] for stage in post.history],
    }  # fmt: skip
    if name == "gaussians":
        places = (np.random.default_rng(0).random((40, 2)) - 0.5) * 80
        apart = ((draws[:, None] - places[None]) ** 2).sum(2)
        answer["modes"] = len(set(apart.argmin(1)[apart.min(1) < 16].tolist()))
    if name == "many_well":
        right = weights @ (draws[:, 0::2] > 0)
        grid = np.linspace(-4, 4, 200_001)
        density = np.exp(0.5 * grid + 6 * grid**2 - grid**4)
        exact = density[grid > 0].sum() / density.sum()
        answer["wells"] = float(np.abs(right - exact).max())
    return answer


def error_of_means(name: str, problem: Problem, draws: Any, weights: Any) -> float:
    """Root mean square error of weighted means, or of medians, in standard deviations."""
    import numpy as np

    values = (problem.shown or (lambda p: p))(draws)
    if name == "one_comp":
        quartiles = np.quantile(problem.reference, [0.25, 0.5, 0.75], axis=0)
        means, sds = quartiles[1], (quartiles[2] - quartiles[0]) / 1.35
        found = _weighted_median(values, weights)
    else:
        means, sds = problem.means, problem.sds
        if problem.reference is not None:
            means, sds = problem.reference.mean(0), problem.reference.std(0)
        found = weights @ values
    return float(np.sqrt((((found - means) / sds) ** 2).mean()))


def _weighted_median(x: Any, weights: Any) -> Any:
    import numpy as np

    order = np.argsort(x, axis=0)
    share = np.cumsum(weights[order], axis=0)
    at = (share < 0.5).sum(0)
    return np.take_along_axis(x, order, 0)[at, np.arange(x.shape[1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    asked = parser.parse_args()
    print(
        "| target | seed | ESS | k | log Z | error | means: flow, weighted | verdict | CPU s | wall s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in asked.targets:
        for seed in asked.seeds:
            found = harness.worker("posteriors.py", name=name, seed=seed)
            if found is None:
                continue
            more = "".join(
                f", {key} {found[key]:.3g}" for key in ("modes", "wells") if key in found
            )
            print(
                f"| {name} | {seed} | {found['ess']:.3f} | {found['k']:.2f} | {found['log_z']:.4f} ± {found['se']:.4f} "
                f"| {found['error']:+.4f} | {found['flow']:.3f}, {found['weighted']:.3f}{more} | {found['verdict']} "
                f"| {found['cpu']:.1f} | {found['wall']:.1f} |",
                flush=True,
            )
            harness.say(json.dumps(found["stages"]))


if __name__ == "__main__":
    if not harness.is_worker(run):
        main()
