"""What a table holds that a typed table's fit did not see, in lines for people."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from pushforward.columns.typed import missing_cells
from pushforward.columns.typed_columns import TypedColumns
from pushforward.errors import InputError
from pushforward.models.typed_table import BLOCK, TypedTable
from pushforward.words import plural, quoted

LEAST = 1e-12
"""The probability below which a condition is doubted."""


def unseen_cells(
    columns: TypedColumns, frame: pl.DataFrame, *, absent: bool = False
) -> tuple[Int[np.ndarray, " n"], str | None]:
    """How many cells of each row hold labels without a level of their own, never seen in the fit or too rarely to be
    kept, and a line that names their columns; None where there are none."""
    values = columns.read(frame, absent=absent)
    found, counts = {}, np.zeros(len(frame), int)
    for column in columns.modelled:
        if column.labels is None or column.numbers is not None or not column.labels.open:
            continue
        gone = missing_cells(values[column.name])
        codes = column.labels.codes(np.where(gone, column.labels.levels[0], values[column.name]))
        unseen = ~gone & (codes == len(column.labels))
        if unseen.any():
            found[column.name] = int(unseen.sum())
            counts += unseen
    if not found:
        return counts, None
    where = ", ".join(f"{count:,} in '{name}'" for name, count in found.items())
    noun = "cell holds a label" if counts.sum() == 1 else "cells hold labels"
    line = f"{counts.sum():,} {noun} that the fit did not see, or too rarely to keep: {where}"
    return counts, line


def unknown_columns_line(columns: TypedColumns, frame: pl.DataFrame) -> str | None:
    """A line that names columns of a table which the model does not know; None where there are none."""
    known = {column.name for column in columns.every}
    unknown = [name for name in map(str.strip, frame.columns) if name not in known]
    if not unknown:
        return None
    return f"{plural(len(unknown), 'column')} unknown to the model and not used: {quoted(unknown)}"


def refuse_empty_condition(
    columns: TypedColumns, frame: pl.DataFrame, given: Sequence[str]
) -> None:
    """Raise `InputError` for a given column of which no cell is there."""
    values = columns.read(frame, absent=True)
    for name in given:
        if name in values and len(frame) and missing_cells(values[name]).all():
            raise InputError(f"column '{name}' is given, but every cell of it is missing")


def improbable(
    model: TypedTable,
    frame: pl.DataFrame,
    given: Sequence[str] | None = None,
    *,
    absent: bool = False,
) -> Bool[np.ndarray, " n"]:
    """Rows whose given cells the model holds for all but impossible: what it says given them means little.

    These are the rows in which one of the cells, given those before it, has a probability below `LEAST`, or in which
    all of them together have less than `LEAST` of their probability as independent columns. Of real numbers the density
    on the scale of the marginal counts.

    Arguments:
        model: the density.
        frame: the table.
        given: names of columns; default all, constant ones too.
        absent: whether columns may be absent.
    """
    names = model.columns.names if given is None else given
    values = model.columns.read(frame, absent=absent)
    chosen = np.array([of.name in names and not gap for of, gap in model.columns.places])
    found = []
    for start in range(0, len(frame), BLOCK):
        cells = model.columns.encode({k: v[start : start + BLOCK] for k, v in values.items()})
        known = np.asarray(cells.present) & chosen
        each = model.log_prob_of(cells, known, np.zeros_like(known))
        slope, alone = np.asarray(cells.log_slope), np.asarray(cells.log_marginal)
        least = np.where(known, each - slope, 0.0).min(1)
        together = np.where(known, each - alone, 0.0).sum(1)
        found.append(np.minimum(least, together) < np.log(LEAST))
    bad: np.ndarray = np.concatenate([np.zeros(0, bool), *found])
    # Constant columns cannot be named.
    return bad if given is not None else bad | np.isinf(model.columns.log_prob_of_constants(frame))


def improbable_line(bad: Bool[np.ndarray, " n"]) -> str | None:
    """A line about doubtful conditions; None without any."""
    if not bad.any():
        return None
    return (
        f"the model holds the given cells of {plural(int(bad.sum()), 'row')} for all but impossible (below "
        f"{LEAST:g}), the first in row {int(bad.argmax()) + 1}: what it says given them means little"
    )
