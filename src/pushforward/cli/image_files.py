"""What the commands do with pictures, and with models of them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.cli import options
from pushforward.cli.progress import Meter, say
from pushforward.cli.watch import watched
from pushforward.errors import InputError
from pushforward.trust.picture_verdict import FAMILIAR, judged

if TYPE_CHECKING:
    from pushforward.architectures import Architecture
    from pushforward.models.image_model import ImageModel
    from pushforward.training import Training


def is_of_images(model: Path) -> bool:
    """Whether a model file holds a distribution of pictures."""
    from pushforward.model_file import read_header

    return read_header(model).get("kind") == "images"


def refuse_for_images(what: str, given: Mapping[str, bool]) -> None:
    """Raise `InputError` for options that pictures have no use for, of which some are given."""
    options.refuse_options(what, "pictures", given, "tables")


def fit_image_file(
    data: str,
    output: Path,
    *,
    labels: bool,
    architecture: "str | Architecture",
    training: "Training",
    seed: int,
    checkpoint: Path,
    resume: bool,
    quiet: bool,
) -> None:
    """Fit a distribution of the pictures of a file or folder, and write it."""
    from pushforward.data.pictures import read_pictures
    from pushforward.fitting.fit_images import fit_images
    from pushforward.models.image_file import save_image_model

    with Meter("reading", quiet):
        pictures = read_pictures(data)
    if labels and pictures.labels is None:
        raise InputError(
            f"--labels: {data} has none; put the pictures of each class into a sub-folder, or an array 'labels' into "
            "the .npz file"
        )
    n, h, w, c = pictures.pixels.shape
    size, unit = f"{n:,} pictures of {h} x {w} x {c}", "bits per dimension"
    with watched(size, training.max_time, checkpoint, quiet, unit=unit) as watch:
        model = fit_images(
            pictures.pixels,
            pictures.labels if labels else None,
            architecture=architecture,
            training=training,
            seed=seed,
            report=watch,
            progress=watch.step,
            checkpoint=checkpoint,
            resume=resume,
        )
        watch.writing()
        save_image_model(model, output)
    for line in trust_lines(model.trust)[: 3 if "bound" in model.trust else 2]:
        say(line, quiet)
    for line in trust_warnings(model.trust):
        say(f"warning: {line}", quiet)
    say(watch.ending(model.summary["stopped"], output), quiet)


def trust_lines(trust: dict[str, Any]) -> list[str]:
    """What is measured of a model of pictures, in words."""
    if not trust:
        return ["no pictures were held out"]
    held, anchors = trust["held_out"], trust["anchors"]
    wrong, draws = trust["round_trip"], trust["draws"]
    lines = [
        f"held out: {held['bits']:.4f} +- {held['error']:.4f} bits per dimension of {held['pictures']:,} pictures "
        f"(a bound; {held.get('noise', 'uniform')} noise)",
        f"by counting: all levels alike {anchors['uniform']:.3f}, one distribution of levels {anchors['levels']:.3f}, "
        f"one for each pixel {anchors['pixels']:.3f}, given four neighbours {anchors['neighbours']:.3f}",
        f"there and back, wrong pixels: held out {wrong['held_out']:.2g}, draws {wrong['draws']:.2g}, noise "
        f"{wrong['noise']:.2g}",
        f"draws: {draws['bits']:.3f} bits per dimension; root mean square to the nearest training picture "
        f"{np.median(draws['nearest']):.1f} levels (held out: {np.median(draws['nearest_held_out']):.1f})",
    ]
    if "stretch" in trust:
        stretch = trust["stretch"]
        lines.append(
            f"a latent moves a picture by up to {stretch['largest']:.3g} levels per unit (median "
            f"{stretch['median']:.3g}; at {stretch['pictures']} held-out pictures, from below)"
        )
    if "non_finite" in draws:
        lines.append(f"{draws['non_finite']} of {draws['count']} draws are not finite")
    if "bound" in trust:
        bound = trust["bound"]
        lines.insert(
            1,
            f"the first {bound['pictures']:,} of them: {bound['by_one']:.4f} by one draw of the noise for each, "
            f"{bound['bits']:.4f} by {bound['draws']}, a tighter bound",
        )
    if "classes" in trust:
        classes = trust["classes"]
        lines.append(
            f"the most probable class is right for {classes['accuracy']:.1%} of {classes['pictures']} pictures"
        )
    return [*lines, FAMILIAR]


def trust_warnings(trust: dict[str, Any]) -> list[str]:
    """What a user of the model should know."""
    return [text for text, good in judged(trust) if good is False]


def image_sections(fitted: "ImageModel") -> dict[str, list[str]]:
    """What `inspect` shows of a model of pictures."""
    from dataclasses import fields

    from pushforward.architectures import Facts

    h, w, c = fitted.shape
    architecture: Any = fitted.architecture
    classes = "" if fitted.labels is None else f" given one of {len(fitted.labels)} classes"
    chosen = {field.name: getattr(architecture, field.name) for field in fields(architecture)}
    return {
        "model": [
            f"P(picture of {h} x {w} pixels, {'grey' if c == 1 else 'colour'}, {fitted.levels} levels{classes})",
            f"reported is a bound, by {fitted.noise} noise within the levels",
        ],
        "classes": [] if fitted.labels is None else [", ".join(fitted.labels)],
        "flow": [
            f"{type(architecture).__name__}  {Facts.of(architecture).reference}".rstrip(),
            " ".join(f"{name}={options.shown(value)}" for name, value in chosen.items()),
        ],
        "trust": [
            *trust_lines(fitted.trust),
            *(f"warning: {line}" for line in trust_warnings(fitted.trust)),
        ],
    }


def score_image_file(model: Path, data: str, output: str, *, draws: int, quiet: bool) -> None:
    """Write the bits per dimension of every picture, by `draws` of the noise."""
    import polars as pl

    from pushforward.data.frames import write_frame
    from pushforward.data.pictures import read_pictures
    from pushforward.models.image_file import load_image_model

    fitted, pictures = load_image_model(model), read_pictures(data)
    labels = None
    if fitted.labels is not None:
        labels = pictures.labels
        if labels is None:
            raise InputError(
                f"{model}: is of pictures given their class; {data} has no labels (sub-folders, or an array 'labels')"
            )
    log_prob = fitted.log_prob(pictures.pixels, labels, draws=draws)
    bits = -log_prob / (fitted.size * math.log(2))
    columns: dict[str, Any] = {
        "picture": pictures.names,
        "bits_per_dim": bits,
        "log_prob": log_prob,
    }
    quantiles = fitted.trust.get("held_out", {}).get("quantiles")
    # Those of the held-out pictures are by one draw.
    if quantiles and draws == 1:
        shares = np.linspace(0, 1, len(quantiles))
        columns["quantile"] = np.interp(bits, quantiles, shares)
    write_frame(pl.DataFrame(columns), output)
    error = bits.std() / math.sqrt(len(bits))
    say(
        f"{len(bits):,} pictures, mean {bits.mean():.4f} +- {error:.4f} bits per dimension (a bound)",
        quiet,
    )
    say(FAMILIAR, quiet)


def report_image_file(
    model: Path, data: str | None, target: Path, *, seed: int, quiet: bool
) -> None:
    """Write a page about a model of pictures, and pictures if there are any."""
    from pushforward.data.pictures import read_pictures
    from pushforward.models.image_file import load_image_model
    from pushforward.report.picture_page import picture_page
    from pushforward.report.pictures import picture_findings

    with Meter("measuring", quiet):
        fitted = load_image_model(model)
        pixels = labels = None
        if data is not None:
            pixels, _, labels = read_pictures(data)
        found = picture_findings(fitted, pixels, labels, seed)
        page = picture_page(found, model.name, None if data is None else Path(data).name)
    target.write_text(page, encoding="utf-8")
    given = "no pictures" if found.given is None else f"{found.given.total:,} pictures"
    say(f"{len(found.draws)} draws, {given}, {len(page) / 1e6:.2f} MB in {target}", quiet)


def sample_image_file(
    model: Path,
    n: int,
    output: str,
    *,
    grid: Path | None,
    labels: Sequence[str] | None,
    temperature: float,
    seed: int,
    force: bool,
    quiet: bool,
) -> None:
    """Draw pictures, into a folder or file and into a grid."""
    from pushforward.data import pictures
    from pushforward.data.targets import check_output
    from pushforward.models.image_file import load_image_model

    if output == "-" and grid is None:
        raise InputError(
            "-o: draws of pictures are written to a folder or an .npz file; or to one picture by --grid draws.png"
        )
    if grid is not None:
        check_output(grid, force, (".png",))
        if n > pictures.MOST_IN_GRID:
            raise InputError(
                f"--grid: {n:,} pictures are too many; at most {pictures.MOST_IN_GRID:,}, or -o a folder or .npz"
            )
    if output != "-":
        pictures.check_pictures_output(output, force)
    fitted = load_image_model(model)
    chosen = None
    if labels is not None:
        chosen = [labels[i % len(labels)] for i in range(n)]
    with Meter("sampling", quiet):
        drawn = fitted.sample(n, seed, chosen, temperature=temperature)
    if output != "-":
        pictures.write_pictures(output, drawn, chosen, force=force)
    if grid is not None:
        pictures.write_picture(grid, pictures.grid(drawn), force=force)
    places = ", ".join(str(place) for place in (output if output != "-" else None, grid) if place)
    say(f"{n:,} pictures in {places}", quiet)
