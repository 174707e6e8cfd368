"""Seconds of the first training step (tracing and compilation) as layers go from 2 to 16.

Every figure comes from a fresh process; nothing is cached between them.
"""

from __future__ import annotations

import argparse
from statistics import median

import harness
import models

LAYERS = (2, 4, 8, 16)
WIDTH, BATCH = 64, 512
STEPS = {
    "pushforward": (models.pushforward, models.pushforward_step),
    "flowjax": (models.flowjax, models.flowjax_step),
}


def run(system: str, flow: str, layers: int) -> dict[str, float]:
    import jax

    build, prepare = STEPS[system]
    x = jax.random.normal(jax.random.key(1), (BATCH, models.FEATURES))
    step = prepare(build(flow, WIDTH, layers=layers), x)
    return {"first": harness.seconds(step), "second": harness.seconds(step)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", nargs="+", default=["NSF autoregressive", "RealNVP"])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    cases = [(system, flow) for flow in options.flows for system in STEPS]
    figures: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(options.repeats):
        for layers in LAYERS:
            for system, flow in cases:
                case = {"system": system, "flow": flow, "layers": layers}
                answer = harness.worker("compile_time.py", **case)
                if answer is not None:
                    harness.record("compile_time", **case, **answer)
                    harness.say(f"{case}: {answer['first']:.2f} s")
                    figures.setdefault((system, flow, layers), []).append(answer["first"])

    rows = []
    for system, flow in cases:
        taken = [figures.get((system, flow, layers)) for layers in LAYERS]
        times = [median(each) if each else None for each in taken]
        growth = times[-1] / times[0] if times[0] and times[-1] else None
        rows.append([f"{flow}, {system}", *map(harness.cell, times), harness.cell(growth)])
    header = ["first step, s", *(f"{layers} layers" for layers in LAYERS), "16 / 2"]
    print(harness.table(header, rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
