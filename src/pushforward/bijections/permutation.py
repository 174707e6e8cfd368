"""Fixed reorderings of the coordinates."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.errors import InputError
from pushforward.rows import Shape


class Reverse(AbstractBijection):
    """Reverse the order of the coordinates: its own inverse, log-det 0, no arithmetic.

    Arguments:
        d: number of coordinates.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> [int(v) for v in pf.bijections.Reverse(3).forward(jnp.arange(3.0))[0]]
    [2, 1, 0]

    ```
    """

    volume_preserving = True
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, d: int):
        self.event_shape = (d,)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return z[:, ::-1], jnp.zeros(z.shape[0], z.dtype)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return self.forward_rows(x, condition, key)


class Permutation(AbstractBijection):
    """Reorder the coordinates, `x_i = z_{order(i)}`: log-det 0, no arithmetic.

    Arguments:
        order: a permutation of `0..d-1`; kept as an array, so that stacked layers may differ.

    Raises `InputError` where `order` is not a permutation.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> turn = pf.bijections.Permutation(jnp.array([1, 2, 0]))
    >>> [int(v) for v in turn.forward(jnp.arange(3.0))[0]]
    [1, 2, 0]

    ```
    """

    order: Int[Array, " d"]
    volume_preserving = True
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, order: Int[Array | np.ndarray, " d"]):
        # Under vmap, as in a stack, values are not known.
        concrete = not isinstance(order, jax.core.Tracer)
        if concrete and sorted(np.asarray(order).tolist()) != list(range(len(order))):
            raise InputError(f"order must be a permutation of 0..{len(order) - 1}")
        self.order = jnp.asarray(order, jnp.int32)
        self.event_shape = (len(order),)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return z[:, self.order], jnp.zeros(z.shape[0], z.dtype)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return x[:, jnp.argsort(self.order)], jnp.zeros(x.shape[0], x.dtype)
