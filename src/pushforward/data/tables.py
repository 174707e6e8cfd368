"""Numeric tables: read whole, or streamed in blocks when larger than memory."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pushforward.columns.values import LARGEST_EXACT_INTEGER, check_finite, refuse_merged
from pushforward.data.arrays import open_npy, open_npz, open_parquet
from pushforward.data.delimited import open_delimited
from pushforward.data.source import Source, choose
from pushforward.data.targets import SUFFIXES, check_output
from pushforward.data.writers import TableWriter, open_writer, write_table
from pushforward.errors import InputError, check_count

__all__ = [
    "SUFFIXES",
    "BlockReader",
    "Table",
    "TableWriter",
    "check_output",
    "open_blocks",
    "open_writer",
    "read_table",
    "write_table",
]

BLOCK_ROWS = 65536
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


@dataclass(frozen=True)
class Table:
    """A table of finite float64 numbers.

    Args:
        names: the d column names.
        values: ``(n, d)``, float64; float32 where that was asked for and holds every column as it is stored.
        integer: whether each column is stored as integers or booleans and holds only whole numbers.
        named: False when the source has no column names and ``x0, x1, ...`` stand in for them.

    ```python
    >>> import numpy as np
    >>> table = Table(("a", "b"), np.array([[1.0, 2.5]]), (True, False))
    >>> table.select(["b"]).values
    array([[2.5]])

    ```
    """

    names: tuple[str, ...]
    values: np.ndarray
    integer: tuple[bool, ...]
    named: bool = True

    def select(self, names: Sequence[str]) -> Table:
        """The table of these columns, in this order.

        Raises:
            InputError: a column is not there.
        """
        indices, chosen = choose(self.names, names, "the table")
        integer = tuple(self.integer[i] for i in indices)
        return Table(chosen, self.values[:, indices], integer, self.named)


class BlockReader:
    """The rows of a table in blocks of exactly ``block_rows`` rows, the last one shorter.

    Iterate over it for float64 blocks ``(m, d)``. Files can be iterated again, standard input
    cannot.

    Attributes:
        names: the chosen columns.
        named: False when the source has no column names.
        total_rows: the number of rows where the file says so (Parquet, NPY, NPZ), else None.
        fraction: the share of the source read so far, for a progress bar; None for standard input.
    """

    def __init__(self, source: Source, block_rows: int) -> None:
        check_count("block_rows", block_rows)
        self.names = source.names
        self.named = source.named
        self.total_rows = source.total_rows
        self.fraction: float | None = None
        self._source = source
        self._block_rows = block_rows

    def __iter__(self) -> Iterator[np.ndarray]:
        """Blocks of rows.

        Raises:
            InputError: a row cannot be used; blocks before it have been given out by then.
        """
        size, row = self._block_rows, 1
        block = np.empty((size, len(self.names)))
        filled = 0
        for values, fraction in _chunks(self._source):
            check_finite(values, self.names, self._source.where, row, whole=False)
            row += len(values)
            self.fraction = fraction
            start = 0
            while start < len(values):
                take = min(size - filled, len(values) - start)
                block[filled : filled + take] = values[start : start + take]
                filled, start = filled + take, start + take
                if filled == size:
                    yield block
                    block, filled = np.empty_like(block), 0
        if filled:
            yield block[:filled]


def read_table(
    source: str | Path,
    columns: Sequence[str] | None = None,
    *,
    by_position: bool = False,
    stand_in: bool = True,
    single: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Table:
    """Read a table of numbers: CSV, TSV, Parquet, NPY, NPZ, or ``-`` for CSV on standard input.

    Booleans become 0 and 1. NPY files name their columns ``x0, x1, ...``. An NPZ file is one array,
    or 1-D arrays of one length that are its columns; ``file.npz:train`` takes the array ``train``.

    Args:
        source: the path; its suffix says the format.
        columns: the wanted columns in the wanted order; None takes all.
        by_position: let ``columns`` name the columns of a source without names, if the count fits.
        stand_in: take ``x0, x1, ...`` in ``columns`` for stand-in names even so, which say where they stand in a
            source without names; False where a table held these names.
        single: keep single precision where the source has it in every column, for tables that fill the memory.
        progress: called now and then with how far the reading is.

    Raises:
        InputError: the source is not there, is damaged, holds something other than numbers in a
            wanted column, or has missing, NaN or infinite cells.
    """
    opened = _open(source, columns, by_position, stand_in)
    dtype = np.float32 if single and opened.single else np.float64
    chunks = _told(_chunks(opened), progress)
    total = opened.total_rows
    if total is None:
        parts = [chunk for chunk, _ in chunks]
        total = sum(map(len, parts))
        # Each part goes as soon as it is copied: the table is in memory once.
        chunks = ((parts.pop(0), None) for _ in range(len(parts)))
    values, row = np.empty((total, len(opened.names)), dtype), 0
    for chunk, _ in chunks:
        values[row : row + len(chunk)] = chunk
        row += len(chunk)
    check_finite(values, opened.names, opened.where)
    for i, name in enumerate(opened.names):
        if opened.integer[i]:
            refuse_merged(values[:, i], name, opened.where)
    integer = tuple(flag and _whole(values[:, i]) for i, flag in enumerate(opened.integer))
    return Table(opened.names, np.ascontiguousarray(values), integer, opened.named)


def _told(
    chunks: Iterator[tuple[np.ndarray, float | None]], progress: Callable[[str], None] | None
) -> Iterator[tuple[np.ndarray, float | None]]:
    """The chunks, with word of how far they are."""
    rows = 0
    for chunk, fraction in chunks:
        rows += len(chunk)
        if progress is not None:
            of = "" if fraction is None else f", {fraction:.0%}"
            progress(f"{rows:,} rows{of}")
        yield chunk, fraction


def open_blocks(
    source: str | Path,
    columns: Sequence[str] | None = None,
    block_rows: int = BLOCK_ROWS,
    *,
    by_position: bool = False,
    stand_in: bool = True,
) -> BlockReader:
    """Open a table to be read in blocks, in memory that does not grow with the number of rows.

    The arguments are those of ``read_table``. Names, types and the first rows are checked now, the
    cells as they are read. To score rows with a model, ask for the model's columns with
    ``by_position=True``: they come in the model's order, whatever else the file holds.

    Args:
        source: the path; its suffix says the format.
        columns: the wanted columns in the wanted order; None takes all.
        block_rows: rows in every block but the last.
        by_position: let ``columns`` name the columns of a source without names, if the count fits.
        stand_in: take ``x0, x1, ...`` in ``columns`` for stand-in names even so, which say where they stand in a
            source without names; False where a table held these names.

    Raises:
        InputError: as ``read_table``.
    """
    return BlockReader(_open(source, columns, by_position, stand_in), block_rows)


def _open(
    source: str | Path, columns: Sequence[str] | None, by_position: bool, stand_in: bool
) -> Source:
    if str(source) == "-":
        if sys.stdin is None:
            raise OSError(errno.EBADF, "standard input is closed")
        with _reading("standard input"):
            return open_delimited(None, ",", columns, "standard input")
    path, key = Path(source), None
    chosen = re.fullmatch(r"(.+\.npz):(.+)", str(source), flags=re.IGNORECASE)
    if chosen and not path.exists():
        path, key = Path(chosen[1]), chosen[2]
    where, suffix = str(source), path.suffix.lower()
    if path.is_dir():
        raise InputError(f"{where}: is a directory; a file is expected")
    if not path.exists():
        raise InputError(f"{where}: no such file")
    if suffix in PACKED:
        raise InputError(
            f"{where}: is packed; unpack it, or pipe it in as CSV and give - as the file"
        )
    if suffix not in SUFFIXES:
        raise InputError(
            f"{where}: unknown format '{path.suffix}'; known are {', '.join(SUFFIXES)} and - for "
            "CSV on standard input"
        )
    with _reading(where):
        text = suffix in (".csv", ".tsv")
        if not path.is_file() and not text:
            raise InputError(
                f"{where}: is a pipe or a device; {suffix} needs a file. Save it first, or pipe in CSV and give - "
                "as the file"
            )
        if path.is_file() and path.stat().st_size == 0:
            raise InputError(f"{where}: is empty")
        if text:
            return open_delimited(path, "\t" if suffix == ".tsv" else ",", columns, where)
        if suffix == ".parquet":
            return open_parquet(path, columns, where)
        if suffix == ".npy":
            return open_npy(path, columns, where, by_position, stand_in)
        return open_npz(path, key, columns, where, by_position, stand_in)


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Add the table's name to the error of a disk that fails or a mount that is lost."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from None


def _chunks(source: Source) -> Iterator[tuple[np.ndarray, float | None]]:
    with _reading(source.where):
        yield from source.chunks()


def _whole(column: np.ndarray) -> bool:
    return bool(
        np.all(np.rint(column) == column)
        and np.abs(column).max(initial=0.0) <= LARGEST_EXACT_INTEGER
    )
