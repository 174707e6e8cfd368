"""Draws in several files: together the rows of one."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pushforward.cli.draws import AbstractDraws
from pushforward.cli.progress import Meter, say
from pushforward.cli.score_parts import is_done
from pushforward.data.output_folder import open_folder
from pushforward.data.parts import share_numbers
from pushforward.errors import InputError
from pushforward.model_file import read_header
from pushforward.words import counted


def sample_parts(
    draws: AbstractDraws,
    output: str,
    parts: int,
    model: Path,
    tables: Sequence[str],
    settings: Mapping[str, Any],
    *,
    share: str | None,
    force: bool,
    quiet: bool,
) -> None:
    """Write draws into files of a folder, in whose order they are those of one file.

    Arguments:
        draws: all of them.
        output: the folder.
        parts: how many files.
        model: the file of the model.
        tables: the files of what the draws are given.
        settings: of the draws; with others they would be others.
        share: which of several workers this is, as I/N; None for the only one.
        force: whether to do again what is done.
        quiet: whether to print nothing.

    Raises `InputError` for more files than blocks, and where the folder is of another run.
    """
    worker = share_numbers(share)
    blocks = -(-draws.rows // draws.block)
    if parts > blocks:
        raise InputError(
            f"--parts {parts}: {draws.rows:,} rows are {counted(blocks, 'block')} of {draws.block:,}, which "
            "are not divided; take fewer files"
        )
    if output == "-":
        raise InputError(f"--parts {parts}: name a folder for them by -o")
    folder = Path(output)
    run = {
        "model": str(read_header(model)["sha256"]),
        "the given table": " ".join(
            hashlib.sha256(Path(table).read_bytes()).hexdigest() for table in tables
        ),
        "--parts": str(parts),
        **{name: json.dumps(value) for name, value in settings.items()},
    }
    width = len(str(parts))
    with open_folder(folder, run, worker, force) as since:
        own = range(worker[0], parts + 1, worker[1])
        targets = {number: folder / f"part-{number:0{width}}.parquet" for number in own}
        todo = [number for number in own if force or not is_done(targets[number], since)]
        rows = 0
        with Meter("sampling", quiet) as meter:
            for at, number in enumerate(todo):

                def show(n: int) -> None:
                    text = f"part {at + 1:,} of {len(todo):,}, {rows + n:,} rows"  # noqa: B023
                    meter.update(text, at / len(todo))  # noqa: B023

                draws(str(targets[number]), show, (number, parts))
                rows += _rows_of(draws, number, parts)
    done = f", {counted(len(own) - len(todo), 'part')} done before" if len(todo) < len(own) else ""
    say(f"{rows:,} rows in {counted(len(todo), 'part')} in {output}{done}", quiet)


def _rows_of(draws: AbstractDraws, number: int, parts: int) -> int:
    from pushforward.rows import share_of_blocks

    blocks = share_of_blocks(draws.rows, draws.block, (number, parts))
    return min(blocks.stop * draws.block, draws.rows) - blocks.start * draws.block
