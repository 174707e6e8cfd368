"""What the splines share: their box, bins by softmax, and the search for the bin that holds a value."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import InputError
from pushforward.transformers.tails import check_bound


def check_box(bins: int, bound: float, min_bin: float, least: int = 2) -> None:
    """Raises `InputError` for an invalid number of bins, box or smallest bin of a spline."""
    if bins < least:
        raise InputError(f"bins={bins}: the spline needs at least {least} bins")
    check_bound(bound)
    check_share("min_bin", min_bin)


def check_share(name: str, value: float) -> None:
    """Raises `InputError` for a value outside (0, 1)."""
    if not 0 < value < 1:
        raise InputError(f"{name}={value}: a number between 0 and 1 was expected")


def boxed(value: Array, bound: float, out: Array, log_slope: Array) -> tuple[Array, Array]:
    """A spline's value and log-slope, of `value` clipped into the box `[-bound, bound]`; the identity outside.

    Values are clipped before the spline and selected after it, so that tails never produce NaN in value or gradient.
    """
    inside = jnp.abs(value) < bound
    return jnp.where(inside, out, value), jnp.where(inside, log_slope, 0.0)


class Sides(NamedTuple):
    """Sides of bins by softmax, `least + scale * e`, in parts: sums over `e` are scaled afterwards, which halves the
    gradient's time against picking from finished sides.

    Attributes:
        e: `(kinds, bins, *shape)`; kinds are widths, heights, or both.
        scale: `(kinds, *shape)`.
        least: the smallest side.
    """

    e: Array
    scale: Array
    least: float

    def finished(self, kind: int) -> Array:
        """All sides of a kind, `(bins, *shape)`."""
        return self.least + self.scale[kind][None] * self.e[kind]

    def picked(self, here: Array, bins: slice = slice(None)) -> Array:
        """The sides, `(kinds, *shape)`, of the bin where the mask is True; the mask may stand for some bins only."""
        return self.least + self.scale * jnp.where(here[None], self.e[:, bins], 0.0).sum(1)

    def before(self, left: Array) -> Array:
        """The sums, `(kinds, *shape)`, of the sides of all bins where the mask is True."""
        count = left.sum(0, dtype=self.e.dtype)
        return self.least * count[None] + self.scale * jnp.where(left[None], self.e, 0.0).sum(1)


def softmax_sides(raw: Array, bound: float, min_bin: float) -> Sides:
    """Positive sides that fill the box `[-bound, bound]`, from raw ones `(kinds, bins, *shape)`; even where those are
    equal, and never below the share `min_bin` of an even one."""
    e = jnp.exp(raw - jax.lax.stop_gradient(raw.max(1, keepdims=True)))
    side = 2 * bound
    return Sides(e, side * (1 - min_bin) / e.sum(1), side * min_bin / raw.shape[1])


def locate(value: Array, sides: Array, bound: float) -> tuple[Array, Array]:
    """Masks `(bins, *shape)`: the bins left of the one that holds the value, and that one.

    Bins are picked by masks and sums, not by gathering: the reverse of a gather is a scatter, an order of magnitude
    slower. No gradient passes through where a value lies.
    """
    sides, k = jax.lax.stop_gradient(sides), sides.shape[0]
    # Inner knots as a product with a triangle of ones: a product is computed once, where a running sum would be
    # computed again in every sum below that it is fused into.
    triangle = jnp.tril(jnp.ones((k - 1, k), sides.dtype))
    return masks(value[None] >= jnp.tensordot(triangle, sides, 1, precision="highest") - bound)


def masks(passed: Array) -> tuple[Array, Array]:
    """The masks of `locate` from which inner knots the value has passed, `(bins - 1, *shape)`."""
    first = jnp.ones((1, *passed.shape[1:]), bool)
    left = jnp.concatenate([passed, ~first])
    return left, jnp.concatenate([first, passed]) & ~left


def picked(here: Array, values: Array) -> Array:
    """The entry of `values` where the mask is True, 0 if it is nowhere."""
    return jnp.where(here, values, 0.0).sum(0)


def unit(t: Array) -> Array:
    """The position in a bin, moved back into [0, 1] where rounding has left it, with the gradient of `t`.

    Beside a steep bin a rounding error outside is enough for a negative slope, whose logarithm is NaN.
    """
    return t + jax.lax.stop_gradient(jnp.clip(t, 0.0, 1.0) - t)


def once(*values: Array) -> tuple[Array, ...]:
    """The values, with gradients that are computed once.

    XLA on CPU (JAX 0.10) fuses the gradient of a picked value into the loop over the bins that it may come from, and
    computes it anew for each. A product, here with the identity, is never fused.
    """
    stacked = jnp.stack(values)
    same = jnp.tensordot(jnp.eye(len(values), dtype=stacked.dtype), stacked, 1, precision="highest")
    return tuple(value[0] for value in jax.lax.split(same, [1] * len(values)))
