"""Comma- and tab-separated tables, read in constant memory."""

import csv
import io
import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from pushforward.data.source import (
    Chunks,
    Source,
    Wanted,
    choose,
    columns_option,
    names_in_line,
    not_numeric,
)
from pushforward.errors import InputError
from pushforward.words import plural, quoted

CHUNK_BYTES = 8 << 20
"""Size of the pieces of text to parse: large enough to keep the parser's threads busy."""
LONGEST_RECORD = 256 << 20
SNIFFED_ROWS = 100
MISSING = frozenset({"", "na", "n/a", "<na>", "nan", "null", "none", "?", "-"})
BOOLEAN = {"true": 1.0, "false": 0.0}
SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


def open_delimited(path: Path | None, delimiter: str, wanted: Wanted, where: str) -> Source:
    """Open a delimited text file with a header line.

    Polars parses the numbers. A piece that Polars refuses (blanks around numbers, `NA`, text) is parsed again cell by
    cell, which also finds the place for an error message.

    Arguments:
        path: the file; None for standard input, which like a pipe can be read only once.
        delimiter: what separates the cells.
        wanted: the wanted columns.
        where: what to call the file in messages.

    Raises `InputError` for a file that is empty, has no rows, an unusable header or a column of text.
    """
    stream = sys.stdin.buffer if path is None else path.open("rb")
    again = path if path is not None and path.is_file() else None
    try:
        start, rest = _first_chunk(stream, where)
    finally:
        if again is not None:
            stream.close()
    names, header_bytes, header_lines = header(start, delimiter, where)
    check_header(names, delimiter, wanted.columns, where)
    indices, chosen = choose(names, wanted, where)
    if wanted.columns is None and "" in names:
        given = [name for name in names if name]
        raise InputError(
            f"{where}: column {names.index('') + 1} has no name in the header (a row index?); "
            f"name it{f' or choose columns: {columns_option(given)}' if given else ''}"
        )
    rows = itertools.islice(records(start[header_bytes:], delimiter, where), SNIFFED_ROWS)
    sample = [cells for _, cells in rows if len(cells) == len(names)]
    kinds = [_kind([cells[i] for cells in sample]) for i in range(len(names))]
    boolean = tuple(kind == "boolean" for kind in kinds)
    parser = _Parser(where, delimiter, names, tuple(indices), boolean)
    if text := {names[i]: _example(sample, i) for i in indices if kinds[i] == "text"}:
        numeric = [n for n, kind in zip(names, kinds, strict=True) if kind != "text" and n]
        raise not_numeric(where, text, numeric, wanted.columns is None)
    if not start[header_bytes:].strip(b"\r\n"):
        if start[:header_bytes].rstrip(b"\r\n").count(b"\r"):
            raise InputError(f"{where}: its lines end in CR alone; save it with LF or CR LF")
        raise InputError(f"{where}: has a header but no rows")

    opened = False

    def chunks() -> Chunks:
        nonlocal opened, rest
        if again is None:
            if opened:
                raise InputError(f"{where}: can be read only once; save it to a file first")
            opened = True
            head, rest = start[header_bytes:] + rest, b""
            yield from parser.parse(record_chunks(stream, head, where), 1 + header_lines, None)
            return
        with again.open("rb") as file:
            file.seek(header_bytes)
            pieces = record_chunks(file, b"", where)
            yield from parser.parse(pieces, 1 + header_lines, again.stat().st_size)

    integer = tuple(kinds[i] in ("integer", "boolean") for i in indices)
    return Source(where, chosen, integer, True, None, chunks)


def record_chunks(stream: BinaryIO | io.BufferedIOBase, head: bytes, where: str) -> Iterator[bytes]:
    """Split a byte stream into pieces of whole records, each ending in a newline.

    A newline inside quotes does not end a record. Blank lines at the very end are dropped.

    Arguments:
        stream: the rest of the stream.
        head: bytes already read from it.
        where: the file, for messages.

    Raises `InputError` for a quote that is never closed.
    """
    held = head
    while data := stream.read(CHUNK_BYTES):
        held += data
        whole = held[: _records_end(held)].rstrip(b"\r\n")
        if whole:
            yield whole + b"\n"
            # The newline after `whole` may be \r\n; the next piece begins behind it.
            held = held[len(whole) + (2 if held[len(whole) : len(whole) + 2] == b"\r\n" else 1) :]
        elif len(held) > LONGEST_RECORD:
            raise InputError(f"{where}: a quote is opened and never closed")
    if held.count(b'"') % 2:
        raise InputError(f"{where}: a quote is opened and never closed")
    if held := held.rstrip(b"\r\n"):
        yield held + b"\n"


