"""How the values of a column are written, found by looking at them."""

from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from pushforward.columns.spelling import TRUTHS, Spelling, cleaned, moments, null_of, stored
from pushforward.columns.typed_kinds import EXACT
from pushforward.errors import InputError

DATES = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d")
TIMES = (
    "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
)  # fmt: skip
"""Patterns of dates and of times, the first that all cells follow is taken."""
CLOCKS = ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f")
"""Patterns of times of day."""
_DOUBTFUL = {"%m/%d/%Y", "%d/%m/%Y"}
_SAMPLE = 50
_COMMAS = {
    "decimal comma": r"^[-+]?\d+,(\d{1,2}|\d{4,})$|^[-+]?0,\d+$|^[-+]?\d{1,3}(\.\d{3})+,\d+$",
    "thousands separator": r"^[-+]?\d{1,3}(,\d{3})+\.\d+$|^[-+]?\d{1,3}(,\d{3}){2,}$"
    r"|^[-+]?\d{1,3}(['\u00a0\u202f]\d{3})+(\.\d+)?$",
    "decimal comma or a thousands separator": r"^[-+]?\d{1,3},\d{3}$",
}
"""Patterns of numbers that are not read as such."""


def spelled(
    series: pl.Series,
    rows: Int[np.ndarray, " n"] | None = None,
    *,
    pattern: tuple[str, str] | None = None,
    as_text: bool = False,
) -> tuple[np.ndarray, Spelling]:
    """The values of a column and how it is written.

    Of text, numbers are looked for first, then yes and no, then dates and times; what is none of these stays text.

    Arguments:
        series: the column.
        rows: the numbers of the rows in messages; default from 1.
        pattern: the form, "date" or "time", and the pattern of text that is declared to be of it; default None.
        as_text: whether cells are labels as they stand; default False.

    Raises `InputError`, naming column and row, for text of which most cells are numbers or dates but not all, for
    numbers with commas, and for dates that can be read both ways, day or month first.
    """
    rows = np.arange(1, len(series) + 1) if rows is None else rows
    if series.dtype == pl.String:
        text = cleaned(series)
        if as_text:
            spelling = Spelling("text", "String", null_of(series, text))
        elif pattern is not None:
            form, way = pattern
            spelling = Spelling(form, "String", null_of(series, text), pattern=way)
        else:
            spelling = _of_text(text, series, rows)
        return spelling.read(series, rows), spelling
    if series.dtype == pl.Null:
        return np.full(len(series), None, object), Spelling("text", "String")
    if as_text or series.dtype in (pl.Categorical, pl.Enum):
        word = str(series.dtype).partition("(")[0] if series.dtype == pl.Enum else str(series.dtype)
        kept = tuple(series.dtype.categories) if isinstance(series.dtype, pl.Enum) else None
        spelling = Spelling("text", word, categories=kept)
        return spelling.read(series), spelling
    forms: dict[Any, str] = {
        pl.Boolean: "truth",
        pl.Date: "date",
        pl.Datetime: "time",
        pl.Time: "clock",
        pl.Duration: "duration",
    }
    form = "number" if series.dtype.is_numeric() else forms.get(series.dtype.base_type(), "")
    if not form:
        raise InputError(
            f"column '{series.name}' is of type {series.dtype}, which is not a type of cells; leave it out"
        )
    return stored(series, form), Spelling(form, str(series.dtype))


def first_inexact(series: pl.Series, values: np.ndarray, spelling: Spelling) -> int | None:
    """The place of the first whole number that is too large for floats to tell from its neighbours, of a column that is
    stored as whole numbers; None without one."""
    whole = series.dtype.is_integer() or (series.dtype == pl.String and spelling.decimals == 0)
    if spelling.form != "number" or not whole:
        return None
    large = np.abs(np.nan_to_num(values)) >= EXACT
    return int(large.argmax()) if large.any() else None


