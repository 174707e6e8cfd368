"""What is measured of a typed model on a table of any kind of cells."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from pushforward.columns.typed import TypedColumn, missing_cells
from pushforward.distributions.typed_layout import Cells
from pushforward.errors import InputError
from pushforward.models.typed_table import TypedTable
from pushforward.report.calibration import ranks
from pushforward.report.dependence import COLUMNS, dependence
from pushforward.report.findings import (
    DRAWS,
    Findings,
    LeftOut,
    Values,
    mean_and_error,
    some_rows,
    spread,
)
from pushforward.report.gaps import patterns
from pushforward.report.passes import log_prob_by_choice, log_prob_given_rest
from pushforward.report.strange import SHOWN, strangest, surprises
from pushforward.report.svg import number

_LEFT_OUT_ROWS = 1024
"""Rows of which each cell is scored given all others, at most."""


def typed_findings(model: TypedTable, frame: pl.DataFrame, seed: int = 0) -> Findings:
    """Measure all that the page shows.

    Arguments:
        model: the density.
        frame: the table.
        seed: of the choice of rows, of the draws and of the ranks.

    Raises `InputError` for a table that lacks a column or holds a cell that its column cannot hold. Cost: some 25
    passes of 4,096 rows for a table of 20 columns.
    """
    columns = model.columns
    at = some_rows(len(frame), seed)
    # The whole table is read, so that a cell that cannot be one is named by its row.
    values = {name: column[at] for name, column in columns.read(frame).items()}
    cells = columns.encode(values)
    there = np.asarray(cells.present)[:, columns.values].any(1)
    if not there.any():
        raise InputError(f"the table has no row with a cell of the model ({len(frame):,} rows)")
    at, values = at[there], {name: column[there] for name, column in values.items()}
    cells = Cells(*(np.asarray(array)[there] for array in cells))
    drawn = columns.read(model.sample(min(len(at), DRAWS), seed))
    of_draws = columns.encode(drawn)
    log_prob, draws_log_prob = (_joint(model, some) for some in (cells, of_draws))

    strange = np.argsort(log_prob, kind="stable")[:SHOWN]
    surprise, excess = surprises(model, frame[at[strange]])
    usual_rows = spread(len(at), _LEFT_OUT_ROWS)
    few = Cells(*(np.asarray(array)[usual_rows] for array in cells))
    given_rest = log_prob_given_rest(model, few)
    places = ranks(model, few, seed)[:, columns.values]
    alone = np.asarray(few.log_marginal, np.float64)[:, columns.values]
    found = []
    for i, column in enumerate(columns.modelled):
        usual = given_rest[:, i]
        seen = ~np.isnan(usual)
        own = places[:, i][~np.isnan(places[:, i])]
        found.append(
            replace(
                _column(column, values[column.name], drawn[column.name]),
                alone=mean_and_error(alone[seen, i]),
                given_rest=mean_and_error(usual[seen]),
                ranks=own if len(own) else None,
            )
        )
    gone, gone_draws = (
        np.stack([missing_cells(some[name]) for name in columns.names], axis=1)
        for some in (values, drawn)
    )
    return Findings(
        density=f"p({', '.join(columns.names)})",
        about=_about(model),
        summary=model.summary,
        trust=model.trust,
        trust_lines=(),
        total=len(frame),
        used=len(at),
        columns=tuple(found),
        left_out=tuple(LeftOut(c.name, c.kind, c.reason) for c in columns.every if not c.modelled),
        log_prob=log_prob,
        draws_log_prob=draws_log_prob,
        unit=_unit(found),
        dependence=dependence(model, cells, _telling(model, found)),
        gaps=patterns(columns.names, gone, gone_draws),
        strangest=strangest(
            log_prob[strange],
            at[strange] + 1,
            columns.names,
            _written(model, values, strange),
            excess,
            surprise,
        ),
    )


def _joint(model: TypedTable, cells: Cells) -> np.ndarray:
    every = model.columns.values[None]
    found: np.ndarray = log_prob_by_choice(model, cells, every, np.zeros_like(every))[0]
    return found


def _column(column: TypedColumn, rows: np.ndarray, draws: np.ndarray) -> Values:
    spelling = column.spelling

    def write(value: Any) -> str:
        if spelling.form == "number":
            return number(float(value))
        kind = object if spelling.form == "text" else float
        return str(spelling.write(np.array([value], kind), column.name, text=True)[0])

    gone, gone_draws = missing_cells(rows), missing_cells(draws)
    return Values(
        name=column.name,
        kind=column.kind,
        reason=column.reason,
        measure=_measure(column),
        rows=rows[~gone],
        draws=draws[~gone_draws],
        write=write,
        step=0.0 if column.numbers is None else column.numbers.step,
        levels=None if column.labels is None or column.numbers else column.labels.levels,
        missing=float(gone.mean()),
        missing_draws=float(gone_draws.mean()),
    )


def _measure(column: TypedColumn) -> str:
    """What the figure of a cell is, with its unit."""
    if "density" in column.measure:
        return f"{column.measure}, per unit of the column"
    if column.numbers is None or column.numbers.step in (0.0, 1.0):
        return column.measure
    step = column.numbers.step
    what = f"{step / 1e6:g} seconds" if column.spelling.form == "time" else f"{step:g}"
    return f"{column.measure} of a step of {what}"


def _unit(columns: list[Values]) -> str:
    real = [c.name for c in columns if "density" in c.measure]
    if not real:
        return "Log-probability of the cells that are present, in nats per row"
    kind = "column is" if len(real) == 1 else "columns are"
    return (
        f"Log-probability of the cells that are present, in nats per row; {len(real)} of {len(columns)} {kind} real "
        f"numbers, with densities per unit of the column"
    )


def _about(model: TypedTable) -> dict[str, str]:
    options = ", ".join(f"{name}={value}" for name, value in model.architecture.__dict__.items())
    gaps = ", ".join(model.columns.gaps) or "none"
    return {
        "kind": "joint distribution of the cells of a row, any of which may be given",
        type(model.architecture).__name__: options,
        "columns whose gaps are modelled": gaps,
    }


def _telling(model: TypedTable, columns: list[Values]) -> np.ndarray:
    """The model's columns whose dependence is shown: those of which the others say most."""
    places = np.flatnonzero(model.columns.values)
    gains = [c.given_rest[0] - c.alone[0] if c.given_rest and c.alone else -np.inf for c in columns]
    kept: np.ndarray = places[np.sort(np.argsort(-np.array(gains), kind="stable")[:COLUMNS])]
    return kept


def _written(model: TypedTable, values: dict[str, np.ndarray], rows: np.ndarray) -> list[list[str]]:
    """Cells as the table has them."""
    by_column = []
    for column in model.columns.modelled:
        own = values[column.name][rows]
        cells = column.spelling.write(own, column.name, text=True).to_list()
        gone = missing_cells(own)
        by_column.append(["(missing)" if g else c for g, c in zip(gone, cells, strict=True)])
    return [list(row) for row in zip(*by_column, strict=True)]
