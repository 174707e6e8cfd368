"""NPY, NPZ and Parquet tables, read in constant memory."""

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from pushforward.columns.names import stand_in_names
from pushforward.data.footer import row_groups
from pushforward.data.source import Chunks, Source, Wanted, choose, not_numeric
from pushforward.errors import InputError

CELLS_AT_ONCE = 1 << 21
"""Cells decoded at once, 16 MiB of float64."""

CELLS_OF_A_GROUP = 1 << 25
"""Cells of the largest row group that is decoded at once, 256 MiB of float64. Writers end one after 16 to 128 MiB, or
after a million rows."""

SINGLE = (pl.Float32, pl.Int8, pl.Int16, pl.UInt8, pl.UInt16, pl.Boolean)


def rows_at_once(width: int) -> int:
    """How many rows of `width` columns are decoded at once."""
    return max(1, CELLS_AT_ONCE // max(1, width))


def is_utf8(path: Path) -> bool:
    """Whether a path is text, the only kind that Polars takes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def scan_parquet(*paths: Path) -> pl.LazyFrame:
    """Scan exactly these files, in order; names are not patterns, and folders are not columns."""
    # Polars expands a leading `~` and takes what precedes a colon for a protocol, but not in absolute paths.
    absolute = [Path(os.path.abspath(path)) for path in paths]
    # An open file lives as long as the scan.
    sources: Any = [path if is_utf8(path) else path.open("rb") for path in absolute]
    return pl.scan_parquet(sources, glob=False, hive_partitioning=False)


def open_parquet(path: Path, wanted: Wanted, where: str) -> Source:
    """Open a Parquet file, to be decoded slice by slice.

    Raises `InputError` if the file is damaged, has no rows, or a chosen column is not numeric.
    """
    try:
        scan = scan_parquet(path)
        schema = scan.collect_schema()
        total = int(scan.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(where, "Parquet", error) from None
    available = list(schema.names())
    _, names = choose(available, wanted, where)
    numeric = [name for name in available if is_number(schema[name])]
    if text := {name: f"type {schema[name]}" for name in names if name not in numeric}:
        raise not_numeric(where, text, numeric, wanted.columns is None)
    if not names or total == 0:
        raise InputError(f"{where}: has no rows")
    step = rows_at_once(len(names))
    single = all(schema[name] in SINGLE for name in names)

    def chunks() -> Chunks:
        kind = pl.Float32 if single else pl.Float64
        chosen = scan.select(pl.col(name).cast(kind) for name in names)
        done = 0
        for start, rows in _slices(path, total, len(names)):
            try:
                piece = chosen.slice(start, rows).collect()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise _damaged(where, "Parquet", error) from None
            for at in range(0, len(piece), step):
                values = piece[at : at + step].to_numpy()
                done += len(values)
                yield values, done / total

    integer = tuple(schema[name].is_integer() or schema[name] == pl.Boolean for name in names)
    return Source(where, names, integer, True, total, chunks, single)


def _slices(path: Path, total: int, width: int) -> list[tuple[int, int]]:
    """How a Parquet file is decoded: first rows and numbers of rows of slices that end where row groups end, as far as
    these fit into memory. A slice that begins within a group decodes what precedes it there, again."""
    step, most = rows_at_once(width), max(1, CELLS_OF_A_GROUP // width)
    groups = (row_groups(path) if total > step else None) or [total]
    if sum(groups) != total:
        groups = [total]
    found: list[tuple[int, int]] = []
    start = 0
    for rows in groups:
        if found and found[-1][1] + rows <= step:
            found[-1] = (found[-1][0], found[-1][1] + rows)
        else:
            found += [(at, min(most, start + rows - at)) for at in range(start, start + rows, most)]
        start += rows
    return found


def open_npy(path: Path, wanted: Wanted, where: str) -> Source:
    """Open an NPY file, a table `(n, d)` or one column `(n,)`, as a memory map.

    Raises `InputError` if the file is damaged, or the array is not a table of real numbers.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        raise _damaged(where, "NPY", error) from None
    _check_array(array.dtype, array.shape, where)
    table = array if array.ndim == 2 else array[:, None]
    total, width = table.shape
    indices, names = choose(stand_in_names(width), wanted, where, named=False)
    step = rows_at_once(width)

    def chunks() -> Chunks:
        for start in range(0, total, step):
            values = np.asarray(table[start : start + step], dtype=np.float64)
            yield values[:, indices], min(1.0, (start + step) / total)

    integer = (array.dtype.kind in "biu",) * len(names)
    return Source(where, names, integer, False, total, chunks, np.can_cast(array.dtype, np.float32))


@dataclass(frozen=True)
class _Member:
    """One array of an NPZ archive, from its header."""

    file: str
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def open_npz(path: Path, key: str | None, wanted: Wanted, where: str) -> Source:
    """Open an NPZ file: one array, or columns that are 1-D arrays of equal length.

    Arrays are decompressed as a stream; only one in Fortran order is loaded whole.

    Arguments:
        path: the file.
        key: the array to take; None if the file is one table.
        wanted: the wanted columns.
        where: what to call the file in messages.

    Raises `InputError` if the file is damaged, holds several tables without a `key` to choose one, or an array is not a
    table of real numbers.
    """
    try:
        members = _npz_members(path)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, SyntaxError) as error:
        raise _damaged(where, "NPZ", error) from None
    listing = ", ".join(f"{name} {_shape(member.shape)}" for name, member in members.items())
    if not members:
        raise InputError(f"{where}: holds no arrays")
    if key is not None and key not in members:
        raise InputError(f"{where}: no array '{key}'; it holds {listing}")
    if key is None and len(members) == 1:
        key = next(iter(members))
    if key is None:
        shapes = {member.shape for member in members.values()}
        if len(shapes) > 1 or len(next(iter(shapes))) != 1:
            example = max(members, key=lambda name: len(members[name].shape) == 2)
            raise InputError(
                f"{where}: holds several arrays ({listing}); choose one: {path}:{example}"
            )
        _, names = choose(list(members), wanted, where)
        numeric = [name for name, member in members.items() if member.dtype.kind in "biuf"]
        odd = [name for name in members if name in names and name not in numeric]
        if text := {name: f"type {members[name].dtype}" for name in odd}:
            raise not_numeric(where, text, numeric, wanted.columns is None)
        parts, named, select = [members[name] for name in names], True, list(range(len(names)))
    else:
        member = members[key]
        _check_array(member.dtype, member.shape, where)
        alone = len(member.shape) == 1
        available = (key,) if alone else stand_in_names(member.shape[1])
        # The name of a 1-D array is its key, which np.savez may have made up.
        parts, named = [member], alone and not key.startswith("arr_")
        select, names = choose(available, wanted, where, named)
    total = parts[0].shape[0]
    if total == 0:
        raise InputError(f"{where}: has no rows")
    integer = tuple(part.dtype.kind in "biu" for part in parts)
    if len(parts) == 1:
        integer *= len(names)

    def chunks() -> Chunks:
        done = 0
        try:
            for values in _npz_rows(path, parts):
                done += len(values)
                yield values[:, select], done / total
        except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise _damaged(where, "NPZ", error) from None

    single = all(np.can_cast(part.dtype, np.float32) for part in parts)
    return Source(where, names, integer, named, total, chunks, single)


