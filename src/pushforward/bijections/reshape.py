"""A flat latent as an event of another shape."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.rows import Shape, as_shape


class Reshape(AbstractBijection):
    """Lay a flat latent `(size,)` out as an event of any shape, last axis fastest: log-det 0, no arithmetic.

    It stands outermost in a flow on images or series whose layers take vectors. `Invert(Reshape(shape))` flattens
    events.

    Arguments:
        event: the shape of a data event.

    Raises `InputError` for a size below 1.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> layers = [pf.bijections.LULinear(6), pf.bijections.Reshape((2, 3))]
    >>> flow = pf.distributions.Flow(pf.distributions.StandardNormal(6), pf.bijections.Chain(layers))
    >>> flow.log_prob(jnp.zeros((5, 2, 3))).shape
    (5,)

    ```
    """

    volume_preserving = True
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: int | Shape):
        self.event_shape = as_shape(event) or ()

    @property
    def latent_shape(self) -> Shape:
        return (math.prod(self.event_shape),)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return z.reshape(len(z), *self.event_shape), jnp.zeros(len(z), z.dtype)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return x.reshape(len(x), *self.latent_shape), jnp.zeros(len(x), x.dtype)
