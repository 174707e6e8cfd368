"""Whether draws of a typed table repeat rows of its training, and what its file holds of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from pushforward.columns.marginal import KNOTS
from pushforward.columns.marginal_circular import CircularMarginal
from pushforward.columns.typed import missing_cells
from pushforward.columns.typed_columns import TypedColumns
from pushforward.models.typed_table import BLOCK, TypedTable
from pushforward.words import plural

DRAWS = BLOCK
"""Draws that are looked for among the rows of the training: as many as one call of the compiled programs gives."""
MEASURED = 1000
"""Draws, and held-out rows, whose distances are measured, at most."""
ROWS = 10_000
"""Rows of the training, and as many held-out ones, among which the closest is looked for, at most."""
QUANTILES = (0.01, 0.1, 0.5)
"""Of the distances to the closest row."""
_BLOCK = 250
# Where the scale of numbers ends for distances.
_FAR = 12.0
# Standard errors above what is expected from which on draws are said to be too close.
_ERRORS = 3.0

Values = Mapping[str, np.ndarray]


def privacy_report(
    model: TypedTable,
    train: Values,
    held_out: Values,
    *,
    least: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """How close draws are to the rows of the training, beside how close rows are that the training never saw.

    The distance of two rows is the number of labels that differ plus, for numbers, the distance on the scale of their
    column's marginal, where a standard logistic distribution is the column itself, or for angles along the circle. A
    cell that is missing in one of them only counts 1.

    A model that has learnt the distribution and no rows has draws as often equal to a training row as held-out rows
    are, and as often closer to a held-out row as to a training row. It is no proof of privacy: a few rows that were
    learnt by heart do not show in these means, and it is not differential privacy.

    Cost: `DRAWS` draws, and the distances of `MEASURED` of them to 2 `ROWS` rows; equal rows are looked for among all.

    Arguments:
        model: the density.
        train, held_out: rows of the training and others in random order, as `TypedColumns.read` gives them.
        least: times that a value had to be seen to be kept, stored with the report; default None.
        seed: of the draws.

    Returns a JSON-able dictionary:
        draws, train, held_out: how many of each there were.
        measured, compared: of how many draws the closest rows were looked for, and among how many rows of the training
            and as many held-out ones.
        equal, equal_held_out: the share of draws, and of held-out rows, that equal a row of the training in every cell
            that is modelled; with `_error`, their standard errors.
        quantiles, distance, distance_held_out: quantiles of the distance to the closest of the compared training rows,
            of draws and of held-out rows.
        closer, closer_error: the share of draws that are closer to a training row than to a held-out one, ties
            counted half (0.5 expected), and its standard error, draws with the same closest row taken as one.
        least: as given.
    """
    columns = model.columns
    blank = columns.read(pl.DataFrame({"": np.zeros(DRAWS)}), absent=True)
    drawn = model.drawn(blank, seed, gaps=True)
    counts = [len(next(iter(rows.values()))) for rows in (drawn, train, held_out)]
    compared = min(counts[1], counts[2], ROWS)
    near, far = (_points(columns, _first(rows, compared)) for rows in (train, held_out))
    of_draws = _points(columns, _first(drawn, MEASURED))
    to_train, closest_train = _closest(of_draws, near)
    to_held, closest_held = _closest(of_draws, far)
    of_rows, _ = _closest(_points(columns, _first(held_out, min(compared, MEASURED))), near)
    wins = (to_train < to_held) + 0.5 * (to_train == to_held)
    # Draws around one row are won or lost together.
    closest = np.where(to_train <= to_held, closest_train, compared + closest_held)
    groups = np.bincount(closest, wins - wins.mean())
    known = _comparable(columns, train).unique()
    same, same_held = (_share(columns, rows, known) for rows in (drawn, held_out))
    return {
        "draws": counts[0],
        "train": counts[1],
        "held_out": counts[2],
        "measured": len(wins),
        "compared": compared,
        "equal": same[0],
        "equal_error": same[1],
        "equal_held_out": same_held[0],
        "equal_held_out_error": same_held[1],
        "quantiles": list(QUANTILES),
        "distance": np.quantile(to_train, QUANTILES).tolist(),
        "distance_held_out": np.quantile(of_rows, QUANTILES).tolist(),
        "closer": float(wins.mean()),
        "closer_error": float(np.sqrt(np.square(groups).sum()) / len(wins)),
        "least": least,
    }


def format_privacy(report: dict[str, Any], columns: TypedColumns) -> list[str]:
    """The report line by line, and what the file holds.

    Arguments:
        report: what `privacy_report` returned; an empty dictionary where nothing was held out, and for older files.
        columns: of the model.
    """
    lines = []
    if report:
        distances = "; ".join(
            f"{q:.0%} {of_draws:.2g} and {of_rows:.2g}"
            for q, of_draws, of_rows in zip(
                report["quantiles"], report["distance"], report["distance_held_out"], strict=True
            )
        )
        lines = [
            f"equal to a training row: {_percent(report, 'equal')} of {report['draws']:,} draws, "
            f"{_percent(report, 'equal_held_out')} of {report['held_out']:,} held-out rows",
            f"distance to the closest of {report['compared']:,} training rows, draws and held-out rows, quantiles: "
            f"{distances}",
            f"closer to one of them than to one of {report['compared']:,} held-out rows: {_percent(report, 'closer')} "
            "of draws (50% expected)",
            *(f"warning: {text}" for text in privacy_warnings(report)),
        ]
    return [*lines, *_held(columns, report.get("least"))]


def privacy_warnings(report: dict[str, Any]) -> list[str]:
    """What whoever shares draws has to know; empty for a report of an older file, `{}`.

    Arguments:
        report: what `privacy_report` returned.
    """
    if not report:
        return []
    found = []
    more = report["equal"] - report["equal_held_out"]
    noise = np.hypot(report["equal_error"], report["equal_held_out_error"])
    if more > _ERRORS * noise:
        found.append(
            f"{report['equal']:.1%} of draws equal a training row, of held-out rows {report['equal_held_out']:.1%}: "
            "the model repeats rows of its training"
        )
    if report["closer"] - 0.5 > _ERRORS * report["closer_error"]:
        found.append(
            f"{report['closer']:.0%} of draws are closer to a training row than to a held-out one, where half are "
            "expected: the model follows its training rows too closely"
        )
    return found


def _held(columns: TypedColumns, least: int | None) -> list[str]:
    """What a model file holds of the table."""
    labels = sum(len(c.labels) for c in columns.every if c.labels is not None)
    atoms = sum(
        len(c.numbers.atoms) for c in columns.every if c.numbers is not None and c.labels is None
    )
    numbers = sum(c.numbers is not None for c in columns.every)
    closed = [c.name for c in columns.every if c.labels is not None and not c.labels.open]
    often = "" if least is None else f", each seen at least {least} times"
    text = f"the file holds {plural(labels + atoms, 'label')} and repeated values{often}"
    if closed and least is not None:
        text += " (those of yes and no and of ordinal columns however rare)"
    if numbers:
        text += (
            f", and up to {KNOTS} quantiles of each of {plural(numbers, 'column')} of numbers, whose ends are real "
            "values"
        )
    left_out = sum(c.kind in ("identifier", "text") for c in columns.every)
    if left_out:
        text += f"; nothing of {plural(left_out, 'column')} of identifiers or long text"
    return [text, "this is not differential privacy: weights may still tell of single rows"]


def _percent(report: dict[str, Any], name: str) -> str:
    return f"{report[name]:.1%} +- {report[f'{name}_error']:.1%}"


def _first(rows: Values, count: int) -> dict[str, np.ndarray]:
    return {name: values[:count] for name, values in rows.items()}


class _Points(NamedTuple):
    """Rows among which distances are measured.

    Attributes:
        codes: of the columns of labels; -1 for missing cells.
        z: places of numbers on their scale; NaN for missing cells.
        turns: the length of the scale where it is a circle, infinite elsewhere.
    """

    codes: Int[np.ndarray, "c n"]
    z: Float[np.ndarray, "k n"]
    turns: Float[np.ndarray, " k"]


def _points(columns: TypedColumns, rows: Values) -> _Points:
    cells = columns.encode(rows)
    number = np.array([of.numbers is not None and not gap for of, gap in columns.places])
    label = columns.values & ~number
    present = np.asarray(cells.present)
    codes = np.where(present, cells.code, -1)[:, label].T
    # The cell at the end of a scale without end is no further away than the last that are not.
    middle = np.clip(np.asarray(cells.z) + np.asarray(cells.width) / 2, -_FAR, _FAR)
    z = np.where(present, middle, np.nan)[:, number].T
    circles = [isinstance(of.numbers, CircularMarginal) for of, _ in columns.places]
    turns = np.where(circles, 2 * np.pi, np.inf)[number]
    return _Points(np.ascontiguousarray(codes), np.ascontiguousarray(z, np.float32), turns)


def _closest(
    rows: _Points, others: _Points
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The distance of each row to the closest of the others, and which that is."""
    n, m = rows.codes.shape[1], others.codes.shape[1]
    found, which = np.empty(n), np.empty(n, int)
    for start in range(0, n, _BLOCK):
        block = slice(start, min(start + _BLOCK, n))
        distance = np.zeros((block.stop - start, m), np.float32)
        for a, b in zip(rows.codes[:, block], others.codes, strict=True):
            distance += a[:, None] != b
        for a, b, turn in zip(rows.z[:, block], others.z, rows.turns, strict=True):
            away = np.abs(a[:, None] - b)
            if np.isfinite(turn):
                away = np.minimum(away, turn.astype(np.float32) - away)
            gone = np.isnan(a)[:, None] | np.isnan(b)
            if gone.any():
                away[gone] = (np.isnan(a)[:, None] != np.isnan(b))[gone]
            distance += away
        which[block] = distance.argmin(1)
        found[block] = distance.min(1)
    return found, which


def _comparable(columns: TypedColumns, rows: Values) -> pl.DataFrame:
    """The cells so that equal ones are equal to the bit."""
    found = []
    for column in columns.modelled:
        values = rows[column.name]
        step = 0.0 if column.numbers is None else column.numbers.step
        if step:
            assert column.numbers is not None
            values = np.rint((values - column.numbers.offset) / step)
        gone = missing_cells(values)
        series = pl.Series(column.name, values.tolist() if values.dtype == object else values)
        found.append(series.set(pl.Series(gone), None))
    return pl.DataFrame(found)


def _share(columns: TypedColumns, rows: Values, known: pl.DataFrame) -> tuple[float, float]:
    """The share of rows that are among the known ones, and its standard error."""
    frame = _comparable(columns, rows)
    same = len(frame.join(known, on=frame.columns, how="semi", nulls_equal=True)) / len(frame)
    # One more of either, so that none of them is not taken for certain.
    p = (same * len(frame) + 1) / (len(frame) + 2)
    return same, float(np.sqrt(p * (1 - p) / len(frame)))
