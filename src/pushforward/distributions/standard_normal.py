"""The standard normal."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.distributions.base import AbstractDistribution, sum_event
from pushforward.rows import Shape, as_shape


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
    condition_shape: None = eqx.field(static=True)

    def __init__(self, event: int | Shape):
        self.event_shape = as_shape(event) or ()
        self.condition_shape = None

    def log_prob_rows(
        self, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> Float[Array, " n"]:
        return sum_event(-0.5 * x * x - 0.5 * math.log(2 * math.pi))

    def sample_rows(
        self, key: PRNGKeyArray, n: int, condition: Array | None
    ) -> tuple[Array, Float[Array, " n"]]:
        x = jax.random.normal(key, (n, *self.event_shape), jnp.zeros(()).dtype)
        return x, self.log_prob_rows(x, None, None)
