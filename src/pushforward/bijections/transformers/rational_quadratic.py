"""The rational-quadratic spline."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.transformers.base import AbstractTransformer
from pushforward.errors import InputError


class RationalQuadratic(AbstractTransformer):
    """A monotone rational-quadratic spline on `[-bound, bound]`, the identity outside.

    In the bin with left knot `(a, b)`, width `w`, height `h`, mean slope `s = h / w`, knot slopes `d0, d1` and
    `t = (x - a) / w`:

        z = b + h (s t^2 + d0 t (1 - t)) / (s + (d0 + d1 - 2 s) t (1 - t))

    Parameters are `bins` raw widths, `bins` raw heights, `bins - 1` raw inner slopes; the outer slopes are 1. Cost:
    one bin search by comparison either way; the latent-to-data direction adds the stable root of one quadratic.
    Neural spline flows (Durkan et al. 2019, arXiv 1906.04032).

    Numerics: values are clipped into the box before the spline and selected after it, so that tails never produce
    NaN in value or gradient. Bins are picked by masks and sums, not by gathering: the reverse of a gather is a
    scatter, an order of magnitude slower.

    Arguments:
        bins: number of bins, at least 2; default 8.
        bound: half the side of the box; default 5.
        min_bin: smallest width and height of a bin as a share of an even bin; default 0.01.
        min_slope: smallest slope at a knot; default 0.001.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.bijections import RationalQuadratic
    >>> spline = RationalQuadratic(bins=4)
    >>> z, log_slope = spline.inverse(jnp.array([0.5, 7.0]), jnp.zeros((spline.size, 2)))
    >>> [round(float(v), 4) for v in z]
    [0.5, 7.0]

    ```
    """

    bins: int = eqx.field(static=True, default=8)
    bound: float = eqx.field(static=True, default=5.0)
    min_bin: float = eqx.field(static=True, default=1e-2)
    min_slope: float = eqx.field(static=True, default=1e-3)

    def __check_init__(self):
        if self.bins < 2:
            raise InputError(f"bins={self.bins}: a spline needs at least 2 bins")
        if not self.bound > 0:
            raise InputError(
                f"bound={self.bound}: the half-width of the spline's box must be positive"
            )

    @property
    def size(self) -> int:
        return 3 * self.bins - 1

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        inside = jnp.abs(x) < self.bound
        clipped = jnp.clip(x, -self.bound, self.bound)
        a, w, b, h, d0, d1 = self._bin(clipped, params, by_height=False)
        t = (clipped - a) / w
        z, log_slope = _evaluate(t, w, b, h, d0, d1)
        return jnp.where(inside, z, x), jnp.where(inside, log_slope, 0.0)

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        inside = jnp.abs(z) < self.bound
        clipped = jnp.clip(z, -self.bound, self.bound)
        a, w, b, h, d0, d1 = self._bin(clipped, params, by_height=True)
        s = h / w
        rise = (clipped - b) / h
        # The root of  rise = (s t^2 + d0 t (1-t)) / (s + (d0+d1-2s) t (1-t))  that lies in [0, 1], in the form
        # 2c / (-b - sqrt(b^2 - 4ac)) that does not cancel.
        bend = d0 + d1 - 2 * s
        qa = (s - d0) + rise * bend
        qb = d0 - rise * bend
        qc = -s * rise
        discriminant = jnp.maximum(qb * qb - 4 * qa * qc, 0.0)
        # qb > 0 or the discriminant > 0 inside the box; the floor keeps the square root's gradient finite.
        t = 2 * qc / (-qb - jnp.sqrt(jnp.maximum(discriminant, jnp.finfo(z.dtype).tiny)))
        # Not `clip`: at a knot, where t is exactly 0 or 1, its gradient is half of the true one.
        t = jnp.where(t < 0, 0.0, jnp.where(t > 1, 1.0, t))
        _, log_slope = _evaluate(t, w, b, h, d0, d1)
        return jnp.where(inside, a + t * w, z), jnp.where(inside, -log_slope, 0.0)

    def _bin(self, value: Array, params: Array, by_height: bool) -> tuple[Array, ...]:
        """Left knot, width, bottom, height and the two knot slopes of the bin that holds each value."""
        k, side = self.bins, 2 * self.bound
        least, free = side * self.min_bin / k, side * (1 - self.min_bin)
        # A softmax in two halves, `least + scale * e`: sums are picked from `e` and scaled afterwards, which halves
        # the time of the gradient against picking from the finished widths and heights.
        raw = params[: 2 * k].reshape(2, k, *value.shape)
        e = jnp.exp(raw - jax.lax.stop_gradient(raw.max(1, keepdims=True)))
        scale = free / e.sum(1)
        sides = jax.lax.stop_gradient(least + scale[int(by_height)] * e[int(by_height)])
        # Inner knots as a product with a triangle of ones: a product is computed once, where a running sum would be
        # computed again in every sum below that it is fused into.
        triangle = jnp.tril(jnp.ones((k - 1, k), value.dtype))
        passed = value >= jnp.tensordot(triangle, sides, 1, precision="highest") - self.bound
        first = jnp.ones((1, *value.shape), bool)
        left = jnp.concatenate([passed, ~first])
        here = jnp.concatenate([first, passed]) & ~left
        a, b = (
            least * passed.sum(0, dtype=value.dtype)
            - self.bound
            + scale * jnp.where(left, e, 0.0).sum(1)
        )
        w, h = least + scale * jnp.where(here, e, 0.0).sum(1)
        # The outermost knots have no parameter: raw slope 0, which is slope 1.
        slopes = params[2 * k :]
        d0 = jnp.where(here[1:], slopes, 0.0).sum(0)
        d1 = jnp.where(here[:-1], slopes, 0.0).sum(0)
        return a, w, b, h, self._slope(d0), self._slope(d1)

    def _slope(self, raw: Array) -> Array:
        # Slope 1 at raw = 0, the slope of the tails.
        return jax.nn.softplus(raw + math.log(math.expm1(1.0 - self.min_slope))) + self.min_slope


def _evaluate(t, w, b, h, d0, d1):
    """The spline's value and log-slope at the position `t` in `[0, 1]` of its bin."""
    s = h / w
    t1 = t * (1 - t)
    denominator = s + (d0 + d1 - 2 * s) * t1
    value = b + h * (s * t * t + d0 * t1) / denominator
    slope = s * s * (d1 * t * t + 2 * s * t1 + d0 * (1 - t) * (1 - t)) / (denominator * denominator)
    return value, jnp.log(slope)
