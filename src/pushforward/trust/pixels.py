"""How far a distribution of pictures can be trusted."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from pushforward.models.image_model import ImageModel
from pushforward.trust.stretch import local_stretch

ROUND, DRAWS, CLASSED = 200, 64, 200
"""Pictures whose round trip is measured, draws, and pictures that are classified."""
STRETCHED = 8
"""Pictures at which the stretch is measured."""
BOUNDED, NOISES = 100, 8
"""Pictures whose bound is measured by more draws of the noise, and how many."""
CLASSES = 7
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1))


def trusted_images(
    model: ImageModel,
    train: UInt8[np.ndarray, "n h w c"],
    held: UInt8[np.ndarray, "m h w c"],
    labels: Sequence[str] | None,
) -> dict[str, Any]:
    """Measures of a model on held-out pictures, JSON-able.

    Arguments:
        model: the distribution.
        train: the pictures it was fitted to.
        held: others.
        labels: the classes of these, for a model of classes.
    """
    if not len(held):
        return {}
    bits = model.bits_per_dim(held, labels)
    report: dict[str, Any] = {
        "held_out": {
            "pictures": len(held),
            "noise": model.noise,
            "bits": float(bits.mean()),
            "error": float(bits.std() / math.sqrt(len(bits))),
            "quantiles": np.quantile(bits, np.linspace(0, 1, 101)).tolist(),
        },
        "anchors": anchors(train, held, model.levels),
    }
    if model.gaussian:
        # Models with knots at grey levels are even within a level: their bound is exact.
        few, of_few = held[:BOUNDED], None if labels is None else list(labels[:BOUNDED])
        report["bound"] = {
            "pictures": len(few),
            "draws": NOISES,
            "by_one": float(bits[:BOUNDED].mean()),
            "bits": float(model.bits_per_dim(few, of_few, draws=NOISES).mean()),
        }
    rng = np.random.default_rng(0)
    some = None if labels is None else list(labels[:ROUND])
    of_draws = model.in_turn(DRAWS)
    raw = model.decoded(model.latents(DRAWS, 0), model.condition(of_draws, DRAWS))
    drawn = model.as_levels(raw)
    noise = rng.integers(0, model.levels, (DRAWS, *model.shape)).astype(np.uint8)
    of_noise = None if model.labels is None else [model.labels[0]] * DRAWS
    report["round_trip"] = {
        "held_out": wrong_pixels(model, held[:ROUND], some),
        "draws": wrong_pixels(model, drawn, of_draws),
        "noise": wrong_pixels(model, noise, of_noise),
    }
    each = local_stretch(
        model, held[:STRETCHED], None if labels is None else list(labels[:STRETCHED])
    )
    report["stretch"] = {
        "pictures": len(each),
        "largest": float(each.max()),
        "median": float(np.median(each)),
    }
    of_draw_bits = model.bits_per_dim(drawn, of_draws)
    report["draws"] = {
        "count": DRAWS,
        "bits": float(of_draw_bits.mean()),
        "non_finite": int((~np.isfinite(raw).all((1, 2, 3))).sum()),
        "nearest": nearest(drawn[:16], train)[0].tolist(),
        "nearest_held_out": nearest(held[:16], train)[0].tolist(),
    }
    if labels is not None and model.labels is not None:
        best = model.log_prob_of_labels(held[:CLASSED]).argmax(1)
        right = np.array(model.labels)[best] == np.array(labels[:CLASSED])
        _, counts = np.unique(labels[:CLASSED], return_counts=True)
        report["classes"] = {
            "pictures": len(right),
            "accuracy": float(right.mean()),
            "chance": float(counts.max() / len(right)),
        }
    return report


def wrong_pixels(
    model: ImageModel, pixels: UInt8[np.ndarray, "n h w c"], labels: Sequence[str] | None
) -> float:
    """The share of numbers that are not what they were after encoding and decoding; what is not finite is wrong."""
    condition = model.condition(labels, len(pixels))
    back = model.decoded(model.encode(pixels, labels), condition)
    return float((np.floor(np.nan_to_num(back, nan=-1.0)) != pixels).mean())


def nearest(
    pixels: UInt8[np.ndarray, "n h w c"], train: UInt8[np.ndarray, "m h w c"], most: int = 20_000
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The root mean square of the differences in levels to the nearest of the first training pictures, and which that
    is."""
    size = math.prod(pixels.shape[1:])
    rows = train[:most].reshape(-1, size).astype(np.float32)
    squares = (rows**2).sum(1)
    found, which = [], []
    for picture in pixels.reshape(-1, size).astype(np.float32):
        squared = squares - 2 * rows @ picture + (picture**2).sum()
        which.append(int(squared.argmin()))
        # Not by the products, which lose the digits of near ones.
        found.append(math.sqrt(float(((rows[which[-1]] - picture) ** 2).mean())))
    return np.array(found), np.array(which)


