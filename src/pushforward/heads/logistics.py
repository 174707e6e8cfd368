"""Mixtures of logistics, at points and over cells."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.heads.base import AbstractHead, Cell

LEAST_LOG_SCALE = -8.0
"""The narrowest component, on the marginal's scale."""
# Below this width in units of the scale, a cell's mass is its width times the density.
_NARROW = 1e-3


@dataclass(frozen=True)
class Logistics(AbstractHead):
    """A mixture of logistic distributions on the scale z of a column's marginal.

        p(z) = sum_m w_m logistic((z - mean_m) / s_m) / s_m

    A value that stands for a cell has the probability of the cell, `sum_m w_m (F_m(z + width) - F_m(z))`, computed
    without cancellation; a point has the density times dz/dx. With all parameters 0 the components lie evenly over the
    middle of the scale. Two of the parameters shift and stretch the whole mixture.

    Cost: some 30 operations per component and row. Salimans et al. 2017, arXiv 1701.05517, for cells.

    Arguments:
        components: the number of logistics; default 16.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.heads import Cell, Logistics
    >>> head, none = Logistics(4), jnp.zeros(2)
    >>> edges = jnp.array([-jnp.inf, 0.0, jnp.inf])
    >>> halves = Cell(jnp.zeros(2, int), jnp.array([-60.0, 0.0]), jnp.full(2, 60.0), none)
    >>> jnp.exp(head.log_prob(jnp.zeros((head.size, 2)), halves)).round(3).tolist()
    [0.5, 0.5]

    ```
    """

    components: int = 16

    @property
    def size(self) -> int:
        return 3 * self.components + 2

    def mixture(
        self, params: Float[Array, "size n"]
    ) -> tuple[Float[Array, "m n"], Float[Array, "m n"], Float[Array, "m n"]]:
        """Log-weights, means and log-scales."""
        m = self.components
        parts = jnp.split(params, (m, 2 * m, 3 * m, 3 * m + 1))
        weights, means, scales, shift, stretch = parts
        grid = jnp.asarray(np.linspace(-3, 3, m) if m > 1 else np.zeros(1), params.dtype)[:, None]
        stretch = jnp.clip(stretch, -9.0, 4.0)
        log_scales = stretch + jnp.clip(scales, -5.0, 5.0) - (0.5 if m > 1 else 0.0)
        return (
            jax.nn.log_softmax(weights, axis=0),
            4.0 * shift + jnp.exp(stretch) * (grid + means),
            jnp.maximum(log_scales, LEAST_LOG_SCALE),
        )

    def log_prob(self, params: Float[Array, "size n"], cell: Cell) -> Float[Array, " n"]:
        log_weights, means, log_scales = self.mixture(params)
        inverse = jnp.exp(-log_scales)
        low, height = (cell.z[None] - means) * inverse, cell.width[None] * inverse
        is_cell = cell.width[None] > 0
        # log(F(high) - F(low)) = log F(high) + log(1 - F(low)) + log(1 - exp(low - high)).
        safe = jnp.where(is_cell, jnp.maximum(height, 1e-30), 1.0)
        narrow = safe < _NARROW
        mass = jnp.where(narrow, jnp.log(safe), jnp.log(-jnp.expm1(-jnp.where(narrow, 1.0, safe))))
        ends = -jax.nn.softplus(-(low + height)) - jax.nn.softplus(low)
        each = ends + jnp.where(is_cell, mass, -log_scales)
        return jax.nn.logsumexp(log_weights + each, axis=0) + cell.log_slope

    def cdf(self, params: Float[Array, "size n"], z: Float[Array, " n"]) -> Float[Array, " n"]:
        """The probability of less than z."""
        log_weights, means, log_scales = self.mixture(params)
        below = jax.nn.sigmoid((z[None] - means) * jnp.exp(-log_scales))
        return (jnp.exp(log_weights) * below).sum(0)

    def sample(self, params: Float[Array, "size n"], key: PRNGKeyArray) -> Cell:
        log_weights, means, log_scales = self.mixture(params)
        which_key, key = jax.random.split(key)
        which = jax.random.categorical(which_key, log_weights, axis=0)
        at = jnp.arange(self.components)[:, None] == which[None]
        noise = jax.random.logistic(key, which.shape, params.dtype)
        mean, log_scale = (jnp.where(at, a, 0.0).sum(0) for a in (means, log_scales))
        z = mean + jnp.exp(log_scale) * noise
        zero = jnp.zeros_like(z)
        return Cell(jnp.zeros(z.shape, jnp.int32), z, zero, zero)
