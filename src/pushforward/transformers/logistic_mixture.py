"""The cumulative logistic mixture."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import check_count
from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.mixtures import along, logit_of_mixture, spread
from pushforward.transformers.tails import bounded, check_bound, floored, linear_tails


class LogisticMixtureCDF(AbstractTransformer):
    """The logit of a cumulative mixture of logistics, followed by a scale and a shift.

        z = e^a logit(sum_k w_k sigmoid((x - m_k) / s_k)) + b

    Both tails are computed in log space; beyond `bound` the map continues straight. Components start spread over the
    line. Cost: inverse `components` sigmoids, forward a numeric search.

    Flow++ (Ho et al. 2019, arXiv 1902.00275).

    Arguments:
        components: at least 1; default 8.
        bound: half the side of the box; default 20.

    Raises `InputError` for fewer than 1 component or a bound that is not positive.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> family = pf.transformers.LogisticMixtureCDF(components=4)
    >>> z, _ = family.inverse(jnp.array([1.0]), jnp.zeros((family.size, 1)))
    >>> abs(float(z[0]) - 1) < 0.1
    True

    ```
    """

    searched = True
    components: int = eqx.field(static=True, default=8)
    bound: float = eqx.field(static=True, default=20.0)

    def __check_init__(self) -> None:
        check_count("components", self.components)
        check_bound(self.bound)

    @property
    def size(self) -> int:
        return 2 + 3 * self.components

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        k = self.components
        weights, means, scales = params[2:].reshape(3, k, *params.shape[1:])
        means = bounded(means, self.bound) + along(spread(k, REACH), means)
        log_weights = jax.nn.log_softmax(weights, axis=0)
        log_slopes = (START if k > 1 else 0.0) - bounded(scales, LARGEST)
        log_outer = bounded(params[1], LARGEST)
        inside = jnp.clip(x, -self.bound, self.bound)
        u = (inside[None] - means) * jnp.exp(log_slopes)
        z, log_slope = floored(*logit_of_mixture(log_weights, log_slopes, u), inside)
        z, log_slope = jnp.exp(log_outer) * z + params[0], log_slope + log_outer
        return linear_tails(x - inside, z, log_slope)


# Largest |log-scale|; where components start, and the log-slope with which they start near the identity.
LARGEST, REACH, START = 4.0, 1.5, 0.1
