"""How the values of a column are written: from a table to numbers or labels, and back as they came."""

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
DATES = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d")
TIMES = (
    "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
)  # fmt: skip
"""Patterns of dates and of times, the first that all cells follow is taken."""
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Spelling:
    """How a column is written.

    Arguments:
        form: "number", "text", "truth", "date" or "time" (a date with a time of day).
        dtype: Polars' name of the column's type; "String" for text of any form.
        null: what stands for a missing cell in text.
        decimals: the most digits after the point in text; None for numbers that are stored as such.
        words: no and yes, of text.
        pattern: of dates and times in text.
    """

    form: str
    dtype: str
    null: str = ""
    decimals: int | None = None
    words: tuple[str, str] | None = None
    pattern: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Spelling":
        """The inverse of `to_json`."""
        words = data["words"]
        return cls(**{**data, "words": None if words is None else tuple(words)})

    def read(self, series: pl.Series) -> np.ndarray:
        """The values of another column that is written the same way.

        Returns float64 with NaN for missing cells, or for text an object array with None. Raises `InputError`, naming
        column and row, for a cell of another form.
        """
        if series.dtype != pl.String:
            if self.form == "text":
                return np.array(series.cast(pl.String).to_list(), object)
            return _stored(series, self.form)
        text = _cleaned(series)
        if self.form == "text":
            return np.array(text.to_list(), object)
        if self.form == "truth" and self.words is not None:
            words = [word.lower() for word in self.words]
            lower = text.str.to_lowercase()
            values = pl.select(
                pl.when(lower == words[1]).then(1.0).when(lower == words[0]).then(0.0)
            ).to_series()
        elif self.form in ("date", "time") and self.pattern is not None:
            values = _moments(text, self.pattern, self.form)
        else:
            values = text.cast(pl.Float64, strict=False)
        bad = (values.is_null() & text.is_not_null()).arg_true()
        if len(bad):
            what = {"truth": "yes or no", "number": "a number"}.get(self.form, f"a {self.form}")
            raise InputError(
                f"column '{series.name}' holds {text[bad[0]]!r} in row {bad[0] + 1}, which is not {what}"
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
            return pl.Series(name, cells, pl.String)
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
        elif self.form in ("date", "time"):
            unit = pl.Date if self.form == "date" else pl.Datetime("us")
            found = series.cast(pl.Int64).cast(unit)
            if self.pattern is not None:
                found = found.dt.to_string(self.pattern)
            elif self.form == "time":
                found = found.cast(_dtype(self.dtype))
        elif self.decimals == 0 or (
            self.decimals is None and self.dtype.startswith(("Int", "UInt"))
        ):
            found = series.cast(pl.Int64, strict=False)
            if self.decimals is None:
                found = found.cast(_dtype(self.dtype), strict=False)
        else:
            found = series if self.decimals is None else series.round(self.decimals)
            if self.decimals is None and self.dtype == "Float32":
                found = found.cast(pl.Float32)
        if text:
            found = found.cast(pl.String).fill_null(self.null)
        return found.alias(name)


def spelled(series: pl.Series) -> tuple[np.ndarray, Spelling]:
    """The values of a column and how it is written.

    Of text, numbers are looked for first, then yes and no, then dates and times; what is none of these stays text.

    Arguments:
        series: the column.

    Raises `InputError`, naming column and row, for text of which most cells are numbers but not all, and for dates that
    can be read both ways, day or month first.
    """
    if series.dtype != pl.String:
        if series.dtype in (pl.Categorical, pl.Enum):
            return np.array(series.cast(pl.String).to_list(), object), Spelling("text", "String")
        if series.dtype == pl.Boolean:
            spelling = Spelling("truth", "Boolean")
        elif series.dtype == pl.Date:
            spelling = Spelling("date", "Date")
        elif isinstance(series.dtype, pl.Datetime):
            spelling = Spelling("time", str(series.dtype))
        elif series.dtype.is_numeric():
            spelling = Spelling("number", str(series.dtype))
        elif series.dtype == pl.Null:
            return np.full(len(series), None, object), Spelling("text", "String")
        else:
            raise InputError(
                f"column '{series.name}' is of type {series.dtype}, which is not a type of cells; leave it out"
            )
        return _stored(series, spelling.form), spelling
    text = _cleaned(series)
    spelling = _of_text(text, series)
    return spelling.read(series), spelling


def _of_text(text: pl.Series, series: pl.Series) -> Spelling:
    null = _null_of(series, text)
    cells = text.drop_nulls()
    if len(cells) == 0:
        return Spelling("text", "String", null)
    numbers = cells.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0:
        digits = cells.str.extract(r"\.(\d*)$", 1).str.len_chars().fill_null(0).to_numpy()
        exponent = cells.str.contains("[eE]|inf|nan").any()
        return Spelling("number", "String", null, None if exponent else int(digits.max()))
    lower = set(cells.str.to_lowercase().unique().to_list())
    for no, yes in TRUTHS:
        if lower <= {no, yes} and len(lower) == 2:
            shown = {cell.lower(): cell for cell in cells.unique().to_list()}
            return Spelling("truth", "String", null, words=(shown[no], shown[yes]))
    for form, patterns in (("date", DATES), ("time", TIMES)):
        fit = [p for p in patterns if _follows(cells, p, form)]
        if len(fit) > 1 and {"%m/%d/%Y", "%d/%m/%Y"} <= {p[:8] for p in fit}:
            raise InputError(
                f"column '{series.name}' holds dates such as {cells[0]!r} that read both ways, day or month first: "
                "write them as 2024-03-01"
            )
        if fit:
            return Spelling(form, "String", null, pattern=fit[0])
    if numbers.null_count() < 0.5 * len(cells):
        row = int(
            (text.cast(pl.Float64, strict=False).is_null() & text.is_not_null()).arg_true()[0]
        )
        hint = ""
        if cells.str.contains(r"^-?\d{1,3}(\.\d{3})*,\d+$|^-?\d+,\d+$").any():
            hint = "; decimal commas are not read: write points"
        raise InputError(
            f"column '{series.name}' holds numbers, but {text[row]!r} in row {row + 1}: mend it, or declare the column "
            f"{series.name}=category{hint}"
        )
    return Spelling("text", "String", null)


def _cleaned(series: pl.Series) -> pl.Series:
    """Text without spaces at its ends, missing cells as nulls."""
    text = series.str.strip_chars()
    return text.set(text.is_in(list(NULLS)), None)


def _null_of(series: pl.Series, text: pl.Series) -> str:
    """What most missing cells are written as."""
    gone = series.filter(text.is_null()).drop_nulls().str.strip_chars()
    return "" if len(gone) == 0 else str(gone.mode().sort()[0])


def _stored(series: pl.Series, form: str) -> np.ndarray:
    """Values of a column that is stored in a type of its own."""
    if form == "date":
        series = series.cast(pl.Date).cast(pl.Int32)
    elif form == "time":
        series = series.cast(pl.Datetime("us")).cast(pl.Int64)
    try:
        return series.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"column '{series.name}' of type {series.dtype} holds no numbers: {error}"
        ) from None


