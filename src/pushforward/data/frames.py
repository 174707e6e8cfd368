"""Tables of any kind of cells, read whole into a frame."""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from pushforward.data.delimited import check_header, header, records, short_records
from pushforward.data.tables import Table, read_table
from pushforward.data.workspace import written
from pushforward.errors import InputError, warn
from pushforward.words import plural

DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": ","}
PACKED = (".gz", ".zst")
PARQUET = (".parquet", ".pq")
ARRAYS = re.compile(r"\.(npy|npz(:[^/\\]*)?)$", re.IGNORECASE)
START, HEAD = 1 << 20, 1000
"""Bytes, and lines, at the beginning of a text in which its header ends."""


def read_frame(source: str | Path) -> pl.DataFrame:
    """Read CSV, TSV (packed or not) or Parquet with every cell as it stands; `-` is CSV on standard input. Of arrays
    (NPY, NPZ, see `read_table`) every column is of numbers.

    Cells of delimited text stay text: what they are is found column by column (`columns.spelling`). Blanks around names
    of columns are dropped. Rows with fewer cells than the header are filled up with missing ones, with a warning.

    Raises `InputError` for a file that cannot be read, names no columns or holds no rows, for columns of one name, and
    for a row with more cells than the header.
    """
    where = str(source)
    if where == "-":
        frame = _delimited(io.BytesIO(sys.stdin.buffer.read()), ",", "standard input")
    elif ARRAYS.search(where):
        return framed(read_table(source))
    else:
        path, suffix = Path(source), suffix_of(source)
        if not path.is_file():
            raise InputError(f"{where}: no such file")
        if suffix in PARQUET:
            try:
                frame = pl.read_parquet(path)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise InputError(f"{where}: cannot be read as Parquet ({_first(error)})") from None
        elif suffix in DELIMITERS:
            frame = _delimited(path, DELIMITERS[suffix], where)
        else:
            raise InputError(f"{where}: a table is CSV, TSV, Parquet, NPY or NPZ, by its suffix")
    names = [name.strip() for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{where}: the column name '{twice}' occurs more than once; rename one")
    if len(frame) == 0:
        raise InputError(f"{where}: holds {plural(len(names), 'column')} and no rows")
    frame.columns = names
    return frame


def framed(table: Table) -> pl.DataFrame:
    """A table of numbers as a frame."""
    return pl.DataFrame(dict(zip(table.names, table.values.T.astype(float), strict=True)))


def suffix_of(source: str | Path) -> str:
    """The suffix that says what a file holds, in lower case, whether it is packed or not; empty without one."""
    suffixes = [s for s in map(str.lower, Path(source).suffixes) if s not in PACKED]
    return suffixes[-1] if suffixes else ""


def frame_names(source: str | Path) -> list[str]:
    """The names of the columns of a file that `read_frame` reads, whatever its cells hold.

    Raises `InputError` for a file that cannot be read.
    """
    path, suffix = Path(source), suffix_of(source)
    if suffix in PARQUET and path.is_file():
        return [name.strip() for name in pl.read_parquet_schema(path)]
    if suffix in DELIMITERS and path.is_file():
        with _refused(str(source)):
            start = _text(path, lines=HEAD) if _packed(path) else _bytes(path, START)
        # They are chosen from, so they may be numbers.
        names = _checked_header(start, DELIMITERS[suffix], str(source), numbers=True)
        return [name.strip() for name in names]
    raise InputError(
        f"{source}: the names of its columns cannot be read; CSV, TSV or Parquet is expected"
    )


def write_frame(frame: pl.DataFrame, target: str | Path) -> None:
    """Write cells as they stand, as CSV, TSV or Parquet by the suffix, all or nothing; `-` is CSV on standard output.

    Raises `InputError` for another suffix.
    """
    if frame.width > 1 and Path(target).suffix.lower() not in PARQUET:
        # An empty text would be written in quotes, which readers take for text.
        frame = frame.with_columns(pl.col(pl.String).replace("", None))
    if str(target) == "-":
        print(frame.write_csv(), end="")
        return
    path = Path(target)
    suffix = path.suffix.lower()
    if suffix not in (*PARQUET, *DELIMITERS):
        raise InputError(
            f"{target}: cells of any kind are written as CSV, TSV or Parquet, by the suffix"
        )
    with written(path) as file:
        if suffix in PARQUET:
            frame.write_parquet(file)
        else:
            frame.write_csv(file, separator=DELIMITERS[suffix])


def _delimited(source: Path | io.BytesIO, delimiter: str, where: str) -> pl.DataFrame:
    with _refused(where):
        if isinstance(source, Path) and _packed(source):
            source = io.BytesIO(_text(source))
        _checked_header(_bytes(source, START), delimiter, where)
        try:
            frame = pl.read_csv(source, separator=delimiter, infer_schema=False, encoding="utf8")
        except pl.exceptions.ComputeError as error:
            longest = "more fields" in str(error) and _longest(_bytes(source), delimiter, where)
            if not longest:
                raise
            raise InputError(f"{where}: cannot be read as a table ({longest})") from None
    # Short rows lack their last cells, at least.
    if frame.width > 1 and frame[:, -1].null_count():
        _warn_of_short_rows(_bytes(source), delimiter, where)
    return frame


@contextmanager
def _refused(where: str) -> Iterator[None]:
    """Raise what goes wrong in reading a text as `InputError`."""
    try:
        yield
    except pl.exceptions.NoDataError:
        raise InputError(f"{where}: is empty") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = _first(error)
        if "invalid utf-8" in reason:
            raise InputError(f"{where}: is not UTF-8 text; save it as UTF-8") from None
        raise InputError(f"{where}: cannot be read as a table ({reason})") from None


def _packed(path: Path) -> bool:
    return path.suffix.lower() in PACKED


def _text(path: Path, lines: int | None = None) -> bytes:
    """The text of a packed file, or its first lines."""
    unpacked = io.BytesIO()
    # Polars unpacks what it reads: here a table of one column of lines.
    pl.read_csv(
        path, separator="\x01", has_header=False, quote_char=None, infer_schema=False, n_rows=lines
    ).write_csv(unpacked, separator="\x01", include_header=False, quote_style="never")
    return unpacked.getvalue()


def _warn_of_short_rows(text: bytes, delimiter: str, where: str) -> None:
    short, first = short_records(io.BytesIO(text), delimiter, where)
    if short:
        lack = f"{short:,} rows have" if short > 1 else "1 row has"
        warn(
            f"{where}: {lack} fewer cells than the header, the first is row {first}; the rest of "
            f"{'their' if short > 1 else 'its'} cells count as missing"
        )


def _checked_header(
    start: bytes, delimiter: str, where: str, numbers: bool = False
) -> tuple[str, ...]:
    """The names in the header.

    Raises `InputError` for text that is not UTF-8, another separator, names that stand twice, and for numbers unless
    these may be names.
    """
    names, _, _ = header(start, delimiter, where)
    check_header(names, delimiter, names if numbers else None, where)
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise InputError(f"{where}: the column name '{twice[0]}' occurs more than once; rename one")
    return names


def _longest(text: bytes, delimiter: str, where: str) -> str | None:
    """What is wrong with the first line that has more cells than the header."""
    width = None
    for line, cells in records(text, delimiter, where):
        width = width or len(cells)
        if len(cells) > width:
            return f"line {line + 1} has {plural(len(cells), 'cell')}, the header has {width}"
    return None


def _bytes(source: Path | io.BytesIO, size: int = -1) -> bytes:
    if isinstance(source, io.BytesIO):
        return source.getvalue()[: size if size >= 0 else None]
    with source.open("rb") as file:
        return file.read(size)


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
