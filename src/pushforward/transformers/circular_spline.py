"""The circular spline."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.bins import check_box, check_share, once, picked, unit
from pushforward.transformers.rational_quadratic import evaluate, knot_slope, position, rational_bin

TURN = 2 * math.pi


class CircularSpline(AbstractTransformer):
    """A smooth map of the circle onto itself: a rational-quadratic spline on `[-pi, pi]`, equal slopes at both ends.

    It continues to all of R by whole turns, `f(x + 2 pi) = f(x) + 2 pi`, strictly increasing with a continuous slope,
    and leaves the seam at `-pi` in place. Within a bin the map is that of `RationalQuadratic`, and so is the cost.
    Parameters are `bins` raw widths, `bins` raw heights and `bins` raw slopes, the seam's first.

    Flows on tori and spheres (Rezende et al. 2020, arXiv 2002.02428).

    Arguments:
        bins: number of bins, at least 2; default 8.
        min_bin: smallest width and height of a bin as a share of an even one; default 0.01.
        min_slope: smallest slope at a knot; default 0.001.

    Raises `InputError` for fewer bins, or a share or slope outside (0, 1).

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> spline = pf.transformers.CircularSpline(bins=4)
    >>> z, log_slope = spline.inverse(jnp.array([0.5, 7.0]), jnp.zeros((spline.size, 2)))
    >>> [round(float(v), 4) for v in z]
    [0.5, 7.0]

    ```
    """

    bins: int = eqx.field(static=True, default=8)
    min_bin: float = eqx.field(static=True, default=1e-2)
    min_slope: float = eqx.field(static=True, default=1e-3)

    def __check_init__(self) -> None:
        check_box(self.bins, math.pi, self.min_bin)
        check_share("min_slope", self.min_slope)

    @property
    def size(self) -> int:
        return 3 * self.bins

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        angle, turns = _wrapped(x)
        a, w, b, h, d0, d1 = self._bin(angle, params, by_height=False)
        z, log_slope = evaluate(unit((angle - a) / w), w, b, h, d0, d1)
        return _within(z) + turns, log_slope

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        angle, turns = _wrapped(z)
        a, w, b, h, d0, d1 = self._bin(angle, params, by_height=True)
        t = position(angle, w, b, h, d0, d1)
        _, log_slope = evaluate(t, w, b, h, d0, d1)
        return _within(a + t * w) + turns, -log_slope

    def _bin(self, value: Array, params: Array, by_height: bool) -> tuple[Array, ...]:
        k = self.bins
        a, w, b, h, here = rational_bin(value, params[: 2 * k], math.pi, self.min_bin, by_height)
        slopes = params[2 * k :]
        after = jnp.concatenate([slopes[1:], slopes[:1]])
        d0, d1 = once(picked(here, slopes), picked(here, after))
        return a, w, b, h, knot_slope(d0, self.min_slope), knot_slope(d1, self.min_slope)


def _wrapped(value: Array) -> tuple[Array, Array]:
    """The angle in `[-pi, pi]`, and the whole turns that were subtracted, in radians."""
    turns = TURN * jnp.floor((value + math.pi) / TURN)
    # Rounding leaves huge values no angle: any will do.
    return jnp.clip(value - turns, -math.pi, math.pi), turns


def _within(angle: Array) -> Array:
    """The angle, kept in `[-pi, pi]` against rounding. Not by `clip`, whose gradient is halved at the seam."""
    return jnp.where(angle > math.pi, math.pi, jnp.where(angle < -math.pi, -math.pi, angle))
