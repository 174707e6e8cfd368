"""The page about a model of pictures."""

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pushforward.data.pictures import as_png, grid
from pushforward.report.claims import claims_list
from pushforward.report.html import Html, element, folded, table
from pushforward.report.pictures import Given, PictureFindings
from pushforward.report.skeleton import Part, skeleton
from pushforward.report.svg import Scale, axis, bar, number, picture, words
from pushforward.report.typical import outlines
from pushforward.report.verdict import Reason, shown_verdict
from pushforward.trust.picture_verdict import ANCHORS, FAMILIAR, best_count, judged

_SIDE = 480
"""Width of a grid on the page, in pixels of the screen, about."""


def picture_page(found: PictureFindings, model: str, data: str | None = None) -> str:
    """A page of HTML that needs no network and no script.

    Arguments:
        found: what was measured, by `picture_findings`.
        model, data: names of the model's file and of the pictures'.
    """
    told = f"Measured when the model was fitted, and on {len(found.draws)} draws"
    last = "This page shows draws of the model, which may resemble pictures that it was fitted to."
    if found.given is not None:
        some, total = found.given.used or found.given.total, found.given.total
        which = f"all {total:,}" if some == total else f"{some:,} of {total:,}"
        told += f" and {which} pictures of {data}"
        last = "This page shows some of the pictures that it was made from: share it as you would share them."
    parts = [
        ("verdict", "Verdict", _verdict(found)),
        ("model", "The model", _model(found)),
        _bits(found.trust),
        ("typical", "Pictures and draws by their bits", _typical(found)),
        ("draws", "Draws", _draws(found)),
        _nearest(found),
        _there_and_back(found.trust),
        _classes(found.trust),
        ("familiar", "What bits do not say", _familiar(found.given, found.levels)),
        ("file", "What the file holds", [claims_list(found.holds)]),
        _left_out(found),
    ]
    return skeleton(f"Report on {model}", f"{told}.", parts, last)


def _verdict(found: PictureFindings) -> list[Html]:
    trust = found.trust
    if not trust:
        told = "Nothing was held out when this model was fitted: how good it is, nobody knows."
        return shown_verdict((told, None), [_wild(found)])
    held, (name, least) = trust["held_out"], best_count(trust["anchors"])
    gain, sure = least - held["bits"], 2 * held["error"]
    given = [Reason(*judgement) for judgement in judged(dict(trust))]
    if held["pictures"] < 100:
        given.append(Reason(f"only {held['pictures']} pictures were held out: figures are rough"))
    if found.wild:
        given.append(_wild(found))
    if gain > sure:
        told = f"Better than counting levels by {gain:.3f} bits per dimension of held-out pictures."
        return shown_verdict((told, True), given)
    if gain > -sure:
        told = f"Not better than counting levels ({name}): train for longer."
    else:
        told = f"Worse than counting levels ({name}) by {-gain:.3f} bits per dimension: train for longer."
    return shown_verdict((told, False), given)


def _wild(found: PictureFindings) -> Reason:
    text = f"{found.wild} of the {len(found.draws)} draws on this page are not finite"
    return Reason(text, found.wild == 0)


def _model(found: PictureFindings) -> list[Html]:
    return [
        element("p", element("strong", found.density)),
        claims_list(found.about),
        folded("How it was trained", claims_list(found.summary)),
    ]


