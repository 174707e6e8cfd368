"""The rational-quadratic spline."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.bins import (
    boxed,
    check_box,
    check_share,
    locate,
    once,
    picked,
    softmax_sides,
    unit,
)


class RationalQuadratic(AbstractTransformer):
    """A monotone rational-quadratic spline on `[-bound, bound]`, the identity outside.

    In the bin with left knot `(a, b)`, width `w`, height `h`, mean slope `s = h / w`, knot slopes `d0, d1` and
    `t = (x - a) / w`:

        z = b + h (s t^2 + d0 t (1 - t)) / (s + (d0 + d1 - 2 s) t (1 - t))

    Parameters are `bins` raw widths, `bins` raw heights and `bins - 1` raw inner slopes; the outer slopes are 1. Cost:
    one bin search by comparison either way; forward adds the stable root of one quadratic.

    Neural spline flows (Durkan et al. 2019, arXiv 1906.04032).

    Arguments:
        bins: number of bins, at least 2; default 8.
        bound: half the side of the box; default 5.
        min_bin: smallest width and height of a bin as a share of an even one; default 0.01.
        min_slope: smallest slope at a knot; default 0.001.

    Raises `InputError` for fewer bins, a bound that is not positive, or a share or slope outside (0, 1).

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> spline = pf.transformers.RationalQuadratic(bins=4)
    >>> z, log_slope = spline.inverse(jnp.array([0.5, 7.0]), jnp.zeros((spline.size, 2)))
    >>> [round(float(v), 4) for v in z]
    [0.5, 7.0]

    ```
    """

    bins: int = eqx.field(static=True, default=8)
    bound: float = eqx.field(static=True, default=5.0)
    min_bin: float = eqx.field(static=True, default=1e-2)
    min_slope: float = eqx.field(static=True, default=1e-3)

    def __check_init__(self) -> None:
        check_box(self.bins, self.bound, self.min_bin)
        check_share("min_slope", self.min_slope)

    @property
    def size(self) -> int:
        return 3 * self.bins - 1

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        inside = jnp.clip(x, -self.bound, self.bound)
        a, w, b, h, d0, d1 = self._bin(inside, params, by_height=False)
        return boxed(x, self.bound, *evaluate(unit((inside - a) / w), w, b, h, d0, d1))

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        inside = jnp.clip(z, -self.bound, self.bound)
        a, w, b, h, d0, d1 = self._bin(inside, params, by_height=True)
        t = position(inside, w, b, h, d0, d1)
        _, log_slope = evaluate(t, w, b, h, d0, d1)
        return boxed(z, self.bound, a + t * w, -log_slope)

    def _bin(self, value: Array, params: Array, by_height: bool) -> tuple[Array, ...]:
        """Left knot, width, bottom, height and the two knot slopes of the bin that holds each value."""
        k = self.bins
        a, w, b, h, here = rational_bin(value, params[: 2 * k], self.bound, self.min_bin, by_height)
        # The outermost knots have no parameter: raw slope 0, which is slope 1.
        slopes = params[2 * k :]
        d0, d1 = once(picked(here[1:], slopes), picked(here[:-1], slopes))
        return a, w, b, h, knot_slope(d0, self.min_slope), knot_slope(d1, self.min_slope)


def rational_bin(
    value: Array, raw: Array, bound: float, min_bin: float, by_height: bool
) -> tuple[Array, ...]:
    """Left knot, width, bottom, height and mask of the bin that holds each value, from raw widths and then heights."""
    sides = softmax_sides(raw.reshape(2, raw.shape[0] // 2, *raw.shape[1:]), bound, min_bin)
    left, here = locate(value, sides.finished(int(by_height)), bound)
    a, b = sides.before(left) - bound
    w, h = sides.picked(here)
    return a, w, b, h, here


def knot_slope(raw: Array, least: float) -> Array:
    """A slope above `least`, 1 at raw = 0."""
    return jax.nn.softplus(raw + math.log(math.expm1(1.0 - least))) + least


def evaluate(t: Array, w: Array, b: Array, h: Array, d0: Array, d1: Array) -> tuple[Array, Array]:
    """The spline's value and log-slope at the position `t` in `[0, 1]` of its bin."""
    s = h / w
    t1 = t * (1 - t)
    denominator = s + (d0 + d1 - 2 * s) * t1
    value = b + h * (s * t * t + d0 * t1) / denominator
    slope = s * s * (d1 * t * t + 2 * s * t1 + d0 * (1 - t) * (1 - t)) / (denominator * denominator)
    return value, jnp.log(slope)


def position(z: Array, w: Array, b: Array, h: Array, d0: Array, d1: Array) -> Array:
    """The position `t` in `[0, 1]` of the bin at which the spline's value is `z`."""
    s = h / w
    rise = (z - b) / h
    # The root in [0, 1] of  rise = (s t^2 + d0 t (1-t)) / (s + (d0+d1-2s) t (1-t)),  in the form without cancellation,
    # 2c / (-b - sqrt(b^2 - 4ac)).
    bend = d0 + d1 - 2 * s
    qa = (s - d0) + rise * bend
    qb = d0 - rise * bend
    qc = -s * rise
    discriminant = jnp.maximum(qb * qb - 4 * qa * qc, 0.0)
    # qb > 0 or the discriminant > 0 inside the box; the floor keeps the square root's gradient finite.
    return unit(2 * qc / (-qb - jnp.sqrt(jnp.maximum(discriminant, jnp.finfo(z.dtype).tiny))))
