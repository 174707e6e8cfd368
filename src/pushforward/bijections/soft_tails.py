"""Compression of far outliers."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.rows import Shape


class SoftTails(AbstractBijection):
    """The identity within `[-start, start]`, logarithmic or a root outside: outliers move near, nothing is clipped.

        z = sign(x) (start + log(1 + b)),          b = |x| - start > 0
        z = sign(x) (start + sqrt(1 + 2 b) - 1)    with `root`

    Continuously differentiable and invertible on all of R. The logarithm takes 1e30 to `start + 69`, so that scores
    stay finite and one broken row does not dominate the gradient; but it throws a latent draw of `start + 20` to 5e8.
    The root throws it to 230 only, but takes 1e10 to 1e5. Cost: one logarithm or root per coordinate.

    Arguments:
        d: number of coordinates.
        start: where the tails begin, in units of the (standardised) data; default 10.
        root: whether tails are a root instead of logarithmic; default False.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> z, _ = pf.bijections.SoftTails(2).inverse(jnp.array([3.0, 1e30]))
    >>> [round(float(v), 1) for v in z]
    [3.0, 79.1]

    ```
    """

    event_shape: Shape = eqx.field(static=True)
    start: float = eqx.field(static=True)
    root: bool = eqx.field(static=True)
    condition_shape = None

    def __init__(self, d: int, start: float = 10.0, root: bool = False):
        self.event_shape, self.start, self.root = (d,), start, root

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        beyond = jnp.maximum(jnp.abs(x) - self.start, 0.0)
        if self.root:
            log_stretch = 0.5 * jnp.log1p(2 * beyond)
            # sqrt(1 + 2 b) - 1, without cancellation at small b.
            drawn = 2 * beyond / (jnp.sqrt(1 + 2 * beyond) + 1)
        else:
            drawn = log_stretch = jnp.log1p(beyond)
        z = jnp.where(beyond > 0, jnp.sign(x) * (self.start + drawn), x)
        return z, -log_stretch.sum(1)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        drawn, largest = jnp.maximum(jnp.abs(z) - self.start, 0.0), float(jnp.finfo(z.dtype).max)
        # A latent very far out gives a value at the type's limit, not infinity.
        if self.root:
            log_stretch = jnp.log1p(drawn)
            within = jnp.minimum(drawn, largest**0.5)
            beyond = within + 0.5 * within * within
        else:
            log_stretch = drawn
            beyond = jnp.expm1(jnp.minimum(drawn, float(np.log(largest)) - 1.0))
        x = jnp.where(drawn > 0, jnp.sign(z) * (self.start + beyond), z)
        return x, log_stretch.sum(1)
