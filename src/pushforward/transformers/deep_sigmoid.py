"""The deep sigmoid of neural autoregressive flows."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import check_count
from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.mixtures import along, logit_of_mixture, spread
from pushforward.transformers.tails import bounded, check_bound, floored, linear_tails


class DeepSigmoid(AbstractTransformer):
    """A monotone network of one hidden layer, `z = logit(sum_k w_k sigmoid(a_k x + b_k))`.

    Slopes are `a_k = exp(bound_a tanh(raw / bound_a))`, weights sum to 1, and all is in log space, which keeps both
    tails exact. Units start spread over the line; outside `[-bound, bound]` the map continues straight. Cost: inverse
    `units` sigmoids, forward a numeric search.

    Neural autoregressive flows (Huang et al. 2018, arXiv 1804.00779).

    Arguments:
        units: hidden units, at least 1; default 8.
        bound: half the side of the box; default 20.

    Raises `InputError` for fewer than 1 unit or a bound that is not positive.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> family = pf.transformers.DeepSigmoid(units=4)
    >>> z, _ = family.inverse(jnp.array([1.0]), jnp.zeros((family.size, 1)))
    >>> abs(float(z[0]) - 1) < 0.1
    True

    ```
    """

    searched = True
    units: int = eqx.field(static=True, default=8)
    bound: float = eqx.field(static=True, default=20.0)

    def __check_init__(self) -> None:
        check_count("units", self.units)
        check_bound(self.bound)

    @property
    def size(self) -> int:
        return 3 * self.units

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        weights, slopes, shifts = params.reshape(3, self.units, *params.shape[1:])
        log_weights = jax.nn.log_softmax(weights, axis=0)
        log_slopes = (START if self.units > 1 else 0.0) + bounded(slopes, LARGEST)
        shifts = bounded(shifts, FARTHEST) - along(spread(self.units, REACH), shifts)
        inside = jnp.clip(x, -self.bound, self.bound)
        u = jnp.exp(log_slopes) * inside[None] + shifts
        z, log_slope = floored(*logit_of_mixture(log_weights, log_slopes, u), inside)
        return linear_tails(x - inside, z, log_slope)


# Largest |log-slope| and |shift| of a unit.
LARGEST, FARTHEST = 4.0, 50.0
# Where units start, and the log-slope with which they start near the identity.
REACH, START = 1.5, 0.1
