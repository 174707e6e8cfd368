"""Posteriors by ours, by a guide of NumPyro and by its NUTS: what each finds, in how many CPU seconds.

The targets are those of `posteriors.py`, unconstrained by our supports. The guide is `AutoIAFNormal`, trained for
10,000 steps of 16 draws with Adam; NUTS makes 4 chains of 5,000 draws after 1,000 of warm-up. `worth` is how many
independent draws 20,000 are: by weights of ours and of the guide, by autocorrelation of NUTS, the least over
coordinates. log Z is by weights. `means` is the root mean square error of means (weighted where there are weights) in
standard deviations, of medians for the one-compartment model; draws of NUTS that miss a mode do not show it in `worth`.
Seconds include compilation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import harness
import posteriors

DRAWS, STEPS, PARTICLES, CHAINS, WARMUP = 20_000, 10_000, 16, 4, 1_000
Found = tuple[Any, Any, float]
"""Unconstrained draws, their log-weights or None, and how many they are worth."""


def run(name: str, seed: int, by: str) -> dict[str, Any]:
    """One fit and what is measured of it."""
    import numpy as np

    from pushforward.inference.target import target_of
    from pushforward.inference.weights import importance_log_z, smoothed_weights

    problem = getattr(posteriors, name)()
    target = target_of(problem.log_density, problem.event, problem.support)
    began = time.process_time()
    u, log_weights, worth = WAYS[by](target, seed)
    cpu = time.process_time() - began
    weights = np.full(len(u), 1 / len(u))
    answer = {"worth": worth, "cpu": cpu}
    if log_weights is not None:
        smoothed = smoothed_weights(log_weights)
        weights = np.exp(smoothed.log_weights)
        answer["k"] = smoothed.k
        answer["log_z"] = importance_log_z(log_weights, smoothed.k).value
        answer["error"] = answer["log_z"] - (problem.log_z or 0.0)
    answer["means"] = posteriors.error_of_means(name, problem, target.draws(u), weights)
    return answer


def _ours(target: Any, seed: int) -> Found:
    import pushforward as pf

    post = pf.fit_posterior(target, seed=seed)
    return post.u, post.log_p - post.log_q, post.facts.effective * DRAWS


def _guide(target: Any, seed: int) -> Found:
    import jax
    import numpy as np
    import numpyro
    from numpyro.distributions import ImproperUniform, constraints
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoIAFNormal

    from pushforward.inference.weights import effective_share

    def model() -> None:
        u = numpyro.sample("u", ImproperUniform(constraints.real_vector, (), (target.dim,)))
        numpyro.factor("p", target.log_density(u))

    guide, keys = AutoIAFNormal(model), jax.random.split(jax.random.key(seed))
    svi = SVI(model, guide, numpyro.optim.Adam(1e-3), Trace_ELBO(num_particles=PARTICLES))
    trained = svi.run(keys[0], STEPS, progress_bar=False)
    posterior = guide.get_posterior(trained.params)
    draws, steps = posterior.sample_with_intermediates(keys[1], (DRAWS,))
    u, log_q = np.asarray(draws), np.asarray(posterior.log_prob(draws, steps), np.float64)
    log_weights = target.values(u) - log_q
    return u, log_weights, float(effective_share(log_weights)) * DRAWS


def _nuts(target: Any, seed: int) -> Found:
    import jax
    import numpy as np
    from numpyro.diagnostics import effective_sample_size
    from numpyro.infer import MCMC, NUTS

    keys = jax.random.split(jax.random.key(seed))
    chains = MCMC(
        NUTS(potential_fn=lambda u: -target.log_density(u)),
        num_warmup=WARMUP,
        num_samples=DRAWS // CHAINS,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    chains.run(keys[0], init_params=jax.random.normal(keys[1], (CHAINS, target.dim)))
    found = np.asarray(chains.get_samples(group_by_chain=True))
    worth = float(np.min(effective_sample_size(found)))
    return found.reshape(-1, target.dim), None, worth


WAYS: dict[str, Callable[[Any, int], Found]] = {
    "pushforward": _ours,
    "AutoIAFNormal": _guide,
    "NUTS": _nuts,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", nargs="+", default=posteriors.NAMES, choices=posteriors.NAMES)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print("| target | by | worth | k | log Z, error | means | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in asked.targets:
        for by in WAYS:
            found = harness.worker("posterior_peers.py", name=name, seed=asked.seed, by=by)
            if found is None:
                continue
            weighted = (
                ("", "") if "k" not in found else (f"{found['k']:.2f}", f"{found['error']:+.4f}")
            )
            cells = (
                name,
                by,
                f"{found['worth']:,.0f}",
                *weighted,
                f"{found['means']:.3f}",
                f"{found['cpu']:.0f}",
            )
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    if not harness.is_worker(run):
        main()
