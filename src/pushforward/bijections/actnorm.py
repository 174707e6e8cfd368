"""Activation normalisation."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, replaced
from pushforward.rows import Shape


class ActNorm(AbstractBijection):
    """A scale and a shift per coordinate, `x = exp(s) z + b`, initialised to standardise a first batch.

    The data pass is explicit, `initialised(bijection, x)`: loading, copying or evaluating the map never
    re-initialises it. Cost: d multiply-adds either way.

    Glow (Kingma & Dhariwal 2018, arXiv 1807.03039).

    Arguments:
        d: number of coordinates.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> x = jnp.array([[0.0], [4.0]])
    >>> norm = pf.bijections.initialised(pf.bijections.ActNorm(1), x)
    >>> [round(float(v), 3) for v in norm.inverse(x)[0][:, 0]]
    [-1.0, 1.0]

    ```
    """

    log_scale: Float[Array, " d"]
    shift: Float[Array, " d"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, d: int):
        self.log_scale, self.shift = jnp.zeros(d), jnp.zeros(d)
        self.event_shape = (d,)

    def standardising(self, x: Float[Array, "n d"]) -> "ActNorm":
        """The same map with scale and shift set from data rows; constant columns keep scale 1."""
        return replaced(self, log_scale=log_deviation(x), shift=x.mean(0))

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        x = z * jnp.exp(self.log_scale) + self.shift
        return x, jnp.broadcast_to(self.log_scale.sum(), z.shape[:1])

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        z = (x - self.shift) * jnp.exp(-self.log_scale)
        return z, jnp.broadcast_to(-self.log_scale.sum(), x.shape[:1])


def log_deviation(x: Float[Array, "n d"]) -> Float[Array, " d"]:
    """The logarithm of each column's standard deviation, 0 for a constant column."""
    deviation = x.std(0)
    return jnp.where(deviation > 1e-6, jnp.log(jnp.maximum(deviation, 1e-6)), 0.0)
