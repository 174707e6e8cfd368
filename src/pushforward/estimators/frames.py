"""Frames of draws, with the column types of the frame that was fitted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.dataframes import columns_of, frame_kind

if TYPE_CHECKING:
    import polars


def types_of(table: Any) -> list[str | None] | None:
    """The names of the column types of a frame or a series, as its library spells them; None for an array.

    A type that is no number's is None.
    """
    named = frame_kind(table) is not None or hasattr(table, "name")
    return [_type_name(column) for _, column in columns_of(table)] if named else None


def as_frame(
    values: np.ndarray,
    names: Sequence[str] | None,
    kind: str | None,
    types: Sequence[str | None] | None = None,
) -> Any:
    """Rows as a frame; the array itself where it has no names or no kind.

    Arguments:
        values: `(n, d)`.
        names: of the columns.
        kind: "pandas" or "polars".
        types: of the columns, as of `types_of`; those that are None, or not given, are float64.
    """
    if names is None or kind not in ("pandas", "polars"):
        return values
    types = [None] * len(names) if types is None else types
    if kind == "pandas":
        import pandas

        columns = {
            name: pandas.Series(typed(column, known)).astype(_of_pandas(known))
            for name, column, known in zip(names, values.T, types, strict=True)
        }
        return pandas.DataFrame(columns)
    import polars

    return polars.DataFrame(
        [
            polars.Series(name, typed(column, known), getattr(polars, known or "Float64"))
            for name, column, known in zip(names, values.T, types, strict=True)
        ]
    )


def as_it_came(
    frame: "polars.DataFrame", kind: str | None, types: Any = None, index: Any = None
) -> Any:
    """A Polars frame of cells of any kind as one of the library `kind`.

    Arguments:
        frame: the cells.
        kind: "pandas" for a frame of that library; all else leaves it as it is.
        types: the `dtypes` of a pandas frame, whose names and types columns of the same name get. Categories that are
            lacking are added; where not one is right, as of identifiers that are numbered anew, or the type cannot hold
            the cells, a column gets the type that pandas finds. Default None.
        index: that of the rows; they may be a multiple. Default None.
    """
    if kind != "pandas":
        return frame
    import pandas

    labels = {} if types is None else {str(label): label for label in types.index}
    columns = {}
    for series in frame.get_columns():
        label = labels.get(series.name, series.name)
        dtype = types[label] if series.name in labels else None
        columns[label] = _of_type(series.to_list(), dtype)
    cells = pandas.DataFrame(columns)
    if index is not None:
        cells.index = index[np.arange(len(cells)) % max(len(index), 1)]
    return cells


def _of_type(cells: list[Any], dtype: Any) -> Any:
    """Cells as a pandas series of a type, or of the one that pandas finds."""
    import pandas

    found, own = pandas.Series(cells), pandas.Series(cells, dtype=object)
    if isinstance(dtype, pandas.CategoricalDtype):
        new = [label for label in own.dropna().unique() if label not in dtype.categories]
        if len(dtype.categories) and 0 < len(new) == own.nunique():
            return found
        dtype = pandas.CategoricalDtype([*dtype.categories, *new], dtype.ordered)
    if dtype is None:
        return found
    try:
        typed = own.astype(dtype)
    except (TypeError, ValueError):
        return found
    return typed if (typed.isna() == own.isna()).all() else found


def typed(values: np.ndarray, name: str | None) -> np.ndarray:
    """Numbers as NumPy's type of that name, to the nearest that it can hold; float64 for None."""
    base = None if name is None else _base(name)
    if base is None:
        return values
    if base.kind == "b":
        return values >= 0.5
    if base.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(base)
    info = np.iinfo(base)
    # The largest number may have no float of its own, and the next one is too large.
    high = float(info.max)
    high = float(np.nextafter(high, 0)) if int(high) > info.max else high
    whole: np.ndarray = np.clip(np.rint(values), float(info.min), high).astype(base)
    return whole


def common_type(types: Sequence[str | None] | None) -> str | None:
    """NumPy's type that holds columns of these types together; None for float64."""
    bases = [None if name is None else _base(name) for name in types or [None]]
    known = [base for base in bases if base is not None]
    return np.result_type(*known).name if len(known) == len(bases) else None


def _type_name(column: Any) -> str | None:
    dtype = column.dtype
    if str(dtype) == "category" and hasattr(column, "cat"):
        dtype = column.cat.categories.dtype
    elif str(dtype) == "object":
        from pandas.api.types import infer_dtype

        dtype = {"integer": "int64", "boolean": "bool"}.get(infer_dtype(column), dtype)
    return str(dtype) if _base(str(dtype)) is not None else None


def _of_pandas(name: str | None) -> Any:
    """The type of that name, or NumPy's nearest where a library that it needs is not installed."""
    from pandas.api.types import pandas_dtype

    try:
        return pandas_dtype(name or "float64")
    except (ImportError, TypeError):
        return _base(name or "float64")


def _base(name: str) -> np.dtype | None:
    """NumPy's type nearest to a library's type of that name; None where that is no number."""
    plain = name.partition("[")[0].lower()
    plain = {"boolean": "bool", "int128": "int64", "uint128": "uint64"}.get(plain, plain)
    try:
        base = np.dtype(plain)
    except TypeError:
        return None
    return base if base.kind in "biuf" else None
