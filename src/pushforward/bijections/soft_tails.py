"""Logarithmic compression of far outliers."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.base import AbstractBijection
from pushforward.rows import Shape


class SoftTails(AbstractBijection):
    """The identity within `[-start, start]`, logarithmic outside: outliers come near, nothing is clipped.

        z = sign(x) (start + log(1 + |x| - start))   for |x| > start

    Continuously differentiable and invertible on all of R. A value of 1e30 becomes `start + 69`, so that scores stay
    finite and one broken row does not rule the gradient. Cost: one logarithm a coordinate.

    Arguments:
        d: number of coordinates.
        start: where the tails begin, in units of the (standardised) data; default 10.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> z, _ = pf.bijections.SoftTails(2).inverse(jnp.array([3.0, 1e30]))
    >>> [round(float(v), 1) for v in z]
    [3.0, 79.1]

    ```
    """

    event_shape: Shape = eqx.field(static=True)
    start: float = eqx.field(static=True, default=10.0)
    condition_shape: None = eqx.field(static=True)

    def __init__(self, d: int, start: float = 10.0):
        self.event_shape, self.start = (d,), start
        self.condition_shape = None

    def inverse_rows(
        self, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        beyond = jnp.maximum(jnp.abs(x) - self.start, 0.0)
        log_stretch = jnp.log1p(beyond)
        z = jnp.where(beyond > 0, jnp.sign(x) * (self.start + log_stretch), x)
        return z, -log_stretch.sum(1)

    def forward_rows(
        self, z: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        log_stretch = jnp.maximum(jnp.abs(z) - self.start, 0.0)
        # exp overflows float32 at 88: a latent draw so far out is a value at the type's limit, not infinity.
        limit = float(np.log(float(jnp.finfo(z.dtype).max))) - 1.0
        stretched = jnp.expm1(jnp.minimum(log_stretch, limit))
        x = jnp.where(log_stretch > 0, jnp.sign(z) * (self.start + stretched), z)
        return x, log_stretch.sum(1)
