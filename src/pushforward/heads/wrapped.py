"""Mixtures of wrapped Cauchy distributions, on a circle."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.heads.base import AbstractNumberHead, Cell, Cut

MOST_LOG_CONCENTRATION = 8.0
"""The narrowest component: half of it lies within 2 exp(-8) radians of its mean."""


@dataclass(frozen=True)
class WrappedCauchy(AbstractNumberHead):
    """A mixture of wrapped Cauchy distributions of an angle z, in radians.

        p(z) = sum_m w_m / (2 pi) sinh(s_m) / (cosh(s_m) - cos(z - mean_m))

    With `k = coth(s / 2)` a component is the uniform distribution of the angle t under `tan(z' / 2) = tan(t / 2) / k`,
    `z' = z - mean`. So its density is `k / (2 pi (cos(z'/2)^2 + k^2 sin(z'/2)^2))`, and an arc from a to b has the
    probability

        atan2(k sin((b - a)/2), cos(a'/2) cos(b'/2) + k^2 sin(a'/2) sin(b'/2)) / pi

    without cancellation and across any seam. A value that stands for a cell has the probability of the arc from z to
    z + width, a point the density times dz/dx. With all parameters 0 the means lie evenly around the circle.

    Cost: some 30 operations per component and row. Kent and Tyler 1988, J. Appl. Stat. 15(2).

    Arguments:
        components: the number of wrapped Cauchy distributions; default 16.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.heads import Cell, WrappedCauchy
    >>> head, none = WrappedCauchy(4), jnp.zeros(2)
    >>> halves = Cell(jnp.zeros(2, int), jnp.array([-jnp.pi, 0.0]), jnp.full(2, jnp.pi), none)
    >>> jnp.exp(head.log_prob(jnp.zeros((head.size, 2)), halves)).round(3).tolist()
    [0.5, 0.5]

    ```
    """

    components: int = 16

    @property
    def size(self) -> int:
        return 3 * self.components

    def mixture(
        self, params: Float[Array, "size n"]
    ) -> tuple[Float[Array, "m n"], Float[Array, "m n"], Float[Array, "m n"]]:
        """Log-weights, means and log k."""
        m = self.components
        weights, means, narrow = jnp.split(params, (m, 2 * m))
        grid = jnp.asarray((2 * np.arange(m) + 1) * np.pi / m - np.pi, params.dtype)[:, None]
        log_k = jnp.minimum(jax.nn.softplus(narrow), MOST_LOG_CONCENTRATION)
        return jax.nn.log_softmax(weights, axis=0), grid + means, log_k

    def log_prob(self, params: Float[Array, "size n"], cell: Cell) -> Float[Array, " n"]:
        log_weights, means, log_k = self.mixture(params)
        half, k = (cell.z[None] - means) / 2, jnp.exp(log_k)
        is_cell = (cell.width > 0)[None]
        width = jnp.where(is_cell, cell.width[None], 1.0)
        spread = jnp.square(jnp.cos(half)) + jnp.square(k * jnp.sin(half))
        each = jnp.where(
            is_cell,
            jnp.log(_arc(half, width, k)),
            log_k - jnp.log(spread) - float(np.log(2 * np.pi)),
        )
        return jax.nn.logsumexp(log_weights + each, axis=0) + cell.log_slope

    def cdf(self, params: Float[Array, "size n"], z: Float[Array, " n"]) -> Float[Array, " n"]:
        """The probability of the arc from -pi to z, for z up to pi."""
        log_weights, means, log_k = self.mixture(params)
        arc = _arc((-np.pi - means) / 2, (z + np.pi)[None], jnp.exp(log_k))
        return (jnp.exp(log_weights) * arc).sum(0)

    def sample(self, params: Float[Array, "size n"], key: PRNGKeyArray) -> Cell:
        log_weights, means, log_k = self.mixture(params)
        which_key, key = jax.random.split(key)
        which = jax.random.categorical(which_key, log_weights, axis=0)
        at = jnp.arange(self.components)[:, None] == which[None]
        mean, log_k = (jnp.where(at, a, 0.0).sum(0) for a in (means, log_k))
        half = np.pi * jax.random.uniform(key, which.shape, params.dtype, -0.5, 0.5)
        z = mean + 2 * jnp.arctan2(jnp.sin(half), jnp.exp(log_k) * jnp.cos(half))
        return _cell(_turned(z))

    def sample_within(
        self, params: Float[Array, "size n"], cut: Cut, key: PRNGKeyArray
    ) -> tuple[Cell, Float[Array, " n"]]:
        log_weights, means, log_k = self.mixture(params)
        low, high = (
            jnp.clip(jnp.asarray(ends), -np.pi, np.pi)[:, None, None]
            for ends in (cut.low, cut.high)
        )
        # (intervals, components, n)
        half, k = (low - means[None]) / 2, jnp.exp(log_k)[None]
        width = jnp.minimum(jnp.asarray(cut.width)[:, None, None], high - low)
        arcs = _arc(half, width, k)
        parts = (log_weights[None] + jnp.log(arcs)).reshape(-1, means.shape[1])
        which_key, key = jax.random.split(key)
        which = jax.random.categorical(which_key, parts, axis=0)
        at = jnp.arange(len(parts))[:, None] == which[None]

        def chosen(array: Array) -> Array:
            return jnp.where(at, jnp.broadcast_to(array, arcs.shape).reshape(parts.shape), 0.0).sum(
                0
            )

        # The angle t is uniform on an arc that begins at that of the lower end.
        u = jax.random.uniform(key, parts.shape[1:], params.dtype)
        begin = jnp.arctan2(k * jnp.sin(half), jnp.cos(half))
        t = chosen(begin) + np.pi * u * chosen(arcs)
        z = chosen(means[None]) + 2 * jnp.arctan2(jnp.sin(t), chosen(k) * jnp.cos(t))
        low, high = chosen(low), chosen(high)
        # Rounding may carry a draw beyond an end, or once around.
        away = jnp.mod(z - (low + high) / 2 + np.pi, 2 * np.pi) - np.pi
        z = jnp.clip((low + high) / 2 + away, low, high)
        return _cell(z), jax.nn.logsumexp(parts, axis=0)

    def points(self, params: Float[Array, "size n"]) -> Float[Array, "k n"]:
        _, means, log_k = self.mixture(params)
        half = jnp.asarray(np.pi * (np.arange(16) + 0.5) / 16 - np.pi / 2, params.dtype)[
            :, None, None
        ]
        turned = jnp.arctan2(jnp.sin(half), jnp.exp(log_k)[None] * jnp.cos(half))
        each = _turned(means[None] + 2 * turned)
        ends = jnp.broadcast_to(
            jnp.asarray([-np.pi, np.pi], params.dtype)[:, None], (2, each.shape[2])
        )
        return jnp.sort(jnp.concatenate([each.reshape(-1, each.shape[2]), ends]), axis=0)


def _turned(z: Array) -> Array:
    """Angles in the turn from -pi to pi."""
    return jnp.mod(z + np.pi, 2 * np.pi) - np.pi


def _cell(z: Float[Array, " n"]) -> Cell:
    zero = jnp.zeros_like(z)
    return Cell(jnp.zeros(z.shape, jnp.int32), z, zero, zero)


def _arc(
    half: Float[Array, "*k m n"], width: Float[Array, "*k #m #n"], k: Float[Array, "*#k m n"]
) -> Float[Array, "*k m n"]:
    """The probability of an arc that begins at twice `half` from the mean."""
    end = half + width / 2
    dot = jnp.cos(half) * jnp.cos(end) + jnp.square(k) * jnp.sin(half) * jnp.sin(end)
    return jnp.arctan2(k * jnp.sin(width / 2), dot) / np.pi
