"""The linear spline."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.bins import boxed, check_box, locate, masks, softmax_sides


class LinearSpline(AbstractTransformer):
    """A monotone piecewise-linear map of `[-bound, bound]` onto itself, the identity outside.

    Data bins are even, of width `w = 2 bound / bins`; their latent heights are a softmax. In the bin with left knot
    `(a, b)` and height `h`:

        z = b + h (x - a) / w

    The density is piecewise constant, a histogram of learned heights that jumps at the knots. Parameters are `bins` raw
    heights. Cost: one bin search by comparison either way.

    Neural importance sampling (Mueller et al. 2019, arXiv 1808.03856), there on the unit interval.

    Arguments:
        bins: number of bins, at least 2; default 16.
        bound: half the side of the box; default 5.
        min_bin: smallest height of a bin as a share of an even one, which is the smallest slope; default 0.01.

    Raises `InputError` for fewer bins, a bound that is not positive or a share outside (0, 1).

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> spline = pf.transformers.LinearSpline(bins=4)
    >>> z, log_slope = spline.inverse(jnp.array([0.5, 7.0]), jnp.zeros((spline.size, 2)))
    >>> [round(float(v), 4) for v in z]
    [0.5, 7.0]

    ```
    """

    bins: int = eqx.field(static=True, default=16)
    bound: float = eqx.field(static=True, default=5.0)
    min_bin: float = eqx.field(static=True, default=1e-2)

    def __check_init__(self) -> None:
        check_box(self.bins, self.bound, self.min_bin)

    @property
    def size(self) -> int:
        return self.bins

    @property
    def _width(self) -> float:
        return 2 * self.bound / self.bins

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        inside = jnp.clip(x, -self.bound, self.bound)
        sides = softmax_sides(params[None], self.bound, self.min_bin)
        knots = jnp.arange(1, self.bins, dtype=x.dtype).reshape(-1, *[1] * x.ndim)
        left, here = masks(inside[None] >= knots * self._width - self.bound)
        a = left.sum(0, dtype=x.dtype) * self._width - self.bound
        slope = sides.picked(here)[0] / self._width
        z = sides.before(left)[0] - self.bound + slope * (inside - a)
        return boxed(x, self.bound, z, jnp.log(slope))

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        inside = jnp.clip(z, -self.bound, self.bound)
        sides = softmax_sides(params[None], self.bound, self.min_bin)
        left, here = locate(inside, sides.finished(0), self.bound)
        a = left.sum(0, dtype=z.dtype) * self._width - self.bound
        slope = self._width / sides.picked(here)[0]
        x = a + slope * (inside + self.bound - sides.before(left)[0])
        return boxed(z, self.bound, x, jnp.log(slope))