def anchors(
    train: UInt8[np.ndarray, "n h w c"], held: UInt8[np.ndarray, "m h w c"], levels: int
) -> dict[str, float]:
    """Bits per dimension of simple models of whole pictures: even ones, one distribution of levels for all pixels, one
    for each pixel, and one given four neighbours, each counted in training pictures."""
    marginal = _shares(np.bincount(train.ravel(), minlength=levels)[None].astype(float))
    return {
        "uniform": math.log2(levels),
        "levels": float(-np.log2(marginal[0][held]).mean()),
        "pixels": _by_pixel(train, held, marginal[0]),
        "neighbours": _by_neighbours(train, held, marginal[0]),
    }


def _shares(counts: np.ndarray, prior: np.ndarray | None = None) -> np.ndarray:
    """Counts `(contexts, levels)` as shares, backed off to a distribution of levels."""
    prior = np.full(counts.shape[1], 1 / counts.shape[1]) if prior is None else prior
    total = counts + prior
    shares: np.ndarray = total / total.sum(1, keepdims=True)
    return shares


def _by_pixel(train: np.ndarray, held: np.ndarray, marginal: np.ndarray) -> float:
    levels = len(marginal)
    flat = train.reshape(len(train), -1)
    places = np.arange(flat.shape[1])
    codes = flat.astype(np.int64) + levels * places
    counts = np.bincount(codes.ravel(), minlength=levels * len(places)).reshape(-1, levels)
    shares = _shares(counts.astype(float), marginal)
    return float(-np.log2(shares[places, held.reshape(len(held), -1)]).mean())


def _by_neighbours(train: np.ndarray, held: np.ndarray, marginal: np.ndarray) -> float:
    levels = len(marginal)
    counts = np.zeros((CLASSES ** len(NEIGHBOURS), levels))
    for start in range(0, len(train), 1000):
        some = train[start : start + 1000]
        codes = _contexts(some, levels) * levels + some
        counts += np.bincount(codes.ravel(), minlength=counts.size).reshape(counts.shape)
    shares = _shares(counts, marginal)
    return float(-np.log2(shares[_contexts(held, levels), held]).mean())


def _contexts(pixels: np.ndarray, levels: int) -> Int[np.ndarray, "n h w c"]:
    """A number for the classes of the neighbours to the left and above; beyond the edges they are 0."""
    bounds = np.array(
        [1, levels // 8, levels // 4, levels // 2, 3 * levels // 4, levels - levels // 32]
    )
    coarse = np.digitize(pixels, bounds).astype(np.int64)
    _, h, w, _ = pixels.shape
    wide = np.pad(coarse, ((0, 0), (1, 0), (1, 1), (0, 0)))
    code: np.ndarray = np.zeros_like(coarse)
    for down, right in NEIGHBOURS:
        code = code * CLASSES + wide[:, 1 + down : 1 + down + h, 1 + right : 1 + right + w]
    return code
