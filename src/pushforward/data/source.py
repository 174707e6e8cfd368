"""What every file format hands to the table readers, and the errors they share."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pushforward.columns.names import unknown_columns
from pushforward.errors import InputError
from pushforward.words import LINE_BREAK, plural, quoted

_ROW_INDEX = re.compile(r"__index_level_\d+__")
"""What pandas calls a row index without a name where it has to store one, such as a filtered frame's in Parquet."""


@dataclass(frozen=True)
class Source:
    """An opened table: its columns are known and its rows are not read yet.

    Args:
        where: what to call it in a message.
        names: the chosen columns, in the order in which chunks hold them.
        integer: whether each chosen column is stored as integers (or booleans).
        named: False when the file holds no column names and ``x0, x1, ...`` stand in for them.
        total_rows: the number of rows where the file says so, else None.
        chunks: starts a pass over the rows; it yields ``(values (m, d), fraction)``, m of any size,
            missing cells as NaN, fraction the share of the file read so far or None.
        single: whether single precision holds every chosen column exactly.
    """

    where: str
    names: tuple[str, ...]
    integer: tuple[bool, ...]
    named: bool
    total_rows: int | None
    chunks: Callable[[], Iterator[tuple[np.ndarray, float | None]]]
    single: bool = False


def columns_option(names: Sequence[str]) -> str:
    """The command line's option that takes these columns, quoted for a shell.

    ```python
    >>> columns_option(["height", "body mass"])
    "--columns 'height,body mass'"

    ```
    """
    shown = names_line([LINE_BREAK.sub(" ", name) for name in names[:40]])
    return f"--columns {shlex.quote(shown + (',...' if len(names) > 40 else ''))}"


def names_line(names: Sequence[str], delimiter: str = ",") -> str:
    """A line of names, as `names_in_line` reads it: one that would be misread stands in quotes.

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
    """The names in a line of text, without the blanks around them but for those within quotes. A line break in a name
    becomes a blank.

    Args:
        text: the line; in quotes it may run over several.
        delimiter: what separates the names.
        spaced: whether blanks may stand before an opening quote.

    Raises:
        csv.Error: the line cannot be read.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    lines = io.StringIO(text, newline="")
    cells = next(csv.reader(lines, delimiter=delimiter, skipinitialspace=spaced), [])
    apart, blank = re.escape(delimiter), " *" if spaced else ""
    # The reader does not tell which cells were quoted.
    cell = rf'(?:\A|{apart}){blank}("(?:[^"]|"")*")?([^{apart}]*)'
    quotes = [m[1] if not m[2].strip() else None for m in re.finditer(cell, text)]
    if len(quotes) != len(cells):
        quotes = [None] * len(cells)
    names = (
        c.strip() if quote is None or not c.strip() else quote[1:-1].replace('""', '"')
        for c, quote in zip(cells, quotes, strict=True)
    )
    return tuple(LINE_BREAK.sub(" ", name) for name in names)


def choose(
    available: Sequence[str],
    columns: Sequence[str] | None,
    where: str,
    *,
    named: bool = True,
    by_position: bool = False,
    stand_in: bool = True,
) -> tuple[list[int], tuple[str, ...]]:
    """Where the wanted columns stand in a file, and what they are called there.

    Names are compared without the blanks at their ends, where they do not fit as they are: headers lose them easily.

    Args:
        available: the names in the file, in order.
        columns: the wanted names; None takes all but a row index that pandas stored.
        where: the file, for messages.
        named: whether the names come from the file.
        by_position: let ``columns`` name the columns of a file that has no names.
        stand_in: even so, take names such as ``x0, x1, ...`` for stand-in names, which say where they stand.

    Raises:
        InputError: a name is not there, is wanted twice, or stands twice in the file.
    """
    twice = _repeated([name for name in available if name])
    if twice is not None:
        raise InputError(
            f"{where}: the column name '{twice}' occurs more than once; rename one of them"
        )
    if columns is None:
        kept = [i for i, name in enumerate(available) if not _ROW_INDEX.fullmatch(name)]
        if available and not kept:
            raise InputError(f"{where}: holds a row index only ({quoted(available)})")
        return kept, tuple(available[i] for i in kept)
    wanted = [str(name) for name in columns]
    if not wanted:
        raise InputError(f"{where}: no columns were chosen; it holds {quoted(available)}")
    if (again := _repeated(wanted)) is not None:
        raise InputError(f"{where}: column '{again}' is asked for twice")
    stand_in = stand_in and set(wanted) <= set(available)
    if by_position and not named and not stand_in:
        if len(wanted) != len(available):
            raise InputError(
                f"{where}: holds {plural(len(available), 'column')} without names; "
                f"{len(wanted)} are expected ({quoted(wanted)})"
            )
        return list(range(len(wanted))), tuple(wanted)
    places = _places(available, wanted)
    unknown = [name for name, i in zip(wanted, places, strict=True) if i is None]
    if unknown:
        raise InputError(unknown_columns(unknown, available, where))
    indices = [i for i in places if i is not None]
    names = tuple(available[i] for i in indices)
    if (again := _repeated(names)) is not None:
        raise InputError(f"{where}: column '{again}' is asked for twice")
    return indices, names


def _places(available: Sequence[str], wanted: Sequence[str]) -> list[int | None]:
    """Where each wanted name stands, None where it does not or could be one of several."""
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
) -> InputError:
    """The error for columns that are not numbers.

    Args:
        where: the file.
        text: what each such column holds instead, such as ``row 1: 'red'`` or a type.
        numeric: the numeric columns.
        suggest: whether to suggest the option that takes them: not where columns have been chosen already.
    """
    first, example = next(iter(text.items()))
    which = f"column '{first}' is not numeric ({example})"
    if len(text) > 1:
        which += f", nor {'is' if len(text) == 2 else 'are'} {quoted(list(text)[1:], 5)}"
    if not numeric:
        return InputError(f"{where}: {which}; no column is numeric")
    if not suggest:
        return InputError(f"{where}: {which}; numeric: {quoted(numeric)}")
    return InputError(f"{where}: {which}; choose numeric columns: {columns_option(numeric)}")


def _repeated(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
