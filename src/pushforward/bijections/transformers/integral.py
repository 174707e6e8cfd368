"""The integral of a positive network."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.bijections.transformers.base import AbstractTransformer
from pushforward.bijections.transformers.tails import linear_tails
from pushforward.errors import InputError


class Integral(AbstractTransformer):
    """The integral of a positive network, on `[-bound, bound]` with straight tails.

        z = b + int_0^x g(t) dt,    g = floor + (1 - floor) s(c + sum_k a_k tanh(s_k t + e_k)),
        s(r) = (r + sqrt(r^2 + 4)) / 2

    The parameters are the network's weights. It is evaluated at fixed nodes and interpolated linearly between them;
    the quadrature is part of the map, so value, log-slope and inverse are those of that interpolant, which is positive
    whatever the weights. (The Clenshaw-Curtis rule of the original integrates a polynomial interpolant, which can
    turn negative: the log of the integrand is then not the log-slope of the computed map.)

    Cost: `nodes * units` multiply-adds and hyperbolic tangents either way; forward solves one quadratic equation.

    Unconstrained monotonic neural networks (Wehenkel & Louppe 2019, arXiv 1908.05164).

    Arguments:
        units: hidden units of the network; default 8.
        nodes: panels between nodes, an even number; default 32.
        bound: half the side of the box; default 5.

    Raises `InputError` for fewer than 1 unit, an odd number of nodes or a bound that is not positive.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.bijections import Integral
    >>> family = Integral(units=2)
    >>> z, _ = family.inverse(jnp.array([2.0, 9.0]), jnp.zeros((family.size, 2)))
    >>> [round(float(v), 3) for v in z]
    [2.0, 9.0]

    ```
    """

    units: int = eqx.field(static=True, default=8)
    nodes: int = eqx.field(static=True, default=32)
    bound: float = eqx.field(static=True, default=5.0)

    def __check_init__(self):
        if self.units < 1:
            raise InputError(f"units={self.units}: at least 1 unit is needed")
        if self.nodes < 2 or self.nodes % 2:
            raise InputError(f"nodes={self.nodes}: an even number of at least 2 was expected")
        if not self.bound > 0:
            raise InputError(f"bound={self.bound}: the half-width of the box must be positive")

    @property
    def size(self) -> int:
        return 2 + 3 * self.units

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        g, width = self._integrand(params), 2 * self.bound / self.nodes

        def evaluate(x: Array) -> tuple[Array, Array]:
            # The interpolant is a sum of hats; `risen` is the integral of each from the left.
            places = jnp.asarray(self._places, x.dtype).reshape(-1, *[1] * x.ndim)
            away = jnp.clip((x - places) / width, -1.0, 1.0)
            risen = _risen(away) - _risen(jnp.clip(-places / width, -1.0, 1.0))
            density = (g * (1 - jnp.abs(away))).sum(0)
            return params[0] + width * (g * risen).sum(0), jnp.log(density)

        return linear_tails(evaluate, x, self.bound)

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        g, width, half = self._integrand(params), 2 * self.bound / self.nodes, self.nodes // 2
        masses = 0.5 * width * (g[1:] + g[:-1])
        knots = jnp.concatenate([jnp.zeros((1, *z.shape), g.dtype), jnp.cumsum(masses, 0)])
        knots = knots - knots[half] + params[0]
        inside = (z > knots[0]) & (z < knots[-1])
        clipped = jnp.where(inside, z, params[0])
        passed = clipped >= knots[1:-1]
        first = jnp.ones((1, *z.shape), bool)
        here = jnp.concatenate([first, passed]) & ~jnp.concatenate([passed, ~first])
        left, g0, g1, edge = (
            jnp.where(here, v, 0.0).sum(0)
            for v in (
                knots[:-1],
                g[:-1],
                g[1:],
                jnp.asarray(self._places[:-1], z.dtype).reshape(-1, *[1] * z.ndim),
            )
        )
        # (g1 - g0) t^2 / 2 + g0 t = (z - left) / width, in the form of its root that does not cancel.
        rise = (clipped - left) / width
        slope = jnp.sqrt(jnp.maximum(g0 * g0 + 2 * (g1 - g0) * rise, jnp.finfo(z.dtype).tiny))
        x = edge + width * 2 * rise / (g0 + slope)
        end = jnp.where(z < params[0], g[0], g[-1])
        edge_z = jnp.where(z < params[0], knots[0], knots[-1])
        beyond = jnp.sign(z - params[0]) * self.bound + jnp.where(inside, 0.0, z - edge_z) / end
        return jnp.where(inside, x, beyond), -jnp.log(jnp.where(inside, slope, end))

    @property
    def _places(self) -> list[float]:
        return [float(t) for t in np.linspace(-self.bound, self.bound, self.nodes + 1)]

    def _integrand(self, params: Array) -> Array:
        """The network at the nodes, `(nodes + 1, *shape)`."""
        k, ones = self.units, [1] * (params.ndim - 1)
        a, s, e = params[2 : 2 + k], params[2 + k : 2 + 2 * k], params[2 + 2 * k :]
        # Hidden units start spread over the box.
        starts = np.linspace(-1, 1, 2 * k + 1)[1::2] * self.bound
        at = jnp.asarray(self._places, params.dtype).reshape(-1, *ones)
        # A sum written out: as a reduction over an inner axis, XLA on CPU (JAX 0.10) gives wrong values under `jit`
        # from about 100,000 columns on.
        raw = params[1]
        for i in range(k):
            raw = raw + a[i] * jnp.tanh((1.0 + s[i]) * at + (e[i] - float(starts[i])))
        # A conditioner fed 1e30 must not overflow the square.
        raw = jnp.clip(raw, -1e6, 1e6)
        return FLOOR + (1 - FLOOR) * 0.5 * (raw + jnp.sqrt(raw * raw + 4))


FLOOR = 1e-3


def _risen(s: Array) -> Array:
    """The integral of the unit hat from -1 to s, for s within [-1, 1]."""
    return 0.5 + s - 0.5 * s * jnp.abs(s)
