"""`pushforward score`: the log density of every row of a table, as a stream; of many files part by part."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli import options
from pushforward.cli.image_files import is_of_images, refuse_for_images, score_image_file
from pushforward.cli.progress import Meter, on_terminal, say
from pushforward.cli.scorers import (
    AbstractScorer,
    ExactScorer,
    FlowScorer,
    RangeScorer,
    Table,
    TypedScorer,
)
from pushforward.cli.typed import is_typed
from pushforward.errors import InputError


def score(
    model: options.Model,
    data: options.Tables,
    output: options.TableOutput = "-",
    part: options.Share = None,
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

    DATA may be a folder, a quoted pattern, or the URL of one in an object store (s3://bucket/rows/),
    and -o another folder: every file in it is scored into one of its own at the same place, which
    appears when it is complete. Files that are done are skipped when the command runs again.
    --part 3/16 does a sixteenth of the files, for the third of 16 jobs.

    A model of pictures writes for each its name, bits_per_dim, log_prob (a bound, by one draw of the
    noise) and quantile, its place among the held-out pictures of the fit. --draws K takes K draws of
    the noise for each picture, in K times the time: the bound is tighter, and quantile is left out.

    \b
      pushforward score m.safetensors new.parquet -o scores.csv
      pushforward score m.safetensors 'data/**/*.parquet' -o scores/
      zcat new.csv.gz | pushforward score m.safetensors - | sort -g | head
      pushforward score m.safetensors new.csv --given origin,month --per-column -o scores.csv
      pushforward score m.safetensors new.csv --where "dep_delay>60" --given origin,hour -o late.csv
    """
    from pushforward.data.parts import in_parts
    from pushforward.data.tables import check_output

    of_typed = {
        "--given": given is not None,
        "--per-column": per_column,
        "--exact": exact is not None,
        "--gaps": gaps,
        "--allow-absent": allow_absent,
        "--where": where is not None,
    }
    if is_of_images(model):
        refuse_for_images(
            str(model),
            {
                "--part": part is not None,
                "--solver": bool(solver),
                "--guidance": guidance is not None,
                **of_typed,
            },
        )
        check_output(output, force)
        options.refuse_same_file(output, model, data)
        score_image_file(model, data, output, draws=draws or 1, quiet=quiet)
        return
    options.refuse_options(model, "a model of tables", {"--draws": draws is not None}, "pictures")
    many = in_parts(data)
    if not many:
        if part is not None:
            raise InputError(f"--part {part}: {data} is one file; a folder or a pattern has parts")
        check_output(output, force)
        options.refuse_same_file(output, model, data)
    if is_typed(model):
        options.refuse_for_typed(model, solver, guidance)
        names = options.column_list("--given", given) or ()
        scorer = _typed_scorer(
            model, names, per_column, exact, gaps, allow_absent, where, seed, quiet
        )
    else:
        options.refuse_for_flow(model, of_typed)
        from pushforward.models.table_file import load_table_model

        fitted = options.solved_anew(load_table_model(model), model, solver, guidance)
        scorer = FlowScorer(fitted, quiet)
    if many:
        from pushforward.cli.score_parts import score_parts

        run = {
            "--solver": sorted(solver or ()),
            "--guidance": guidance,
            "--given": given,
            "--per-column": per_column,
            "--exact": exact,
            "--gaps": gaps,
            "--allow-absent": allow_absent,
            "--where": where,
            "--seed": None if where is None else seed,
        }
        score_parts(scorer, data, output, model, run, share=part, force=force, quiet=quiet)
        return
    # A bar would disturb results on the same terminal.
    bar = output != "-" or not on_terminal()
    with ExitStack() as stack:
        meter: Meter | None = None

        def show(rows: int, share: float | None) -> None:
            nonlocal meter
            # Not before there is a table: standard input may take its time.
            meter = meter or stack.enter_context(Meter("scoring", quiet, bar))
            if rows:
                meter.update(f"{rows:,} rows", share)

        scorer(Table(data), output, show)
    for line in scorer.ending():
        say(line, quiet)


def _typed_scorer(
    model: Path,
    given: tuple[str, ...],
    per_column: bool,
    exact: int | None,
    gaps: bool,
    absent: bool,
    where: str | None,
    seed: int,
    quiet: bool,
) -> AbstractScorer:
    """What scores files by a typed table; raises `InputError` for options that exclude each other."""
    from pushforward.models.typed_file import load_typed_table

    if exact is not None:
        if per_column or gaps or absent or where is not None:
            raise InputError(
                "--exact: takes --given, not --per-column, --gaps, --allow-absent or --where"
            )
        return ExactScorer(load_typed_table(model), given, quiet, draws=exact)
    if where is not None:
        if per_column or gaps or absent:
            raise InputError("--where: takes --given, not --per-column, --gaps or --allow-absent")
        if not given:
            raise InputError(
                f"--where {where}: name by --given the columns whose cells are known; sample --where says how "
                "probable the range is without any"
            )
        fitted = load_typed_table(model)
        if lacking := [name for name in given if name not in fitted.columns.names]:
            from pushforward.columns.names import unknown_columns

            raise InputError(unknown_columns(lacking, fitted.columns.names, str(model)))
        return RangeScorer(fitted, given, quiet, where=where, seed=seed)
    fitted = load_typed_table(model)
    return TypedScorer(fitted, given, quiet, per_column=per_column, gaps=gaps, absent=absent)
