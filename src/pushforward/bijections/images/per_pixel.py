"""A map of vectors, applied to the channels of every pixel."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.base import (
    AbstractBijection,
    Condition,
    Key,
    Mapped,
    PerRow,
    check_bijection,
    replaced,
)
from pushforward.errors import InputError
from pushforward.rows import Shape


class PerPixel(AbstractBijection):
    """The same map of channels at every pixel, `x[i, j] = f(z[i, j])`; the log-dets of all pixels add up.

    With `LULinear` it is Glow's invertible 1 x 1 convolution, with `ActNorm` its activation normalisation per channel,
    measured over rows and places, with `Permutation` or `Reverse` a reordering of the channels. Cost: that of f for
    h w rows per image.

    Glow (Kingma & Dhariwal 2018, arXiv 1807.03039).

    Arguments:
        bijection: the map f of vectors of c channels.
        pixels: height and width.

    Raises `InputError` for a map that is not of vectors.

    ```python
    >>> import jax, pushforward as pf
    >>> mixing = pf.bijections.images.PerPixel(pf.bijections.LULinear(4, key=jax.random.key(0)), (14, 14))
    >>> mixing.event_shape
    (14, 14, 4)

    ```
    """

    bijection: AbstractBijection
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(self, bijection: AbstractBijection, pixels: Shape):
        check_bijection(bijection, "a pixel's map")
        ends = bijection.latent_shape, bijection.event_shape
        if max(map(len, ends)) > 1:
            raise InputError(
                f"a pixel's map takes vectors of channels, {type(bijection).__name__} takes {ends[0]} to {ends[1]}"
            )
        self.bijection = bijection
        self.event_shape = (*pixels, *bijection.event_shape)
        self.condition_shape = bijection.condition_shape

    def facts_of(self) -> tuple[AbstractBijection, ...]:
        return (self.bijection,)

    def without_log_det(self) -> "PerPixel":
        inner = self.bijection.without_log_det()
        return self if inner is self.bijection else replaced(self, bijection=inner)

    def visited(
        self, visit: Callable[..., tuple[Any, Array]], x: Array, condition: Condition
    ) -> tuple["PerPixel", Array]:
        """See `initialised`: the map of channels is visited with the pixels of all images as its rows."""
        inner, z = visit(self.bijection, *self._pixels(x, condition))
        return replaced(self, bijection=inner), z.reshape(x.shape)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        x, log_det = self.bijection.forward_rows(*self._pixels(z, condition), key)
        return x.reshape(z.shape), self._of_images(log_det)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        z, log_det = self.bijection.inverse_rows(*self._pixels(x, condition), key)
        return z.reshape(x.shape), self._of_images(log_det)

    def _pixels(self, images: Array, condition: Condition) -> tuple[Array, Condition]:
        h, w, c = self.event_shape
        if condition is not None:
            condition = jnp.repeat(condition, h * w, axis=0)
        return images.reshape(len(images) * h * w, c), condition

    def _of_images(self, log_det: Array) -> PerRow:
        h, w, _ = self.event_shape
        return log_det.reshape(-1, h * w).sum(1)