@dataclass(frozen=True)
class _Parser:
    """Parses pieces of text into numbers."""

    where: str
    delimiter: str
    names: tuple[str, ...]
    indices: tuple[int, ...]
    boolean: tuple[bool, ...]

    def parse(self, pieces: Iterator[bytes], line: int, total_bytes: int | None) -> Chunks:
        row, done = 1, 0
        for piece in pieces:
            values = self._fast(piece)
            if values is None:
                values = self._careful(piece, row, line)
            row += len(values)
            line += piece.count(b"\n")
            done += len(piece)
            yield values, min(1.0, done / total_bytes) if total_bytes else None

    def _fast(self, piece: bytes) -> np.ndarray | None:
        """The numbers as Polars reads them, or None if the piece needs a closer look."""
        width = len(self.names)
        if b'"' not in piece:
            if width > 1 and (piece[:1] in (b"\n", b"\r") or re.search(rb"\n\r?\n", piece)):
                piece = re.sub(rb"(?m)^\r?\n", b"", piece)
            # Polars fills short rows with nulls, even in columns that were not asked for.
            if (_cells_of_lines(piece, self.delimiter)[0] != width).any():
                return None
        kinds = [pl.Boolean if b else pl.Float64 for b in self.boolean]
        keys = [f"column_{i + 1}" for i in range(width)]
        schema = {key: kinds[i] if i in self.indices else pl.String() for i, key in enumerate(keys)}
        wanted = [keys[i] for i in self.indices]
        try:
            frame = pl.read_csv(
                piece,
                has_header=False,
                separator=self.delimiter,
                schema=schema,
                columns=wanted,
                encoding="utf8-lossy",
            )
        except pl.exceptions.PolarsError:
            return None
        frame = frame.select(pl.col(key).cast(pl.Float64) for key in wanted)
        # With quotes in the piece a null may come from a short row, and Polars joins lines between quotes inside cells,
        # such as the inch mark of 5" pipe.
        if b'"' in piece and (frame.height != piece.count(b"\n") or any(frame.null_count().row(0))):
            return None
        return frame.to_numpy()

    def _careful(self, piece: bytes, row: int, line: int) -> np.ndarray:
        """Parse cell by cell; errors name the row or the cell."""
        width, out, text = len(self.names), list[list[float]](), dict[str, str]()
        for at, cells in records(piece, self.delimiter, self.where, keep_blank=width == 1):
            if len(cells) != width:
                raise InputError(
                    f"{self.where}: line {line + at} has {plural(len(cells), 'cell')}, "
                    f"the header has {width}"
                )
            numbers = []
            for i in self.indices:
                number = _number(cells[i], self.boolean[i])
                if number is None:
                    text.setdefault(self.names[i], f"row {row + len(out)}: {_short(cells[i])}")
                    number = np.nan
                numbers.append(number)
            out.append(numbers)
        if text:
            rest = [self.names[i] for i in self.indices if self.names[i] not in text]
            raise not_numeric(self.where, text, rest, len(self.indices) == width)
        return np.array(out, dtype=np.float64).reshape(-1, len(self.indices))


def short_records(
    stream: BinaryIO | io.BufferedIOBase, delimiter: str, where: str
) -> tuple[int, int]:
    """How many rows of a text have fewer cells than its header, and the first of them, from 1; blank lines are rows,
    but none that is short.

    Arguments:
        stream: the text.
        delimiter: what separates the cells.
        where: the file, for messages.
    """
    start, rest = _first_chunk(stream, where)
    names, header_bytes, _ = header(start, delimiter, where)
    short, first, row = 0, 0, 1
    for piece in record_chunks(stream, start[header_bytes:] + rest, where):
        cells, length = _cells_of_lines(piece, delimiter)
        at = np.flatnonzero((cells < len(names)) & (length > 0))
        if not short and len(at):
            first = row + int(at[0])
        short += len(at)
        row += len(cells)
    return short, first


def _cells_of_lines(piece: bytes, delimiter: str) -> tuple[np.ndarray, np.ndarray]:
    """The number of cells of each record of a piece, and its length in bytes."""
    codes = np.frombuffer(piece, np.uint8)
    quotes = np.flatnonzero(codes == ord('"'))

    def outside(code: int) -> np.ndarray:
        at = np.flatnonzero(codes == code)
        return at[np.searchsorted(quotes, at) % 2 == 0] if len(quotes) else at

    ends = outside(ord("\n"))
    before = np.searchsorted(outside(ord(delimiter)), ends)
    # A line may end in CR LF.
    length = np.diff(ends, prepend=-1) - 1 - (codes[ends - 1] == ord("\r"))
    return np.diff(before, prepend=0) + 1, length


def _first_chunk(stream: BinaryIO | io.BufferedIOBase, where: str) -> tuple[bytes, bytes]:
    """The first whole records, which are the header and at least one row, and the bytes read beyond them."""
    data = b""
    while len(data) <= LONGEST_RECORD:
        piece = stream.read(CHUNK_BYTES)
        data += piece
        if len(piece) < CHUNK_BYTES:
            if data.count(b'"') % 2:
                raise InputError(f"{where}: a quote is opened and never closed")
            return data, b""
        end = _records_end(data)
        if data[_header_place(data)[1] : end].strip(b"\r\n"):
            return data[:end], data[end:]
    raise InputError(f"{where}: a quote is opened and never closed")


