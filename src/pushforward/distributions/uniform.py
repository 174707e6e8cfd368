"""The uniform distribution on a box."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.base import Condition, Key, PerRow
from pushforward.distributions.base import AbstractDistribution, Draws
from pushforward.errors import InputError
from pushforward.rows import Shape, as_shape


class Uniform(AbstractDistribution):
    """The uniform distribution on `[low, high]` in every coordinate: `log p = -d log(high - low)`, `-inf` outside.

    Arguments:
        event: the event's size or shape.
        low, high: the sides of the box; default 0 and 1.

    Raises `InputError` unless `low < high`.

    ```python
    >>> import pushforward as pf
    >>> square = pf.distributions.Uniform(2, low=0.0, high=2.0)
    >>> print(round(float(square.log_prob([1.0, 1.0])), 4), float(square.log_prob([3.0, 1.0])))
    -1.3863 -inf

    ```
    """

    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: int | Shape, low: float = 0.0, high: float = 1.0):
        if not low < high:
            raise InputError(f"low={low}, high={high}: a uniform base needs low < high")
        self.event_shape, self.low, self.high = as_shape(event) or (), float(low), float(high)

    def log_prob_rows(self, x: Array, condition: Condition, key: Key) -> PerRow:
        inside = ((x >= self.low) & (x <= self.high)).all(range(1, x.ndim))
        size = int(np.prod(self.event_shape))
        log_volume = jnp.asarray(size * np.log(self.high - self.low), x.dtype)
        return jnp.where(inside, -log_volume, -jnp.inf)

    def sample_rows(self, key: PRNGKeyArray, n: int, condition: Condition) -> Draws:
        shape, dtype = (n, *self.event_shape), jnp.zeros(()).dtype
        x = jax.random.uniform(key, shape, dtype, self.low, self.high)
        return x, self.log_prob_rows(x, None, None)
