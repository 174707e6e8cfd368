"""The column of a file that says which rows belong together."""

from pathlib import Path

import polars as pl

from pushforward.columns.names import unknown_columns
from pushforward.data.arrays import scan_parquet
from pushforward.data.frames import DELIMITERS, PARQUET, frame_names, read_frame, suffix_of
from pushforward.data.parts import in_parts, parts_of
from pushforward.data.tables import read_table
from pushforward.errors import InputError


def read_groups(source: str, name: str) -> pl.Series:
    """The labels in one column of a table, of any type.

    Arguments:
        source: the file: CSV, TSV, Parquet, NPY or NPZ.
        name: of the column.

    Raises `InputError` for standard input, which is read once only, and for a name that is no column.
    """
    if in_parts(source):
        found = []
        for part in parts_of(source):
            with part.local() as path:
                found.append(read_groups(str(path), name))
        return pl.concat(found)
    if source == "-":
        raise InputError("--holdout-by: standard input is read only once; save the table to a file")
    suffix = suffix_of(source)
    if suffix not in PARQUET and suffix not in DELIMITERS:
        return pl.Series(name, read_table(source, [name]).values[:, 0])
    names = frame_names(source)
    if name not in names:
        raise InputError(unknown_columns([name], names, source))
    if suffix in PARQUET:
        place = names.index(name)
        return scan_parquet(Path(source)).select(pl.nth(place)).collect().to_series().alias(name)
    return read_frame(source)[name]
