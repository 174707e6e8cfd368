"""Whether the files of a table in many agree, by what they say of themselves without their rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from pushforward.data.frames import ARRAYS, PARQUET, frame_names, suffix_of
from pushforward.data.parts import Part
from pushforward.data.tables import open_blocks
from pushforward.errors import InputError
from pushforward.words import plural

ADVICE = "files of one table have the same columns and types"


class Described(NamedTuple):
    """What a file says of its columns.

    Attributes:
        kinds: from the columns to what they hold: "numbers", "text", "dates", another type; empty where the file does
            not say, as text does not.
        named: whether the names are the file's own.
    """

    kinds: dict[str, str]
    named: bool = True


def check_alike(parts: Sequence[Part], columns: Sequence[str] | None = None) -> None:
    """Check that all files have the columns and types of the first one, and rows.

    Numbers of any type agree. Of text only the header is read, of the others the header or footer; about a millisecond
    for each file.

    Arguments:
        parts: the files, of any formats.
        columns: those that matter; default None, all. Whether the first file has them is left to its reader.

    Raises `InputError` that names both files, or the one that is damaged or empty.
    """
    first = None
    for part in parts:
        found = _described(part)
        if first is None:
            first = found
        elif found.named and first.named:
            compare(str(part.path), found.kinds, str(parts[0].path), first.kinds, columns)
        elif columns is None and len(found.kinds) != len(first.kinds):
            raise InputError(
                f"{part.path}: has {plural(len(found.kinds), 'column')}, and {parts[0].path} has "
                f"{len(first.kinds)}; {ADVICE}"
            )


def compare(
    path: str,
    found: dict[str, str],
    first_path: str,
    first: dict[str, str],
    columns: Sequence[str] | None = None,
) -> None:
    """Raise `InputError` where a file disagrees with the first one: in its columns, or in what they hold.

    Arguments:
        path, first_path: the files.
        found, first: what their columns hold, see `Described`.
        columns: those that matter; default None, all.
    """
    wanted = None if columns is None else {name.strip() for name in columns}
    for name in [*first, *found]:
        if wanted is not None and name not in wanted:
            continue
        if name not in found:
            raise InputError(f"{path}: lacks column '{name}', which {first_path} has; {ADVICE}")
        if name not in first:
            raise InputError(f"{path}: has column '{name}', which {first_path} lacks; {ADVICE}")
        if found[name] and first[name] and found[name] != first[name]:
            raise InputError(
                f"{path}: column '{name}' holds {found[name]}, in {first_path} it holds {first[name]}; {ADVICE}"
            )


def _described(part: Part) -> Described:
    path = part.path
    if isinstance(path, Path):
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty")
        if ARRAYS.search(path.name):
            reader = open_blocks(path)
            return Described(dict.fromkeys(reader.names, "numbers"), reader.named)
        if suffix_of(path) not in PARQUET:
            return Described(dict.fromkeys(frame_names(path), ""))
    try:
        scan = part.scan()
        schema, rows = scan.collect_schema(), scan.select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise InputError(f"{path}: cannot be read as Parquet ({reason})") from None
    if not rows:
        raise InputError(f"{path}: has no rows")
    return Described({name.strip(): kind_of(dtype) for name, dtype in schema.items()})


def kind_of(dtype: pl.DataType) -> str:
    """What a column of a type holds, as of `Described`."""
    if dtype == pl.Null:
        return ""
    if dtype.is_numeric() or dtype == pl.Boolean:
        return "numbers"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    return "dates" if dtype.is_temporal() else str(dtype)
