"""`pushforward score`: the log density of every row of a table, as a stream."""

import numpy as np

from pushforward.cli.options import (
    Data,
    Force,
    Guidance,
    Model,
    Quiet,
    SolverOption,
    TableOutput,
    refuse_same_file,
    solved_anew,
)
from pushforward.cli.progress import Meter, on_terminal, say

ROWS = 65536
"""Rows read at once: a multiple of the rows that one call of the compiled program takes."""


def score(
    model: Model,
    data: Data,
    output: TableOutput = "-",
    solver: SolverOption = None,
    guidance: Guidance = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write the log density of every row.

    The output is one column, `log_prob`, in nats; rows stay in their order. The model's columns
    are found by name, those it is conditioned on too; other columns are ignored. A file without
    names has to hold the model's columns, then those of the condition. The table is read in blocks,
    so it may be larger than memory. The number of rows, the mean and the least density go to
    standard error. A row with a value that its column cannot hold, beyond the bounds or other than
    a constant, has the log density -inf; such rows are counted apart.

    \b
      pushforward score m.safetensors new.parquet -o scores.csv
      zcat new.csv.gz | pushforward score m.safetensors - | sort -g | head
    """
    from pushforward.data.tables import check_output, open_blocks, open_writer
    from pushforward.models.notes import names_of
    from pushforward.models.table_file import load_table_model

    check_output(output, force)
    refuse_same_file(output, model, data)
    fitted = solved_anew(load_table_model(model), model, solver, guidance)
    width = len(fitted.columns.names)
    condition_names = () if fitted.condition is None else fitted.condition.names
    reader = open_blocks(
        data,
        (*fitted.columns.names, *condition_names),
        ROWS,
        by_position=True,
        stand_in=names_of(fitted) == (None, None),
    )
    rows, total, least, least_row = 0, 0.0, float("inf"), 0
    outside, first = 0, ""
    # A bar would run through results that go to the same terminal.
    bar = output != "-" or not on_terminal()
    with open_writer(output, ["log_prob"]) as writer, Meter("scoring", quiet, bar) as meter:
        for block in reader:
            condition = block[:, width:] if fitted.condition is not None else None
            values = fitted.log_prob(block[:, :width], condition)
            writer.write(values[:, None])
            bad, what = fitted.columns.outside(block[:, :width])
            if bad.any():
                first = first or f"the first in row {rows + int(bad.argmax()) + 1}: {what}"
                outside += int(bad.sum())
            inside = np.where(bad, np.inf, values)
            if inside.min() < least:
                least, least_row = float(inside.min()), rows + int(inside.argmin()) + 1
            rows += len(values)
            total += float(values[~bad].sum())
            meter.update(reader.fraction, f"{rows:,} rows")
    if outside:
        say(f"{outside:,} of {rows:,} rows are impossible (-inf), {first}", quiet)
    if rows > outside:
        others = "other rows" if outside else "rows"
        mean = total / (rows - outside)
        say(
            f"{rows - outside:,} {others}, mean {mean:.4f} nats, least {least:.4f} (row {least_row})",
            quiet,
        )
