"""`pushforward impute`: the missing cells of a table, filled."""

from typing import Annotated

import numpy as np
import typer

from pushforward.cli import options
from pushforward.cli.progress import Meter, on_terminal, say
from pushforward.cli.typed import typed_model
from pushforward.errors import InputError


def impute(
    model: options.Model,
    data: options.Data,
    output: options.TableOutput = "-",
    draws: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="M",
            help="Completed tables, one below the other, numbered by a column `draw`; default 1. With --intervals, "
            "the draws behind each of them; default 100.",
        ),
    ] = None,
    intervals: Annotated[
        bool,
        typer.Option(
            "--intervals", help="Fill in the likeliest values, and write how sure they are."
        ),
    ] = False,
    seed: options.Seed = 0,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Fill the missing cells of a table, given the cells that are there.

    Each missing cell is drawn from its distribution given the other cells of its row, several together
    from their joint distribution. All other cells come back as they stand in the file, rows and
    columns in their order. One draw keeps the spread of a column and what it has to do with others;
    compute with several (--draws 20) to see what the gaps leave open.

    With --intervals a missing number becomes the median and a missing label the most probable one.
    Every column with gaps is followed by NAME_lower and NAME_upper, between which the number lies with
    probability 0.9, or by NAME_probability, that of the label. A table filled so has too little spread
    to compute with.

    Identifiers and long text are not modelled: their gaps stay. A row without any cell is drawn as
    sample draws.

    \b
      pushforward impute m.safetensors gaps.csv -o filled.csv
      pushforward impute m.safetensors gaps.csv --draws 20 -o twenty.parquet
      pushforward impute m.safetensors gaps.csv --intervals -o filled.csv
    """
    from pushforward.data.frames import read_frame, write_frame
    from pushforward.data.tables import check_output
    from pushforward.models.imputation import DRAWS, gaps_of, imputed, imputed_intervals

    check_output(output, force)
    options.refuse_same_file(output, model, data)
    if intervals and draws == 1:
        raise InputError("--draws 1: --intervals needs at least 2 draws, and 100 by default")
    fitted = typed_model(model, "fill gaps")
    frame = read_frame(data)
    bar = output != "-" or not on_terminal()
    with Meter("filling", quiet, bar) as meter:
        gaps = gaps_of(fitted, frame)[1]
        holes = sum(int(gone.sum()) for gone in gaps.values())
        meter.update(f"{holes:,} missing cells")
        if intervals:
            filled = imputed_intervals(fitted, frame, seed, DRAWS if draws is None else draws)
        else:
            filled = imputed(fitted, frame, seed, 1 if draws is None else draws)
        write_frame(filled, output)
    rows = int(np.logical_or.reduce(list(gaps.values())).sum())
    say(f"{holes:,} missing cells filled in {rows:,} of {len(frame):,} rows", quiet)
