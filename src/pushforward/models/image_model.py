"""A fitted distribution of pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from pushforward.architectures import Architecture
from pushforward.distributions import Dequantized, StandardNormal
from pushforward.draws import key_of
from pushforward.errors import InputError, check_count
from pushforward.rows import block_size, padded
from pushforward.words import quoted

BLOCK = 256
"""Pictures of one call of a compiled program."""
DRAWN = 64
"""Pictures drawn by one call."""


@dataclass(frozen=True)
class ImageModel:
    """A distribution of pictures: a flow in grey levels, dequantized, and a record of the fit.

    What it reports in nats is an estimate of a picture's log-probability whose expectation is a bound from below, by
    the same K draws of the noise for a picture every time, and the tighter the more draws:

        E[log 1/K sum_k p(x + u_k) / q(u_k | x)] <= log P(x)

    Attributes:
        model: the distribution, of pictures `(h, w, c)` of levels.
        architecture: the configuration that its flow was built from.
        labels: the classes that it is conditional on, in the order of its condition, or None.
        summary: a summary of the training, JSON-able.
        trust: the trust report, JSON-able.
    """

    model: Dequantized
    architecture: Architecture
    labels: tuple[str, ...] | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    trust: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        h, w, c = self.model.event_shape
        return h, w, c

    @property
    def levels(self) -> int:
        """How many grey levels there are."""
        levels: int = getattr(self.architecture, "levels", 256)
        return levels

    @property
    def size(self) -> int:
        """Numbers of a picture."""
        return math.prod(self.shape)

    @property
    def noise(self) -> str:
        """The noise within the levels: "uniform", or "variational" where it is learned."""
        return "uniform" if self.model.noise is None else "variational"

    def log_prob(
        self,
        pixels: UInt8[np.ndarray, "n h w c"],
        labels: Sequence[str] | None = None,
        *,
        draws: int = 1,
    ) -> Float[np.ndarray, " n"]:
        """Estimated log-probability of each picture in nats, a bound in expectation; float64.

        Arguments:
            pixels: the pictures.
            labels: their classes, for a model of classes.
            draws: of the noise, K; the time grows with them; default 1.

        Raises `InputError` for pictures of another size, a label that is not known, labels that are missing or not
        taken, or fewer than 1 draw.
        """
        check_count("draws", draws)
        condition = self.condition(labels, len(self.checked(pixels)))
        size, parts = block_size(len(pixels), BLOCK), [np.zeros(0)]
        for start in range(0, len(pixels), size):
            rows = slice(start, start + size)
            block = padded(pixels[rows], size)
            given = None if condition is None else padded(condition[rows], size)
            # As an array: a plain number would be a part of the program.
            numbers = [jnp.asarray(i, jnp.int32) for i in range(draws)]
            each = [np.asarray(_log_prob(self.model, block, given, i)) for i in numbers]
            log_mean = np.logaddexp.reduce(each, axis=0, dtype=np.float64) - math.log(draws)
            parts.append(log_mean[: len(pixels[rows])])
        return np.concatenate(parts)

    def bits_per_dim(
        self,
        pixels: UInt8[np.ndarray, "n h w c"],
        labels: Sequence[str] | None = None,
        *,
        draws: int = 1,
    ) -> Float[np.ndarray, " n"]:
        """Bits per dimension of each picture, `-log_prob / (h w c log 2)`, a bound from above in expectation; arguments
        and errors as of `log_prob`."""
        return -self.log_prob(pixels, labels, draws=draws) / (self.size * math.log(2))

    def log_prob_of_labels(
        self, pixels: UInt8[np.ndarray, "n h w c"]
    ) -> Float[np.ndarray, "n labels"]:
        """`log_prob` of each picture given each class. Raises `InputError` for a model without classes."""
        if self.labels is None:
            raise InputError("this model has no classes: it was fitted to pictures without labels")
        each = [self.log_prob(pixels, [label] * len(pixels)) for label in self.labels]
        return np.stack(each, axis=1)

    def sample(
        self,
        n: int,
        seed: int,
        labels: Sequence[str] | None = None,
        *,
        temperature: float = 1.0,
    ) -> UInt8[np.ndarray, "n h w c"]:
        """`n` pictures. The first ones of a longer sample with the same seed are those of a shorter one.

        Arguments:
            n: how many.
            seed: of the draws.
            labels: their classes, n of them, for a model of classes; default its classes in turn.
            temperature: factor on the latents of a normal base, for draws nearer to the mode; default 1. Of a flow that
                is not volume-preserving these are not draws of a power of its density.

        Raises `InputError` for a temperature that is not positive, or one other than 1 with uniform latents.
        """
        check_count("n", n, 0)
        if labels is None:
            labels = self.in_turn(n)
        condition = self.condition(labels, n)
        z = self.latents(n, seed, temperature)
        return self.decode(z, condition=condition)

    def in_turn(self, n: int) -> list[str] | None:
        """Classes for n pictures, one after the other and again; None for a model without."""
        labels = self.labels
        return None if labels is None else [labels[i % len(labels)] for i in range(n)]

    def latents(self, n: int, seed: int, temperature: float = 1.0) -> Float[np.ndarray, "n ..."]:
        """The latents that `sample` decodes; arguments and errors as there."""
        if not (math.isfinite(temperature) and temperature > 0):
            raise InputError(f"temperature={temperature}: a number above 0 was expected")
        if temperature != 1 and not self.gaussian:
            raise InputError(
                f"temperature={temperature}: the latents of {self.architecture} are uniform, which a temperature does "
                "not scale; fit image_nsf or image_glow for it"
            )
        base, blocks = self.flow.base, []
        for number in range(math.ceil(n / DRAWN)):
            key = jax.random.fold_in(key_of(seed), number)
            blocks.append(np.asarray(base.sample(key, DRAWN)))
        z = np.concatenate([np.zeros((0, *base.event_shape), np.float32), *blocks])[:n]
        scaled: np.ndarray = z * np.float32(temperature)
        return scaled

    @property
    def flow(self) -> Any:
        """The flow in grey levels."""
        return self.model.density

    @property
    def gaussian(self) -> bool:
        """Whether latents are normal, so that they can be scaled and interpolated."""
        return isinstance(self.flow.base, StandardNormal)

    def encode(
        self, pixels: UInt8[np.ndarray, "n h w c"], labels: Sequence[str] | None = None
    ) -> Float[np.ndarray, "n ..."]:
        """The latents of pictures, at the middle of their levels; arguments and errors as of `log_prob`."""
        condition = self.condition(labels, len(self.checked(pixels)))
        return self._mapped(_encode, pixels, condition)

    def decode(
        self,
        z: Float[np.ndarray, "n ..."],
        labels: Sequence[str] | None = None,
        *,
        condition: np.ndarray | None = None,
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Pictures from latents.

        Arguments:
            z: the latents.
            labels: classes of the pictures, for a model of classes.
            condition: these as `condition` gives them; default by `labels`.

        Raises `InputError` for latents of another shape, and as `log_prob` does.
        """
        latent = self.flow.base.event_shape
        if np.shape(z)[1:] != latent:
            raise InputError(f"latents have shape {np.shape(z)}, (n, {latent}) was expected")
        condition = self.condition(labels, len(z)) if condition is None else condition
        return self.as_levels(self.decoded(z, condition))

    def as_levels(self, pictures: Float[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w c"]:
        """Whole levels from what `decoded` gives; what is not finite is 0."""
        levels: np.ndarray = np.clip(np.nan_to_num(pictures), 0, self.levels - 1).astype(np.uint8)
        return levels

    def decoded(
        self, z: Float[np.ndarray, "n ..."], condition: np.ndarray | None = None
    ) -> Float[np.ndarray, "n h w c"]:
        """Levels from latents, as the flow gives them."""
        return self._mapped(_decode, np.asarray(z, np.float32), condition, DRAWN)

    def _mapped(
        self, run: Any, rows: np.ndarray, condition: np.ndarray | None, most: int = BLOCK
    ) -> np.ndarray:
        size, parts = block_size(len(rows), most), list[np.ndarray]()
        for start in range(0, max(len(rows), 1), size):
            some = slice(start, start + size)
            given = None if condition is None else padded(condition[some], size)
            block = np.asarray(run(self.flow, padded(rows[some], size), given))
            parts.append(block[: len(rows[some])])
        return np.concatenate(parts)

    def interpolate(
        self,
        one: UInt8[np.ndarray, "h w c"],
        other: UInt8[np.ndarray, "h w c"],
        steps: int = 9,
        label: str | None = None,
    ) -> UInt8[np.ndarray, "steps h w c"]:
        """Pictures between two, along the great circle between their latents, whose lengths change evenly. The ends are
        round trips, not copies.

        Arguments:
            one, other: the pictures.
            steps: how many, both ends included, at least 2; default 9.
            label: the class of all, for a model of classes.

        Raises `InputError` where latents are uniform, and as `log_prob` does.
        """
        check_count("steps", steps, 2)
        if not self.gaussian:
            raise InputError(
                f"the latents of {self.architecture} are uniform and do not interpolate: fit image_nsf or image_glow"
            )
        pixels = np.stack([one, other])
        labels = None if label is None else [label] * 2
        a, b = self.encode(pixels, labels).reshape(2, -1)
        path = great_circle(a, b, np.linspace(0, 1, steps))
        return self.decode(
            path.reshape(steps, *self.flow.base.event_shape),
            None if label is None else [label] * steps,
        )

    def condition(self, labels: Sequence[str] | None, n: int) -> Float[np.ndarray, "n k"] | None:
        """Classes as the flow takes them, a one for each picture's. Raises `InputError` as `log_prob` does."""
        if self.labels is None:
            if labels is not None:
                raise InputError("labels were given, but this model was fitted to pictures without")
            return None
        known = {label: i for i, label in enumerate(self.labels)}
        if labels is None:
            raise InputError(
                f"this model is of classes: a label for each of {n} pictures was expected, of "
                f"{quoted(self.labels)}"
            )
        if len(labels) != n:
            raise InputError(f"{len(labels)} labels were given for {n} pictures")
        unknown = [label for label in labels if str(label) not in known]
        if unknown:
            raise InputError(
                f"label {str(unknown[0])!r} was not seen in the fit; known are {quoted(self.labels)}"
            )
        return np.eye(len(known), dtype=np.float32)[[known[str(label)] for label in labels]]

    def checked(self, pixels: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w c"]:
        """Pictures of the model's size and levels. Raises `InputError` for others."""
        if np.shape(pixels)[1:] != self.shape:
            raise InputError(
                f"pictures of shape {np.shape(pixels)[1:]} were given; the model is of {self.shape}, height, width and "
                "channels"
            )
        if pixels.size and int(pixels.max()) >= self.levels:
            raise InputError(
                f"a level of {int(pixels.max())} was given; the model is of levels from 0 to {self.levels - 1}"
            )
        return pixels


def great_circle(
    a: Float[np.ndarray, " d"], b: Float[np.ndarray, " d"], t: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, "steps d"]:
    """Points between two vectors: their directions along the great circle, their lengths evenly."""
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    u, v = a / max(lengths[0], 1e-12), b / max(lengths[1], 1e-12)
    angle = np.arccos(np.clip(u @ v, -1, 1))
    t = t[:, None]
    if np.sin(angle) < 1e-6:
        direction = (1 - t) * u + t * v
    else:
        direction = (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / np.sin(angle)
    path: np.ndarray = direction * ((1 - t) * lengths[0] + t * lengths[1])
    return path


@eqx.filter_jit
def _log_prob(
    model: Dequantized, pixels: Array, condition: Array | None, i: Int[Array, ""]
) -> Array:
    # By one draw, so that one program serves any number of them.
    return model.log_prob_of_draw(pixels.astype(jnp.float32), condition, None, i)


@eqx.filter_jit
def _encode(flow: Any, pixels: Array, condition: Array | None) -> Array:
    z: Array = flow.bijection.inverse_rows(pixels.astype(jnp.float32) + 0.5, condition, None)[0]
    return z


@eqx.filter_jit
def _decode(flow: Any, z: Array, condition: Array | None) -> Array:
    x: Array = flow.bijection.without_log_det().forward_rows(z, condition, None)[0]
    return x
