"""1,000 rows of 63 coordinates from one autoregressive layer: against a density pass, and against the naive loop.

The naive loop runs the whole network once for every coordinate, as sampling does where nothing is cached; it solves the
same scalar equations. Network: two hidden layers of 504 units.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Any

import harness

FEATURES, WIDTH, ROWS = 63, 504, 1000
FAMILIES = {
    "affine (MAF)": "Affine()",
    "rational-quadratic (NSF)": "RationalQuadratic()",
    "Gaussian mixture (MADE)": "GaussianMixtureCDF()",
    "integral (UMNN)": "Integral()",
    "sum of squares (SOS)": "SumOfSquares()",
    "deep sigmoid (NAF)": "DeepSigmoid()",
    "Bernstein": "Bernstein()",
}


def run(family: str, rounds: int) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    from pushforward import bijections
    from pushforward.networks import MaskedMLP
    from pushforward.testing import perturbed

    transformer = eval(FAMILIES[family], vars(bijections))
    network = MaskedMLP(FEATURES, transformer.size, width=WIDTH, depth=2, key=jax.random.key(0))
    layer = perturbed(bijections.Autoregressive(network, transformer), jax.random.key(1))

    def naive(z):
        def step(i, columns):
            params = layer.network(columns)
            x, _ = layer.transformer.forward(z[:, i], params[:, i])
            return columns.at[i].set(x)

        return jax.lax.fori_loop(0, FEATURES, step, jnp.zeros_like(z.T)).T

    rows = jax.random.normal(jax.random.key(2), (ROWS, FEATURES))
    compiled = {
        "density": jax.jit(lambda x: layer.inverse(x)),
        "cached": jax.jit(lambda z: layer.forward(z)[0]),
        "naive": jax.jit(naive),
    }
    tasks = {name: lambda f=f: jax.block_until_ready(f(rows)) for name, f in compiled.items()}
    apart = float(jnp.abs(tasks["cached"]() - tasks["naive"]()).max())
    tasks["density"]()
    return {"figures": harness.interleaved(tasks, rounds=rounds), "apart": apart}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = []
    for family in FAMILIES:
        answer = harness.worker("cached_inverse.py", family=family, rounds=options.rounds)
        if answer is None:
            continue
        harness.record("cached_inverse", family=family, **answer)
        figures = answer["figures"]
        rows.append(
            [
                family,
                *(harness.cell(1e3 * median(figures[name]), 1) for name in ("density", "cached")),
                harness.cell(harness.ratio(figures, "cached", "density"), suffix=" x"),
                harness.cell(harness.ratio(figures, "naive", "cached"), suffix=" x"),
                f"{answer['apart']:.0e}",
            ]
        )
    header = ["scalar map", "density, ms", "draws, ms", "draws / density", "naive / draws", "apart"]
    print(harness.table(header, rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
