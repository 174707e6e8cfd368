"""Space to channels: two by two pixels become one."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.errors import InputError
from pushforward.networks.convolutional import squeeze, unsqueeze
from pushforward.rows import Shape, as_shape


class Squeeze(AbstractBijection):
    """Two by two pixels as one pixel of four times the channels: log-det 0, no arithmetic.

        z[i, j, (2 a + b) c + k] = x[2 i + a, 2 j + b, k]

    So the latent's channels are those of the upper left pixel of each block, then of the upper right, the lower left
    and the lower right one. A 3 x 3 convolution sees twice as far in it.

    RealNVP (Dinh et al. 2017, arXiv 1605.08803).

    Arguments:
        event: the shape `(h, w, c)` of a data event, height and width even.

    Raises `InputError` for another shape.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> squeeze = pf.bijections.images.Squeeze((2, 2, 1))
    >>> squeeze.inverse(jnp.array([[[1.0], [2.0]], [[3.0], [4.0]]]))[0].tolist()
    [[[1.0, 2.0, 3.0, 4.0]]]

    ```
    """

    volume_preserving = True
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: Shape):
        h, w, _ = self.event_shape = image_shape(event)
        if h % 2 or w % 2:
            raise InputError(
                f"images of {h} x {w} pixels cannot be squeezed: an even height and width are expected; "
                "use fewer levels, or crop or pad the pictures"
            )

    @property
    def latent_shape(self) -> Shape:
        h, w, c = self.event_shape
        return h // 2, w // 2, 4 * c

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return unsqueeze(z), jnp.zeros(len(z), z.dtype)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return squeeze(x), jnp.zeros(len(x), x.dtype)


def image_shape(event: Shape) -> tuple[int, int, int]:
    """The shape of an image. Raises `InputError` unless it is height, width and channels."""
    shape = as_shape(event)
    if shape is None or len(shape) != 3:
        raise InputError(
            f"an image has a shape (height, width, channels); {event} was given. Grey pictures have one channel"
        )
    h, w, c = shape
    return h, w, c
