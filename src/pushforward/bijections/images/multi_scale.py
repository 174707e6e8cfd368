"""The multi-scale structure."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.base import (
    AbstractBijection,
    Condition,
    Key,
    Mapped,
    check_bijection,
    replaced,
)
from pushforward.bijections.images.squeeze import image_shape
from pushforward.errors import InputError
from pushforward.networks.layers import split
from pushforward.rows import Shape


class MultiScale(AbstractBijection):
    """Levels of maps, finest first: after each but the last some channels leave, the others go on to the next level.

    From data to latents, level k gives an image; the first channels of it, as many as level k + 1 takes, stay, and the
    rest are latents. The latent is one vector: the last level's image first, then what left before it, down to what
    left first; each image in the order of its rows, columns and channels.

    What leaves is modelled given what stays if the level's first map (the last one that `inverse` applies) is an
    `ImageCoupling` that sees what stays. Cost: that of the levels, where each has a fraction of the pixels of the one
    before.

    RealNVP (Dinh et al. 2017, arXiv 1605.08803).

    Arguments:
        levels: maps of images, from the data's size to the coarsest, such as a chain that ends in `Squeeze`. Each takes
            events of as many pixels as the level before has in its latents, and at most as many channels.

    Raises `InputError` where levels do not meet or conditions differ.

    ```python
    >>> import jax, jax.numpy as jnp, pushforward as pf
    >>> levels = [pf.bijections.images.Squeeze((4, 4, 1)), pf.bijections.images.Squeeze((2, 2, 2))]
    >>> both = pf.bijections.images.MultiScale(levels)
    >>> z, _ = both.inverse(jnp.arange(16.0).reshape(4, 4, 1))
    >>> z.shape, z[:8].tolist()  # the upper two pixels of each block, all blocks as one pixel of eight channels
    ((16,), [0.0, 1.0, 2.0, 3.0, 8.0, 9.0, 10.0, 11.0])

    ```
    """

    levels: tuple[AbstractBijection, ...]
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(self, levels: Sequence[AbstractBijection]):
        if not levels:
            raise InputError("a multi-scale map needs at least one level")
        for i, level in enumerate(levels):
            check_bijection(level, f"level {i}")
            image_shape(level.event_shape)
        for i, (one, following) in enumerate(pairwise(levels)):
            latent, event = image_shape(one.latent_shape), following.event_shape
            if latent[:2] != event[:2] or latent[2] < event[2]:
                raise InputError(
                    f"level {i} has latents of shape {latent}, level {i + 1} takes events of shape {event}: as many "
                    "pixels and at most as many channels are expected"
                )
        conditions = {level.condition_shape for level in levels} - {None}
        if len(conditions) > 1:
            raise InputError(f"the levels take conditions of different shapes: {conditions}")
        self.levels = tuple(levels)
        self.event_shape = levels[0].event_shape
        self.condition_shape = conditions.pop() if conditions else None

    @property
    def latent_shape(self) -> Shape:
        return (math.prod(self.event_shape),)

    def facts_of(self) -> tuple[AbstractBijection, ...]:
        return self.levels

    def without_log_det(self) -> "MultiScale":
        return replaced(self, levels=tuple(level.without_log_det() for level in self.levels))

    def latents(self, z: Array) -> list[Array]:
        """Flat latents `(n, size)` as the parts that they are made of: the last level's image, then what left."""
        parts, end = list[Array](), z.shape[1]
        for level, following in zip(self.levels, [*self.levels[1:], None], strict=True):
            h, w, c = level.latent_shape
            leaving = c if following is None else c - following.event_shape[2]
            start = end - h * w * leaving
            parts.insert(0, z[:, start:end].reshape(len(z), h, w, leaving))
            end = start
        return parts

    def visited(
        self, visit: Callable[..., tuple[Any, Array]], x: Array, condition: Condition
    ) -> tuple["MultiScale", Array]:
        """See `initialised`: each level is visited with the images that reach it."""
        levels, left = list[AbstractBijection](), list[Array]()
        for i in range(len(self.levels)):
            level, z = visit(self.levels[i], x, condition)
            levels.append(level)
            x, leaving = self._parted(i, z)
            left.insert(0, leaving)
        return replaced(self, levels=tuple(levels)), _flat(left)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        keys, parts = split(key, len(self.levels)), self.latents(z)
        log_det, x = jnp.zeros(len(z), z.dtype), parts[0][..., :0]
        for level, leaving, own in zip(self.levels[::-1], parts, keys[::-1], strict=True):
            whole = jnp.concatenate([x, leaving], axis=-1)
            x, more = level.forward_rows(whole, condition, own)
            log_det = log_det + more
        return x, log_det

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        keys, left = split(key, len(self.levels)), list[Array]()
        log_det = jnp.zeros(len(x), x.dtype)
        for i, level in enumerate(self.levels):
            z, more = level.inverse_rows(x, condition, keys[i])
            log_det = log_det + more
            x, leaving = self._parted(i, z)
            left.insert(0, leaving)
        return _flat(left), log_det

    def _parted(self, i: int, z: Array) -> tuple[Array, Array]:
        """What stays after level i and what leaves; after the last one all leaves."""
        stays = self.levels[i + 1].event_shape[2] if i + 1 < len(self.levels) else 0
        return z[..., :stays], z[..., stays:]


def _flat(images: list[Array]) -> Array:
    return jnp.concatenate(
        [image.reshape(len(image), math.prod(image.shape[1:])) for image in images], axis=1
    )
