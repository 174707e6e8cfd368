"""The strangest rows, and the column to blame for each."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from pushforward.models.explanation import explained
from pushforward.models.typed_table import TypedTable
from pushforward.report.findings import Strange
from pushforward.report.html import Html, element, folded, table
from pushforward.report.svg import brief

SHOWN = 20
_LONGEST = 60


def surprises(
    model: TypedTable, frame: pl.DataFrame
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Of each column of values in some rows of a table, the surprise of its cell given all other present cells of the
    row, and how far it is above the expected one, in nats; NaN for missing cells.

    Cost: that of `models.explanation.explained`.
    """
    names, lines = list(model.columns.names), explained(model, frame, cells=True)
    lines = lines.filter(pl.col("column").is_in(names))
    surprise = np.full((len(frame), len(names)), np.nan)
    expected = np.zeros_like(surprise)
    at = lines["row"].to_numpy() - 1, [names.index(name) for name in lines["column"]]
    surprise[at], expected[at] = lines["surprise"], lines["expected"]
    return surprise, surprise - expected


def strangest(
    log_prob: Float[np.ndarray, " n"],
    numbers: np.ndarray,
    names: Sequence[str],
    written: Sequence[Sequence[str]],
    excess: Float[np.ndarray, "n k"],
    shown: Float[np.ndarray, "n k"] | None,
) -> tuple[Strange, ...]:
    """The rows, in the order given, as the page has them.

    Arguments:
        log_prob: of each row, in nats.
        numbers: of the rows in the table, from 1.
        names: of the k columns.
        written: the cells of each row.
        excess: how much more each cell surprises than was to be expected; NaN for missing cells.
        shown: the surprise of each cell; None where that is not known, and `excess` is another measure.
    """
    rows = []
    for i, number in enumerate(numbers.tolist()):
        worst = int(np.nanargmax(np.where(np.isnan(excess[i]), -np.inf, excess[i])))
        cells = tuple(
            (name, cell, None if shown is None or np.isnan(nats) else float(nats))
            for name, cell, nats in zip(
                names, written[i], excess[i] if shown is None else shown[i], strict=True
            )
        )
        blame = None if shown is None else float(excess[i, worst])
        rows.append(Strange(number, float(log_prob[i]), names[worst], blame, cells))
    return tuple(rows)


def strange_table(rows: Sequence[Strange], figure: str) -> Html:
    """The rows with the column to blame, and their cells on demand.

    Arguments:
        rows: the strangest first.
        figure: what their figure is called.
    """
    known = any(row.excess is not None for row in rows)
    heads = ["row", figure, "column to blame" if known else "column farthest out"]
    heads += ["its cell"] + (["more surprising than expected by"] if known else []) + ["all cells"]
    lines = []
    for row in rows:
        value = next(cell for name, cell, _ in row.cells if name == row.column)
        line = [f"{row.number:,}", f"{row.log_prob:.2f}", row.column, brief(value, _LONGEST)]
        if known:
            line.append("" if row.excess is None else f"{row.excess:.1f} nats")
        cells = [
            element(
                "li",
                f"{name}: {brief(cell, _LONGEST)}"
                + ("" if nats is None else f" ({nats:.1f} nats)"),
            )
            for name, cell, nats in row.cells
        ]
        lines.append([*line, folded(f"row {row.number:,}", element("ul", cells))])
    numeric = (1, 4) if known else (1,)
    caption = f"The {len(rows)} rows of least {figure}, the strangest first"
    return table(caption, heads, lines, numeric)
