"""The tails of transformers that bend in a box only."""

import math

import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import InputError

STEEPEST = 7.0
"""Largest |log-slope| of a tail: at 1e30 a steeper one would overflow."""


def linear_tails(
    beyond: Array, value: Array, log_slope: Array, steepest: float = STEEPEST
) -> tuple[Array, Array]:
    """Value and log-slope of a scalar map on a box, continued outside by straight lines of its slopes at the ends.

    Onto all of R; continuously differentiable where the end slopes are within `exp(+-steepest)`.

    Arguments:
        beyond: how far x lies outside the box, 0 inside.
        value, log_slope: of the map at x clipped into the box.
        steepest: largest |log-slope| of a tail; default `STEEPEST`.
    """
    # `where` twice: the value that is not selected must not overflow either.
    tail = jnp.clip(log_slope, -steepest, steepest)
    log_slope = jnp.where(beyond == 0, log_slope, tail)
    return value + beyond * jnp.exp(tail), log_slope


def check_bound(bound: float) -> None:
    """Raise `InputError` unless half the side of a box is positive."""
    if not bound > 0:
        raise InputError(f"bound={bound}: the half-width of the box must be positive")


def bounded(raw: Array, most: float) -> Array:
    """The parameter, softly bounded by +-most: a conditioner fed 1e30 must not make a map overflow."""
    return most * jnp.tanh(raw / most)


def floored(value: Array, log_slope: Array, x: Array) -> tuple[Array, Array]:
    """The map plus `FLOOR * x`: between steep sigmoids far apart the map alone is flat to the last digit."""
    return value + FLOOR * x, jnp.logaddexp(log_slope, math.log(FLOOR))


FLOOR = 1e-3