def _bits(trust: Mapping[str, Any]) -> Part | None:
    if not trust:
        return None
    held = trust["held_out"]
    rows = [("this model", held["bits"], held["error"])]
    if "bound" in trust:
        bound = trust["bound"]
        what = (
            f"this model, {bound['draws']} draws of the noise, first {bound['pictures']} pictures"
        )
        rows.append((what, bound["bits"], None))
    counted = sorted(trust["anchors"].items(), key=lambda one: one[1])
    rows += [(ANCHORS.get(name, name), bits, None) for name, bits in counted]
    x = Scale(0, max(bits for _, bits, _ in rows), 8, 352)
    parts, height = [], 36
    for i, (what, bits, error) in enumerate(rows):
        top, own = i * height, what.startswith("this model")
        end = x(bits)
        parts.append(words(8, top + 13, what))
        title = f"{what}: {bits:.4f} bits per dimension"
        parts.append(bar(8, top + 18, end - 8, 12, "heat" if own else "data", title))
        if error is not None:
            left, right = x(max(bits - 2 * error, 0.0)), x(bits + 2 * error)
            parts.append(
                element("line", x1=left, x2=right, y1=top + 24, y2=top + 24, class_="band-line")
            )
        parts.append(words(end + 4, top + 28, f"{bits:.3f}", class_="faint"))
    bottom = len(rows) * height + 2
    text = "; ".join(f"{what} {bits:.3f}" for what, bits, _ in rows)
    drawn = picture(
        "bits-picture",
        "Bits per dimension of held-out pictures",
        f"{text}. Shorter is better.",
        392,
        bottom + 20,
        parts,
        axis(x, bottom, number),
    )
    noise = held.get("noise", "uniform")
    note = (
        f"Shorter is better. The model's figure is a bound by {noise} noise within the levels, with two standard "
        "errors; the others are counted in the training pictures. A model that is no better than counts given four "
        "neighbours has not learned what a table of counts knows."
    )
    lines = [(what, f"{bits:.4f}", "" if e is None else f"{e:.4f}") for what, bits, e in rows]
    shown = element("figure", drawn, element("figcaption", note))
    caption = f"Bits per dimension of {held['pictures']:,} held-out pictures: fewer is better"
    heads = ("model", "bits per dimension", "standard error")
    return "bits", "Bits per dimension", [shown, table(caption, heads, lines, (1, 2))]


def _typical(found: PictureFindings) -> list[Html]:
    """The bits of pictures beside those of draws."""
    given, trust = found.given, found.trust
    if given is not None and given.bits is not None:
        pictures, what = given.bits, "given pictures"
    elif trust:
        quantiles = trust["held_out"]["quantiles"]
        shares = (np.arange(400) + 0.5) / 400
        pictures = np.interp(shares, np.linspace(0, 1, len(quantiles)), quantiles)
        what = "held-out pictures"
    else:
        return [element("p", "No pictures were held out or given, so there is nothing to compare.")]
    both = np.concatenate([pictures, found.draws_bits])
    low, high = (float(q) for q in np.quantile(both[np.isfinite(both)], [0.0, 0.997]))
    means = f"{pictures.mean():.3f} and {found.draws_bits.mean():.3f}"
    text = (
        f"Bits per dimension of {what} and of {len(found.draws)} draws: mean {means}. A model that is right gives both "
        "the same distribution: draws to the right of the pictures are too wild, to the left too plain."
    )
    if given is not None and given.bits is not None and trust:
        text += f" Held-out pictures of the fit had {trust['held_out']['bits']:.3f}."
    key = [
        element("span", class_="key data"),
        what,
        element("span", class_="key drawn"),
        "draws of the model",
    ]
    title = f"Bits of {what} beside those of draws"
    drawn = outlines("typical-picture", title, text, pictures, found.draws_bits, (low, high), 24)
    return [element("p", key), element("figure", drawn, element("figcaption", text))]


