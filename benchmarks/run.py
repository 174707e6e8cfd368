"""Run the benchmarks, or those named, and write RESULTS.md.

Each benchmark runs as its own command; its tables are kept in `results/<name>.md`, so that running
one again renews its section and leaves the others.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import harness

BENCHMARKS = (
    "nats",
    "tables",
    "small_tables",
    "sbi",
    "training_step",
    "peer_steps",
    "maf_sampling",
    "cached_inverse",
    "remat",
    "cnf_step",
    "cnf_to_nats",
    "adjoints",
    "stiff",
    "detest",
    "flow_matching_step",
    "convolution",
    "compile_time",
    "import_time",
    "score_rows",
    "reading",
    "glow_step",
    "images",
)


def section(name: str) -> str | None:
    """Run one benchmark; its section of RESULTS.md, or None where it failed."""
    script = harness.FOLDER / f"{name}.py"
    facts = harness.provenance()
    start = time.perf_counter()
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return None
    source = script.read_text().removeprefix('"""')
    title, _, rest = source.partition('"""')[0].strip().partition("\n")
    minutes = (time.perf_counter() - start) / 60
    return (
        f"## {name}\n\n{title}\n{rest}\n\n{done.stdout.strip()}\n\n"
        f"- command: `python benchmarks/{name}.py` ({minutes:.1f} minutes)\n{facts}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="default: all")
    names = parser.parse_args().names or BENCHMARKS

    harness.RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in names:
        harness.say(f"== {name}")
        text = section(name)
        if text is None:
            failed.append(name)
            continue
        (harness.RESULTS / f"{name}.md").write_text(text)
        print(text, flush=True)

    kept = [harness.RESULTS / f"{name}.md" for name in BENCHMARKS]
    head = "# Benchmark results\n\nWritten by `python benchmarks/run.py`; README.md says how.\n"
    sections = [path.read_text() for path in kept if path.is_file()]
    (harness.FOLDER / "RESULTS.md").write_text("\n".join([head, *sections]))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
