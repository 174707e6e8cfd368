"""Missing cells of a table, drawn given the cells that are there."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from pushforward.columns.spelling import as_polars
from pushforward.columns.typed import TypedColumn, missing_cells
from pushforward.errors import InputError, check_count
from pushforward.models.typed_table import TypedTable

DRAWS, INSIDE = 100, 0.9
"""Draws behind an interval, and the probability that it holds."""
DRAW = "draw"
"""The name of the column that numbers completed tables."""
_AT_ONCE = 1 << 16


def imputed(model: TypedTable, table: Any, seed: int = 0, draws: int = 1) -> pl.DataFrame:
    """A table with its gaps filled by draws from p(missing cells | cells that are there).

    The cells that are there come back as they stand, rows keep their order, and columns that the model does not know
    are passed on; a constant column is filled with its value, gaps of identifiers and of long text stay. A row that
    holds nothing is a draw from the joint distribution.

    Cost: as many rows drawn as have gaps, for each draw.

    Arguments:
        model: the density.
        table: a frame, or a mapping of columns.
        seed: of the draws.
        draws: completed tables; default 1. More stand one below the other, with a first column `draw` from 1.

    Raises `InputError` for a table that lacks a column, or has one named `draw` where there are several draws, and for
    a cell that its column cannot hold.
    """
    check_count("draws", draws)
    frame = as_polars(table)
    if draws > 1 and DRAW in frame.columns:
        raise InputError(
            f"the table has a column '{DRAW}', which is to number the draws: rename it"
        )
    values, gaps = gaps_of(model, frame)
    rows = np.flatnonzero(np.logical_or.reduce(list(gaps.values())))
    tables = []
    for draw in range(draws):
        some = {name: column[rows] for name, column in values.items()}
        drawn = model.drawn(some, _seed(seed, draw))
        filled = filled_table(
            model, frame, gaps, {name: drawn[name][gaps[name][rows]] for name in gaps}
        )
        if draws > 1:
            filled.insert_column(0, pl.Series(DRAW, np.full(len(frame), draw + 1)))
        tables.append(filled)
    return pl.concat(tables)


def imputed_intervals(
    model: TypedTable, table: Any, seed: int = 0, draws: int = DRAWS
) -> pl.DataFrame:
    """A table with its gaps filled by the likeliest values, and how sure these are.

    A missing label becomes the one that is drawn most often, a missing number the median of the draws. Every column
    with gaps is followed by others, which hold something where the cell was missing: `NAME_probability`, the
    probability of the label; `NAME_lower` and `NAME_upper`, between which a number lies with probability 0.9.

    Filled so, a table has less spread than the truth: use `imputed` for what is computed from it.

    Arguments:
        model: the density.
        table: a frame, or a mapping of columns.
        seed: of the draws.
        draws: behind each point and interval; default 100.

    Raises `InputError` as `imputed` does, and for a table that has a column of such a name.
    """
    check_count("draws", draws, 2)
    frame = as_polars(table)
    values, gaps = gaps_of(model, frame)
    found: dict[str, list[np.ndarray]] = {name: [] for name in gaps}
    for number, rows in enumerate(_few(np.logical_or.reduce(list(gaps.values())), draws)):
        some = {name: np.repeat(column[rows], draws, axis=0) for name, column in values.items()}
        drawn = model.drawn(some, _seed(seed, number))
        for name, gone in gaps.items():
            each = drawn[name].reshape(len(rows), draws)[gone[rows]]
            found[name].append(_summary(_column(model, name), each))
    summaries = {name: np.concatenate(parts, axis=1) for name, parts in found.items() if parts}
    filled = filled_table(model, frame, gaps, {name: parts[0] for name, parts in summaries.items()})
    columns: list[pl.Series] = []
    for series in filled.get_columns():
        columns.append(series)
        name = series.name.strip()
        if name not in summaries or not gaps[name].any():
            continue
        column, (_, *more) = _column(model, name), summaries[name]
        for word, part in zip(_words(column), more, strict=False):
            title = f"{name}_{word}"
            if title in frame.columns:
                raise InputError(
                    f"the table has a column '{title}', which is to hold the intervals: rename it"
                )
            if word == "probability":
                cells = np.full(len(frame), np.nan)
                cells[gaps[name]] = part.astype(float)
                columns.append(pl.Series(title, cells).fill_nan(None))
            else:
                blank = pl.Series(title, [None] * len(frame), series.dtype)
                columns.append(_put(column, blank, gaps[name], part))
    return pl.DataFrame(columns)


def gaps_of(
    model: TypedTable, frame: pl.DataFrame
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The values of the modelled columns, and which of their cells are missing."""
    values = model.columns.read(frame)
    return values, {name: missing_cells(column) for name, column in values.items()}


