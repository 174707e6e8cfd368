"""Scoring a table in many files: part in, part out."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pushforward.cli.progress import Meter, say
from pushforward.cli.scorers import AbstractScorer, Table
from pushforward.data.alike import check_alike
from pushforward.data.output_folder import open_folder
from pushforward.data.parts import PACKED, Part, parts_of, share_numbers, share_of
from pushforward.data.store import is_url
from pushforward.data.targets import SUFFIXES
from pushforward.errors import InputError
from pushforward.model_file import read_header
from pushforward.words import counted


def score_parts(
    scorer: AbstractScorer,
    data: str,
    output: str,
    model: Path,
    settings: Mapping[str, Any],
    *,
    share: str | None,
    force: bool,
    quiet: bool,
) -> None:
    """Score every file into one of its own, at the same place below another folder.

    Arguments:
        scorer: of one file.
        data: a folder or a pattern.
        output: the other folder.
        model: the file of the scorer's model.
        settings: of the scorer; with others its scores would be others.
        share: which of several workers this is, as I/N; None for the only one.
        force: whether to do again what is done.
        quiet: whether to print nothing.

    Raises `InputError` before any work for a wrong folder and for files that disagree; at the file in question for one
    that cannot be scored. What is done stays.
    """
    worker = share_numbers(share)
    if output == "-":
        raise InputError(f"{data}: are many files; name a folder for as many results by -o")
    parts, folder = parts_of(data), Path(output)
    targets = {part: folder / target_of(part.relative) for part in parts}
    _refuse_wrong_places(data, parts, folder, targets)
    run = {
        "model": str(read_header(model)["sha256"]),
        "the input": _root(parts[0]),
        **{name: json.dumps(value) for name, value in settings.items()},
    }
    with open_folder(folder, run, worker, force) as since:
        own = share_of(parts, share)
        todo = [part for part in own if force or not is_done(targets[part], since, part)]
        if todo:
            # The first one, which may be another worker's, says what the others are compared with.
            check_alike([*parts[:1], *(part for part in todo if part != parts[0])], scorer.columns)
        _announce(len(parts), len(own), len(todo), quiet)
        if not todo:
            return
        # A store does not say how large its files are: there they count alike.
        sizes = [part.stamp()[0] or 1 for part in todo]
        total, done, rows = sum(sizes), 0, 0
        with Meter("scoring", quiet) as meter:
            for number, (part, size) in enumerate(zip(todo, sizes, strict=True), 1):
                count = 0

                def show(n: int, fraction: float | None) -> None:
                    nonlocal count
                    count = n
                    text = f"part {number:,} of {len(todo):,}, {rows + n:,} rows"  # noqa: B023
                    meter.update(text, (done + (fraction or 0) * size) / total)  # noqa: B023

                target = targets[part]
                target.parent.mkdir(parents=True, exist_ok=True)
                with part.local() as path:
                    scorer(Table(str(path), str(part.path), part.folders), str(target), show)
                done, rows = done + size, rows + count
    for line in scorer.ending():
        say(line, quiet)


def target_of(relative: Path) -> Path:
    """Where the scores of a file lie: at its place, in its format if that is one that is written.

    ```python
    >>> [str(target_of(Path(name))) for name in ("day=1/a.npy", "b.csv.gz", "c.pq")]
    ['day=1/a.npy', 'b.csv', 'c.parquet']

    ```
    """
    while relative.suffix.lower() in PACKED:
        relative = relative.with_suffix("")
    return relative if relative.suffix.lower() in SUFFIXES else relative.with_suffix(".parquet")


def is_done(target: Path, since: int, source: Part | None = None) -> bool:
    """Whether a file of this run is there, and not older than what it was made of.

    Arguments:
        target: the file.
        since: when the run began, see `open_folder`.
        source: what it was made of, if that is a file.

    Raises `InputError` for one of another run.
    """
    try:
        written = target.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    if written < since:
        raise InputError(
            f"{target}: exists already; name another folder, or replace it with --force"
        )
    return source is None or source.stamp()[1] <= written


def _announce(every: int, own: int, todo: int, quiet: bool) -> None:
    of = f" of {every:,}" if own < every else ""
    done = f", {own - todo:,} done already" if todo < own else ""
    say(f"{counted(own, 'part')}{of}{done}", quiet)


def _root(part: Part) -> str:
    """The folder below which a part has its place."""
    if isinstance(part.path, str):
        return part.path.removesuffix(str(part.relative))
    parts = part.path.parts
    return os.path.realpath(Path(*parts[: len(parts) - len(part.relative.parts)]))


def _refuse_wrong_places(
    data: str, parts: tuple[Part, ...], folder: Path, targets: Mapping[Part, Path]
) -> None:
    own = folder.resolve()
    if folder.suffix.lower() in SUFFIXES and is_url(data):
        raise InputError(f"{folder}: files of a store are scored into a folder; name one by -o")
    if Path(data).is_dir() and own.is_relative_to(Path(data).resolve()):
        raise InputError(f"{folder}: lies in {data}; name a folder for the results outside of it")
    sources: dict[Path, Path | str] = {}
    for part in parts:
        if isinstance(part.path, Path) and part.path.resolve().is_relative_to(own):
            raise InputError(
                f"{part.path}: lies in {folder}, where the results go; name a folder outside of the input"
            )
        if (other := sources.setdefault(targets[part], part.path)) != part.path:
            raise InputError(
                f"{part.path}: would be scored into {targets[part]}, as {other} would; rename one"
            )
