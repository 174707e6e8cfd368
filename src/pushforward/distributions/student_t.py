"""Student's t, one for each coordinate."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.base import Condition, Key, PerRow
from pushforward.distributions.base import AbstractDistribution, Draws
from pushforward.errors import InputError
from pushforward.rows import Shape, as_shape, sum_event


class StudentT(AbstractDistribution):
    """Independent Student t coordinates with learned degrees of freedom, for heavy-tailed data.

        log p = sum_i log Gamma((v_i+1)/2) - log Gamma(v_i/2) - log(pi v_i)/2 - (v_i+1)/2 log(1 + x_i^2 / v_i)

    Degrees of freedom stay above 1 (`v = 1 + exp(raw)`) and are trained with the flow.

    Tail-adaptive flows (Jaini et al. 2020, arXiv 1907.04481).

    Arguments:
        event: the event's size or shape.
        freedom: initial degrees of freedom, above 1; default 10.

    Raises `InputError` unless `freedom` is above 1.

    ```python
    >>> import pushforward as pf
    >>> t = pf.distributions.StudentT(1, freedom=3.0)
    >>> print(round(float(t.log_prob([0.0])), 4))
    -1.0009

    ```
    """

    raw_freedom: Float[Array, "*event"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: int | Shape, freedom: float = 10.0):
        if not freedom > 1:
            raise InputError(f"freedom={freedom}: degrees of freedom must be above 1")
        self.event_shape = as_shape(event) or ()
        self.raw_freedom = jnp.full(self.event_shape, np.log(freedom - 1.0))

    @property
    def freedom(self) -> Float[Array, "*event"]:
        """Degrees of freedom of each coordinate."""
        return 1.0 + jnp.exp(self.raw_freedom)

    def log_prob_rows(self, x: Array, condition: Condition, key: Key) -> PerRow:
        v = self.freedom
        constant = gammaln((v + 1) / 2) - gammaln(v / 2) - 0.5 * jnp.log(np.pi * v)
        # log1p(x^2 / v) as 2 log(hypot(1, x / sqrt v)), which does not overflow up to the type's limit.
        spread = 2 * jnp.log(jnp.hypot(1.0, x / jnp.sqrt(v)))
        return sum_event(constant - (v + 1) / 2 * spread)

    def sample_rows(self, key: PRNGKeyArray, n: int, condition: Condition) -> Draws:
        x = jax.random.t(key, self.freedom, (n, *self.event_shape))
        return x, self.log_prob_rows(x, None, None)
