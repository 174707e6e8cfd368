"""From the scale on which layers work to grey levels."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, PerRow
from pushforward.bijections.images.squeeze import image_shape
from pushforward.errors import InputError, check_count
from pushforward.rows import Shape

SCALES = ("logit", "centre", "unit")


class Pixels(AbstractBijection):
    """Grey levels, `0 <= x <= levels`, from the scale of a flow's layers. It stands outermost in a flow on images.

        "logit":   z = log(s / (1 - s)),   s = alpha + (1 - 2 alpha) x / levels
        "centre":  z = 2 x / levels - 1
        "unit":    z = x / levels

    So the flow's density is per grey level, and `-log p / (h w c log 2)` are bits per dimension, whatever the scale:
    this is the one place that knows the number of levels. A picture of whole numbers becomes one within by adding noise
    in [0, 1), see `Dequantized`. "logit" takes what lies beyond the levels to no latent: density 0; its `forward` may
    leave the levels by the share alpha. Cost: two logarithms per number.

    RealNVP (Dinh et al. 2017, arXiv 1605.08803), section 4.1.

    Arguments:
        event: the shape `(h, w, c)`.
        levels: how many there are, at least 2; default 256.
        scale: default "logit".
        alpha: how far "logit" stays from its ends, between 0 and 1/2; default 1e-6. Pictures without flat backgrounds
            want .05.

    Raises `InputError` for an unknown scale, fewer levels, or an alpha outside these bounds.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> z, log_det = pf.bijections.images.Pixels((1, 1, 1), scale="unit").inverse(jnp.full((1, 1, 1), 64.0))
    >>> float(z[0, 0, 0]), round(-float(log_det) / float(jnp.log(2)), 3)
    (0.25, 8.0)

    ```
    """

    event_shape: Shape = eqx.field(static=True)
    levels: int = eqx.field(static=True)
    scale: str = eqx.field(static=True)
    alpha: float = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: Shape, levels: int = 256, scale: str = "logit", alpha: float = 1e-6):
        check_count("levels", levels, 2)
        if scale not in SCALES:
            raise InputError(f"scale={scale!r} is unknown; known: {', '.join(SCALES)}")
        if not 0 < alpha < 0.5:
            raise InputError(f"alpha={alpha}: a number between 0 and 1/2 was expected")
        self.event_shape, self.levels = image_shape(event), int(levels)
        self.scale, self.alpha = scale, float(alpha)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        if self.scale == "unit":
            return z * self.levels, self._constant(z, math.log(self.levels))
        if self.scale == "centre":
            return (z + 1) * (self.levels / 2), self._constant(z, math.log(self.levels / 2))
        share = (jax.nn.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)
        return share * self.levels, _sum(-self._log_slope(z))

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        if self.scale == "unit":
            return x / self.levels, self._constant(x, -math.log(self.levels))
        if self.scale == "centre":
            return x * (2 / self.levels) - 1, self._constant(x, -math.log(self.levels / 2))
        # Both ends from their own side: 1 - s would lose all digits of the upper end.
        share, alpha = 1 - 2 * self.alpha, self.alpha
        low = alpha + share * (x / self.levels)
        high = alpha + share * ((self.levels - x) / self.levels)
        inside = (low > 0) & (high > 0)
        z = jnp.log(jnp.where(inside, low, 0.5)) - jnp.log(jnp.where(inside, high, 0.5))
        return z, _sum(jnp.where(inside, self._log_slope(z), -jnp.inf))

    def _log_slope(self, z: Array) -> Array:
        """log dz/dx of "logit"."""
        constant = math.log((1 - 2 * self.alpha) / self.levels)
        return constant + jax.nn.softplus(z) + jax.nn.softplus(-z)

    def _constant(self, value: Array, log_slope: float) -> PerRow:
        return jnp.full(len(value), math.prod(self.event_shape) * log_slope, value.dtype)


def _sum(log_slope: Array) -> PerRow:
    return log_slope.sum((1, 2, 3))
