"""Tables of numbers larger than memory: Parquet files that are read in slices, by row number."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pushforward.columns.names import unknown_columns
from pushforward.columns.values import check_finite
from pushforward.data.alike import compare, kind_of
from pushforward.data.arrays import SINGLE, is_number
from pushforward.data.frames import PARQUET
from pushforward.data.parts import Part, parts_of
from pushforward.data.source import Wanted, choose, not_numeric
from pushforward.errors import InputError
from pushforward.training.checkpoint import digest
from pushforward.words import quoted

CELLS_OF_A_PASS = 1 << 23
"""Cells that are decoded at once in a pass over all rows, 64 MiB of float64: slices shorter than a row group decode
more than they need."""


@dataclass(frozen=True)
class Stream:
    """A table in Parquet files that is passed over in pieces, so that it need not fit the memory.

    `fit_table` takes it in place of rows. Its order of rows, and all that follows, is a function of the files' rows and
    the seed: how the rows are divided into files does not matter, nor does the number of devices.

    Arguments:
        source: a folder, with all tables in it and below; a pattern such as `"data/**/*.parquet"`; one file; or a URL
            of any of them in an object store, such as `"s3://bucket/data/"`. Files come in natural order, `part-2`
            before `part-10`.
        columns: to model; default all others.
        condition: columns to condition on; default none.
        ignore: columns to leave out; default none.
        storage_options: how to reach the store of a URL, as of `polars.scan_parquet`; default None: what the
            environment and the machine say.

    Columns that folders name, as in `day=3/`, are left out unless `columns` or `condition` names them.

    ```python
    >>> import pathlib, tempfile, polars as pl
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for i in range(3):
    ...     pl.DataFrame({"a": [i + 0.5, i + 0.7], "b": [1.0, 2.0]}).write_parquet(folder / f"{i}.parquet")
    >>> table = Stream(folder, columns=["a"]).open()
    >>> table.total, table.read(1, 4).ravel().round(1).tolist(), table.place(4)
    (6, [0.7, 1.5, 1.7], 'row 1 of 2.parquet')

    ```
    """

    source: str | Path
    columns: Sequence[str] | None = None
    condition: Sequence[str] | None = None
    ignore: Sequence[str] = ()
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)

    def open(self) -> "StreamFiles":
        """Read the footers of all files.

        Raises `InputError` where a file is no Parquet file or damaged, where files disagree in columns or types, for
        columns that are missing or no numbers, and where there are no rows.
        """
        where, parts = str(self.source), parts_of(self.source, self.storage_options)
        for part in parts:
            if part.suffix not in PARQUET:
                raise InputError(
                    f"{part.path}: only Parquet files are streamed; write it as Parquet, or read all of the table into "
                    "memory (--no-stream)"
                )
        schemas = [_schema(part) for part in parts]
        first = schemas[0]
        names, own = self._chosen(list(first), parts[0], where)
        wanted = None if set(first) <= {*names, *own} else (*names, *own)
        held = [{name.strip(): kind_of(of) for name, of in schema.items()} for schema in schemas]
        files = []
        for part, schema, kinds in zip(parts, schemas, held, strict=True):
            compare(str(part.path), kinds, str(parts[0].path), held[0], wanted)
            files.append(_File.of(part, [name for name in (*names, *own) if name not in schema]))
        every = (*names, *own)
        text = {n: f"type {first[n]}" for n in every if n in first and not is_number(first[n])}
        if text:
            numeric = [name for name in first if is_number(first[name])]
            raise not_numeric(where, text, numeric, self.columns is None)
        files = [file for file in files if file.rows]
        if not files:
            raise InputError(f"{where}: has no rows")
        types = [[schema.get(name, pl.Float64()) for name in every] for schema in schemas]
        return StreamFiles(
            where=where,
            names=names,
            condition=own,
            files=tuple(files),
            integer=tuple(kind.is_integer() or kind == pl.Boolean for kind in types[0]),
            single=all(kind in SINGLE for of_file in types for kind in of_file),
        )

    def _chosen(
        self, available: list[str], part: Part, where: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns to model, and those to condition on."""
        every = [*available, *(name for name in part.folders if name not in available)]
        if unknown := [name for name in self.ignore if name not in every]:
            raise InputError(unknown_columns(unknown, every, where))
        own: tuple[str, ...] = ()
        if self.condition is not None:
            own = choose(every, Wanted(self.condition), where)[1]
        if self.columns is not None:
            return choose(every, Wanted(self.columns), where)[1], own
        _, names = choose(available, None, where)
        rest = tuple(name for name in names if name not in (*own, *self.ignore))
        if not rest:
            raise InputError(f"{where}: no column is left to model; it holds {quoted(names)}")
        return rest, own


