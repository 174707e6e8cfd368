"""`pushforward score` on 250,000 to 1,000,000 rows x 8: peak memory, and rows per second.

Memory is the peak resident set of the command in a process of its own. The rate is measured in one
process: the command, files read and written, in turns with the compiled `log_prob` of its model on
the same rows in blocks of the same size.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import harness

FEATURES, SIZES = 8, (250_000, 500_000, 1_000_000)


def _rows(folder: Path, count: int) -> Path:
    return folder / f"{count}.npy"


def run(folder: str, work: str, rounds: int = 0) -> dict[str, Any]:
    return {"prepare": _prepare, "rate": _rate}[work](Path(folder), rounds)


def _prepare(folder: Path, rounds: int) -> dict[str, Any]:
    """Correlated rows of every size, and a model that has seen a few of them."""
    import numpy as np

    from pushforward.cli import main as pushforward

    random = np.random.default_rng(0)
    mix = random.normal(size=(FEATURES, FEATURES))
    for count in (5000, *SIZES):
        np.save(_rows(folder, count), random.normal(size=(count, FEATURES)) @ mix)
    words = ["fit", _rows(folder, 5000), "-o", folder / "model.safetensors"]
    code = pushforward([*map(str, words), "--flow", "nsf", "--max-epochs", "1", "--quiet"])
    if code:
        raise SystemExit(code)
    return {}


def _rate(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds of the command and of the bare compiled density, interleaved."""
    import models
    import numpy as np

    import pushforward as pf
    from pushforward.cli import main as pushforward
    from pushforward.models.table_model import BLOCK

    count = SIZES[1]
    words = ["score", folder / "model.safetensors", _rows(folder, count), "-o", folder / "s.npy"]

    def command() -> None:
        if pushforward([*map(str, words), "--force", "--quiet"]):
            raise SystemExit("the command failed")

    flow = pf.load(folder / "model.safetensors").model_.flow
    density = models.compiled(flow, lambda flow, x: flow.log_prob(x))
    rows = np.load(_rows(folder, count)).astype(np.float32)
    rows = (rows - rows.mean(0)) / rows.std(0)
    blocks = [rows[start : start + BLOCK] for start in range(0, count - BLOCK + 1, BLOCK)]

    def bare() -> None:
        for block in blocks:
            np.asarray(density(block))

    tasks: dict[str, Callable[[], object]] = {"command": command, "log_prob": bare}
    figures: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name, task in tasks.items():
            taken = harness.seconds(task)
            if turn:  # the first one compiles
                figures[name].append(taken)
    return {"rows": {"command": count, "log_prob": len(blocks) * BLOCK}, "figures": figures}


def peak(folder: Path, count: int) -> tuple[float, float]:
    """MiB and seconds of the command in a process of its own.

    This process must be small: a child's peak starts at what its parent had when it was started.
    """
    words = ["score", folder / "model.safetensors", _rows(folder, count), "-o", folder / "o.npy"]
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "pushforward", *map(str, words), "--force", "--quiet"]
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"score {count} rows: exit code {child.returncode}")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if harness.worker("score_rows.py", folder=name, work="prepare") is None:
            raise SystemExit(1)
        peaks = {count: peak(folder, count) for count in SIZES}
        harness.record("score_rows", peaks=peaks)
        answer = harness.worker("score_rows.py", folder=name, work="rate", rounds=rounds)

    rows = [
        [f"{count:,}", f"{mib:.0f}", f"{mib / peaks[SIZES[0]][0]:.2f} x", f"{taken:.1f}"]
        for count, (mib, taken) in peaks.items()
    ]
    print(harness.table(["rows", "peak MiB", "/ smallest", "s, start-up included"], rows))
    if answer is None:
        raise SystemExit(1)
    harness.record("score_rows", **answer)
    rates = {
        work: [answer["rows"][work] / taken for taken in figures]
        for work, figures in answer["figures"].items()
    }
    rows = [
        ["`pushforward score`, warm", f"{median(rates['command']):,.0f}"],
        ["compiled `log_prob`, same blocks", f"{median(rates['log_prob']):,.0f}"],
        ["log_prob / score", harness.cell(harness.ratio(rates, "log_prob", "command"), 2, " x")],
    ]
    print("\n" + harness.table(["in one process", "rows a second"], rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