def _moments(text: pl.Series, pattern: str, form: str) -> pl.Series:
    kind = pl.Date if form == "date" else pl.Datetime("us")
    return text.str.strptime(kind, pattern, strict=False).cast(
        pl.Int32 if form == "date" else pl.Int64
    )


def _follows(cells: pl.Series, pattern: str, form: str) -> bool:
    # A few first: most columns of text are found to be no dates by these.
    return all(_moments(some, pattern, form).null_count() == 0 for some in (cells[:20], cells))


def _dtype(name: str) -> Any:
    if name.startswith("Datetime"):
        unit = "ns" if "'ns'" in name else "ms" if "'ms'" in name else "us"
        zone = name.split("time_zone='")[1].split("'")[0] if "time_zone='" in name else None
        return pl.Datetime(unit, zone)  # type: ignore[arg-type]
    return getattr(pl, name)


def as_polars(table: Any, names: Sequence[str] | None = None) -> pl.DataFrame:
    """A table of any kind as a Polars frame: Polars, pandas, an array, or a mapping of columns.

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
    if isinstance(table, dict):
        return pl.DataFrame(
            {str(name): pl.Series(str(name), column) for name, column in table.items()}
        )
    array = np.asarray(table)
    if array.ndim != 2:
        raise InputError(f"a table has rows and columns; given shape {array.shape}")
    names = names or [f"x{i}" for i in range(array.shape[1])]
    return pl.DataFrame(
        [pl.Series(name, column.tolist()) for name, column in zip(names, array.T, strict=True)]
    )


def _of_pandas(column: Any, name: str) -> pl.Series:
    kind = getattr(column.dtype, "kind", "O")
    if kind in "fiub" and hasattr(column.dtype, "itemsize") and isinstance(column.dtype, np.dtype):
        return pl.Series(name, column.to_numpy())
    if kind == "M" and isinstance(column.dtype, np.dtype):
        return pl.Series(name, column.to_numpy().astype("datetime64[us]"))
    gone = column.isna().to_numpy()
    cells = [None if missing else cell for cell, missing in zip(column.tolist(), gone, strict=True)]
    if all(isinstance(cell, str) for cell in cells if cell is not None):
        return pl.Series(name, cells, pl.String)
    try:
        return pl.Series(name, cells)
    except (TypeError, pl.exceptions.PolarsError):
        return pl.Series(name, [None if cell is None else str(cell) for cell in cells], pl.String)
