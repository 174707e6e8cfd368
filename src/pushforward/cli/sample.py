"""`pushforward sample`: draws from a model, as a stream."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pushforward.cli import options
from pushforward.cli.image_files import is_of_images, refuse_for_images, sample_image_file
from pushforward.cli.progress import Meter, on_terminal, say
from pushforward.cli.typed import is_typed, sample_typed
from pushforward.errors import InputError

MOST_ROWS = 10**12
"""More rows than any disk holds are a typing error."""


def sample(
    model: options.Model,
    n: Annotated[
        int,
        typer.Option(
            "-n", metavar="N", help="Number of draws; with --condition, for each of its rows."
        ),
    ],
    output: options.TableOutput = "-",
    seed: options.Seed = 0,
    condition: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Rows to condition on; - for CSV on standard input."),
    ] = None,
    given: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Of a typed model: rows with some cells; the others are drawn."
        ),
    ] = None,
    where: options.Where = None,
    grid: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Of pictures: write them side by side."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Of pictures: the classes to draw, in turn."),
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="T", help="Of pictures: factor on the latents; below 1 is nearer to the mode."
        ),
    ] = 1.0,
    solver: options.SolverOption = None,
    guidance: options.Guidance = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw rows from a model.

    They have the columns and the units of the training data, with whole numbers in columns that
    held only these. A model of some columns given others needs --condition, a table with the
    latter: for each of its rows N rows are written, the condition's columns first. Draws are written
    in blocks, so any number takes the same memory. The same seed gives the same draws on the same
    machine.

    A typed model draws rows as the table had them, gaps too. With --given it fills the missing cells
    of a table, N times for each row; with --where all rows lie in a range, whose probability is
    said. No row is drawn in vain: the columns of the range are drawn within it, and rows chosen by
    weights. A condition is COLUMN, one of > >= < <= =, and a value spelled as in the table; or
    COLUMN in VALUE,VALUE,...; or COLUMN is missing; several are joined by commas or `and`.

    A model of pictures draws PNG files into a folder, or one .npz file, and with --grid one picture of
    them all.

    \b
      pushforward sample m.safetensors -n 64 --grid draws.png
      pushforward sample m.safetensors -n 1000 -o draws.csv
      pushforward sample m.safetensors -n 100 --condition hours.csv -o draws.parquet
      pushforward sample m.safetensors -n 1000 --where "dep_delay>60, origin in JFK,LGA" -o late.csv
      pushforward sample flow_matching.safetensors -n 1000 --solver method=midpoint --solver steps=8
    """
    if n < 1:
        raise InputError(f"-n {n}: at least 1 draw is needed")
    if n > MOST_ROWS:
        raise InputError(f"-n {n}: too many; at most {MOST_ROWS:,} rows are drawn")
    if is_of_images(model):
        refuse_for_images(
            str(model),
            {
                "--condition": condition is not None,
                "--given": given is not None,
                "--where": where is not None,
                "--solver": bool(solver),
                "--guidance": guidance is not None,
            },
        )
        sample_image_file(
            model,
            n,
            output,
            grid=grid,
            labels=options.column_list("--labels", labels),
            temperature=temperature,
            seed=seed,
            force=force,
            quiet=quiet,
        )
        return
    options.refuse_options(
        model,
        "a table's model",
        {
            "--grid": grid is not None,
            "--labels": labels is not None,
            "--temperature": temperature != 1,
        },
        "pictures",
    )
    if is_typed(model):
        from pushforward.data.tables import check_output

        check_output(output, force)
        options.refuse_same_file(output, model, *([] if given is None else [given]))
        options.refuse_for_typed(model, solver, guidance)
        if condition is not None:
            raise InputError(f"--condition {condition}: a typed model takes --given")
        sample_typed(model, n, output, given=given, where=where, seed=seed, quiet=quiet)
        return
    options.refuse_for_flow(model, {"--where": where is not None})
    if given is not None:
        if condition is not None:
            raise InputError(f"--given {given}: is the old name of --condition; leave it out")
        condition = given
        say("warning: --given is now --condition; the old name goes with the next version", quiet)
    from pushforward.data.tables import check_output, open_writer, read_table
    from pushforward.models.notes import names_of
    from pushforward.models.table_file import load_table_model
    from pushforward.trust.draws import draws_warnings

    check_output(output, force)
    options.refuse_same_file(output, model, *([] if condition is None else [condition]))
    fitted = options.solved_anew(load_table_model(model), model, solver, guidance)
    names, integer, rows, conditions = fitted.columns.names, fitted.columns.whole, n, None
    if fitted.condition is not None:
        wanted = fitted.condition.names
        if condition is None:
            raise InputError(
                f"{model}: is conditioned on {', '.join(wanted)}; name a table with "
                f"{'this column' if len(wanted) == 1 else 'these columns'} by --condition"
            )
        stand_in = names_of(fitted)[1] is None
        table = read_table(condition, wanted, by_position=True, stand_in=stand_in)
        names, integer = (*table.names, *names), (*table.integer, *integer)
        rows, conditions = n * len(table.values), table.values
        if rows > MOST_ROWS:
            raise InputError(
                f"-n {n}: for {len(conditions):,} rows of {condition} that is too many; at most "
                f"{MOST_ROWS:,} rows are drawn"
            )
    elif condition is not None:
        raise InputError(
            f"--condition {condition}: {model} is conditioned on nothing; leave --condition out"
        )
    for text in draws_warnings(fitted.trust.get("draws", {})):
        say(f"warning: {text}", quiet)
    done = 0
    # A bar would disturb draws on the same terminal.
    bar = output != "-" or not on_terminal()
    with open_writer(output, names, integer) as writer, Meter("sampling", quiet, bar) as meter:
        for draws in fitted.sample_blocks(n, seed, conditions):
            if conditions is not None:
                at = np.arange(done, done + len(draws)) // n
                draws = np.concatenate([conditions[at], draws], axis=1)
            writer.write(draws)
            done += len(draws)
            meter.update(f"{done:,} rows", done / rows)
    say(f"{done:,} rows" + ("" if output == "-" else f" in {output}"), quiet)
