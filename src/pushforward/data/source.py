"""What every file format gives to the table readers, and the errors they share."""

import csv
import io
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pushforward.columns.names import unknown_columns
from pushforward.errors import CellError, InputError
from pushforward.words import LINE_BREAK, plural, quoted

_ROW_INDEX = re.compile(r"__index_level_\d+__")
"""The name that pandas gives to a nameless row index in Parquet, such as that of a filtered frame."""

Chunks = Iterator[tuple[np.ndarray, float | None]]
"""Rows `(m, d)`, m of any size, missing cells as NaN; and the fraction of the file read so far, if it is known."""


@dataclass(frozen=True)
class Source:
    """An opened table: its columns are known, its rows are not read yet.

    Arguments:
        where: what to call it in messages.
        names: the chosen columns, in the order of the chunks.
        integer: whether each chosen column is stored as integers or booleans.
        named: False if the file has no column names and `x0, x1, ...` stand in for them.
        total_rows: the number of rows if the file says it, else None.
        chunks: starts a pass over the rows.
        single: whether single precision holds every chosen column exactly.
    """

    where: str
    names: tuple[str, ...]
    integer: tuple[bool, ...]
    named: bool
    total_rows: int | None
    chunks: Callable[[], Chunks]
    single: bool = False


def columns_option(names: Sequence[str]) -> str:
    """The option of the command line that chooses these columns, quoted for a shell.

    ```python
    >>> columns_option(["height", "body mass"])
    "--columns 'height,body mass'"

    ```
    """
    shown = names_line([LINE_BREAK.sub(" ", name) for name in names[:40]])
    return f"--columns {shlex.quote(shown + (',...' if len(names) > 40 else ''))}"


def names_line(names: Sequence[str], delimiter: str = ",") -> str:
    """A line of names for `names_in_line`: names that would be misread are quoted.

    ```python
    >>> print(names_line(["a", "b,c", " d"]))
    a,"b,c"," d"

    ```
    """
    cells = []
    for name in names:
        odd = name != name.strip() or not name or any(c in name for c in (delimiter, *'"\r\n'))
        cells.append('"' + name.replace('"', '""') + '"' if odd else name)
    return delimiter.join(cells)


