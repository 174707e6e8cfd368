"""`pushforward sample`: draws from a model, as a stream."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli import options
from pushforward.cli.draws import AbstractDraws, FlowDraws, TypedDraws, sample_typed_where
from pushforward.cli.image_files import is_of_images, refuse_for_images, sample_image_file
from pushforward.cli.progress import Meter, on_terminal, say
from pushforward.cli.typed import is_typed
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
    parts: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="P", help="Write P Parquet files into the folder -o, with the same rows."
        ),
    ] = None,
    part: options.Share = None,
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

    With --parts P the rows lie in P Parquet files of a folder, each of which appears when it is
    complete; those that are done are skipped when the command runs again. --part 3/16 draws a
    sixteenth of the files, for the third of 16 jobs.

    A model of pictures draws PNG files into a folder, or one .npz file, and with --grid one picture of
    them all.

    \b
      pushforward sample m.safetensors -n 64 --grid draws.png
      pushforward sample m.safetensors -n 1000 -o draws.csv
      pushforward sample m.safetensors -n 1000000000 -o draws/ --parts 1000 --part 1/16
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
                "--parts": parts is not None,
                "--part": part is not None,
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
    typed = is_typed(model)
    from pushforward.data.tables import check_output

    if parts is None:
        if part is not None:
            raise InputError(f"--part {part}: of how many files? Say so by --parts")
        check_output(output, force)
    elif where is not None or "-" in (condition, given):
        what = "--where" if where is not None else "a table on standard input"
        raise InputError(f"--parts {parts}: does not go with {what}; write one file")
    if typed:
        if condition is not None:
            raise InputError(f"--condition {condition}: a typed model takes --given")
    else:
        options.refuse_for_flow(model, {"--where": where is not None})
        if given is not None:
            if condition is not None:
                raise InputError(f"--given {given}: is the old name of --condition; leave it out")
            condition, given = given, None
            say(
                "warning: --given is now --condition; the old name goes with the next version",
                quiet,
            )
    tables = [table for table in (condition, given) if table is not None]
    if parts is None:
        options.refuse_same_file(output, model, *tables)
    draws: AbstractDraws
    if typed:
        options.refuse_for_typed(model, solver, guidance)
        if where is not None:
            sample_typed_where(model, n, output, where, given=given, seed=seed, quiet=quiet)
            return
        draws = TypedDraws(model, n, seed, given, quiet)
    else:
        from pushforward.models.table_file import load_table_model

        fitted = options.solved_anew(load_table_model(model), model, solver, guidance)
        draws = FlowDraws(fitted, model, n, seed, condition, quiet)
    if draws.rows > MOST_ROWS:
        raise InputError(
            f"-n {n}: for {draws.rows // n:,} rows of {tables[0]} that is too many; at most "
            f"{MOST_ROWS:,} rows are drawn"
        )
    if parts is not None:
        from pushforward.cli.sample_parts import sample_parts

        settings = {
            "-n": n,
            "--seed": seed,
            "--solver": sorted(solver or ()),
            "--guidance": guidance,
        }
        sample_parts(
            draws, output, parts, model, tables, settings, share=part, force=force, quiet=quiet
        )
        return
    # A bar would disturb draws on the same terminal.
    bar = output != "-" or not on_terminal()
    with Meter("sampling", quiet, bar) as meter:
        draws(output, lambda n: meter.update(f"{n:,} rows", n / draws.rows))
    say(f"{draws.rows:,} rows" + ("" if output == "-" else f" in {output}"), quiet)
