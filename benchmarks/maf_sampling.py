"""1,000 samples from a MAF, D=63, 5 x (504, 504): against a density pass, and against flowjax."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import harness
import models

FEATURES, WIDTH, ROWS = 63, 504, 1000
TASKS = ("pushforward, density", "pushforward, samples", "flowjax, density", "flowjax, samples")


def _task(name: str) -> Callable[[], object]:
    import jax
    import paramax

    library, _, work = name.partition(", ")
    model = getattr(models, library)("MAF", WIDTH, features=FEATURES)
    if library == "flowjax":
        model = paramax.unwrap(model)
    if work == "density":
        rows = jax.random.normal(jax.random.key(1), (ROWS, FEATURES))
        return partial(models.compiled(model, lambda model, x: model.log_prob(x)), rows)
    draw = models.compiled(model, lambda model, key: model.sample(key, (ROWS,)))
    return partial(draw, jax.random.key(2))


def run(rounds: int) -> dict[str, Any]:
    """First calls, then interleaved figures, all in this process."""
    tasks = {name: _task(name) for name in TASKS}
    first = {name: harness.seconds(task) for name, task in tasks.items()}
    return {"first": first, "figures": harness.interleaved(tasks, rounds=rounds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    answer = harness.worker("maf_sampling.py", rounds=parser.parse_args().rounds)
    if answer is None:
        raise SystemExit(1)
    harness.record("maf_sampling", **answer)
    figures, first = answer["figures"], answer["first"]
    rows = [
        [
            name,
            harness.cell(1e3 * median(figures[name]), 1),
            harness.cell(harness.ratio(figures, name, "pushforward, density"), suffix=" x"),
            harness.cell(harness.ratio(figures, name, "pushforward, samples"), suffix=" x"),
            harness.cell(first[name]),
        ]
        for name in TASKS
    ]
    header = ["work", "ms", "/ our density pass", "/ our samples", "first call, s"]
    print(harness.table(header, rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
