"""A checkerboard, packed: the pixels of one colour become channels beside those of the other."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.bijections.images.squeeze import image_shape
from pushforward.errors import InputError
from pushforward.rows import Shape


class Checker(AbstractBijection):
    """Two pixels side by side as one of twice the channels, the white one first: log-det 0, no arithmetic.

        z[i, j] = (x[i, 2 j + i % 2], x[i, 2 j + 1 - i % 2])

    A coupling by channels between `Checker` and `Invert(Checker)` keeps the white pixels and transforms the black ones.
    With a mask instead, half of a convolution's work would multiply zeros.

    RealNVP (Dinh et al. 2017, arXiv 1605.08803).

    Arguments:
        event: the shape `(h, w, c)` of a data event, width even.

    Raises `InputError` for another shape.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> board = pf.bijections.images.Checker((2, 2, 1))
    >>> board.inverse(jnp.array([[[1.0], [2.0]], [[3.0], [4.0]]]))[0].tolist()
    [[[1.0, 2.0]], [[4.0, 3.0]]]

    ```
    """

    volume_preserving = True
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: Shape):
        h, w, _ = self.event_shape = image_shape(event)
        if w % 2:
            raise InputError(
                f"images of {h} x {w} pixels have no packed checkerboard: an even width is expected"
            )

    @property
    def latent_shape(self) -> Shape:
        h, w, c = self.event_shape
        return h, w // 2, 2 * c

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return self._turned(z).reshape(len(z), *self.event_shape), jnp.zeros(len(z), z.dtype)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        packed = self._turned(x.reshape(len(x), *self.latent_shape))
        return packed, jnp.zeros(len(x), x.dtype)

    def _turned(self, packed: Array) -> Array:
        """The two pixels of each pair swapped in every other row."""
        h, _, c = self.event_shape
        swapped = jnp.concatenate([packed[..., c:], packed[..., :c]], axis=-1)
        odd = (np.arange(h) % 2 == 1)[:, None, None]
        return jnp.where(odd, swapped, packed)
