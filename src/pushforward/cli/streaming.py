"""What `fit` does with tables that are streamed, and with tables in many files that are not."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.errors import CellError, InputError

if TYPE_CHECKING:
    import polars as pl

    from pushforward.data.stream import StreamFiles
    from pushforward.data.tables import Table

ROWS = 1 << 22
"""Rows of a single file above which it is streamed. Never by the memory that is free: the same command gives the same
model on any machine."""


def is_table_folder(data: str) -> bool:
    """Whether a folder holds tables and no pictures."""
    from pushforward.data.parts import holds_tables
    from pushforward.data.picture_sources import SUFFIXES

    folder = Path(data)
    if not folder.is_dir() or not holds_tables(folder):
        return False
    return not any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def streams(data: str, asked: bool | None) -> bool:
    """Whether a table is to be streamed: one in many files is, and a large Parquet file, unless `asked` says otherwise.

    Arguments:
        data: the table, none of pictures.
        asked: by `--stream` or `--no-stream`; None where neither is given.
    """
    if asked is not None:
        return asked
    from pushforward.data.frames import PARQUET
    from pushforward.data.parts import in_parts

    if in_parts(data):
        return True
    path = Path(data)
    if path.suffix.lower() not in PARQUET or not path.is_file():
        return False
    import polars as pl

    from pushforward.data.arrays import scan_parquet

    try:
        return int(scan_parquet(path).select(pl.len()).collect().item()) > ROWS
    except pl.exceptions.PolarsError:
        # The reader says what is wrong with it.
        return False


def stream_of(
    data: str,
    columns: Sequence[str] | None,
    condition: Sequence[str] | None,
    ignored: Sequence[str],
    typed: bool,
    asked: bool | None,
) -> "StreamFiles | None":
    """The table as a stream; None for a file that only a typed table can hold, which is read into memory.

    Arguments:
        data, columns, condition, ignored: as of `Stream`.
        typed: whether a typed table is wanted.
        asked: as of `streams`.

    Raises `InputError` where it cannot be streamed.
    """
    from pushforward.data.parts import in_parts
    from pushforward.data.stream import Stream

    try:
        if typed:
            raise CellError(f"{data}: a typed table is asked for")
        return Stream(data, columns, condition, ignored).open()
    except CellError as error:
        if asked or in_parts(data):
            raise InputError(
                f"{error}; typed tables are not streamed: --no-stream reads all of it into memory and fits one"
            ) from None
        return None


def first_rows(files: "StreamFiles") -> "Table":
    """Some rows of a stream as a table."""
    from pushforward.data.tables import Table
    from pushforward.fitting.rival import GUESSED

    rows = files.read(0, min(files.total, GUESSED))
    return Table(files.every, rows, files.integer)


def refuse_for_streams(options: dict[str, bool]) -> None:
    """Raise `InputError` for options that only tables in memory have a use for, of which some are given."""
    if given := [option for option, is_given in options.items() if is_given]:
        raise InputError(
            f"{' and '.join(given)}: not for a table that is streamed; --no-stream reads all of it into memory"
        )


def read_parts(data: str, columns: Sequence[str] | None = None, **options: Any) -> "Table":
    """All rows of a table of numbers in many files, in memory.

    Arguments:
        data: a folder or a pattern.
        columns, options: as of `read_table`.

    Raises `InputError` where files disagree in their columns.
    """
    import numpy as np

    from pushforward.data.alike import check_alike
    from pushforward.data.frames import PARQUET
    from pushforward.data.parts import parts_of
    from pushforward.data.stream import Stream
    from pushforward.data.tables import Table, read_table

    parts = parts_of(data)
    if all(part.suffix in PARQUET for part in parts):
        files = Stream(data, columns).open()
        values: np.ndarray = np.empty((files.total, len(files.names)), files.dtype)
        for start, block in files.blocks():
            values[start : start + len(block)] = block
        return Table(files.names, values, files.integer)
    check_alike(parts, columns)
    # Files of a store are Parquet.
    tables = [read_table(str(part.path), columns, **options) for part in parts]
    first = tables[0]
    values = np.concatenate([table.select(first.names).values for table in tables])
    integer = tuple(
        map(all, zip(*(table.select(first.names).integer for table in tables), strict=True))
    )
    return Table(first.names, values, integer, first.named)


def frame_of_parts(data: str) -> "pl.DataFrame":
    """All rows of a table of any cells in many files, in memory.

    Raises `InputError` where files disagree in their columns.
    """
    import polars as pl

    from pushforward.data.alike import check_alike
    from pushforward.data.frames import read_frame
    from pushforward.data.parts import parts_of

    parts = parts_of(data)
    check_alike(parts)
    frames = []
    for part in parts:
        with part.local() as path:
            frames.append(read_frame(path))
    try:
        return pl.concat([f.select(frames[0].columns) for f in frames], how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{data}: files disagree in types ({error})") from None
