"""Mixtures of logistics, at points and over cells."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.heads.base import AbstractNumberHead, Cell, Cut

LEAST_LOG_SCALE = -8.0
"""The narrowest component, on the marginal's scale."""
# Below this width in units of the scale, a cell's mass is its width times the density.
_NARROW = 1e-3
# Where each component is looked at, in its scales.
_POINTS = np.linspace(-9.0, 9.0, 19)


@dataclass(frozen=True)
class Logistics(AbstractNumberHead):
    """A mixture of logistic distributions on the scale z of a column's marginal.

        p(z) = sum_m w_m logistic((z - mean_m) / s_m) / s_m

    A value that stands for a cell has the probability of the cell, `sum_m w_m (F_m(z + width) - F_m(z))`, computed
    without cancellation, or below z where the width is negative; a point has the density times dz/dx. With all
    parameters 0 the components lie evenly over the middle of the scale. Two of the parameters shift and stretch the
    whole mixture.

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

    @property
    def _narrower(self) -> float:
        """How much narrower components are than the marginal, with all parameters 0."""
        return 0.5 if self.components > 1 else 0.0

    def _grid(self, dtype: Any) -> Float[Array, "m 1"]:
        """The means with all parameters 0."""
        m = self.components
        return jnp.asarray(np.linspace(-3, 3, m) if m > 1 else np.zeros(1), dtype)[:, None]

    def mixture(
        self, params: Float[Array, "size n"]
    ) -> tuple[Float[Array, "m n"], Float[Array, "m n"], Float[Array, "m n"]]:
        """Log-weights, means and log-scales."""
        m = self.components
        parts = jnp.split(params, (m, 2 * m, 3 * m, 3 * m + 1))
        weights, means, scales, shift, stretch = parts
        stretch = jnp.clip(stretch, -9.0, 4.0)
        log_scales = stretch + jnp.clip(scales, -5.0, 5.0) - self._narrower
        return (
            jax.nn.log_softmax(weights, axis=0),
            4.0 * shift + jnp.exp(stretch) * (self._grid(params.dtype) + means),
            jnp.maximum(log_scales, LEAST_LOG_SCALE),
        )

    def params(
        self,
        log_weights: Float[Array, "m n"],
        means: Float[Array, "*m"],
        log_scales: Float[Array, "*m"],
    ) -> Float[Array, "size n"]:
        """The parameters whose `mixture` this is: means and scales are those of each component, or also of each row."""
        means, log_scales = (a.reshape(self.components, -1) for a in (means, log_scales))
        parts = (log_weights, means - self._grid(means.dtype), log_scales + self._narrower)
        spread = [jnp.broadcast_to(part, log_weights.shape) for part in parts]
        return jnp.concatenate([*spread, jnp.zeros((2, log_weights.shape[1]), means.dtype)])

    def log_prob(self, params: Float[Array, "size #n"], cell: Cell) -> Float[Array, " n"]:
        log_weights, means, log_scales = self.mixture(params)
        inverse = jnp.exp(-log_scales)
        # A cell below z has the mass of its mirror image, so that half-lines keep the edge they have.
        above = jnp.where(cell.width < 0, -1.0, 1.0).astype(inverse.dtype)[None]
        low, height = above * (cell.z[None] - means) * inverse, jnp.abs(cell.width)[None] * inverse
        is_cell = cell.width[None] != 0
        # log(F(high) - F(low)) = log F(high) + log(1 - F(low)) + log(1 - exp(low - high)).
        mass = _log_gap(jnp.where(is_cell, height, 1.0))
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

    def sample_within(
        self, params: Float[Array, "size n"], cut: Cut, key: PRNGKeyArray
    ) -> tuple[Cell, Float[Array, " n"]]:
        log_weights, means, log_scales = self.mixture(params)
        inverse = jnp.exp(-log_scales)
        # (intervals, components, n)
        low, high = (
            (ends[:, None, None] - means[None]) * inverse[None]
            for ends in map(jnp.asarray, (cut.low, cut.high))
        )
        gap = _log_gap(jnp.asarray(cut.width)[:, None, None] * inverse[None])
        mass = gap - jax.nn.softplus(-high) - jax.nn.softplus(low)
        shape, parts = mass.shape, (log_weights[None] + mass).reshape(-1, means.shape[1])
        which_key, key = jax.random.split(key)
        which = jax.random.categorical(which_key, parts, axis=0)
        at = jnp.arange(len(parts))[:, None] == which[None]

        def chosen(array: Array) -> Array:
            flat = jnp.broadcast_to(array, shape).reshape(parts.shape)
            return jnp.where(at, flat, 0.0).sum(0)

        low, high, mass = chosen(low), chosen(high), chosen(mass)
        u = jax.random.uniform(key, mass.shape, params.dtype, 1e-7, 1 - 1e-7)
        # F and 1 - F at the draw, each from its own end: exact in both tails.
        below = jnp.logaddexp(-jax.nn.softplus(-low), jnp.log(u) + mass)
        above = jnp.logaddexp(-jax.nn.softplus(high), jnp.log1p(-u) + mass)
        z = chosen(means) + jnp.exp(chosen(log_scales)) * (below - above)
        z = jnp.clip(
            z,
            chosen(jnp.asarray(cut.low)[:, None, None]),
            chosen(jnp.asarray(cut.high)[:, None, None]),
        )
        zero = jnp.zeros_like(z)
        return Cell(jnp.zeros(z.shape, jnp.int32), z, zero, zero), jax.nn.logsumexp(parts, axis=0)

    def points(self, params: Float[Array, "size n"]) -> Float[Array, "k n"]:
        _, means, log_scales = self.mixture(params)
        places = jnp.asarray(_POINTS, params.dtype)[:, None, None]
        each = means[None] + jnp.exp(log_scales)[None] * places
        return jnp.sort(each.reshape(-1, means.shape[1]), axis=0)


def _log_gap(height: Array) -> Array:
    """log(1 - exp(-height)) for heights above 0."""
    safe = jnp.maximum(height, 1e-30)
    narrow = safe < _NARROW
    return jnp.where(narrow, jnp.log(safe), jnp.log(-jnp.expm1(-jnp.where(narrow, 1.0, safe))))
