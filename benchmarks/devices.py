"""CPU-seconds a row of a training step on 1, 2 and 4 virtual devices: what dividing a batch costs.

Devices share the cores, so that a perfect division costs nothing and gains nothing. Compiling and validation are left
out: the figure is the slope between a short and a long fit in one process, over all threads.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import harness

COLUMNS = 8
LAYOUTS: list[dict[str, Any]] = [
    {"n": 1},
    {"n": 2},
    {"n": 4},
    {"n": 4, "shard": "rows+weights"},
    {"n": 1, "lanes": 4},
    {"n": 4, "lanes": 4},
]


def run(architecture: str, batch: int, steps: int, **layout: Any) -> dict[str, float]:
    import jax
    import numpy as np

    import pushforward as pf

    model = pf.architectures.ARCHITECTURES[architecture]().build(COLUMNS, key=jax.random.key(0))
    rows = np.random.default_rng(0).normal(size=(batch * steps, COLUMNS)).astype(np.float32)
    at: dict[int, float] = {}

    def heard(step: Any) -> None:
        if step.step == step.steps:
            at[step.epoch] = time.process_time()

    pf.fit(
        model,
        rows,
        key=jax.random.key(1),
        validation=(rows[:64], None),
        progress=heard,
        training=pf.Training(max_epochs=3, patience=1.0, batch=batch, devices=pf.Devices(**layout)),
    )
    return {"microseconds": (at[3] - at[2]) / len(rows) * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", nargs="+", default=["nsf", "maf"])
    parser.add_argument("--batches", nargs="+", type=int, default=[512, 4096])
    parser.add_argument("--rows", type=int, default=65536)
    options = parser.parse_args()

    print("| flow | batch | devices | CPU-microseconds a row | over one device |")
    print("| --- | --- | --- | --- | --- |")
    for architecture in options.architectures:
        for batch in options.batches:
            first = None
            for layout in LAYOUTS:
                count = layout["n"]
                os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={count}"
                os.environ["NPROC"] = str(os.cpu_count())
                found = harness.worker(
                    "devices.py",
                    architecture=architecture,
                    batch=batch,
                    steps=max(options.rows // batch, 4),
                    **layout,
                )
                if found is None:
                    continue
                cost = found["microseconds"]
                first = cost if first is None else first
                more = "".join(f", {k} {v}" for k, v in layout.items() if k != "n")
                print(
                    f"| {architecture} | {batch:,} | {count}{more} | {cost:.1f} | {cost / first:.2f} |",
                    flush=True,
                )


if __name__ == "__main__" and not harness.is_worker(run):
    main()
