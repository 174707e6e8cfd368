"""One training step of the same flow in each library, beside its matrix products alone.

A step is value and gradient of the mean negative log-likelihood and one Adam update, float32.
"""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable
from statistics import median
from typing import Any

import harness
import models

BATCH = 512
SYSTEMS: dict[str, Callable[[str, int, Any], Callable[[], object]]] = {
    "products": models.products_step,
    "pushforward": lambda flow, width, x: models.pushforward_step(
        models.pushforward(flow, width), x
    ),
    "flowjax": lambda flow, width, x: models.flowjax_step(models.flowjax(flow, width), x),
    "flowjax, own step": lambda flow, width, x: models.flowjax_own_step(
        models.flowjax(flow, width), x
    ),
    "zuko": lambda flow, width, x: models.zuko_step(models.zuko(flow, width), x),
}


def run(flow: str, width: int, rounds: int) -> dict[str, Any]:
    """All systems in this process: seconds of each first step, then interleaved figures."""
    import jax

    x = jax.random.normal(jax.random.key(1), (BATCH, models.FEATURES))
    first, tasks = {}, {}
    for name, prepare in SYSTEMS.items():
        try:
            task = prepare(flow, width, x)
            first[name] = harness.seconds(task)
            tasks[name] = task
        except Exception:
            traceback.print_exc()
    return {"first": first, "figures": harness.interleaved(tasks, rounds=rounds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", nargs="+", choices=models.FLOWS, default=models.FLOWS)
    parser.add_argument("--widths", nargs="+", type=int, default=[256, 64])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    steps, compiles = [], []
    for width in options.widths:
        for flow in options.flows:
            answer = harness.worker(
                "training_step.py", flow=flow, width=width, rounds=options.rounds
            )
            if answer is None:
                continue
            harness.record("training_step", flow=flow, width=width, **answer)
            figures, label = answer["figures"], f"{flow}, 5 x ({width}, {width})"
            harness.say(f"{label}: { {k: round(1e3 * median(v), 2) for k, v in figures.items()} }")
            times = [
                harness.cell(1e3 * median(figures[name]) if name in figures else None)
                for name in SYSTEMS
            ]
            quotients = [
                harness.cell(harness.ratio(figures, *pair), suffix=" x")
                for pair in (
                    ("pushforward", "products"),
                    ("flowjax", "pushforward"),
                    ("zuko", "pushforward"),
                )
            ]
            steps.append([label, *times, *quotients])
            compiles.append([label, *(harness.cell(answer["first"].get(name)) for name in SYSTEMS)])

    print(f"One step, D={models.FEATURES}, batch {BATCH}, milliseconds (median of rounds)\n")
    quotients = ["pushforward / products", "flowjax / pushforward", "zuko / pushforward"]
    print(harness.table(["flow", *SYSTEMS, *quotients], steps))
    print("\nFirst step, tracing and compilation included, seconds\n")
    print(harness.table(["flow", *SYSTEMS], compiles))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