def filled_table(
    model: TypedTable,
    frame: pl.DataFrame,
    gaps: dict[str, np.ndarray],
    found: dict[str, np.ndarray],
) -> pl.DataFrame:
    """The table with its gaps filled, all else as it stands.

    Arguments:
        model: the density.
        frame: the table.
        gaps: which cells are missing, by column.
        found: values for them, one for each missing cell.
    """
    known = {column.name: column for column in model.columns.every}
    columns = []
    for series in frame.get_columns():
        column = known.get(series.name.strip())
        if column is not None and column.name in found:
            series = _put(column, series, gaps[column.name], found[column.name])
        elif column is not None and column.kind == "constant" and column.constant is not None:
            gone = missing_cells(column.read(series))
            series = _put(
                column, series, gone, column.spelling.filled(column.constant, int(gone.sum()))
            )
        columns.append(series)
    return pl.DataFrame(columns)


def _put(column: TypedColumn, series: pl.Series, gone: np.ndarray, values: np.ndarray) -> pl.Series:
    """The series with values in its missing cells, spelled as it is."""
    if not gone.any():
        return series
    text = series.dtype == pl.String
    cells = column.spelling.write(values, series.name, text)
    if cells.dtype != series.dtype:
        cells = cells.cast(series.dtype)
    every = cells.gather(np.maximum(np.cumsum(gone) - 1, 0))
    return every.zip_with(pl.Series(gone), series).alias(series.name)


def _summary(column: TypedColumn, draws: np.ndarray) -> np.ndarray:
    """`(parts, n)` of draws `(n, m)`: a label and its probability, or the median and the ends of the interval."""
    n, m = draws.shape
    if column.numbers is not None:
        ordered = np.sort(draws, axis=1)
        tail = (1 - INSIDE) / 2 * (m + 1)
        # Of m draws and one more each order is as likely: ranks out of m + 1.
        ranks = [(m + 1) // 2, int(np.floor(tail)), int(np.ceil(m + 1 - tail))]
        return ordered[:, np.clip(np.array(ranks) - 1, 0, m - 1)].T
    assert column.labels is not None
    codes = column.labels.codes(draws.ravel()).reshape(n, m)
    counts = np.stack([(codes == code).sum(1) for code in range(len(column.labels))])
    levels = np.array(column.labels.levels, object if column.spelling.form == "text" else float)
    return np.stack([levels[counts.argmax(0)], counts.max(0) / m])


def _words(column: TypedColumn) -> tuple[str, ...]:
    return ("probability",) if column.numbers is None else ("lower", "upper")


def _column(model: TypedTable, name: str) -> TypedColumn:
    return next(column for column in model.columns.modelled if column.name == name)


def _few(wanted: np.ndarray, draws: int) -> Iterator[np.ndarray]:
    """Numbers of the wanted rows, few enough to hold all of their draws."""
    rows, size = np.flatnonzero(wanted), max(1, _AT_ONCE // draws)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _seed(seed: int, number: int) -> int:
    """Independent seeds from one."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
