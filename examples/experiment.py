"""What the experiments of this folder share: their options, their table, their figure.

An experiment is a script that defines `run(quick) -> Result` and ends with `main(__doc__, run)`. In full it is run by
`make examples`; with `--quick` it is a miniature of seconds that tests run, whose numbers mean nothing.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Result:
    """What an experiment found.

    Arguments:
        header, rows: the table.
        figure: a Matplotlib figure.
        notes: sentences below the table.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    figure: Any
    notes: Sequence[str] = ()


def say(message: str) -> None:
    """Talk on stderr; stdout is the table."""
    print(message, file=sys.stderr, flush=True)


def plots() -> Any:
    """pyplot, drawing to files."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def main(doc: str, run: Callable[[bool], Result]) -> None:
    """Run the experiment of the script that calls, print its table, write table and figure to `--out`."""
    name = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a miniature of seconds")
    parser.add_argument("--out", type=Path, help="write NAME.md and NAME.png into this folder")
    options = parser.parse_args()
    began = time.perf_counter()
    result = run(options.quick)
    lines = [result.header, ["---"] * len(result.header), *result.rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = "\n".join(
        [
            *(f"- {note}" for note in result.notes),
            f"- command: `python examples/{name}.py{' --quick' if options.quick else ''}`, "
            f"{time.perf_counter() - began:.0f} s, {time.strftime('%Y-%m-%d')}",
            f"- versions: pushforward {version('pushforward')}, jax {version('jax')}; "
            f"Python {platform.python_version()}",
        ]
    )
    text = f"{table}\n\n{notes}\n"
    print(text)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{name}.md").write_text(text)
        result.figure.savefig(options.out / f"{name}.png", dpi=110)
        say(f"wrote {options.out / name}.md and .png")
