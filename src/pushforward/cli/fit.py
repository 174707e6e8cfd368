"""`pushforward fit`: from a table to a model file."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli import options
from pushforward.cli.checkpoints import checkpoint_of, keep_checkpoint, refuse_complete
from pushforward.cli.devices import DevicesOption, Lanes, Shard, ShardOption, on_devices
from pushforward.cli.hosts import (
    HEARTBEAT,
    WAIT,
    Coordinator,
    Heartbeat,
    Host,
    Hosts,
    Wait,
    on_hosts,
)
from pushforward.cli.image_files import fit_image_file, refuse_for_images
from pushforward.cli.numeric import counted_column_of, fit_flow_file, kept_columns, read_columns
from pushforward.cli.progress import Meter, say
from pushforward.cli.streaming import (
    first_rows,
    frame_of_parts,
    is_table_folder,
    refuse_for_streams,
    stream_of,
    streams,
)
from pushforward.cli.typed import fit_typed_file
from pushforward.data.picture_sources import holds_pictures
from pushforward.errors import CellError, InputError


class Gaps(StrEnum):
    """What a typed model does with missing cells."""

    MODELLED = "modelled"
    IGNORED = "ignored"


class Holdout(StrEnum):
    """Which rows are held out."""

    RANDOM = "random"
    LAST = "last"


class Precision(StrEnum):
    """Bits of floating-point numbers."""

    SINGLE = "32"
    DOUBLE = "64"


@on_hosts
def fit(
    data: options.Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="The model file to write.")
    ],
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns to model; default all (other) columns."),
    ] = None,
    condition: Annotated[
        str | None,
        typer.Option(metavar="C,D,...", help="Columns to condition on: p(columns | condition)."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=KIND",
            help="Declare the kind of a column instead of guessing it: continuous, whole, angle[:PERIOD], "
            "bounded:LOW,HIGH (either may be empty) or constant; of a typed table also category, ordinal:A,B,..., "
            "boolean, decimals, date[:PATTERN] (as of strftime), time[:PATTERN] or identifier; repeatable.",
        ),
    ] = None,
    ignore: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Columns to leave out.")
    ] = None,
    min_count: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Of a typed table: keep no label and no repeated number that is seen less often; default 5.",
        ),
    ] = None,
    gaps: Annotated[
        Gaps | None,
        typer.Option(
            help="Of a typed table: whether which cells are missing is modelled too (default), so that draws have gaps."
        ),
    ] = None,
    flow: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A flow of `pushforward list`; auto lets a race decide, and takes typed for tables with "
            "text, dates or gaps.",
        ),
    ] = "auto",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set an option of --flow; repeatable."),
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Set an option of training, such as learning_rate=1e-3, batch=512; repeatable.",
        ),
    ] = None,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels",
            help="Of pictures: fit them given their class, the name of their sub-folder.",
        ),
    ] = False,
    holdout: Annotated[
        Holdout,
        typer.Option(help="Hold out rows at random, or the last rows: those follow in time."),
    ] = Holdout.RANDOM,
    holdout_by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Hold out whole groups: rows with one label in this column, such as the person or the image. "
            "The column is not modelled, unless --columns or --condition names it.",
        ),
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="Pass over the rows of Parquet files in pieces, or read all of them into memory. Default: folders, "
            "patterns and files of over 4 million rows are streamed.",
        ),
    ] = None,
    seed: options.Seed = 0,
    max_epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after N passes over the data.")
    ] = None,
    max_time: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Stop after about this time; not reproducible."),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Bits of the arithmetic: 32 is fast, 64 is accurate.")
    ] = Precision.SINGLE,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from MODEL.checkpoint.")
    ] = False,
    quiet: options.Quiet = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace MODEL and discard any checkpoint.")
    ] = False,
    devices: DevicesOption = None,
    shard: ShardOption = Shard.ROWS,
    lanes: Lanes = None,
    hosts: Hosts = None,
    host: Host = None,
    coordinator: Coordinator = None,
    wait: Wait = WAIT,
    heartbeat: Heartbeat = HEARTBEAT,
) -> None:
    """Fit a density to a table, or a distribution to pictures, and write it to one file.

    No preparation is needed: columns are standardised, columns of whole numbers are recognised, and
    a tenth of the rows is held out for early stopping and to choose the best weights (--holdout and
    --holdout-by say which, where rows depend on each other). Columns with
    bounds, and angles, have to be declared by --column; `inspect` shows the kind of every column.
    A table with text, dates or gaps is fitted as typed: one density of all its cells, any of which
    may be given later (--flow typed asks for it). Labels that are seen less often than --min-count are
    one level together; the file does not hold them. A table of numbers that repeat is typed too; one
    of real numbers gets whichever of the two held-out rows are more probable by.

    \b
      pushforward fit data.csv -o m.safetensors
      pushforward fit data.csv --columns delay --condition hour -o m.safetensors
      pushforward fit data.npz:train --flow maf --set layers=8 -o m.safetensors
      pushforward fit flights.csv --ignore tailnum --min-count 20 -o m.safetensors
      pushforward fit data.csv --column wind=angle:360 --column share=bounded:0,1 -o m.safetensors

    DATA may be a folder of tables, a quoted pattern, or the URL of one in an object store
    (s3://bucket/rows/): Parquet files that need not fit the memory.

    DATA may be a folder of PNG or JPEG files, an .npy or .npz file of uint8 pictures, an IDX file, or
    mnist:train where PUSHFORWARD_DATA names a folder with MNIST.

    \b
      pushforward fit digits/ -o m.safetensors --max-time 600

    The state of training is kept in MODEL.checkpoint until the model is written. After a crash the
    same command with --resume continues from there and arrives at the same model, bit for bit on
    the same number of cores and version of JAX (NPROC in the environment sets XLA's threads).

    \b
      pushforward fit data.parquet -o m.safetensors --devices all
      srun pushforward fit data.parquet -o m.safetensors --hosts auto --resume

    Ctrl-C ends the fit after the current steps, writes the best model so far and exits with code 0.
    Before the first steps are done, or pressed twice, it aborts and exits with code 130.
    """
    modelled = options.column_list("--columns", columns)
    conditions = options.column_list("--condition", condition)
    ignored = options.column_list("--ignore", ignore) or ()
    if holdout_by is not None:
        if holdout is not Holdout.RANDOM:
            raise InputError(f"--holdout {holdout} and --holdout-by exclude each other: choose one")
        if holdout_by not in (*(modelled or ()), *(conditions or ()), *ignored):
            ignored = (*ignored, holdout_by)
    for option, names in (("--columns", modelled or ()), ("--condition", conditions or ())):
        if twice := [name for name in names if name in ignored]:
            raise InputError(f"column '{twice[0]}' stands in both {option} and --ignore")
    both = [name for name in modelled or () if name in (conditions or ())]
    if both:
        raise InputError(f"column '{both[0]}' stands in both --columns and --condition")
    if max_time is not None and not math.isfinite(max_time):
        raise InputError(f"--max-time {max_time}: a number of seconds is expected")
    if resume and not force:
        refuse_complete(output)
    options.check_model_output(output, force)
    options.refuse_same_file(output, data)
    checkpoint = checkpoint_of(output)
    keep_checkpoint(checkpoint, resume, force, quiet)
    training = options.chosen_training(train or [], max_epochs, max_time)
    training = on_devices(training, devices or (hosts and "all"), shard, lanes)
    named = flow.lower()
    if holds_pictures(data) and not is_table_folder(data):
        refuse_for_images(
            data,
            {
                "--columns": columns is not None,
                "--condition": condition is not None,
                "--column": bool(column),
                "--ignore": ignore is not None,
                "--min-count": min_count is not None,
                "--gaps": gaps is not None,
                "--precision": precision is Precision.DOUBLE,
                "--holdout": holdout is not Holdout.RANDOM,
                "--holdout-by": holdout_by is not None,
                "--stream": stream is not None,
            },
        )
        fit_image_file(
            data,
            output,
            labels=labels,
            architecture=options.chosen_architecture(flow, setting or [], data=data, images=True),
            training=training,
            seed=seed,
            checkpoint=checkpoint,
            resume=resume,
            quiet=quiet,
        )
        return
    if labels:
        raise InputError(
            f"--labels: is for pictures; {data} is a table, whose columns are given by --condition"
        )
    frame, groups, many = None, None, None
    if holdout_by is not None:
        from pushforward.data.groups import read_groups

        groups = read_groups(data, holdout_by)
    only_typed = gaps is not None or min_count is not None
    if only_typed and named not in ("auto", "typed"):
        raise InputError(f"--flow {flow}: --gaps and --min-count are for typed tables")
    typed = named == "typed" or (
        named == "auto" and (only_typed or options.declares_typed(column or []))
    )
    if streams(data, stream):
        refuse_for_streams({"--holdout-by": holdout_by is not None})
        with Meter("reading", quiet):
            many = stream_of(data, modelled, conditions, ignored, typed, stream)
    if not typed:
        from pushforward.data.frames import framed

        architecture = options.chosen_architecture(flow, setting or [], data=data, images=False)
        kinds = options.declared_columns(column or [])
        # What only flows have asks for one.
        free = named == "auto" and conditions is None and precision is Precision.SINGLE
        if many is not None:
            if free and (counted := counted_column_of(first_rows(many), kinds)) is not None:
                say(
                    f"column '{counted}' holds values that repeat, to which a typed table gives probabilities; typed "
                    "tables are not streamed, so a flow is fitted (--no-stream reads all into memory and fits one)",
                    quiet,
                )
            given = None
        else:
            try:
                with Meter("reading", quiet) as meter:
                    chosen = kept_columns(data, modelled, conditions, ignored)
                    table, given = read_columns(data, chosen, conditions, meter.update)
            except CellError as error:
                # Standard input cannot be read again.
                if named != "auto" or conditions is not None or data == "-":
                    raise
                say(f"{error}\nso the table is fitted as typed, cells of any kind and gaps", quiet)
                typed = True
            if not typed and free and (counted := counted_column_of(table, kinds)) is not None:
                say(
                    f"column '{counted}' holds values that repeat, so the table is fitted as typed: probabilities "
                    "where values repeat, densities elsewhere (--flow nsf fits densities to all)",
                    quiet,
                )
                typed, frame = True, framed(table)
    if typed:
        from pushforward.data.parts import in_parts

        if frame is None and in_parts(data):
            frame = frame_of_parts(data)
        if precision is Precision.DOUBLE:
            raise InputError("--precision 64 is for flows: typed models are of 32 bits")
        if conditions is not None:
            raise InputError(
                "--condition is for flows: a typed model takes any cells as given, by score --given and sample --given"
            )
        fit_typed_file(
            data,
            output,
            frame=frame,
            columns=modelled,
            ignore=ignored,
            gaps=gaps is not Gaps.IGNORED,
            least=min_count,
            declared=options.declared_words(column or []),
            architecture=options.typed_architecture(setting or []),
            training=training,
            seed=seed,
            checkpoint=checkpoint,
            resume=resume,
            quiet=quiet,
            holdout=holdout.value,
            groups=groups,
        )
        return
    fit_flow_file(
        table if many is None else many,
        given,
        output,
        data=data,
        kinds=kinds,
        architecture=architecture,
        training=training,
        precision=int(precision.value),
        seed=seed,
        holdout=holdout.value,
        groups=groups,
        rival=many is None and free and max_epochs is None and max_time is None and not kinds,
        checkpoint=checkpoint,
        resume=resume,
        quiet=quiet,
    )
