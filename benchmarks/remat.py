"""Memory and time of a gradient with stored activations and with `remat="invertible"`, by depth.

RealNVP and Glow, 8 coordinates, width 128, batch 4,096. Memory is the compiled program's temporary arrays.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Any

import harness

DEPTHS = (4, 16, 64)


def run(name: str, layers: int, rounds: int) -> dict[str, Any]:
    import equinox as eqx
    import jax

    from pushforward.architectures import ARCHITECTURES
    from pushforward.bijections import with_remat

    flow = ARCHITECTURES[name](layers=layers, width=128).build(8, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (4096, 8))
    tasks, memory = {}, {}
    for remat in ("none", "invertible"):
        params, static = eqx.partition(with_remat(flow, remat), eqx.is_inexact_array)

        def loss(params, x, static=static):
            return -eqx.combine(params, static).log_prob(x).mean()

        step = jax.jit(jax.value_and_grad(loss)).lower(params, x).compile()
        memory[remat] = step.memory_analysis().temp_size_in_bytes
        tasks[remat] = lambda step=step, params=params: jax.block_until_ready(step(params, x))
    return {"figures": harness.interleaved(tasks, rounds=rounds), "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = []
    for name in ("realnvp", "glow"):
        for layers in DEPTHS:
            case = {"name": name, "layers": layers, "rounds": options.rounds}
            answer = harness.worker("remat.py", **case)
            if answer is None:
                continue
            harness.record("remat", **case, **answer)
            figures, memory = answer["figures"], answer["memory"]
            rows.append(
                [
                    f"{name}, {layers} layers",
                    *(f"{memory[r] / 1e6:.0f}" for r in ("none", "invertible")),
                    *(harness.cell(1e3 * median(figures[r]), 0) for r in ("none", "invertible")),
                    harness.cell(harness.ratio(figures, "invertible", "none"), suffix=" x"),
                ]
            )
    header = ["model", "stored, MB", "invertible, MB", "stored, ms", "invertible, ms", "time"]
    print(harness.table(header, rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
