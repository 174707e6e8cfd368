"""The standard normal."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.base import Condition, Key, PerRow
from pushforward.distributions.base import AbstractDistribution, Draws
from pushforward.rows import Shape, as_shape, sum_event


class StandardNormal(AbstractDistribution):
    """The standard normal on an event of any shape: `log p = -(|x|^2 + d log 2 pi) / 2`.

    Arguments:
        event: the event's size or shape.

    ```python
    >>> import pushforward as pf
    >>> print(round(float(pf.distributions.StandardNormal(2).log_prob([0.0, 0.0])), 4))
    -1.8379

    ```
    """

    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: int | Shape):
        self.event_shape = as_shape(event) or ()

    def log_prob_rows(self, x: Array, condition: Condition, key: Key) -> PerRow:
        return sum_event(-0.5 * x * x - 0.5 * math.log(2 * math.pi))

    def sample_rows(self, key: PRNGKeyArray, n: int, condition: Condition) -> Draws:
        x = jax.random.normal(key, (n, *self.event_shape), jnp.zeros(()).dtype)
        return x, self.log_prob_rows(x, None, None)
