"""A folder of results, one file for each part, that several runs fill: what is done is not done again."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from pushforward.errors import InputError
from pushforward.locks import is_there, try_lock

# Without suffixes: readers of whole folders refuse files of several.
RECORD = ".pushforward"
PATIENCE = 5.0
"""Seconds in which other workers of the same run write down what it is."""


@contextlib.contextmanager
def open_folder(
    folder: Path, run: Mapping[str, str], share: tuple[int, int] = (1, 1), force: bool = False
) -> Iterator[int]:
    """Hold a folder for one run, or for one of the workers that share one. It is made where it does not exist.

    A hidden file in it says which run its files are of, so that those of another are not taken for done. Yields since
    when that is, as a time of files in nanoseconds: what is older is of another run.

    Arguments:
        folder: where the files go.
        run: all that the files depend on, by names for messages; texts.
        share: which worker, from 1, and of how many; default the only one.
        force: whether the folder may become that of this run where it was another's; default False.

    Raises `InputError` where another process is at work there, or its files are of another run.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for as many files as are read")
    if not folder.parent.is_dir():
        raise InputError(f"{folder}: the directory {folder.parent} does not exist; create it first")
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        if share[1] > 1:
            name = f"{share[0]}/{share[1]}"
            stack.enter_context(_held(folder / f"{RECORD}-{share[0]}-of-{share[1]}", folder, name))
        yield stack.enter_context(_recorded(folder, dict(run), share[1] > 1, force))


@contextlib.contextmanager
def _held(path: Path, folder: Path, name: str) -> Iterator[None]:
    """A lock file, removed behind."""
    while True:
        with open(path, "a") as file:
            if try_lock(file) is False:
                raise _busy(folder, f" as part {name}")
            if not is_there(file, path):
                continue
            try:
                yield
                return
            finally:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _recorded(folder: Path, run: dict[str, str], shared: bool, force: bool) -> Iterator[int]:
    """The record of the run, locked: by one alone, or by all that share it."""
    path, since = folder / RECORD, time.monotonic()
    while True:
        with open(path, "a+") as file:
            alone = try_lock(file)
            if alone is not False:
                _settle(file, folder, run, force)
                # For a moment nobody holds it, so a run of its own may come between.
                held = try_lock(file, shared=True) if alone and shared else alone
            else:
                held = shared and try_lock(file, shared=True)
                if held:
                    _settle(file, folder, run, False)
            if held is not False:
                yield os.fstat(file.fileno()).st_mtime_ns
                return
        if not shared or time.monotonic() - since > PATIENCE:
            raise _busy(folder, "")
        time.sleep(0.02)


def _settle(file: IO[str], folder: Path, run: dict[str, str], force: bool) -> None:
    """Compare the run with the one on record, or record it where there is none."""
    file.seek(0)
    try:
        found = json.loads(file.read())
    except ValueError:
        # New, or of a process that was killed before it had written.
        found = None
    if found == run:
        return
    if found is not None and not force:
        names = [name for name in {**run, **found} if run.get(name) != found.get(name)]
        differ = "differs" if len(names) == 1 else "differ"
        raise InputError(
            f"{folder}: holds what another run wrote ({' and '.join(names)} {differ}); name another folder, or "
            "replace what is there with --force"
        )
    file.truncate(0)
    file.write(json.dumps(run))
    file.flush()
    os.fsync(file.fileno())


def _busy(folder: Path, name: str) -> InputError:
    return InputError(
        f"{folder}: another run is writing there{name}; wait for it or stop it, or divide the work by --part I/N"
    )
