"""Measure the error of a log-density computed with few fixed steps, and warn if it is large."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import warn
from pushforward.rows import sum_event

LOOKED_AT = 16
"""Rows on which the error is measured."""
ALLOWED = 0.01
"""The largest error in nats without a warning."""


def tell_error(coarse: tuple[Array, Array], fine: tuple[Array, Array], steps: int) -> None:
    """Warn where the density by `steps` steps differs from that by twice as many, for a standard normal base; under
    `jit` too.

    Arguments:
        coarse, fine: latent rows `(n, *event)` and log-dets `(n,)`, by `steps` steps and by twice as many.
        steps: their number.
    """

    def nats(found: tuple[Array, Array]) -> Array:
        return found[1] - 0.5 * sum_event(jnp.square(found[0]))

    error = jnp.abs(nats(coarse) - nats(fine)).max()
    jax.debug.callback(_warn, jax.lax.stop_gradient(error), steps=steps)


def _warn(error: Any, steps: Any) -> None:
    if not float(np.max(error)) <= ALLOWED:  # NaN warns
        warn(
            f"log-densities by {steps} fixed steps are off by up to about {float(np.max(error)):.2g} nats (measured: "
            "they change by this with twice the steps); for exact ones leave steps=None, or take more"
        )
