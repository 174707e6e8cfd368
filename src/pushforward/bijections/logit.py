"""The logit, which takes the unit cube to all of R^d."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.base import AbstractBijection
from pushforward.rows import Shape, as_shape


class Logit(AbstractBijection):
    """The scaled logit, `x = s log(z / (1 - z))` with `s = sqrt(3) / pi`, from (0, 1) to R in every coordinate.

    The scale gives the push-forward of the uniform measure unit variance. Cost: two logarithms per coordinate. It is
    not exported: its latents are bounded, and it serves the uniform base only.

    Arguments:
        event: number of coordinates, or the event's shape.
    """

    event_shape: Shape = eqx.field(static=True)
    condition_shape: None = eqx.field(static=True)

    def __init__(self, event: int | Shape):
        self.event_shape = as_shape(event) or ()
        self.condition_shape = None

    def forward_rows(
        self, z: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        # A uniform draw may be exactly 0.
        z = jnp.clip(z, jnp.finfo(z.dtype).tiny, 1 - jnp.finfo(z.dtype).epsneg)
        x = SCALE * (jnp.log(z) - jnp.log1p(-z))
        return x, -self._log_slope(x / SCALE)

    def inverse_rows(
        self, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        return jax.nn.sigmoid(x / SCALE), self._log_slope(x / SCALE)

    def _log_slope(self, t: Array) -> Float[Array, " n"]:
        """log |dz/dx|, summed over coordinates: finite however far out."""
        axes = tuple(range(1, t.ndim))
        return (jax.nn.log_sigmoid(t) + jax.nn.log_sigmoid(-t) - math.log(SCALE)).sum(axes)


SCALE = math.sqrt(3.0) / math.pi
