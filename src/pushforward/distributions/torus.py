"""The uniform distribution of angles."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.base import Condition, Key, PerRow
from pushforward.distributions.base import AbstractDistribution, Draws
from pushforward.rows import Shape, as_shape


class UniformTorus(AbstractDistribution):
    """The uniform distribution of angles in radians, on the torus: `log p = -d log(2 pi)`.

    It has period 2 pi and integrates to 1 over a turn of every coordinate. Draws lie in `[-pi, pi]`.

    Arguments:
        event: the event's size or shape.

    ```python
    >>> import pushforward as pf
    >>> torus = pf.distributions.UniformTorus(2)
    >>> print(round(float(torus.log_prob([0.0, 7.0])), 4))
    -3.6758

    ```
    """

    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: int | Shape):
        self.event_shape = as_shape(event) or ()

    def log_prob_rows(self, x: Array, condition: Condition, key: Key) -> PerRow:
        size = math.prod(self.event_shape)
        return jnp.full(len(x), -size * math.log(2 * math.pi), x.dtype)

    def sample_rows(self, key: PRNGKeyArray, n: int, condition: Condition) -> Draws:
        shape, dtype = (n, *self.event_shape), jnp.zeros(()).dtype
        x = jax.random.uniform(key, shape, dtype, -math.pi, math.pi)
        return x, self.log_prob_rows(x, None, None)
