"""Writing numeric tables, at once or block by block; a crash leaves no partial file."""

import contextlib
import errno
import io
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import polars as pl

from pushforward.data.arrays import scan_parquet
from pushforward.data.source import names_line
from pushforward.data.targets import check_output, put_in_place, real_path
from pushforward.data.workspace import Workspace
from pushforward.errors import InputError

ROWS_AT_ONCE = 65536
CELLS_PER_PART = 1 << 22
"""Cells of a Parquet row group, 32 MiB of float64."""


def write_table(
    target: str | Path,
    names: Sequence[str],
    values: np.ndarray,
    integer: Sequence[bool] | None = None,
) -> None:
    """Write a table; an existing file is replaced.

    Numbers are written so that they are read back exactly, float32 with the digits it needs. `values` is `(n, d)`; the
    other arguments and errors are those of `TableWriter`.
    """
    with open_writer(target, names, integer) as writer:
        writer.write(values)


class TableWriter:
    """Writes a table block by block; use it as a context manager.

    Leaving it normally puts the file in place and replaces one that exists; leaving it by an error removes what was
    written, and what a killed process left is removed by the next one that writes there. Memory does not grow with the
    number of rows. Parquet and NPZ first write parts beside the target, and need the disk space twice for a while.

    Arguments:
        target: a path with a known suffix, or `-` for CSV on standard output.
        names: the d column names, which NPY does not keep.
        integer: which columns to write as integers; default None, none of them.

    Raises `InputError` if the target cannot be written, or names repeat.

    ```python
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with TableWriter(f"{folder}/t.csv", ["a", "b"], integer=[True, False]) as writer:
    ...         writer.write(np.array([[1.0, 0.1]]))
    ...     print(Path(folder, "t.csv").read_text(), end="")
    a,b
    1,0.1

    ```
    """

    def __init__(
        self, target: str | Path, names: Sequence[str], integer: Sequence[bool] | None = None
    ) -> None:
        check_output(target, force=True)
        self.names = tuple(str(name) for name in names)
        flags = [False] * len(self.names) if integer is None else integer
        self.integer = tuple(map(bool, flags))
        if not self.names or len(set(self.names)) != len(self.names):
            raise InputError(f"{target}: distinct column names are needed; given {list(names)}")
        if len(self.integer) != len(self.names):
            raise InputError(
                f"{target}: {len(self.integer)} integer flags for {len(self.names)} columns"
            )
        self.rows = 0
        self._where = "standard output" if str(target) == "-" else str(target)
        self._sink: _TextSink | _NpySink | _NpzSink | _ParquetSink
        self._open = True
        self._target: Path | None = None
        self._workspace: Workspace | None = None
        if str(target) == "-":
            if sys.stdout is None:
                raise OSError(errno.EBADF, "standard output is closed")
            self._sink = _TextSink(sys.stdout.buffer, self.names, self.integer, ",")
            return
        self._target = real_path(Path(target))
        try:
            with self._named_errors():
                self._workspace = Workspace(self._target)
                self._file = self._workspace.path / self._target.name
                self._sink = _sink_for(self._file, self.names, self.integer)
        except BaseException:
            self.discard()
            raise

    def write(self, block: np.ndarray) -> None:
        """Append rows `(m, d)`. The file has the type of the first block, float32 or float64.

        Raises `InputError` for another number of columns, or an integer column with other numbers.
        """
        if not self._open:
            raise ValueError("the table is closed")
        block = np.asarray(block)
        if block.ndim != 2 or block.shape[1] != len(self.names):
            raise InputError(
                f"{self._where}: rows of {len(self.names)} columns are expected; "
                f"given an array of shape {block.shape}"
            )
        if block.dtype not in (np.float32, np.float64):
            block = block.astype(np.float64)
        for i, name in enumerate(self.names):
            if self.integer[i]:
                column = block[:, i]
                whole = (np.rint(column) == column) & (np.abs(column) < 2.0**63)
                if not whole.all():
                    row = int(np.argmin(whole))
                    raise InputError(
                        f"{self._where}: column '{name}' is to be written as integers, but row "
                        f"{self.rows + row + 1} holds {column[row]}"
                    )
        with self._named_errors():
            self._sink.write(block)
        self.rows += len(block)

    def close(self) -> None:
        """Complete the file and put it in place. Closing twice does nothing."""
        if not self._open:
            return
        try:
            with self._named_errors():
                self._sink.finish()
                if self._target is not None:
                    put_in_place(self._file, self._target)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what was written so far and leave the target as it was."""
        self._open = False
        if self._workspace is not None:
            stream = getattr(getattr(self, "_sink", None), "stream", None)
            if stream is not None:
                # Its buffer may not fit on a full disk, and is dropped with the rest.
                with contextlib.suppress(OSError):
                    stream.close()
            self._workspace.remove()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Name the table in errors of the operating system, except for standard output."""
        try:
            yield
        except OSError as error:
            if self._target is None:
                raise
            raise OSError(error.errno, error.strerror or str(error), self._where) from error
        except pl.exceptions.PolarsError as error:
            # Polars writes files itself, and reports errors of the operating system as text.
            found = re.search(r"\(os error (\d+)\)", str(error))
            if found is None:
                raise
            number = int(found[1])
            raise OSError(number, os.strerror(number), self._where) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def _sink_for(
    path: Path, names: tuple[str, ...], integer: tuple[bool, ...]
) -> "_TextSink | _NpySink | _NpzSink | _ParquetSink":
    """A format, which receives checked blocks, then completes its file."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _TextSink(path.open("wb"), names, integer, "," if suffix == ".csv" else "\t")
    if suffix == ".parquet":
        return _ParquetSink(path, names, integer)
    if suffix == ".npy":
        return _NpySink(path, len(names), all(integer))
    return _NpzSink(path, names, integer)


def _frame(block: np.ndarray, names: tuple[str, ...], integer: tuple[bool, ...]) -> pl.DataFrame:
    columns = (
        pl.Series(name, block[:, i].astype(np.int64) if integer[i] else block[:, i].copy())
        for i, name in enumerate(names)
    )
    return pl.DataFrame(list(columns))


def open_writer(
    target: str | Path, names: Sequence[str], integer: Sequence[bool] | None = None
) -> TableWriter:
    """Open a table to be written block by block, as `TableWriter(target, names, integer)`."""
    return TableWriter(target, names, integer)


class _TextSink:
    def __init__(
        self,
        stream: BinaryIO | io.RawIOBase | io.BufferedIOBase,
        names: tuple[str, ...],
        integer: tuple[bool, ...],
        delimiter: str,
    ) -> None:
        self.stream, self._names, self._integer = stream, names, integer
        self._delimiter = delimiter
        self._put(f"{names_line(names, delimiter)}\n".encode())

    def write(self, block: np.ndarray) -> None:
        for start in range(0, len(block), ROWS_AT_ONCE):
            part = _frame(block[start : start + ROWS_AT_ONCE], self._names, self._integer)
            text = io.BytesIO()
            part.write_csv(text, include_header=False, separator=self._delimiter)
            self._put(text.getbuffer())

    def finish(self) -> None:
        self.stream.flush()

    def _put(self, text: bytes | memoryview) -> None:
        # Standard output has no buffer under `python -u`, and may then write less than all of it.
        left = memoryview(text)
        while left:
            left = left[self.stream.write(left) or 0 :]


class _NpySink:
    """An NPY file whose header, of constant length, is rewritten once the number of rows is known."""

    def __init__(self, path: Path, width: int, integer: bool) -> None:
        self.stream = path.open("wb")
        self._width, self._rows = width, 0
        self.dtype: np.dtype[Any] | None = np.dtype(np.int64) if integer else None

    def write(self, block: np.ndarray) -> None:
        if self.dtype is None:
            self.dtype = block.dtype
        if self._rows == 0:
            self._header()
        self.stream.write(np.ascontiguousarray(block, dtype=self.dtype).data)
        self._rows += len(block)

    def finish(self) -> None:
        self._header()
        self.stream.close()

    def _header(self) -> None:
        self.stream.seek(0)
        _npy_header(self.stream, self.dtype or np.dtype(np.float64), (self._rows, self._width))


class _NpzSink:
    """Rows go to a raw file, from which each column becomes an array of the archive at the end."""

    def __init__(self, path: Path, names: tuple[str, ...], integer: tuple[bool, ...]) -> None:
        self._path, self._names, self._integer = path, names, integer
        self._raw = path.with_name("rows.npy.tmp")
        self._rows = _NpySink(self._raw, len(names), False)
        self.stream = self._rows.stream

    def write(self, block: np.ndarray) -> None:
        self._rows.write(block)

    def finish(self) -> None:
        self._rows.finish()
        table = np.load(self._raw, mmap_mode="r", allow_pickle=False)
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED) as archive:
            for i, name in enumerate(self._names):
                dtype = np.dtype(np.int64) if self._integer[i] else table.dtype
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    _npy_header(stream, dtype, (len(table),))
                    for start in range(0, len(table), ROWS_AT_ONCE):
                        part = table[start : start + ROWS_AT_ONCE, i].astype(dtype)
                        stream.write(part.tobytes())


class _ParquetSink:
    """Polars cannot append to a Parquet file, so parts are written, and joined as a stream."""

    def __init__(self, path: Path, names: tuple[str, ...], integer: tuple[bool, ...]) -> None:
        self._path, self._names, self._integer = path, names, integer
        self._parts: list[Path] = []
        self._held: list[np.ndarray] = []
        self._held_rows = 0
        self._rows_per_part = max(1, CELLS_PER_PART // len(names))

    def write(self, block: np.ndarray) -> None:
        for start in range(0, len(block), self._rows_per_part):
            # A copy, as the caller may reuse the block.
            self._held.append(block[start : start + self._rows_per_part].copy())
            self._held_rows += len(self._held[-1])
            if self._held_rows >= self._rows_per_part:
                self._end_part()

    def finish(self) -> None:
        if not self._parts:
            self._flush(self._path)
            return
        if self._held:
            self._end_part()
        scan_parquet(*self._parts).sink_parquet(self._path)

    def _end_part(self) -> None:
        self._parts.append(self._path.with_name(f"part-{len(self._parts):06}.parquet.tmp"))
        self._flush(self._parts[-1])

    def _flush(self, path: Path) -> None:
        dtype = self._held[0].dtype if self._held else np.dtype(np.float64)
        rows = self._held or [np.empty((0, len(self._names)), dtype)]
        _frame(np.concatenate(rows), self._names, self._integer).write_parquet(path)
        self._held, self._held_rows = [], 0


def _npy_header(stream: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