@dataclass(frozen=True)
class _File:
    """A file as it was when it was opened.

    Attributes:
        part: the file.
        rows, bytes, changed: their number, its size, and when it was written.
        folders: the values of columns that folders name.
    """

    part: Part
    rows: int
    bytes: int
    changed: int
    folders: dict[str, float]

    @staticmethod
    def of(part: Part, names: Sequence[str]) -> "_File":
        size, changed = part.stamp()
        values = {}
        for name in names:
            try:
                values[name] = float(part.folders[name] or "nan")
            except (KeyError, ValueError):
                given = part.folders.get(name, "nothing")
                raise InputError(
                    f"{part.path}: its folders give {given!r} for column '{name}'; a number is expected"
                ) from None
        rows = int(_scan(part, size, changed).select(pl.len()).collect().item())
        return _File(part, rows, size, changed, values)

    def read(self, names: Sequence[str], start: int, stop: int, dtype: type) -> np.ndarray:
        """Some rows; raises `InputError` where the file is no longer what it was."""
        path = self.part.path
        try:
            if self.part.stamp() != (self.bytes, self.changed):
                raise InputError(
                    f"{path}: was changed while it was read; fit again when it is complete"
                )
            kind = pl.Float32 if dtype is np.float32 else pl.Float64
            columns = [
                pl.lit(self.folders[name], kind).alias(name)
                if name in self.folders
                else pl.col(name).cast(kind)
                for name in names
            ]
            rows = _scan(self.part, self.bytes, self.changed).slice(start, stop - start)
            frame = rows.select(columns).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(f"{path}: cannot be read as Parquet ({_first(error)})") from None
        found = frame.to_numpy()
        if found.shape != (stop - start, len(names)):
            raise InputError(f"{path}: has fewer rows than its footer says")
        return found


@dataclass(frozen=True)
class StreamFiles:
    """The files of a `Stream`, opened.

    Attributes:
        where: what to call it in messages.
        names, condition: the columns to model, and those to condition on.
        files: those with rows, in order.
        integer: whether each column, those of the condition last, is stored as integers or booleans.
        single: whether single precision holds every column exactly.
    """

    where: str
    names: tuple[str, ...]
    condition: tuple[str, ...]
    files: tuple[_File, ...]
    integer: tuple[bool, ...]
    single: bool

    @property
    def every(self) -> tuple[str, ...]:
        """All columns, those of the condition last."""
        return (*self.names, *self.condition)

    @property
    def starts(self) -> np.ndarray:
        """The number of each file's first row, and the number of all rows."""
        return np.concatenate([[0], np.cumsum([file.rows for file in self.files])])

    @property
    def total(self) -> int:
        """The number of rows."""
        return sum(file.rows for file in self.files)

    @property
    def dtype(self) -> type:
        """The precision in which rows are read."""
        return np.float32 if self.single else np.float64

    def read(self, start: int, stop: int) -> np.ndarray:
        """The rows with numbers from `start` up to `stop`, `(n, d)` of all columns, column by column in memory.

        Raises `InputError` where a file is damaged, or was changed since it was opened.
        """
        starts = self.starts
        first = int(np.searchsorted(starts, start, "right")) - 1
        found = []
        for number in range(first, len(self.files)):
            if starts[number] >= stop:
                break
            low = max(start - int(starts[number]), 0)
            high = min(stop - int(starts[number]), self.files[number].rows)
            found.append(self.files[number].read(self.every, low, high, self.dtype))
        return found[0] if len(found) == 1 else np.concatenate(found)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in blocks of one file each, with the number of each block's first row.

        Raises `InputError`, naming file and row, at the first cell that is missing or not finite.
        """
        step = max(CELLS_OF_A_PASS // len(self.every), 1)
        for begin, file in zip(self.starts.tolist(), self.files, strict=False):
            for start in range(0, file.rows, step):
                rows = file.read(self.every, start, min(start + step, file.rows), self.dtype)
                check_finite(rows, self.every, str(file.part.path), start + 1, whole=False)
                yield begin + start, rows

    def place(self, row: int) -> str:
        """Where a row is, in words."""
        starts = self.starts
        number = int(np.searchsorted(starts, row, "right")) - 1
        return f"row {row - int(starts[number]) + 1:,} of {self.files[number].part.relative}"

    def marks(self) -> str:
        """A fingerprint of the manifest: place, rows and bytes of every file, and the columns."""
        manifest = [(str(f.part.relative), f.rows, f.bytes) for f in self.files]
        return digest(manifest, self.names, self.condition)


@lru_cache(maxsize=256)
def _scan(part: Part, size: int, changed: int) -> pl.LazyFrame:
    """The rows of a file that was not written since."""
    return part.scan()


def _schema(part: Part) -> dict[str, pl.DataType]:
    if isinstance(part.path, Path) and part.stamp()[0] == 0:
        raise InputError(f"{part.path}: is empty")
    try:
        return dict(part.scan().collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{part.path}: cannot be read as Parquet ({_first(error)})") from None


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
