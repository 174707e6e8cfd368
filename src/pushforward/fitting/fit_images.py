"""From pictures to a fitted distribution."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from pushforward.architectures import ARCHITECTURES, Architecture, Facts, registered
from pushforward.architectures.images.levels import knots_of
from pushforward.architectures.images.noise import dequantized
from pushforward.bijections import initialised
from pushforward.distributions import Dequantized, Flow
from pushforward.draws import key_of, spawn
from pushforward.errors import InputError, warn
from pushforward.models.image_model import ImageModel
from pushforward.training import Checkpoint, Epoch, Step, Training, fit
from pushforward.training.batches import Batch, holdout
from pushforward.trust.pixels import trusted_images
from pushforward.words import plural

FEW = 100
"""Pictures below which a fit is warned of."""
FIRST = 512
"""Pictures of the data pass that sets data-dependent layers."""
MOST_HELD = 2000
STEPS, BATCH, LEARNING_RATE = 6000, 16, 2e-3


class BitsPerDim(eqx.Module):
    """The loss: bits per dimension of pictures, `-log (p(x + u) / q(u | x)) / (d log 2)`, with new noise at every
    step."""

    def __call__(
        self, model: Dequantized, batch: Batch, key: PRNGKeyArray | None
    ) -> Float[Array, " n"]:
        condition = None if batch.condition is None else batch.condition.astype(jnp.float32)
        log_prob = model.log_prob_rows(batch.x.astype(jnp.float32), condition, key)
        return -log_prob / (math.prod(model.event_shape) * math.log(2))


def fit_images(
    pixels: UInt8[np.ndarray, "n h w c"],
    labels: Sequence[str] | None = None,
    *,
    architecture: str | Architecture = "auto",
    levels: int = 256,
    training: Training | None = None,
    seed: int = 0,
    report: Callable[[Epoch], bool | None] | None = None,
    progress: Callable[[Step], bool | None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    trust: bool = True,
) -> ImageModel:
    """Fit a distribution of pictures; losses are in bits per dimension.

    Arguments:
        pixels: the pictures, as `data.pictures.as_pixels` gives them.
        labels: their classes, which the distribution is then conditional on; default None.
        architecture: "auto" (`pixel_spline`, the best likelihood), the name of one of images, or an instance.
        levels: grey levels; default 256. An instance has its own.
        training: how; default 6,000 steps of 16 pictures.
        seed: of all that is random.
        report, progress, checkpoint, resume: as of `fit_table`.
        trust: whether the model is measured afterwards; default True.

    Raises `InputError` for pictures that are all equal, fewer than 3, levels beyond those, or an architecture that is
    not of images or cannot build this size.
    """
    began = time.perf_counter()
    _check(pixels, levels, labels)
    classes = None if labels is None else tuple(sorted(set(map(str, labels))))
    training = training or Training()
    split, build_key, noise_key, fit_key = spawn(key_of(seed), 4)
    train, held = holdout(len(pixels), training.validation, split)
    held = held[:MOST_HELD]
    chosen = _architecture(architecture, pixels[train], levels)
    condition = None
    if classes is not None and labels is not None:
        number = {label: i for i, label in enumerate(classes)}
        condition = np.eye(len(classes), dtype=np.uint8)[[number[str(label)] for label in labels]]
    built = dequantized(
        chosen, pixels.shape[1:], None if classes is None else (len(classes),), key=build_key
    )
    fitted = fit(
        _started(built, pixels, condition, train, noise_key),
        pixels[train],
        None if condition is None else condition[train],
        key=fit_key,
        loss=BitsPerDim(),
        training=_for_images(training, len(train)),
        validation=(pixels[held], None if condition is None else condition[held]),
        report=report,
        progress=progress,
        checkpoint=None if checkpoint is None else Checkpoint(checkpoint, resume=resume),
    )
    summary = {
        "pictures": len(train),
        "epochs": len(fitted.history),
        "stopped": fitted.stopped,
        "validation_bits": fitted.best_loss,
        "seconds": time.perf_counter() - began,
    }
    model = ImageModel(fitted.model, chosen, classes, summary)
    if not trust:
        return model
    held_labels = None if labels is None else [str(labels[i]) for i in held]
    return replace(model, trust=trusted_images(model, pixels[train], pixels[held], held_labels))


def _check(pixels: np.ndarray, levels: int, labels: Sequence[str] | None) -> None:
    n = len(pixels)
    if n < 3:
        raise InputError(
            f"{plural(n, 'picture')} given; at least 3 are needed, and hundreds to be of use"
        )
    if int(pixels.max()) >= levels:
        raise InputError(f"levels={levels}: the pictures have levels up to {int(pixels.max())}")
    if (pixels == pixels[:1]).all():
        raise InputError(f"all {n} pictures are equal: there is no distribution to fit")
    if labels is not None and len(labels) != n:
        raise InputError(f"{len(labels)} labels were given for {n} pictures")
    if n < FEW:
        warn(f"{n} pictures are few: what is fitted to under {FEW} says little about others")


def _architecture(
    architecture: str | Architecture, pixels: UInt8[np.ndarray, "n h w c"], levels: int
) -> Architecture:
    """The architecture, with what is not set chosen by the pictures: the side of a patch, and the knots."""
    if isinstance(architecture, str):
        name = "pixel_spline" if architecture == "auto" else architecture
        if name not in ARCHITECTURES:
            raise InputError(
                f"architecture {name!r} is unknown; of images are {', '.join(registered(images=True))}"
            )
        kind: Any = ARCHITECTURES[name]
        options: dict[str, Any] = {"levels": levels}
        if "patch" in {field.name for field in fields(kind)}:
            h, w = pixels.shape[1:3]
            options["patch"] = next(k for k in (4, 5, 3, 7, 2, 1) if h % k == 0 and w % k == 0)
        chosen: Any = kind(**options) if Facts.of(kind()).images else kind()
    else:
        chosen = architecture
    if not Facts.of(chosen).images:
        raise InputError(
            f"{type(chosen).__name__} models vectors; of images are {', '.join(registered(images=True))}"
        )
    if getattr(chosen, "knots", None) == ():
        counts = np.bincount(pixels.ravel(), minlength=chosen.levels)
        chosen = replace(chosen, knots=knots_of(counts))
    built: Architecture = chosen
    return built


def _started(
    model: Dequantized,
    pixels: np.ndarray,
    condition: np.ndarray | None,
    train: np.ndarray,
    key: PRNGKeyArray,
) -> Dequantized:
    """The distribution with the data-dependent layers of its flow set."""
    first, flow = train[:FIRST], model.density
    assert isinstance(flow, Flow)
    x = _noisy(model, jnp.asarray(pixels[first], jnp.float32), key)
    c = None if condition is None else jnp.asarray(condition[first], jnp.float32)
    started = Flow(flow.base, initialised(flow.bijection, x, c), flow.architecture)
    return Dequantized(started, model.noise)


@eqx.filter_jit
def _noisy(model: Dequantized, x: Array, key: PRNGKeyArray) -> Array:
    return model.dequantized(x, key)[0]


def _for_images(training: Training, n: int) -> Training:
    """What is not set, chosen for pictures."""
    chosen: dict[str, Any] = {
        "batch": min(BATCH, n),
        "learning_rate": LEARNING_RATE,
        "weight_decay": 0.01,
        "average": 0.998,
    }
    if training.max_epochs is None and training.max_time is None:
        chosen["max_steps"] = STEPS
    return replace(training, **{k: v for k, v in chosen.items() if getattr(training, k) is None})
