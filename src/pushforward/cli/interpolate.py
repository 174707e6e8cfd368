"""`pushforward interpolate`: pictures between two."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli import options
from pushforward.cli.image_files import is_of_images
from pushforward.cli.progress import say
from pushforward.errors import InputError


def interpolate(
    model: options.Model,
    one: Annotated[Path, typer.Argument(metavar="A.png", help="The first picture.")],
    other: Annotated[Path, typer.Argument(metavar="B.png", help="The last picture.")],
    grid: Annotated[
        Path, typer.Option("--grid", metavar="FILE.png", help="Where to write the pictures.")
    ],
    steps: Annotated[
        int, typer.Option(min=2, max=64, metavar="N", help="How many, both ends included.")
    ] = 9,
    label: Annotated[
        str | None, typer.Option(metavar="CLASS", help="The class of all, of a model of classes.")
    ] = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Write pictures between two, side by side.

    They lie on the great circle between the latents of the two; the ends are round trips, not
    copies. The model has to have normal latents: fit it with --flow image_nsf or image_glow.

    \b
      pushforward interpolate m.safetensors a.png b.png --grid between.png
    """
    from pushforward.data.pictures import grid as side_by_side
    from pushforward.data.pictures import read_pictures, write_picture
    from pushforward.data.targets import check_output
    from pushforward.models.image_file import load_image_model

    check_output(grid, force, (".png",))
    options.refuse_same_file(grid, model, one, other)
    if not is_of_images(model):
        raise InputError(
            f"{model}: holds no model of pictures; pictures are fitted by `pushforward fit FOLDER`"
        )
    fitted = load_image_model(model)
    ends = []
    for path in (one, other):
        pixels = read_pictures(path).pixels
        if pixels.shape[1:] != fitted.shape:
            raise InputError(
                f"{path} has shape {pixels.shape[1:]}; the model is of {fitted.shape}, height, width and channels"
            )
        ends.append(pixels[0])
    between = fitted.interpolate(ends[0], ends[1], steps, label)
    write_picture(grid, side_by_side(between, columns=steps), force=force)
    say(f"{steps} pictures in {grid}", quiet)
