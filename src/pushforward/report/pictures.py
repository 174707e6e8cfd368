"""What is measured of a distribution of pictures for its page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from pushforward.architectures import Facts
from pushforward.models.image_model import ImageModel
from pushforward.report.findings import some_rows
from pushforward.trust.pixels import nearest

DRAWN, PAIRS = 64, 10
"""Draws of the page, and how many of them have their nearest picture beside them."""
GIVEN, ENDS = 1024, 10
"""Given pictures whose bits are measured, at most, and how many are shown of the most and of the fewest bits."""


@dataclass(frozen=True)
class Given:
    """Pictures that a page was given.

    Attributes:
        total, used: how many there are, and how many were scored.
        some: a few, to be seen beside the draws.
        bits: bits per dimension of those that were scored; None without the labels that the model needs.
        most, fewest: pictures of the most and of the fewest bits, the farthest out first.
        pairs: of the first draws the nearest of all given pictures, and `distances` to them, the root mean square of
            the differences in levels.
    """

    total: int
    used: int
    some: UInt8[np.ndarray, "k h w c"]
    bits: Float[np.ndarray, " used"] | None
    most: UInt8[np.ndarray, "m h w c"]
    fewest: UInt8[np.ndarray, "m h w c"]
    pairs: UInt8[np.ndarray, "p h w c"]
    distances: Float[np.ndarray, " p"]


@dataclass(frozen=True)
class PictureFindings:
    """Everything that the page of pictures shows.

    Attributes:
        density: the model in a formula.
        about: what the model is, as names and values.
        summary: what the training did.
        trust: what was measured when the model was fitted.
        holds: what its file holds, as names and values.
        levels: grey levels.
        labels: the classes, of a model of classes.
        draws: at temperature 1, of classes in turn, and `draws_bits` per dimension.
        wild: how many draws are not finite.
        given: None without pictures.
    """

    density: str
    about: Mapping[str, str]
    summary: Mapping[str, Any]
    trust: Mapping[str, Any]
    holds: Mapping[str, str]
    levels: int
    labels: tuple[str, ...] | None
    draws: UInt8[np.ndarray, "m h w c"]
    draws_bits: Float[np.ndarray, " m"]
    wild: int
    given: Given | None


def picture_findings(
    model: ImageModel,
    pixels: UInt8[np.ndarray, "n h w c"] | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> PictureFindings:
    """Measure what the page shows beside the trust report of the fit.

    Arguments:
        model: the distribution.
        pixels: pictures to show and to score; default None.
        labels: their classes, for a model of classes; without them nothing is scored.
        seed: of the draws, and of the choice of pictures.

    Raises `InputError` for pictures of another size and labels that the fit did not see. Cost: 64 draws, and the
    log-probabilities of these and of 1,024 pictures.
    """
    in_turn = model.in_turn(DRAWN)
    raw = model.decoded(model.latents(DRAWN, seed), model.condition(in_turn, DRAWN))
    draws = model.as_levels(raw)
    h, w, c = model.shape
    classes = "" if model.labels is None else " | class"
    return PictureFindings(
        density=f"P(picture of {h} x {w} pixels, {'grey' if c == 1 else 'colour'}, {model.levels} levels{classes})",
        about=_about(model),
        summary=model.summary,
        trust=model.trust,
        holds=_holds(model),
        levels=model.levels,
        labels=model.labels,
        draws=draws,
        draws_bits=model.bits_per_dim(draws, in_turn),
        wild=int((~np.isfinite(raw).all((1, 2, 3))).sum()),
        given=None if pixels is None else _given(model, model.checked(pixels), labels, draws, seed),
    )


def _given(
    model: ImageModel,
    pixels: UInt8[np.ndarray, "n h w c"],
    labels: Sequence[str] | None,
    draws: UInt8[np.ndarray, "m h w c"],
    seed: int,
) -> Given:
    at = some_rows(len(pixels), seed, GIVEN)
    bits = None
    if model.labels is None:
        bits = model.bits_per_dim(pixels[at])
    elif labels is not None:
        bits = model.bits_per_dim(pixels[at], [labels[i] for i in at])
    order = np.zeros(0, int) if bits is None else at[np.argsort(bits, kind="stable")]
    ends = min(ENDS, len(order) // 2)
    distances, which = nearest(draws[:PAIRS], pixels)
    return Given(
        total=len(pixels),
        used=0 if bits is None else len(at),
        some=pixels[_spread(at, labels, model.labels)],
        bits=bits,
        most=pixels[order[::-1][:ends]],
        fewest=pixels[order[:ends]],
        pairs=pixels[which],
        distances=distances,
    )


def _spread(
    at: Int[np.ndarray, " n"], labels: Sequence[str] | None, classes: tuple[str, ...] | None
) -> Int[np.ndarray, " k"]:
    """Numbers of pictures to stand beside the draws: of classes in turn where they are known, as draws are."""
    if labels is None or classes is None:
        return at[:DRAWN]
    waiting = {label: [i for i in at if labels[i] == label] for label in classes}
    lines = DRAWN // len(classes) + 1
    chosen = [
        waiting[label][line]
        for line in range(lines)
        for label in classes
        if line < len(waiting[label])
    ]
    return np.array(chosen[:DRAWN], int)


def _about(model: ImageModel) -> dict[str, str]:
    architecture: Any = model.architecture
    options = {field.name: getattr(architecture, field.name) for field in fields(architecture)}
    name = f"{type(architecture).__name__} {Facts.of(architecture).reference}".rstrip()
    told = {name: ", ".join(f"{key}={_brief(value)}" for key, value in options.items())}
    if model.labels is not None:
        told["classes"] = ", ".join(model.labels)
    return told


def _brief(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > 6:
        return f"({', '.join(map(str, value[:3]))}, ... {value[-1]}; {len(value)} in all)"
    return str(value)


def _holds(model: ImageModel) -> dict[str, str]:
    arrays = jax.tree.leaves(eqx.filter(model.model, eqx.is_array))
    numbers = sum(array.size for array in arrays)
    held = {
        "weights": f"{numbers:,} numbers in {len(arrays)} arrays",
        "settings": "the architecture, the size of the pictures, what the training did"
        + ("" if model.labels is None else ", the names of the classes"),
        "figures": "what was measured of held-out pictures and of draws: means, quantiles and distances"
        if model.trust
        else "none: nothing was held out",
        "pictures": "none, but weights may know some by heart: see the nearest pictures",
    }
    if getattr(model.architecture, "knots", ()):
        held["levels"] = "grey levels of the training pictures between which the density is even"
    return held
