"""Columns of tables from any library, before they become floats: names, dates, large whole numbers."""

import sys
from collections.abc import Iterator
from datetime import date, time, timedelta
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Float


def frame_kind(table: Any) -> str | None:
    """ "pandas" or "polars" for their data frames, else None."""
    # The library of a frame is loaded already; do not load it for an array.
    for kind in ("pandas", "polars"):
        library = sys.modules.get(kind)
        if library is not None and isinstance(table, library.DataFrame):
            return kind
    return None


def columns_of(table: Any, stem: str = "") -> Iterator[tuple[str, Any]]:
    """The columns of a table and their names, which are `stem` and a number if it has none; a series or a list is one
    column."""
    kind = frame_kind(table)
    if kind == "pandas":
        yield from ((str(name), column) for name, column in table.items())
    elif kind == "polars":
        yield from ((column.name, column) for column in table.get_columns())
    else:
        if isinstance(table, (list, tuple)):
            table = np.asarray(table, dtype=object)
        elif hasattr(table, "__array__") and not hasattr(table, "name"):
            table = np.asarray(table)
        name = getattr(table, "name", None)
        if isinstance(table, np.ndarray) and table.ndim == 2:
            yield from ((f"{stem}{i}", column) for i, column in enumerate(table.T))
        elif getattr(table, "dtype", None) is not None:
            yield (name if isinstance(name, str) and name else f"{stem}0"), table


def holds_dates(values: Any) -> bool:
    """Whether values are dates or durations, from any library, which as floats would be numbers of some unit.

    Arguments:
        values: an array, a column, or a list.

    ```python
    >>> from datetime import date
    >>> holds_dates([date(2024, 1, 1), 3.5]), holds_dates([1.0, 2.0])
    (True, False)

    ```
    """
    if isinstance(values, (list, tuple)):
        return any(holds_dates(value) for value in values)
    dtype = getattr(values, "dtype", None)
    if dtype is None:
        pandas = sys.modules.get("pandas")
        periods = () if pandas is None else (pandas.Period,)
        return isinstance(values, (date, time, timedelta, *periods))
    if getattr(dtype, "is_temporal", bool)():
        return True
    kind = getattr(dtype, "kind", None)
    return kind in ("m", "M") or (
        kind == "O" and any(holds_dates(cell) for cell in np.asarray(values, object).flat)
    )


def dated(table: Any, stem: str = "") -> str | None:
    """The part of a table that holds dates or durations, in words; None if there is none."""
    if isinstance(table, np.ndarray) and table.dtype.kind in "mM":
        return "the array"
    dates = (name for name, column in columns_of(table, stem) if holds_dates(column))
    name = next(dates, None)
    return None if name is None else f"column '{name}'"


def huge_numbers(column: Any, least: float) -> Float[np.ndarray, " n"] | None:
    """The cells of a column stored as whole numbers, as floats; None for other columns, or if none is beyond `least`.

    Of a column of Python objects only the cells that are whole numbers count.
    """
    dtype = column.dtype
    stored = getattr(dtype, "is_integer", bool)()
    if not stored and getattr(dtype, "kind", None) not in ("i", "u", "O"):
        return None
    # NumPy has no 128-bit integers.
    wide = stored and str(dtype).endswith("128")
    cells = np.asarray(column.to_list() if wide else column, object if wide else None)
    if cells.dtype.kind == "O":
        whole = [v for v in cells.flat if isinstance(v, Integral) and not isinstance(v, bool)]
        # Larger ones would overflow.
        cells = np.array([min(max(int(v), -(2**1000)), 2**1000) for v in whole], dtype=np.float64)
    if not cells.size or not max(float(cells.max()), -float(cells.min())) > least:
        return None
    cells = cells.astype(np.float64)
    kept: np.ndarray = cells[~np.isnan(cells)]
    return kept
