"""`pushforward report`: one HTML page about a model."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli import options
from pushforward.cli.image_files import is_of_images, report_image_file
from pushforward.cli.progress import Meter, say
from pushforward.cli.typed import is_typed
from pushforward.errors import InputError


def report(
    model: options.Model,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="The table to read, - for CSV on standard input; or pictures, which may be left out.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")
    ] = Path("report.html"),
    seed: options.Seed = 0,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Write one HTML page about a model and a table, or about a model of pictures.

    It has the verdict with its reasons, the kinds of the columns, the model's nats beside those of
    simpler models, draws beside the table, and the strangest rows; of a typed model also what each
    column says of the others, calibration and gaps. The page needs no network and no script. It is
    measured on at most 4,096 rows, drawn at random, and shows cells of some of them.

    Of pictures it has bits per dimension beside those of counts, draws, what comes back after there
    and back, and what the file holds. With pictures, a folder or file as fit takes it, also these
    beside the draws, the nearest one of some draws, and those of the most and the fewest bits:
    without them these are missing.

    \b
      pushforward report m.safetensors flights.csv -o report.html
      pushforward report digits.safetensors -o report.html
      pushforward report digits.safetensors digits/ -o report.html
    """
    from pushforward.model_file import check_target

    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{output}: a report is a page of HTML; name it report.html")
    if output.is_file() and not force:
        raise InputError(
            f"{output}: exists already; choose another name or replace it with --force"
        )
    target = check_target(output)
    options.refuse_same_file(output, model, *([] if data is None else [data]))
    if is_of_images(model):
        report_image_file(model, data, target, seed=seed, quiet=quiet)
        return
    if data is None:
        raise InputError(
            f"{model}: is of a table; name the table after it: pushforward report {model} TABLE"
        )
    from pushforward.report.page import report_page

    with Meter("measuring", quiet):
        if is_typed(model):
            from pushforward.data.frames import read_frame
            from pushforward.models.typed_file import load_typed_table
            from pushforward.report.typed import typed_findings

            found = typed_findings(load_typed_table(model), read_frame(data), seed)
        else:
            from pushforward.data.tables import read_table
            from pushforward.models.notes import names_of
            from pushforward.models.table_file import load_table_model
            from pushforward.report.flow import flow_findings

            fitted = load_table_model(model)
            width = len(fitted.columns.names)
            names = fitted.columns.names + (
                () if fitted.condition is None else fitted.condition.names
            )
            stand_in = names_of(fitted) == (None, None)
            rows = read_table(data, names, by_position=True, stand_in=stand_in).values
            given = None if fitted.condition is None else rows[:, width:]
            found = flow_findings(fitted, rows[:, :width], given, seed)
    page = report_page(found, model.name, "standard input" if data == "-" else Path(data).name)
    target.write_text(page, encoding="utf-8")
    say(f"{found.used:,} of {found.total:,} rows, {len(page) / 1e6:.2f} MB in {output}", quiet)