def _records_end(data: bytes) -> int:
    """Where the last whole record in `data` ends; `data` starts with a record."""
    if b'"' not in data:
        return data.rfind(b"\n") + 1
    codes = np.frombuffer(data, dtype=np.uint8)
    newlines = np.flatnonzero(codes == ord("\n"))
    quotes_before = np.searchsorted(np.flatnonzero(codes == ord('"')), newlines)
    outside = newlines[quotes_before % 2 == 0]
    return int(outside[-1]) + 1 if len(outside) else 0


def _header_place(start: bytes) -> tuple[int, int]:
    """Where the header begins and ends; a byte-order mark and blank lines may precede it."""
    opening = re.match(rb"(?:\xef\xbb\xbf)?(?:\r?\n)*", start)
    begin = opening.end() if opening else 0
    end = start.find(b"\n", begin) + 1 or len(start)
    while start[begin:end].count(b'"') % 2 and end < len(start):
        end = start.find(b"\n", end) + 1 or len(start)
    return begin, end


def header(start: bytes, delimiter: str, where: str) -> tuple[tuple[str, ...], int, int]:
    """The column names at the start of a text, and how many bytes and lines end with the header.

    Raises `InputError` for text that is empty or not UTF-8.
    """
    if b"\0" in start[:4096] or start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{where}: is not UTF-8 text; save it as UTF-8")
    begin, end = _header_place(start)
    if begin == len(start):
        raise InputError(f"{where}: is empty; a header line and rows of numbers are expected")
    try:
        text = start[begin:end].decode("utf-8")
        names = names_in_line(text, delimiter)
    except UnicodeDecodeError:
        raise InputError(f"{where}: is not UTF-8 text; save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{where}: line 1 cannot be read as a header ({error})") from None
    return names, end, start[:end].count(b"\n")


def check_header(
    names: tuple[str, ...], delimiter: str, columns: Sequence[str] | None, where: str
) -> None:
    """Raise `InputError` for a header that seems to be of another separator, or that holds numbers.

    Arguments:
        names: in the header.
        delimiter: what separates them.
        columns: names that are asked for.
        where: the file, for messages.
    """
    if len(names) == 1:
        found = [other for other in SEPARATORS if other != delimiter and other in names[0]]
        if found:
            name = SEPARATORS[found[0]]
            plain = f"save it with {SEPARATORS[delimiter]}"
            use = {
                "tabs": "save it as .tsv",
                "commas": "save it as .csv",
                "semicolons": f"{plain} and points in decimals",
            }.get(name, plain)
            raise InputError(
                f"{where}: seems to be separated by {name}, not {SEPARATORS[delimiter]}; {use}"
            )
    counted = [str(i) for i in range(len(names))]
    # A user who chooses such columns says that they are names: years, wavelengths.
    asked = columns is not None and {str(name).strip() for name in columns} <= set(names)
    numbers = all(_number(name, False) is not None and name for name in names)
    if numbers and list(names) != counted and not asked:
        raise InputError(
            f"{where}: the first line holds numbers ({quoted(names, 3)}); a header line with column names is "
            f"expected; if these are names, choose them: {columns_option(names)}"
        )


def records(
    piece: bytes, delimiter: str, where: str, keep_blank: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """The records of a piece of text, each with the offset of its first line."""
    text = io.StringIO(piece.decode("utf-8", errors="replace"), newline="")
    # Python's limit is 131,072 characters. It is global, so only raise it.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_RECORD))
    reader = csv.reader(text, delimiter=delimiter)
    line = 0
    try:
        for cells in reader:
            if cells or keep_blank:
                yield line, cells or [""]
            line = reader.line_num
    except csv.Error as error:
        raise InputError(f"{where}: cannot be read as delimited text ({error})") from None


def _number(cell: str, boolean: bool) -> float | None:
    """A cell's value: NaN if it is missing, None if it is text."""
    cell = cell.strip().lower()
    if cell in MISSING:
        return float("nan")
    if boolean and cell in BOOLEAN:
        return BOOLEAN[cell]
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _kind(cells: list[str]) -> str:
    """What a column holds, according to its first cells: boolean, integer, number or text."""
    cells = [low for cell in cells if (low := cell.strip().lower()) not in MISSING]
    if cells and all(cell in BOOLEAN for cell in cells):
        return "boolean"
    if cells and all(re.fullmatch(r"[+-]?\d+", cell) for cell in cells):
        return "integer"
    return "number" if all(_number(cell, False) is not None for cell in cells) else "text"


def _example(sample: list[list[str]], column: int) -> str:
    for row, cells in enumerate(sample, 1):
        if _number(cells[column], False) is None:
            return f"row {row}: {_short(cells[column])}"
    raise AssertionError("a column of text has a cell of text")


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 24 else cell[:21] + "...")
