"""How much a decoder stretches latents."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from pushforward.models.image_model import ImageModel

ROUNDS = 6
STEP = 0.1
"""How far a picture is moved to see where a direction leads, in levels: less than to the next level, and more than by
rounding."""


def local_stretch(
    model: ImageModel,
    pixels: UInt8[np.ndarray, "n h w c"],
    labels: Sequence[str] | None = None,
    rounds: int = ROUNDS,
) -> Float[np.ndarray, " n"]:
    """By how many levels a latent moves a picture, per unit, in the direction where it does most.

        the largest singular value of dx/dz,    estimated from below by |(dx/dz)^T u| of unit vectors u

    The directions u are those of a power iteration: `(dx/dz)^T` by reverse mode, `dx/dz` by differences, which every
    map has. A model that conditions on whole levels jumps between them; the stretch is that within a level.

    Cost: `rounds` passes of the decoder and as many of its reverse mode.

    Arguments:
        model: the distribution.
        pixels: pictures, at whose latents it is measured; a few.
        labels: their classes, for a model of classes.
        rounds: of the power iteration; default 6.

    Raises `InputError` as `ImageModel.log_prob` does.

    Source: Behrmann et al. 2021, arXiv 2006.09347.
    """
    condition = model.condition(labels, len(pixels))
    z = np.asarray(model.encode(pixels, labels), np.float32)
    x = model.decoded(z, condition)
    at, given = jnp.asarray(z), None if condition is None else jnp.asarray(condition)
    direction = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    found = np.zeros(len(pixels))
    for _ in range(rounds):
        back = np.asarray(_pulled_back(model.flow, at, given, jnp.asarray(_unit(direction))))
        found = np.fmax(found, _lengths(back))
        step = (STEP / np.maximum(found, 1e-30)).astype(np.float32)
        moved = model.decoded(z + _unit(back) * step.reshape(-1, *[1] * (z.ndim - 1)), condition)
        onward = moved - x
        # Where nothing moves any more, rounding is all that there is to see.
        known = np.isfinite(_lengths(onward)) & (_lengths(onward) > 0)
        direction = np.where(known[:, None, None, None], onward, direction)
    return found


def _lengths(rows: np.ndarray) -> Float[np.ndarray, " n"]:
    lengths: np.ndarray = np.sqrt((rows.astype(np.float64) ** 2).reshape(len(rows), -1).sum(1))
    return lengths


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.maximum(_lengths(rows), 1e-30).reshape(-1, *[1] * (rows.ndim - 1))
    unit: np.ndarray = (rows / lengths).astype(np.float32)
    return unit


@eqx.filter_jit
def _pulled_back(flow: Any, z: Array, condition: Array | None, direction: Array) -> Array:
    bijection = flow.bijection.without_log_det()
    _, pull = jax.vjp(lambda z: bijection.forward_rows(z, condition, None)[0], z)
    back: Array = pull(direction)[0]
    return back
