"""The elementwise structure."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.transformers.base import AbstractTransformer
from pushforward.rows import Shape, as_shape


class Elementwise(AbstractBijection):
    """Transform every coordinate by its own scalar map, with learned parameters that depend on nothing.

    Cost: one scalar map a coordinate, either way.

    Arguments:
        transformer: the scalar map.
        event: number of coordinates, or the event's shape.
        params: `(size, *event)`; default zeros, which is (nearly) the identity.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> shift = pf.bijections.Elementwise(pf.bijections.Additive(), 2, jnp.array([[1.0, 2.0]]))
    >>> [float(v) for v in shift.forward(jnp.zeros(2))[0]]
    [1.0, 2.0]

    ```
    """

    transformer: AbstractTransformer
    params: Float[Array, "size *event"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape: None = eqx.field(static=True)

    def __init__(
        self, transformer: AbstractTransformer, event: int | Shape, params: Array | None = None
    ):
        shape = as_shape(event)
        assert shape is not None
        self.transformer, self.event_shape = transformer, shape
        self.condition_shape = None
        self.params = jnp.zeros((transformer.size, *shape)) if params is None else params

    def _params(self, n: int) -> Array:
        size = self.transformer.size
        return jnp.broadcast_to(self.params[:, None], (size, n, *self.event_shape))

    def forward_rows(
        self, z: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        x, log_slope = self.transformer.forward(z, self._params(z.shape[0]))
        return x, log_slope.sum(range(1, z.ndim))

    def inverse_rows(
        self, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        z, log_slope = self.transformer.inverse(x, self._params(x.shape[0]))
        return z, log_slope.sum(range(1, x.ndim))
