"""`pushforward score`: the log density of every row of a table, as a stream."""

from typing import Annotated

import numpy as np
import typer

from pushforward.cli import options
from pushforward.cli.image_files import is_of_images, refuse_for_images, score_image_file
from pushforward.cli.progress import Meter, on_terminal, say
from pushforward.cli.typed import is_typed, score_exactly, score_typed, score_where
from pushforward.errors import InputError

ROWS = 65536
"""Rows read at once: a multiple of the rows in one call of the compiled program."""


def score(
    model: options.Model,
    data: options.Data,
    output: options.TableOutput = "-",
    solver: options.SolverOption = None,
    guidance: options.Guidance = None,
    given: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Of a typed model: columns whose cells are given."),
    ] = None,
    per_column: Annotated[
        bool, typer.Option("--per-column", help="Of a typed model: write each column's part too.")
    ] = False,
    exact: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="K",
            help="Of a typed model: make conditionals agree with the joint, by K draws for each row.",
        ),
    ] = None,
    gaps: Annotated[
        bool,
        typer.Option("--gaps", help="Of a typed model: score which cells are missing, too."),
    ] = False,
    allow_absent: Annotated[
        bool,
        typer.Option("--allow-absent", help="Of a typed model: the table may lack columns."),
    ] = False,
    draws: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="K", help="Of a model of pictures: draws of the noise; more are tighter."
        ),
    ] = None,
    where: options.Where = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the log density of every row of a table.

    The output is one column, `log_prob`, in nats, with the rows in order. Columns of the model and
    of its condition are found by name, and others are ignored. A file without names must have the
    model's columns, then those of the condition. The table is read in blocks, so it may be larger
    than memory. The number of rows, their mean and smallest log density go to standard error.
    A row with a value that its column cannot hold, beyond the bounds or other than a constant, has
    log density -inf and is not part of the mean.

    A typed model scores the cells that are there: labels, whole numbers and rounded decimals have
    probabilities, real numbers densities. With --given the cells of these columns are known, and the
    others are scored; --per-column writes how much each column adds, and how many cells of the row
    hold labels that the fit did not see (unseen). --gaps adds log_prob_with_gaps, of the cells and of
    which are missing; the parts are then of that. --where writes how probable a range is
    given the cells of each row: probability, standard_error and effective_draws.

    Of any cells given any others it says in one pass what agrees roughly (inspect shows how far).
    --exact estimates the same from the joint distribution of all cells, and adds the columns error,
    the standard error, and effective_draws: how many of the K draws count. It takes about K times as
    long.

    A model of pictures writes for each its name, bits_per_dim, log_prob (a bound, by one draw of the
    noise) and quantile, its place among the held-out pictures of the fit. --draws K takes K draws of
    the noise for each picture, in K times the time: the bound is tighter, and quantile is left out.

    \b
      pushforward score m.safetensors new.parquet -o scores.csv
      zcat new.csv.gz | pushforward score m.safetensors - | sort -g | head
      pushforward score m.safetensors new.csv --given origin,month --per-column -o scores.csv
      pushforward score m.safetensors new.csv --where "dep_delay>60" --given origin,hour -o late.csv
    """
    from pushforward.data.tables import check_output, open_blocks, open_writer
    from pushforward.models.notes import names_of
    from pushforward.models.table_file import load_table_model

    check_output(output, force)
    options.refuse_same_file(output, model, data)
    if is_of_images(model):
        refuse_for_images(
            str(model),
            {
                "--solver": bool(solver),
                "--guidance": guidance is not None,
                "--given": given is not None,
                "--per-column": per_column,
                "--exact": exact is not None,
                "--gaps": gaps,
                "--allow-absent": allow_absent,
                "--where": where is not None,
            },
        )
        score_image_file(model, data, output, draws=draws or 1, quiet=quiet)
        return
    options.refuse_options(model, "a model of tables", {"--draws": draws is not None}, "pictures")
    if is_typed(model):
        options.refuse_for_typed(model, solver, guidance)
        names = options.column_list("--given", given) or ()
        if exact is not None:
            if per_column or gaps or allow_absent or where is not None:
                raise InputError(
                    "--exact: takes --given, not --per-column, --gaps, --allow-absent or --where"
                )
            score_exactly(model, data, output, given=names, draws=exact, quiet=quiet)
            return
        if where is not None:
            if per_column or gaps or allow_absent:
                raise InputError(
                    "--where: takes --given, not --per-column, --gaps or --allow-absent"
                )
            score_where(model, data, output, given=names, where=where, seed=seed, quiet=quiet)
            return
        score_typed(
            model,
            data,
            output,
            given=names,
            per_column=per_column,
            gaps=gaps,
            absent=allow_absent,
            quiet=quiet,
        )
        return
    options.refuse_for_flow(
        model,
        {
            "--given": given is not None,
            "--per-column": per_column,
            "--exact": exact is not None,
            "--gaps": gaps,
            "--allow-absent": allow_absent,
            "--where": where is not None,
        },
    )
    fitted = options.solved_anew(load_table_model(model), model, solver, guidance)
    width = len(fitted.columns.names)
    names = (*fitted.columns.names, *(() if fitted.condition is None else fitted.condition.names))
    stand_in = names_of(fitted) == (None, None)
    reader = open_blocks(data, names, ROWS, by_position=True, stand_in=stand_in)
    rows, total, least, least_row = 0, 0.0, float("inf"), 0
    outside, first = 0, ""
    # A bar would disturb results on the same terminal.
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
            meter.update(f"{rows:,} rows", reader.fraction)
    if outside:
        say(f"{outside:,} of {rows:,} rows are impossible (-inf), {first}", quiet)
    if rows > outside:
        count = f"{rows - outside:,} {'other rows' if outside else 'rows'}"
        mean = total / (rows - outside)
        say(f"{count}, mean {mean:.4f} nats, least {least:.4f} (row {least_row})", quiet)
