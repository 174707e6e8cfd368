"""The quadratic spline."""

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
    picked,
    softmax_sides,
    unit,
)


class QuadraticSpline(AbstractTransformer):
    """A monotone piecewise-quadratic map of `[-bound, bound]` onto itself, the identity outside.

    Its slope is continuous and linear between the knots. In the bin with left knot `(a, b)`, width `w` and knot slopes
    `v0, v1`, at `t = (x - a) / w`:

        z = b + w (v0 t + (v1 - v0) t^2 / 2),    dz/dx = v0 + (v1 - v0) t

    The outer slopes are 1, continuous into the tails; the inner ones are a softmax, weighted by the mean width of the
    two bins beside each knot and scaled to a weighted mean of 1, which fills the box. Parameters are `bins` raw widths
    and `bins - 1` raw inner slopes. Cost: one bin search by comparison either way; forward adds the stable root of one
    quadratic.

    Neural importance sampling (Mueller et al. 2019, arXiv 1808.03856), whose outer slopes are free.

    Arguments:
        bins: number of bins, at least 3, as two would leave nothing free; default 8.
        bound: half the side of the box; default 5.
        min_bin: smallest width of a bin as a share of an even one; default 0.01.
        min_slope: smallest slope at a knot; default 0.001.

    Raises `InputError` for fewer bins, a bound that is not positive, or a share or slope outside (0, 1).

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> spline = pf.transformers.QuadraticSpline(bins=4)
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
        check_box(self.bins, self.bound, self.min_bin, least=3)
        check_share("min_slope", self.min_slope)

    @property
    def size(self) -> int:
        return 2 * self.bins - 1

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        inside = jnp.clip(x, -self.bound, self.bound)
        a, w, b, v0, v1 = self._bin(inside, params, by_height=False)
        t = unit((inside - a) / w)
        z, log_slope = b + w * t * (v0 + 0.5 * (v1 - v0) * t), jnp.log(v0 + (v1 - v0) * t)
        return boxed(x, self.bound, z, log_slope)

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        inside = jnp.clip(z, -self.bound, self.bound)
        a, w, b, v0, v1 = self._bin(inside, params, by_height=True)
        rise = inside - b
        # The slope at the root lies between v0 and v1: the floor is against rounding only.
        square = v0 * v0 + 2 * (v1 - v0) * rise / w
        slope = jnp.sqrt(jnp.maximum(square, self.min_slope**2))
        # The rise over the mean slope up to there, in which nothing cancels.
        return boxed(z, self.bound, a + 2 * rise / (v0 + slope), -jnp.log(slope))

    def _bin(self, value: Array, params: Array, by_height: bool) -> tuple[Array, ...]:
        """Left knot, width, bottom and the two knot slopes of the bin that holds each value."""
        sides = softmax_sides(params[None, : self.bins], self.bound, self.min_bin)
        w = sides.finished(0)
        raw = params[self.bins :]
        e = jnp.exp(raw - jax.lax.stop_gradient(raw.max(0, keepdims=True)))
        beside = 0.5 * (w[:-1] + w[1:])
        # The weights sum to the box less half of the outermost bins: the height left for the inner slopes.
        scale = (1 - self.min_slope) * beside.sum(0) / (beside * e).sum(0)
        one = jnp.ones_like(w[:1])
        v = jnp.concatenate([one, self.min_slope + scale[None] * e, one])
        heights = 0.5 * w * (v[:-1] + v[1:])
        left, here = locate(value, heights if by_height else w, self.bound)
        b = picked(left, heights) - self.bound
        a = sides.before(left)[0] - self.bound
        return a, sides.picked(here)[0], b, picked(here, v[:-1]), picked(here, v[1:])
