"""Numeric tables: read whole, or streamed in blocks when larger than memory."""

import errno
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from pushforward.columns.values import LARGEST_EXACT_INTEGER, check_finite, refuse_merged
from pushforward.data.arrays import open_npy, open_npz, open_parquet
from pushforward.data.delimited import open_delimited
from pushforward.data.source import Chunks, Source, Wanted, choose
from pushforward.data.targets import SUFFIXES, check_output
from pushforward.data.writers import TableWriter, open_writer, write_table
from pushforward.errors import CellError, InputError, check_count
from pushforward.words import finite_number

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
    """A table of finite numbers.

    Arguments:
        names: the d column names.
        values: `(n, d)`, float64; float32 if that was asked for and loses nothing.
        integer: whether each column is stored as integers or booleans and holds only whole numbers.
        named: False if the source has no column names and `x0, x1, ...` stand in for them; default True.

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

    def select(self, names: Sequence[str]) -> Self:
        """The table of these columns, in this order. Raises `InputError` if one is missing."""
        indices, chosen = choose(self.names, names, "the table")
        integer = tuple(self.integer[i] for i in indices)
        return replace(self, names=chosen, values=self.values[:, indices], integer=integer)


class BlockReader:
    """The rows of a table in blocks of exactly `block_rows` rows, the last one shorter.

    Iterate over it for float64 blocks `(m, d)`, more than once if the source is a file. Raises `InputError` at the
    first row that cannot be used, after the blocks before it.

    Attributes:
        names: the chosen columns.
        named: False if the source has no column names.
        total_rows: the number of rows if the file says it (Parquet, NPY, NPZ), else None.
        fraction: the fraction of the source read so far, for a progress bar; None for standard input.
    """

    def __init__(self, source: Source, block_rows: int) -> None:
        check_count("block_rows", block_rows)
        self.names, self.named, self.total_rows = source.names, source.named, source.total_rows
        self.fraction: float | None = None
        self._source, self._block_rows = source, block_rows

    def __iter__(self) -> Iterator[np.ndarray]:
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
    """Read a table of numbers: CSV, TSV, Parquet, NPY, NPZ, or `-` for CSV on standard input.

    Booleans become 0 and 1. The columns of NPY files are named `x0, x1, ...`. An NPZ file is one array, or columns that
    are 1-D arrays of equal length; `file.npz:train` is the array `train`.

    Arguments:
        source: the path; its suffix says the format.
        columns: the wanted columns, in the wanted order; default None, for all.
        by_position: whether `columns` may name the columns of a source without names, if their number fits; default
            False.
        stand_in: whether, even so, `x0, x1, ...` in `columns` are positions in a source without names; default True.
            False if a table had these names.
        single: whether to keep single precision if every column of the source has it, for tables that fill the memory;
            default False.
        progress: called now and then with a text that says how much has been read.

    Raises `InputError` if the source is missing or damaged, or a wanted column has cells that are not numbers, missing,
    NaN or infinite.
    """
    opened = _open(source, Wanted(columns, by_position, stand_in))
    dtype = np.float32 if single and opened.single else np.float64
    chunks = _with_progress(_chunks(opened), progress)
    total = opened.total_rows
    if total is None:
        parts = [chunk for chunk, _ in chunks]
        total = sum(map(len, parts))
        # Each part is freed as soon as it is copied, so that memory holds the table once.
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


def _with_progress(chunks: Chunks, progress: Callable[[str], None] | None) -> Chunks:
    """The chunks; reports how far they are."""
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
    constants: Mapping[str, str | None] | None = None,
) -> BlockReader:
    """Open a table to be read in blocks, in memory that does not grow with the number of rows.

    Names, types and the first rows are checked at once, the cells as they are read. To score rows with a model, ask for
    the model's columns with `by_position=True`: they come in the model's order, whatever else the file holds.

    Arguments and errors are those of `read_table`, and:

        block_rows: the number of rows in every block but the last; default 65,536.
        constants: the values of some of `columns` in all rows, as text, taken where the file lacks them, such as what
            its folders say (`Part.folders`); None for a missing one. Default none.
    """
    beside = constants or {}
    wanted = Wanted(columns, by_position, stand_in, frozenset(beside) & set(columns or ()))
    opened = _open(source, wanted)
    if columns is not None and len(opened.names) < len(columns):
        opened = _filled(opened, columns, beside)
    return BlockReader(opened, block_rows)


def _filled(source: Source, columns: Sequence[str], constants: Mapping[str, str | None]) -> Source:
    """The source with the columns that it lacks, which are the same in all rows."""
    own = {name.strip(): i for i, name in enumerate(source.names)}
    places, row = [own.get(name.strip()) for name in columns], np.zeros(len(columns))
    for i, name in enumerate(columns):
        if places[i] is None:
            text = constants[name]
            number = np.nan if text is None else finite_number(text)
            if number is None:
                raise CellError(
                    f"{source.where}: its folder says {name}={text}; a number is expected"
                )
            row[i] = number
    there = [i for i, place in enumerate(places) if place is not None]
    taken = [place for place in places if place is not None]

    def chunks() -> Chunks:
        for values, fraction in source.chunks():
            wide = np.repeat(row[None], len(values), axis=0)
            wide[:, there] = values[:, taken]
            yield wide, fraction

    names = tuple(
        name if i is None else source.names[i] for name, i in zip(columns, places, strict=True)
    )
    integer = tuple(
        bool(row[at] == np.rint(row[at])) if i is None else source.integer[i]
        for at, i in enumerate(places)
    )
    return replace(source, names=names, integer=integer, chunks=chunks, single=False)


def _open(source: str | Path, wanted: Wanted) -> Source:
    if str(source) == "-":
        if sys.stdin is None:
            raise OSError(errno.EBADF, "standard input is closed")
        with _reading("standard input"):
            return open_delimited(None, ",", wanted, "standard input")
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
        how = "unpack it, or pipe it in as CSV and give - as the file"
        raise InputError(f"{where}: is packed; {how}")
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
            return open_delimited(path, "\t" if suffix == ".tsv" else ",", wanted, where)
        if suffix == ".parquet":
            return open_parquet(path, wanted, where)
        if suffix == ".npy":
            return open_npy(path, wanted, where)
        return open_npz(path, key, wanted, where)


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Name the table in errors of the operating system, such as a disk that fails."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from None


def _chunks(source: Source) -> Chunks:
    with _reading(source.where):
        yield from source.chunks()


def _whole(column: np.ndarray) -> bool:
    exact = np.abs(column).max(initial=0.0) <= LARGEST_EXACT_INTEGER
    return bool(exact and np.all(np.rint(column) == column))
