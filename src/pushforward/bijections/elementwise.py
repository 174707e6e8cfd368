"""The elementwise structure."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.bijections.autoregressive import as_columns
from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.errors import InputError
from pushforward.networks.mlp import MLP
from pushforward.rows import Shape, as_shape
from pushforward.transformers.base import AbstractTransformer


class Elementwise(AbstractBijection):
    """Transform every coordinate by its own scalar map, whose parameters are learned and may depend on the condition.

        x_i = tau(z_i; p_i),    p = params + h(condition)

    No coordinate depends on another. Cost: one scalar map per coordinate either way, and with a condition one network
    pass.

    Arguments:
        transformer: the scalar map.
        event: number of coordinates, or the event's shape.
        params: `(size, *event)`; default zeros, (nearly) the identity.
        network: from the condition's features `(condition, n)` to `(size, *event, n)`.
        condition_shape: the shape of a condition; None for none.

    Raises `InputError` where only one of `network` and `condition_shape` is given.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> shift = pf.bijections.Elementwise(pf.transformers.Additive(), 2, jnp.array([[1.0, 2.0]]))
    >>> [float(v) for v in shift.forward(jnp.zeros(2))[0]]
    [1.0, 2.0]

    ```
    """

    amortized = ("params",)
    transformer: AbstractTransformer
    params: Float[Array, " size *event"]
    network: MLP | None
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        transformer: AbstractTransformer,
        event: int | Shape,
        params: Array | None = None,
        network: MLP | None = None,
        condition_shape: Shape | None = None,
    ):
        shape = as_shape(event)
        assert shape is not None
        if (network is None) != (condition_shape is None):
            raise InputError("an elementwise map needs both a network and a condition, or neither")
        self.transformer, self.event_shape = transformer, shape
        self.network, self.condition_shape = network, condition_shape
        self.params = jnp.zeros((transformer.size, *shape)) if params is None else params

    @property
    def volume_preserving(self) -> bool:
        return self.transformer.volume_preserving

    def _params(self, condition: Condition, key: Key) -> Array:
        params = self.params[:, None]
        columns = as_columns(condition)
        if self.network is None or columns is None:
            return params
        return params + jnp.moveaxis(self.network(columns, key), -1, 1)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        params = self._params(condition, key)
        x, log_slope = self.transformer.forward(z, params)
        return x, jnp.broadcast_to(log_slope, z.shape).sum(range(1, z.ndim))

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        params = self._params(condition, key)
        z, log_slope = self.transformer.inverse(x, params)
        return z, jnp.broadcast_to(log_slope, x.shape).sum(range(1, x.ndim))
