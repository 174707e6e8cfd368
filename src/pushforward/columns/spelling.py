"""How the values of a column are written: from a table to numbers or labels, and back as they came."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from pushforward.errors import InputError

NULLS = (
    "",
    "?",
    "NA",
    "N/A",
    "#N/A",
    "na",
    "n/a",
    "NaN",
    "nan",
    "null",
    "NULL",
    "Null",
    "None",
    "none",
    "NaT",
)
"""What stands for a missing cell in text, besides an empty one."""
TRUTHS = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"))
"""Words for no and yes, whatever their case."""
PLAIN = {
    "date": ("%Y-%m-%d",),
    "time": ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"),
    "clock": ("%H:%M:%S%.f",),
}
"""Patterns of dates and times that are written without one."""
_STORED: dict[str, tuple[Any, Any, float]] = {
    "date": (pl.Date, pl.Int32, 1.0),
    "time": (pl.Datetime("us"), pl.Int64, 1.0),
    "clock": (pl.Time, pl.Int64, 1e-3),
    "duration": (pl.Duration("us"), pl.Int64, 1.0),
}
"""By form: Polars' type, the type of its numbers, and how many of a column's units one of them is."""


@dataclass(frozen=True)
class Spelling:
    """How a column is written.

    Arguments:
        form: "number", "text", "truth", "date", "time" (a date with a time of day), "clock" (a time of day) or
            "duration". Their units are days, else microseconds, as Polars counts them.
        dtype: Polars' name of the column's type; "String" for text of any form.
        null: what stands for a missing cell in text.
        decimals: the most digits after the point in text; None for numbers that are stored as such.
        words: no and yes, of text.
        pattern: of dates and times in text.
        categories: of an Enum, which are part of its type, whatever the cells hold.
    """

    form: str
    dtype: str
    null: str = ""
    decimals: int | None = None
    words: tuple[str, str] | None = None
    pattern: str | None = None
    categories: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Spelling":
        """The inverse of `to_json`."""
        lists = {name: data.get(name) for name in ("words", "categories")}
        return cls(**{**data, **{k: None if v is None else tuple(v) for k, v in lists.items()}})

    def shown(self, value: Any) -> str:
        """A value in a message, as it is written in text."""
        if self.form == "text":
            return repr(value)
        if self.form == "number":
            return f"{value:.15g}"
        return str(self.write(np.array([value]), "", text=True)[0])

    def read(self, series: pl.Series, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """The values of another column that is written the same way.

        Arguments:
            series: the column.
            rows: the numbers of the rows in messages; default from 1.

        Returns float64 with NaN for missing cells, or for text an object array with None. Raises `InputError`, naming
        column and row, for a cell of another form.
        """
        if series.dtype != pl.String:
            if self.form == "text":
                return np.array(series.cast(pl.String).to_list(), object)
            return stored(series, self.form)
        text = cleaned(series)
        if self.form == "text":
            return np.array(text.to_list(), object)
        if self.form == "truth":
            words = [word.lower() for word in self.words or TRUTHS[0]]
            lower = text.str.to_lowercase()
            values = pl.select(
                pl.when(lower == words[1]).then(1.0).when(lower == words[0]).then(0.0)
            ).to_series()
        elif self.form in _STORED and (self.pattern is not None or self.form in PLAIN):
            # Text beside a column that was stored as dates: as Polars writes them.
            ways = PLAIN[self.form] if self.pattern is None else (self.pattern,)
            read = [moments(text, way, self.form) for way in ways]
            values = min(read, key=lambda found: found.null_count())
        else:
            values = text.cast(pl.Float64, strict=False)
        bad = (values.is_null() & text.is_not_null()).arg_true()
        if len(bad):
            forms = {"truth": "yes or no", "number": "a number", "clock": "a time of day"}
            what = forms.get(self.form, f"a {self.form}")
            where = f" like {self.pattern}" if self.pattern else ""
            row = int(bad[0]) + 1 if rows is None else int(rows[int(bad[0])])
            raise InputError(
                f"column '{series.name}' holds {text[int(bad[0])]!r} in row {row}, which is not {what}{where}"
            )
        return values.cast(pl.Float64).fill_null(np.nan).to_numpy()

    def filled(self, value: Any, rows: int) -> np.ndarray:
        """The same value in every row, as `read` returns it; None for missing cells."""
        if self.form == "text":
            return np.full(rows, value, object)
        return np.full(rows, np.nan if value is None else value, float)

    def write(self, values: np.ndarray, name: str, text: bool = False) -> pl.Series:
        """Values as the column had them.

        Arguments:
            values: as `read` returns them.
            name: of the column.
            text: whether numbers, dates and truths are wanted as they stand in a delimited file; default False, in
                the column's own type.
        """
        if self.form == "text":
            cells = (
                [self.null if cell is None else cell for cell in values] if text else list(values)
            )
            found = pl.Series(name, cells, pl.String)
            return found if text or self.dtype == "String" else self._restored(found)
        series = pl.Series(name, values, pl.Float64).fill_nan(None)
        if self.form == "truth":
            found = series == 1.0
            if self.words is not None:
                no, yes = self.words
                found = pl.select(
                    pl.when(found).then(pl.lit(yes)).when(found.not_()).then(pl.lit(no))
                ).to_series()
            elif self.dtype != "Boolean":
                found = series.cast(_dtype(self.dtype))
        elif self.form in _STORED:
            kind, _, unit = _STORED[self.form]
            found = (series / unit).round().cast(pl.Int64).cast(kind)
            if self.pattern is not None:
                found = found.dt.to_string(self.pattern)
            elif self.form != "date":
                found = found.cast(_dtype(self.dtype))
        elif self.decimals == 0 or (
            self.decimals is None and self.dtype.startswith(("Int", "UInt"))
        ):
            found = series.cast(pl.Int64, strict=False)
            if self.decimals is None:
                found = found.cast(_dtype(self.dtype), strict=False)
        else:
            found = series if self.decimals is None else series.round(self.decimals)
            if self.decimals is None and self.dtype.startswith(("Float32", "Decimal")):
                found = found.cast(_dtype(self.dtype))
        if text:
            found = found.cast(pl.String).fill_null(self.null)
        return found.alias(name)

    def _restored(self, found: pl.Series) -> pl.Series:
        """Labels in the type that they came in; text where that does not hold them, as made-up numbers of an Enum."""
        if self.dtype == "Boolean":
            return found == "true"
        kind = pl.Enum(self.categories) if self.categories is not None else _dtype(self.dtype)
        typed = found.cast(kind, strict=False)
        return typed if typed.null_count() == found.null_count() else found


def cleaned(series: pl.Series) -> pl.Series:
    """Text without spaces at its ends, missing cells as nulls."""
    text = series.str.strip_chars()
    return text.set(text.is_in(list(NULLS)), None)


def null_of(series: pl.Series, text: pl.Series) -> str:
    """What most missing cells are written as."""
    gone = series.filter(text.is_null()).drop_nulls().str.strip_chars()
    return "" if len(gone) == 0 else str(gone.mode().sort()[0])


def stored(series: pl.Series, form: str) -> np.ndarray:
    """Values of a column that is stored in a type of its own."""
    unit = 1.0
    if form in _STORED:
        kind, number, unit = _STORED[form]
        series = series.cast(kind).cast(number)
    try:
        values = series.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"column '{series.name}' of type {series.dtype} holds no numbers: {error}"
        ) from None
    return values if unit == 1.0 else values * unit


def moments(text: pl.Series, pattern: str, form: str) -> pl.Series:
    """Dates and times in text as numbers, null where they do not follow the pattern."""
    kind, number, unit = _STORED[form]
    try:
        found = text.str.strptime(kind, pattern, strict=False).cast(number)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"column '{text.name}': {pattern!r} is not a pattern of a {form}: {str(error).splitlines()[0]}"
        ) from None
    return found if unit == 1.0 else found * unit


def _dtype(name: str) -> Any:
    word, _, rest = name.partition("(")
    fields = dict(re.findall(r"(\w+)='?([^',)]+)'?", rest))
    if word == "Datetime":
        zone = fields.get("time_zone", "None")
        unit: Any = fields["time_unit"]
        return pl.Datetime(unit, None if zone == "None" else zone)
    if word == "Duration":
        span: Any = fields["time_unit"]
        return pl.Duration(span)
    if word == "Decimal":
        return pl.Decimal(int(fields["precision"]), int(fields["scale"]))
    return getattr(pl, word)


def as_polars(table: Any, names: Sequence[str] | None = None) -> pl.DataFrame:
    """A table of any kind as a Polars frame: Polars, pandas, Arrow, an array, or a mapping of columns.

    Raises `InputError` for a lazy frame, and for columns of one name.
    """
    if isinstance(table, pl.DataFrame):
        return table
    if isinstance(table, pl.LazyFrame):
        raise InputError("a lazy frame has no rows yet; give .collect()")
    if hasattr(table, "columns") and hasattr(table, "iloc"):
        columns = [str(name) for name in table.columns]
        if len(set(columns)) < len(columns):
            twice = next(name for name in columns if columns.count(name) > 1)
            raise InputError(f"column '{twice}' stands twice")
        return pl.DataFrame([_of_pandas(table.iloc[:, i], name) for i, name in enumerate(columns)])
    if hasattr(table, "__arrow_c_stream__"):
        return pl.DataFrame(table)
    if isinstance(table, dict):
        return pl.DataFrame(
            {str(name): pl.Series(str(name), column) for name, column in table.items()}
        )
    array = np.asarray(table)
    if array.ndim != 2:
        raise InputError(f"a table has rows and columns; given shape {array.shape}")
    names = names or [f"x{i}" for i in range(array.shape[1])]
    return pl.DataFrame(
        [
            pl.Series(name, column.tolist() if array.dtype.kind in "OSUV" else column.copy())
            for name, column in zip(names, array.T, strict=True)
        ]
    )


def _of_pandas(column: Any, name: str) -> pl.Series:
    kind = getattr(column.dtype, "kind", "O")
    if kind in "fiub" and hasattr(column.dtype, "itemsize") and isinstance(column.dtype, np.dtype):
        return pl.Series(name, column.to_numpy())
    if kind in "mM" and isinstance(column.dtype, np.dtype):
        unit = "datetime64[us]" if kind == "M" else "timedelta64[us]"
        return pl.Series(name, column.to_numpy().astype(unit))
    gone = column.isna().to_numpy()
    cells = [None if missing else cell for cell, missing in zip(column.tolist(), gone, strict=True)]
    if all(isinstance(cell, str) for cell in cells if cell is not None):
        return pl.Series(name, cells, pl.String)
    try:
        return pl.Series(name, cells)
    except (TypeError, pl.exceptions.PolarsError):
        return pl.Series(name, [None if cell is None else str(cell) for cell in cells], pl.String)
