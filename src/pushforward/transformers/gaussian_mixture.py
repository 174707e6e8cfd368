"""The cumulative Gaussian mixture."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import check_count
from pushforward.numeric import solved
from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.mixtures import along, normal_of_mixture, spread
from pushforward.transformers.tails import bounded, check_bound, linear_tails


class GaussianMixtureCDF(AbstractTransformer):
    """The map that takes a mixture of Gaussians to the standard normal.

        z = ndtri(F(x)),    F(x) = sum_k w_k ndtr((x - m_k) / s_k)

    Over a normal base the density of x is the mixture's: in an autoregressive structure the conditionals are mixtures
    of Gaussians. Beyond `bound` the map continues straight. One component is affine. Several start spread, together
    nearly a standard normal; a fixed one of weight 1e-4 and deviation `bound / 5` is added, so that the map has an
    inverse in floating point wherever they move.

    Cost: inverse `components` normal integrals, forward a numeric search.

    MADE with mixture conditionals (Germain et al. 2015, arXiv 1502.03509; Papamakarios et al. 2017, arXiv
    1705.07057); Gaussianization flows (Meng et al. 2020, arXiv 2003.01941).

    Arguments:
        components: at least 1; default 8.
        bound: half the side of the box; default 20.

    Raises `InputError` for fewer than 1 component or a bound that is not positive.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> family = pf.transformers.GaussianMixtureCDF(components=1)
    >>> z, _ = family.inverse(jnp.array([3.0]), jnp.array([[0.0], [1.0], [0.0]]))
    >>> float(z[0])
    2.0

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
        return 3 * self.components

    def _parts(self, params: Array) -> tuple[Array, Array, Array]:
        """Log-weights, means and log-slopes, `(components, *shape)`."""
        k = self.components
        weights, means, scales = params.reshape(3, k, *params.shape[1:])
        # Equal components evenly over +-REACH, of the width that makes their total variance 1.
        starts = spread(k, REACH)
        start = 0.5 * math.log(1 - sum(m * m for m in starts) / k)
        log_slopes = -start - bounded(scales, LARGEST)
        if k == 1:
            return weights, means, log_slopes
        means = bounded(means, self.bound) + along(starts, means)
        # Between narrow components far apart the map would be flat to the last digit, without inverse.
        broad, log_weights = jnp.zeros_like(means[:1]), jax.nn.log_softmax(weights, axis=0)
        return (
            jnp.concatenate([math.log1p(-BROAD) + log_weights, broad + math.log(BROAD)]),
            jnp.concatenate([means, broad]),
            jnp.concatenate([log_slopes, broad + math.log(BREADTH / self.bound)]),
        )

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        log_weights, means, log_slopes = self._parts(params)
        slopes = jnp.exp(log_slopes)
        if self.components == 1:
            return (x - means[0]) * slopes[0], log_slopes[0]
        inside = jnp.clip(x, -self.bound, self.bound)
        z, log_slope = normal_of_mixture(log_weights, log_slopes, (inside[None] - means) * slopes)
        return linear_tails(x - inside, z, log_slope)

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        if self.components == 1:
            _, means, log_slopes = self._parts(params)
            return z * jnp.exp(-log_slopes[0]) + means[0], -log_slopes[0]
        return solved(self.inverse, z, params)


# Weight of the fixed component, and the bound in its deviations.
BROAD, BREADTH = 1e-4, 5.0
# Largest |log-scale| of a component, and where components start.
LARGEST, REACH = 4.0, 1.0
