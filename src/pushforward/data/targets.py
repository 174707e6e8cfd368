"""The place where a table is to be written: checked before any work, replaced at the end."""

import os
from collections.abc import Sequence
from pathlib import Path

from pushforward.data.arrays import is_utf8
from pushforward.errors import InputError
from pushforward.model_file import keep_permissions

SUFFIXES = (".csv", ".tsv", ".parquet", ".npy", ".npz")
"""The known formats, for reading and writing."""


def check_output(
    target: str | Path, force: bool = False, suffixes: Sequence[str] = SUFFIXES
) -> None:
    """Check before any work that a table can be written, or another file.

    Arguments:
        target: a path with a known suffix, or `-` for CSV on standard output.
        force: whether an existing file may be replaced; default False.
        suffixes: the known formats; default those of tables.

    Raises `InputError` if the format is unknown, the file exists and `force` is not set, or its directory is missing or
    not writable.
    """
    if str(target) == "-":
        return
    path = Path(target)
    if path.suffix.lower() not in suffixes:
        stream = " and - for CSV on standard output" if suffixes == SUFFIXES else ""
        raise InputError(
            f"{target}: unknown format '{path.suffix}'; known are {', '.join(suffixes)}{stream}"
        )
    if path.is_dir():
        raise InputError(f"{target}: is a directory; name a file")
    if path.exists() and not path.is_file():
        # Replacing a pipe or a device would destroy it.
        raise InputError(
            f"{target}: is not a regular file; a table cannot be written to it, but - is CSV on standard output"
        )
    if path.exists() and not force:
        raise InputError(
            f"{target}: exists already; choose another name or replace it with --force"
        )
    directory = real_path(path).parent
    if path.suffix.lower() == ".parquet" and not is_utf8(real_path(path)):
        raise InputError(f"{target}: the name is not UTF-8; choose another name or format")
    if not directory.is_dir():
        raise InputError(f"{target}: the directory {directory} does not exist; create it first")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"{target}: the directory {directory} is not writable")


def real_path(path: Path) -> Path:
    """The file behind a link; the link stays, and its target is replaced."""
    return Path(os.path.realpath(path))


def put_in_place(file: Path, target: Path) -> None:
    """Move a finished file to its place, with the permissions of the file that it replaces."""
    keep_permissions(file, target)
    os.replace(file, target)
