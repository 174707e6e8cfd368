"""What every benchmark shares: fresh processes, interleaved timing, tables and provenance.

Only the standard library is imported here, so that a benchmark's parent process stays small.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
PACKAGES = (
    *("pushforward", "jax", "jaxlib", "equinox", "optax", "numpy"),
    *("flowjax", "zuko", "nflows", "normflows", "diffrax", "torchdiffeq", "torchcfm", "torch"),
    "scikit-learn",
)

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the peers in torch are CPU wheels
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # compile times are times to compile
os.environ["JAX_ENABLE_X64"] = "false"


def say(message: str) -> None:
    """Talk on stderr; stdout is the tables."""
    print(message, file=sys.stderr, flush=True)


def is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def worker(script: str, **arguments: Any) -> dict[str, Any] | None:
    """Run `script --worker JSON` in a fresh process; its last line of stdout is the answer."""
    command = [sys.executable, str(FOLDER / script), "--worker", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        say(f"{script} {arguments}: failed: {reason}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def is_worker(run: Callable[..., dict[str, Any]]) -> bool:
    """In a worker process, answer `run(**arguments)` on stdout and return True."""
    if sys.argv[1:2] != ["--worker"]:
        return False
    print(json.dumps(run(**json.loads(sys.argv[2]))))
    return True


def seconds(task: Callable[[], object]) -> float:
    """Wall time of one call; the task itself waits for its result."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def interleaved(
    tasks: Mapping[str, Callable[[], object]], *, rounds: int = 15, turn: float = 0.15
) -> dict[str, list[float]]:
    """Seconds per call of each task, one figure a round: A B C, A B C, ...

    A turn starts with a pause and one call that is not timed, so that a neighbour's spinning
    threads and cold caches are not charged to it; its figure is the median of the calls that fit
    into `turn` seconds (at least three).
    """
    figures: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            time.sleep(0.02)
            first = seconds(task)
            calls = max(3, round(turn / max(first, 1e-6)))
            figures[name].append(median(seconds(task) for _ in range(min(calls, 1000))))
    return figures


def ratio(figures: Mapping[str, Sequence[float]], name: str, against: str) -> float | None:
    """Median over rounds of the quotient within a round; None where either did not run."""
    if name not in figures or against not in figures:
        return None
    return median(a / b for a, b in zip(figures[name], figures[against], strict=True))


def cell(value: float | None, digits: int = 2, suffix: str = "") -> str:
    return "-" if value is None else f"{value:.{digits}f}{suffix}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def record(benchmark: str, **fields: Any) -> None:
    """Append one JSON line to `results/<benchmark>.jsonl`."""
    RESULTS.mkdir(exist_ok=True)
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S"), **fields}
    with (RESULTS / f"{benchmark}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def provenance() -> str:
    """Date, machine and versions, as Markdown list items."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES if is_installed(name))
    return (
        f"- date: {time.strftime('%Y-%m-%d %H:%M')}\n"
        f"- machine: {_processor()}, {len(os.sched_getaffinity(0))} cores, "
        f"{_busy():.0%} busy before the start; Python {platform.python_version()}\n"
        f"- versions: {versions}"
    )


def _busy(wait: float = 2.0) -> float:
    """Share of the processor's time that others take while this process sleeps."""

    def ticks() -> tuple[int, int]:
        fields = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = ticks()
    time.sleep(wait)
    total, idle = ticks()[0] - total, ticks()[1] - idle
    return 1 - idle / max(total, 1)


def _processor() -> str:
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name", platform.machine())
    family = f"family {facts.get('cpu family', '?')} model {facts.get('model', '?')}"
    return f"{name} ({family}, {float(facts.get('cpu MHz', 'nan')):.0f} MHz)"