def names_in_line(text: str, delimiter: str = ",", spaced: bool = False) -> tuple[str, ...]:
    """The names in a line of text, without the blanks around them unless these are quoted. A line break in a name
    becomes a blank.

    Arguments:
        text: the line, which may continue over line breaks within quotes.
        delimiter: what separates the names.
        spaced: whether blanks may precede an opening quote.

    Raises `csv.Error` for a line that cannot be read.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    lines = io.StringIO(text, newline="")
    cells = next(csv.reader(lines, delimiter=delimiter, skipinitialspace=spaced), [])
    apart, blank = re.escape(delimiter), " *" if spaced else ""
    # The reader does not say which cells were quoted.
    cell = rf'(?:\A|{apart}){blank}("(?:[^"]|"")*")?([^{apart}]*)'
    quotes = [m[1] if not m[2].strip() else None for m in re.finditer(cell, text)]
    if len(quotes) != len(cells):
        quotes = [None] * len(cells)
    names = (
        c.strip() if quote is None or not c.strip() else quote[1:-1].replace('""', '"')
        for c, quote in zip(cells, quotes, strict=True)
    )
    return tuple(LINE_BREAK.sub(" ", name) for name in names)


@dataclass(frozen=True)
class Wanted:
    """Which columns of a file are wanted.

    Arguments:
        columns: their names, in the wanted order; default None, all but a row index that pandas stored.
        by_position: whether `columns` may name the columns of a file without names, if their number fits; default
            False.
        stand_in: whether, even so, `x0, x1, ...` in `columns` are positions in such a file; default True. False if a
            table had these names.
        beside: those of `columns` that a file may lack, as they are known otherwise; default none.
    """

    columns: Sequence[str] | None = None
    by_position: bool = False
    stand_in: bool = True
    beside: Collection[str] = ()


def choose(
    available: Sequence[str], wanted: Wanted | Sequence[str] | None, where: str, named: bool = True
) -> tuple[list[int], tuple[str, ...]]:
    """The indices of the wanted columns in a file, and their names there.

    Names that do not match are compared without blanks at their ends, which headers lose easily.

    Arguments:
        available: the names in the file, in order.
        wanted: the columns, or their names; None for all.
        where: the file, for messages.
        named: whether the names come from the file; default True.

    Raises `InputError` if a name is missing, is wanted twice, or occurs twice in the file.
    """
    twice = _repeated([name for name in available if name])
    if twice is not None:
        raise InputError(f"{where}: the column name '{twice}' occurs more than once; rename one")
    options = wanted if isinstance(wanted, Wanted) else Wanted(wanted)
    if options.columns is None:
        kept = [i for i, name in enumerate(available) if not _ROW_INDEX.fullmatch(name)]
        if available and not kept:
            raise InputError(f"{where}: holds a row index only ({quoted(available)})")
        return kept, tuple(available[i] for i in kept)
    columns = [str(name) for name in options.columns]
    if not columns:
        raise InputError(f"{where}: no columns were chosen; it holds {quoted(available)}")
    if (again := _repeated(columns)) is not None:
        raise InputError(f"{where}: column '{again}' is asked for twice")
    stand_in = options.stand_in and set(columns) <= set(available)
    if options.by_position and not named and not stand_in:
        if len(columns) != len(available):
            raise InputError(
                f"{where}: holds {plural(len(available), 'column')} without names; "
                f"{len(columns)} are expected ({quoted(columns)})"
            )
        return list(range(len(columns))), tuple(columns)
    places = _places(available, columns)
    if options.beside:
        here = [
            i
            for i, place in enumerate(places)
            if place is not None or columns[i] not in options.beside
        ]
        columns, places = [columns[i] for i in here], [places[i] for i in here]
    if unknown := [name for name, i in zip(columns, places, strict=True) if i is None]:
        raise InputError(unknown_columns(unknown, available, where))
    indices = [i for i in places if i is not None]
    names = tuple(available[i] for i in indices)
    if (again := _repeated(names)) is not None:
        raise InputError(f"{where}: column '{again}' is asked for twice")
    return indices, names


def _places(available: Sequence[str], wanted: Sequence[str]) -> list[int | None]:
    """The index of each wanted name; None if it is missing or ambiguous."""
    exact = {name: i for i, name in enumerate(available)}
    trimmed: dict[str, list[int]] = {}
    for i, name in enumerate(available):
        trimmed.setdefault(_trimmed(name), []).append(i)
    places: list[int | None] = []
    for name in wanted:
        like = trimmed.get(_trimmed(name), [])
        places.append(exact.get(name, like[0] if len(like) == 1 else None))
    return places


def _trimmed(name: str) -> str:
    return LINE_BREAK.sub(" ", name).strip()


def not_numeric(
    where: str, text: dict[str, str], numeric: Sequence[str], suggest: bool
) -> CellError:
    """The error for columns that are not numeric.

    Arguments:
        where: the file.
        text: what each such column holds instead, such as `row 1: 'red'` or a type.
        numeric: the numeric columns.
        suggest: whether to suggest the option that chooses these; not if columns have been chosen already.
    """
    first, example = next(iter(text.items()))
    which = f"column '{first}' is not numeric ({example})"
    if len(text) > 1:
        which += f", nor {'is' if len(text) == 2 else 'are'} {quoted(list(text)[1:], 5)}"
    if not numeric:
        return CellError(f"{where}: {which}; no column is numeric")
    if not suggest:
        return CellError(f"{where}: {which}; numeric: {quoted(numeric)}")
    return CellError(f"{where}: {which}; choose numeric columns: {columns_option(numeric)}")


def _repeated(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
