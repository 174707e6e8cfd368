"""Tables larger than memory: the order of rows, memory as rows grow, statistics of one pass, and waits for rows.

`sorted`: a table sorted by one column, streamed, against the same rows shuffled on disk, 4M rows, 1,500 steps of 512.
`memory`: the most anonymous memory of `pushforward fit` as rows grow. `statistics`: one pass against a sort.
`waits`: seconds for which steps waited for rows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np
from bsds300 import peak_of

ROWS_OF_FILE = 1_000_000
PARTS = ("sorted", "memory", "statistics", "waits")
SORTED_STEPS, SORTED_BATCH = 1500, 512


def rows_of(number: int, rows: int, width: int) -> np.ndarray:
    """Columns that hang together in curves, `(rows, width)` in single precision."""
    rng = np.random.default_rng([number, width])
    x = rng.standard_normal((rows, width), dtype=np.float32)
    for j in range(1, width):
        x[:, j] = 0.4 * x[:, j] + np.sin(2 * x[:, j - 1]) + 0.1 * x[:, j - 1] ** 2
    return x


def write(values: np.ndarray, path: Path, pages: str) -> None:
    """One Parquet file; pages of 20,000 rows, as PyArrow and Spark have them, or as large as Polars makes them."""
    import polars as pl

    frame = pl.DataFrame({f"x{j}": column for j, column in enumerate(values.T)})
    size = 1 << 17
    # Polars counts pages in bytes.
    page = None if pages == "polars" else 20_000 * values.itemsize
    frame.write_parquet(path, row_group_size=size, data_page_size=page)


def table(folder: Path, rows: int, width: int, pages: str = "small") -> Path:
    """A table in files of a million rows."""
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, rows, ROWS_OF_FILE)):
        values = rows_of(number, min(ROWS_OF_FILE, rows - start), width)
        write(values, folder / f"part-{number}.parquet", pages)
    return folder


def order(folder: Path, rows: int) -> dict[str, Any]:
    """Nats on other rows after a fifth of a pass: sorted by a column, and shuffled."""
    import pushforward as pf

    values = np.concatenate(
        [rows_of(i, min(ROWS_OF_FILE, rows), 3) for i in range(-(-rows // ROWS_OF_FILE))]
    )
    test = rows_of(1000, 20_000, 3)
    answer: dict[str, Any] = {"rows": rows}
    arranged = {
        "sorted": values[np.argsort(values[:, 0])],
        "shuffled": np.random.default_rng(0).permutation(values),
    }
    for name, arranged_values in arranged.items():
        place = folder / name
        place.mkdir()
        for number, part in enumerate(np.array_split(arranged_values, 4)):
            write(part, place / f"part-{number}.parquet", "small")
        model = pf.fit_table(
            pf.Stream(place),
            architecture=pf.architectures.MAF(layers=3, width=64),
            training=pf.Training(batch=SORTED_BATCH, max_steps=SORTED_STEPS),
            trust=False,
        )
        nats = model.log_prob(test)
        answer[name] = float(nats.mean())
        answer["error"] = float(nats.std() / np.sqrt(len(nats)))
    answer["loss"] = answer["shuffled"] - answer["sorted"]
    return answer


def memory(folder: Path, rows: int, width: int) -> dict[str, Any]:
    """The most memory of a fit of a few hundred steps."""
    data = table(folder / "rows", rows, width)
    command = [str(Path(sys.executable).parent / "pushforward"), "fit", str(data)]
    command += ["-o", str(folder / "m"), "--flow", "maf", "--train", "max_steps=400", "--quiet"]
    began = time.perf_counter()
    peak = peak_of(subprocess.Popen(command))
    return {"rows": rows, "peak_mib": peak, "seconds": time.perf_counter() - began}


def statistics(folder: Path, rows: int, width: int) -> dict[str, Any]:
    """One pass against a sort of everything."""
    from pushforward.columns import Columns
    from pushforward.data.statistics import measured
    from pushforward.data.stream import Stream

    files = Stream(table(folder / "rows", rows, width)).open()
    began = time.process_time()
    found = measured(files, 0)
    cost = time.process_time() - began
    some = Columns.fit(found.values, files.names)
    values = np.concatenate([block for _, block in files.blocks()])
    began = time.process_time()
    exact = Columns.fit(values, files.names)
    pairs = list(zip(some.kinds, exact.kinds, strict=True))
    return {
        "rows": rows,
        "mrows_per_cpu_s": rows / cost / 1e6,
        "sorting_mrows_per_cpu_s": rows / (time.process_time() - began) / 1e6,
        "median_error_sd": max(abs(a.center - b.center) / b.scale for a, b in pairs),
        "scale_error": max(abs(a.scale / b.scale - 1) for a, b in pairs),
        "extremes_exact": all((a.lower, a.upper) == (b.lower, b.upper) for a, b in pairs),
    }


def waits(folder: Path, rows: int, width: int, pages: str) -> dict[str, Any]:
    """The share of the steps' time for which they waited for rows, with nothing held in memory."""
    import pushforward as pf
    from pushforward.data import statistics as passes
    from pushforward.fitting import streamed

    passes.HELD_BYTES, passes.SAMPLE = 0, 1 << 17
    made: list[Any] = []
    usual = streamed.LaneBatches

    def noted(*arguments: Any) -> Any:
        made.append(usual(*arguments))
        return made[-1]

    streamed.LaneBatches = noted
    seconds: list[float] = []
    pf.fit_table(
        pf.Stream(table(folder / "rows", rows, width, pages)),
        architecture=pf.architectures.MAF(layers=5, width=256),
        training=pf.Training(batch=1024, max_steps=300),
        report=lambda epoch: seconds.append(epoch.seconds),
        trust=False,
    )
    return {
        "rows": rows,
        "width": width,
        "pages": pages,
        "waited_s": made[-1].waited,
        "fit_s": seconds[-1],
        "share": made[-1].waited / seconds[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--rows", type=float, default=4e6, help="of `sorted`, `statistics`, `waits`"
    )
    parser.add_argument("--sizes", nargs="*", type=float, default=[5e6, 20e6, 80e6])
    options = parser.parse_args()
    rows = int(options.rows)
    for part in options.parts:
        if part == "sorted":
            found = [_in_a_folder(order, rows)]
        elif part == "memory":
            found = [_in_a_folder(memory, int(size), 8) for size in options.sizes]
        elif part == "statistics":
            found = [_in_a_folder(statistics, rows, 8)]
        else:
            shapes = [(rows, 8), (rows // 2, 63)]
            found = [
                _in_a_folder(waits, *shape, p) for shape in shapes for p in ("small", "polars")
            ]
        for answer in found:
            harness.record(f"streaming_{part}", **answer)
        shown = [
            [f"{v:.5g}" if isinstance(v, float) else str(v) for v in a.values()] for a in found
        ]
        print(f"\n{part}\n\n{harness.table(list(found[0]), shown)}", flush=True)


def _in_a_folder(run: Any, *arguments: Any) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))
    try:
        answer: dict[str, Any] = run(folder, *arguments)
        return answer
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
