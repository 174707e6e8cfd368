"""Rows read from Parquet by a second of one core, beside Polars alone.

CPU seconds of all threads, as wall time says nothing on a machine that is shared. Files of float32, written by Polars,
with row groups of 131,072 rows and, as PyArrow writes them, of all 500,000. `slices` is what the reader did before it
knew where row groups end: slices of 2M cells as float64.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import harness

# Columns, rows, rows of a row group, and the least that is wanted, in millions of rows.
TABLES = ((8, 2_000_000, 131_072, 15.0), (63, 500_000, 131_072, 3.0), (63, 500_000, 500_000, 3.0))


def run(rounds: int) -> dict[str, Any]:
    import numpy as np
    import polars as pl

    from pushforward.data.arrays import CELLS_AT_ONCE, open_parquet, scan_parquet
    from pushforward.data.source import Wanted
    from pushforward.data.tables import open_blocks

    figures: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for width, rows, group, _ in TABLES:
            values = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
            path = Path(folder, f"{width}-{group}.parquet")
            frame = pl.DataFrame(values, [f"x{i}" for i in range(width)])
            frame.write_parquet(path, row_group_size=group)
            scan = scan_parquet(path)
            wide = scan.select(pl.all().cast(pl.Float64))
            step = CELLS_AT_ONCE // width

            tasks: dict[str, Callable[[], object]] = {
                "slices": lambda scan=wide, rows=rows, step=step: [
                    len(scan.slice(start, step).collect().to_numpy())
                    for start in range(0, rows, step)
                ],
                "Polars, slice = row group": lambda scan=scan, rows=rows, group=group: [
                    len(scan.slice(start, group).collect().to_numpy())
                    for start in range(0, rows, group)
                ],
                "`open_parquet`": lambda path=path: [
                    len(chunk) for chunk, _ in open_parquet(path, Wanted(), "").chunks()
                ],
                "`open_blocks` (float64)": lambda path=path: [
                    len(block) for block in open_blocks(path)
                ],
            }
            own = figures[f"{width} columns, groups of {group:,}"] = {name: [] for name in tasks}
            for turn in range(rounds + 1):
                for name, task in tasks.items():
                    start = time.process_time()
                    task()
                    if turn:  # the first one reads the disk
                        own[name].append(rows / (time.process_time() - start) / 1e6)
    return {"figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    answer = harness.worker("reading.py", rounds=parser.parse_args().rounds)
    if answer is None:
        raise SystemExit(1)
    harness.record("reading", **answer)
    names = list(next(iter(answer["figures"].values())))
    rows = [
        [table, *(f"{median(own[name]):.2f}" for name in names), f"{least:.0f}"]
        for (table, own), (*_, least) in zip(answer["figures"].items(), TABLES, strict=True)
    ]
    print(harness.table(["million rows per CPU second", *names, "wanted"], rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
