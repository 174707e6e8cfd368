"""The tails of transformers that bend in a box only."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import InputError

STEEPEST = 7.0
"""Largest |log-slope| of a tail: at 1e30 a steeper one would overflow."""


def linear_tails(
    function: Callable[[Array], tuple[Array, Array]],
    x: Array,
    bound: float,
    steepest: float = STEEPEST,
) -> tuple[Array, Array]:
    """A scalar map on `[-bound, bound]`, continued outside by straight lines of its slopes at the ends.

    Arguments:
        function: from x to value and log-slope; never called outside the box.
        x: values of any shape.
        bound: half the side of the box.
        steepest: largest |log-slope| of a tail; default `STEEPEST`.

    Returns value and log-slope at x. Onto all of R; continuously differentiable where the end slopes are within
    `exp(+-steepest)`.
    """
    clipped = jnp.clip(x, -bound, bound)
    value, log_slope = function(clipped)
    beyond = x - clipped
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
