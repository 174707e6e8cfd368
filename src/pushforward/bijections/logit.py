"""The logit, which takes the unit cube to all of R^d."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, PerRow
from pushforward.rows import Shape, as_shape


class Logit(AbstractBijection):
    """The scaled logit, `x = s log(z / (1 - z))` with `s = sqrt(3) / pi`, from (0, 1) to R in every coordinate.

    The scale gives the push-forward of the uniform distribution unit variance. Cost: two logarithms per coordinate. Not
    exported: its latents are bounded, and only the uniform base needs it.

    Arguments:
        event: number of coordinates, or the event's shape.
    """

    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: int | Shape):
        self.event_shape = as_shape(event) or ()

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        # A uniform draw may be exactly 0.
        z = jnp.clip(z, jnp.finfo(z.dtype).tiny, 1 - jnp.finfo(z.dtype).epsneg)
        x = SCALE * (jnp.log(z) - jnp.log1p(-z))
        return x, -self._log_slope(x / SCALE)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return jax.nn.sigmoid(x / SCALE), self._log_slope(x / SCALE)

    def _log_slope(self, t: Array) -> PerRow:
        """log |dz/dx|, summed over coordinates; finite however far out."""
        log_slope = jax.nn.log_sigmoid(t) + jax.nn.log_sigmoid(-t) - math.log(SCALE)
        return log_slope.sum(range(1, t.ndim))


SCALE = math.sqrt(3.0) / math.pi