def _draws(found: PictureFindings) -> list[Html]:
    columns, order = None, ""
    if found.labels is not None and len(found.labels) <= 12:
        columns = len(found.labels)
        order = f" Of the classes in turn, a column for each: {', '.join(found.labels)}."
    elif found.labels is not None:
        order = " Of the classes in turn."
    drawn = found.draws[: len(found.draws) // (columns or 1) * (columns or 1)]
    figures = [
        _figure(drawn, found.levels, f"{len(drawn)} draws at temperature 1.{order}", columns)
    ]
    if found.given is not None and len(found.given.some):
        few = found.given.some[: len(drawn)]
        figures.append(_figure(few, found.levels, f"{len(few)} of the given pictures.", columns))
    return [element("div", figures, class_="beside")]


def _figure(
    pixels: UInt8[np.ndarray, "n h w c"], levels: int, caption: str, columns: int | None = None
) -> Html:
    """A grid of pictures, stretched to all 256 levels where there are fewer."""
    shown = (pixels.astype(np.uint16) * 255 // (levels - 1)).astype(np.uint8)
    whole = grid(shown, columns)
    packed = base64.b64encode(as_png(whole)).decode("ascii")
    width = whole.shape[1] * max(1, round(_SIDE / whole.shape[1]))
    image = element(
        "img",
        src=f"data:image/png;base64,{packed}",
        alt=caption,
        class_="pictures",
        style=f"max-width: {width}px",
        width=whole.shape[1],
        height=whole.shape[0],
    )
    return element("figure", image, element("figcaption", caption))


def _nearest(found: PictureFindings) -> Part | None:
    parts: list[Html] = []
    given = found.given
    if given is not None:
        pairs = np.concatenate([found.draws[: len(given.pairs)], given.pairs])
        caption = (
            f"Above {len(given.pairs)} draws, below the nearest of the {given.total:,} given pictures of each. Give "
            "the pictures of the fit to see whether draws are copies."
        )
        parts.append(_figure(pairs, found.levels, caption, len(given.pairs)))
    rows = []
    if found.trust:
        draws = found.trust["draws"]
        rows = [
            ("draws, to training pictures", *_spread_of(draws["nearest"])),
            ("held-out pictures, to training pictures", *_spread_of(draws["nearest_held_out"])),
        ]
    if given is not None:
        rows.append(("the draws shown here, to given pictures", *_spread_of(given.distances)))
    if not rows:
        return None
    caption = "Distance to the nearest picture, the root mean square of the differences in levels"
    heads = ("from", "pictures", "least", "median", "greatest")
    parts.append(table(caption, heads, rows, (1, 2, 3, 4)))
    return "nearest", "The nearest pictures", parts


def _spread_of(values: Any) -> tuple[str, ...]:
    figures = np.min(values), np.median(values), np.max(values)
    return (f"{len(values)}", *(f"{figure:.1f}" for figure in figures))


def _there_and_back(trust: Mapping[str, Any]) -> Part | None:
    if not trust:
        return None
    wrong = trust["round_trip"]
    rows = [
        (what, f"{wrong[name]:.2g}")
        for name, what in (
            ("held_out", "held-out pictures"),
            ("draws", "draws"),
            ("noise", "noise"),
        )
    ]
    told = (
        "Pictures are encoded at the middle of their levels, decoded, and rounded down to levels again. A wrong pixel "
        "means that the map has no inverse there in single precision, whatever the formula says."
    )
    parts = [element("p", told)]
    caption = "Share of pixels that do not come back"
    parts.append(table(caption, ("of", "share"), rows, (1,)))
    if "stretch" in trust:
        stretch = trust["stretch"]
        most, median = number(stretch["largest"]), number(stretch["median"])
        text = (
            f"Largest local stretch of the inverse: a latent moves a picture by up to {most} levels per unit (median "
            f"{median}), the largest singular value of the decoder's Jacobian, "
            f"estimated from below at {stretch['pictures']} held-out pictures."
        )
        parts.append(element("p", text))
    return "back", "There and back", parts


def _classes(trust: Mapping[str, Any]) -> Part | None:
    if "classes" not in trust:
        return None
    classes = trust["classes"]
    n, share = classes["pictures"], classes["accuracy"]
    error = math.sqrt(share * (1 - share) / n)
    text = (
        f"The class of the largest log p(picture | class) is the right one for {share:.1%} of {n} held-out pictures "
        f"(standard error {error:.1%})."
    )
    return "classes", "Classes", [element("p", text)]


def _familiar(given: Given | None, levels: int) -> list[Html]:
    parts = [element("p", f"{FAMILIAR.capitalize()}.")]
    if given is not None and len(given.most):
        told = "Below: what needs the most bits, and what needs the fewest."
        parts.append(element("p", told))
        figures = [
            _figure(pixels, levels, f"The given pictures of the {what} bits.", 5)
            for pixels, what in ((given.most, "most"), (given.fewest, "fewest"))
        ]
        parts.append(element("div", figures, class_="beside"))
    return parts


def _left_out(found: PictureFindings) -> Part | None:
    told = []
    if found.given is None:
        told.append(
            "No pictures were given: there is no grid of data beside the draws, no pair of a draw and its nearest "
            "picture, and the bits are those of the fit's held-out pictures. Name a folder or file after the model."
        )
    elif found.given.bits is None:
        told.append(
            "The given pictures have no labels, which this model needs: their bits were not measured. Put the pictures "
            "of each class into a sub-folder, or an array 'labels' into the .npz file."
        )
    if not found.trust:
        told.append("The model was not measured when it was fitted: there are no held-out figures.")
    if not told:
        return None
    return "left-out", "What this page leaves out", [element("p", text) for text in told]
