"""`pushforward check`: whether a conditional density is calibrated."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli import options
from pushforward.cli.image_files import is_of_images
from pushforward.cli.progress import Meter, say
from pushforward.cli.typed import is_typed
from pushforward.errors import InputError

PICTURES = (".png", ".svg", ".pdf")


def check(
    model: options.Model,
    data: options.Data,
    draws: Annotated[int, typer.Option(min=9, metavar="L", help="Draws for each row.")] = 199,
    rows: Annotated[
        int,
        typer.Option(min=20, metavar="N", help="Rows to check, drawn at random from the table."),
    ] = 300,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the ranks into this .png, .svg or .pdf."),
    ] = None,
    seed: options.Seed = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the picture if it exists.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Say whether a model of columns given a condition is calibrated, such as a simulator's posterior.

    DATA holds rows that the fit has not seen: of a simulator, parameters drawn from the prior and what
    was simulated with them. The rank of each true value among draws given its row's condition is uniform
    where the density is right; how often intervals hold the truth, and how much narrower draws are
    than the column, are printed too.

    \b
      pushforward fit sims.parquet --columns mass,rate --condition x0,x1 \\
          --column rate=bounded:0, --column mass=bounded:1,3 -o m.safetensors
      pushforward check m.safetensors new_sims.parquet --plot ranks.png
    """
    import numpy as np

    if is_of_images(model) or is_typed(model):
        raise InputError(
            f"{model}: calibration is of a flow of columns given a condition, fit --columns ... --condition ..."
        )
    if plot is not None:
        if plot.suffix.lower() not in PICTURES:
            raise InputError(f"--plot {plot}: name it .png, .svg or .pdf")
        if plot.is_file() and not force:
            raise InputError(
                f"{plot}: exists already; choose another name or replace it with --force"
            )
        from pushforward.model_file import check_target

        options.refuse_same_file(check_target(plot), model, data)
    from pushforward.data.tables import read_table
    from pushforward.models.notes import names_of
    from pushforward.models.table_file import load_table_model
    from pushforward.trust.calibration import calibration

    fitted = load_table_model(model)
    if fitted.condition is None:
        raise InputError(
            f"{model}: models columns without a condition; report judges it, check is of columns given others"
        )
    names = (*fitted.columns.names, *fitted.condition.names)
    table = read_table(data, names, by_position=True, stand_in=names_of(fitted) == (None, None))
    values, width = table.values, len(fitted.columns.names)
    if len(values) > rows:
        some = np.random.default_rng(seed).choice(len(values), rows, replace=False)
        values = values[np.sort(some)]
    with Meter("checking", quiet):
        found = calibration(fitted, values[:, :width], values[:, width:], draws=draws, seed=seed)
        if plot is not None:
            found.figure().savefig(plot, dpi=120)
    print(found)
    if plot is not None:
        say(f"wrote {plot}", quiet)
