"""The piecewise-linear map with knots at grey levels."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.errors import InputError
from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.bins import masks, picked

FLOOR = 1e-4
"""Share of the uniform distribution in every map: no bin is empty, so that the map is increasing in floating point."""


class LevelSpline(AbstractTransformer):
    """A monotone piecewise-linear map of `[0, 1]` onto itself with fixed knots, the identity outside.

    The density that it gives a uniform latent is a histogram over fixed bins, such as single grey levels: in the bin
    from `a` to `b` with mass `m`, after bins of mass `M` together,

        z = M + m (x - a) / (b - a)

    Masses are a softmax of the parameters, one for each bin, and a share 1e-4 of the bins' widths. Cost: one bin search
    by comparison either way.

    Neural importance sampling (Mueller et al. 2019, arXiv 1808.03856), there with even bins.

    Arguments:
        knots: the bins' ends, in order, from 0 to 1; default 16 even bins.

    Raises `InputError` for knots that do not rise from 0 to 1.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> spline = pf.transformers.LevelSpline((0.0, 0.25, 1.0))
    >>> params = jnp.array([[0.0], [-jnp.inf]])  # all mass but the floor in the first bin
    >>> z, log_slope = spline.inverse(jnp.array([0.125]), params)
    >>> round(float(z[0]), 3), round(float(jnp.exp(log_slope[0])), 3)
    (0.5, 4.0)

    ```
    """

    knots: tuple[float, ...] = eqx.field(static=True, default=tuple(i / 16 for i in range(17)))

    def __check_init__(self) -> None:
        widths = np.diff(self.knots)
        if len(widths) < 1 or not (widths > 0).all() or (self.knots[0], self.knots[-1]) != (0, 1):
            raise InputError(f"knots {self.knots}: numbers that rise from 0 to 1 were expected")

    @property
    def size(self) -> int:
        return len(self.knots) - 1

    def starting(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " size"]:
        """The parameters whose density is the histogram of values in [0, 1)."""
        counts = np.histogram(values, self.knots)[0] + 1.0
        shares: np.ndarray = np.log(counts / counts.sum()) - np.log(np.diff(self.knots))
        return shares

    def _masses(self, params: Array) -> Array:
        """`(size, *shape)`; equal parameters give every bin its width."""
        widths = self._along(np.diff(self.knots), params)
        return (1 - FLOOR) * jax.nn.softmax(params + jnp.log(widths), axis=0) + FLOOR * widths

    def _along(self, values: np.ndarray, like: Array) -> Array:
        """Numbers of the bins on the leading axis of an array."""
        return jnp.asarray(values, like.dtype).reshape(-1, *[1] * (like.ndim - 1))

    def _bin(self, passed: Array, mass: Array) -> tuple[Array, ...]:
        """Of the bin after the inner knots that a value has passed: its start, its width, its mass, and the masses of
        all bins below and above it."""
        left, here = masks(passed)
        starts, widths = np.array(self.knots[:-1]), np.diff(self.knots)
        start, width = (picked(here, self._along(values, mass)) for values in (starts, widths))
        return start, width, picked(here, mass), picked(left, mass), picked(~left & ~here, mass)

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        inside = (x >= 0) & (x < 1)
        safe = jnp.where(inside, x, 0.5)
        mass = self._masses(params)
        passed = safe[None] >= self._along(np.array(self.knots[1:-1]), mass)
        start, width, own, below, above = self._bin(passed, mass)
        t = (safe - start) / width
        # From the nearer end: a bin's mass may be a few roundings of a sum near 1. And below 1, where latents end.
        from_0, from_1 = below + own * t, above + own * (1 - t)
        least = float(jnp.finfo(x.dtype).epsneg)
        z = jnp.where(from_0 < 0.5, from_0, 1 - jnp.where(from_1 < least, least, from_1))
        log_slope = jnp.log(own) - jnp.log(width)
        return jnp.where(inside, z, x), jnp.where(inside, log_slope, 0.0)

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        inside = (z >= 0) & (z < 1)
        safe = jnp.where(inside, z, 0.5)
        mass = self._masses(params)
        # At the inner knots, from either end.
        from_0, from_1 = jnp.cumsum(mass, axis=0)[:-1], jnp.cumsum(mass[::-1], axis=0)[-2::-1]
        low = safe < 0.5
        passed = jnp.where(low[None], safe[None] >= from_0, 1 - safe[None] <= from_1)
        start, width, own, below, above = self._bin(passed, mass)
        # Within its bin, whatever sums round to: a draw is of the level that it was drawn for. `jnp.clip` would halve
        # the slope at the bin's start.
        t = jnp.where(low, (safe - below) / own, 1 - (1 - safe - above) / own)
        last = 1.0 - jnp.finfo(z.dtype).epsneg
        t = jnp.where(t < 0, 0.0, jnp.where(t > last, last, t))
        x = start + width * t
        log_slope = jnp.log(width) - jnp.log(own)
        return jnp.where(inside, x, z), jnp.where(inside, log_slope, 0.0)