def _npz_members(path: Path) -> dict[str, _Member]:
    members = {}
    with zipfile.ZipFile(path) as archive:
        for file in archive.namelist():
            if file.endswith(".npy"):
                with archive.open(file) as stream:
                    members[file.removesuffix(".npy")] = _Member(file, *_npy_header(stream))
    return members


def _npy_header(
    stream: IO[bytes] | io.BufferedIOBase,
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def _npz_rows(path: Path, parts: list[_Member]) -> Iterator[np.ndarray]:
    """The parts side by side, in blocks of rows."""
    total = parts[0].shape[0]
    widths = [part.shape[1] if len(part.shape) == 2 else 1 for part in parts]
    step = rows_at_once(sum(widths))
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path))
        if any(part.fortran and len(part.shape) == 2 for part in parts):
            with np.load(path, allow_pickle=False) as arrays:
                whole = arrays[parts[0].file.removesuffix(".npy")]
            yield from (whole[i : i + step].astype(np.float64) for i in range(0, total, step))
            return
        streams = [stack.enter_context(archive.open(part.file)) for part in parts]
        for stream in streams:
            _npy_header(stream)
        for start in range(0, total, step):
            rows = min(step, total - start)
            block = []
            for stream, part, width in zip(streams, parts, widths, strict=True):
                size = rows * width * part.dtype.itemsize
                data = stream.read(size)
                if len(data) != size:
                    raise EOFError(f"{part.file} ends early")
                values = np.frombuffer(data, dtype=part.dtype).reshape(rows, width)
                block.append(values.astype(np.float64))
            yield np.concatenate(block, axis=1)


def _check_array(dtype: np.dtype[Any], shape: tuple[int, ...], where: str) -> None:
    if dtype.kind not in "biuf":
        named = {"c": "complex", "O": "object", "U": "text", "S": "text", "M": "dates"}
        what = named.get(dtype.kind, f"type {dtype}")
        raise InputError(f"{where}: holds {what} (dtype {dtype}); real numbers are expected")
    if len(shape) not in (1, 2):
        raise InputError(
            f"{where}: holds an array of shape {_shape(shape)}; rows by columns (n, d) are expected"
        )
    if 0 in shape:
        raise InputError(f"{where}: has no rows (its shape is {_shape(shape)})")


def is_number(dtype: pl.DataType) -> bool:
    # A column of type Null is all missing, which the check for missing cells reports.
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"


def _damaged(where: str, kind: str, error: Exception) -> InputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    if "Python objects" in reason:
        reason = "it holds Python objects, which are never unpickled; save plain numbers"
    return InputError(f"{where}: cannot be read as {kind} ({reason})")
