"""Seconds to `import pushforward` and to `import jax, equinox, optax`, in alternating processes.

The clock runs inside the process, around the import alone.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import harness

# The package imports its parts when they are first used: the third row uses them.
IMPORTS = {
    "jax, equinox, optax": ["jax", "equinox", "optax"],
    "pushforward": ["pushforward"],
    "pushforward.architectures, pushforward.training": [
        "pushforward.architectures",
        "pushforward.training",
    ],
}


def run(packages: list[str]) -> dict[str, float]:
    start = time.perf_counter()
    for package in packages:
        __import__(package)
    return {"seconds": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds

    figures: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for turn in range(rounds + 1):
        for name, packages in IMPORTS.items():
            answer = harness.worker("import_time.py", packages=packages)
            if answer is None:
                raise SystemExit(1)
            if turn:  # the first one reads the disk
                figures[name].append(answer["seconds"])
    harness.record("import_time", figures=figures)
    rows = [
        [
            f"`import {name}`",
            harness.cell(median(figures[name])),
            harness.cell(harness.ratio(figures, name, "jax, equinox, optax"), suffix=" x"),
        ]
        for name in IMPORTS
    ]
    print(harness.table(["import", "s (median)", "ratio"], rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