def _of_text(text: pl.Series, series: pl.Series, rows: np.ndarray) -> Spelling:
    null = null_of(series, text)
    cells = text.drop_nulls()
    if len(cells) == 0:
        return Spelling("text", "String", null)
    numbers = cells.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0:
        digits = cells.str.extract(r"\.(\d*)$", 1).str.len_chars().fill_null(0).to_numpy()
        exponent = cells.str.contains("(?i)e|inf|nan").any()
        return Spelling("number", "String", null, None if exponent else int(digits.max()))
    lower = set(cells.str.to_lowercase().unique().to_list())
    for no, yes in TRUTHS:
        if lower <= {no, yes} and len(lower) == 2:
            shown = {cell.lower(): cell for cell in cells.unique().to_list()}
            return Spelling("truth", "String", null, words=(shown[no], shown[yes]))
    for form, patterns in (("date", DATES), ("time", TIMES), ("clock", CLOCKS)):
        fit = [p for p in patterns if _follows(cells, p, form)]
        if len(fit) > 1 and {p[:8] for p in fit} >= _DOUBTFUL:
            ways = " or ".join(f"{series.name}={form}:{p}" for p in fit if p[:8] in _DOUBTFUL)
            raise InputError(
                f"column '{series.name}' holds dates that read both ways, such as {cells[0]!r} in row "
                f"{_row(text.is_not_null(), rows)}: declare {ways}"
            )
        if fit:
            return Spelling(form, "String", null, pattern=fit[0])
    _refuse_numbers(text, rows)
    _refuse_dates(text, cells, rows)
    return Spelling("text", "String", null)


def _refuse_numbers(text: pl.Series, rows: np.ndarray) -> None:
    """Raise `InputError` for text of which most cells are numbers, with points or commas."""
    name, there = text.name, text.is_not_null()
    odd = text.cast(pl.Float64, strict=False).is_null() & there
    commas = {what: text.str.contains(way).fill_null(False) & odd for what, way in _COMMAS.items()}
    others = int(odd.sum()) - sum(int(which.sum()) for which in commas.values())
    if others >= 0.5 * int(there.sum()):
        return
    for what, which in commas.items():
        if which.any():
            shown = text.filter(which)[0]
            raise InputError(
                f"column '{name}' holds numbers such as {shown!r} in row {_row(which, rows)}, with a {what}: write "
                f"{_plain(shown, what)}, or declare {name}=category"
            )
    raise InputError(
        f"column '{name}' holds numbers, but {text.filter(odd)[0]!r} in row {_row(odd, rows)}: mend it, leave it "
        f"empty, or declare {name}=category"
    )


def _plain(number: str, what: str) -> str:
    """How a number should be written."""
    if what == "decimal comma":
        return number.replace(".", "").replace(",", ".")
    bare = "".join(c for c in number if c.isdigit() or c in "+-.")
    return bare if what == "thousands separator" else f"{bare} or {number.replace(',', '.')}"


def _refuse_dates(text: pl.Series, cells: pl.Series, rows: np.ndarray) -> None:
    """Raise `InputError` for text of which most cells are dates."""
    some = cells.head(_SAMPLE)
    found = [
        (moments(text, pattern, form).is_null() & text.is_not_null(), pattern, form)
        for form, patterns in (("date", DATES), ("time", TIMES))
        for pattern in patterns
        if moments(some, pattern, form).null_count() * 2 < len(some)
    ]
    if not found:
        return
    bad, pattern, form = min(found, key=lambda one: int(one[0].sum()))
    if int(bad.sum()) * 2 < len(cells):
        raise InputError(
            f"column '{text.name}' holds dates like {pattern}, but {text.filter(bad)[0]!r} in row {_row(bad, rows)}: "
            f"mend it, leave it empty, or declare {text.name}={form}: and another pattern, or {text.name}=category"
        )


def _row(which: pl.Series, rows: np.ndarray) -> int:
    """The number of the first row that is meant."""
    return int(rows[int(which.arg_true()[0])])


def _follows(cells: pl.Series, pattern: str, form: str) -> bool:
    # A few first: most columns of text are found to be no dates by these.
    return all(moments(some, pattern, form).null_count() == 0 for some in (cells[:20], cells))
