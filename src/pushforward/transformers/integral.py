"""The integral of a positive network."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.errors import InputError, check_count
from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.bins import masks, picked
from pushforward.transformers.tails import bounded, check_bound, linear_tails


class Integral(AbstractTransformer):
    """The integral of a positive network, on `[-bound, bound]` with straight tails.

        z = b + int_0^x g(t) dt,    g = exp(m tanh(r / m)),    r = c + sum_k a_k tanh(s_k t + e_k)

    The hidden layer, s and e, belongs to the family and is trained; a, b and c are each value's own. The network is
    evaluated at fixed nodes and interpolated linearly. The quadrature is part of the map: value, log-slope and inverse
    are those of the interpolant, which is positive whatever the weights. (The original's Clenshaw-Curtis rule
    integrates a polynomial interpolant, which can turn negative: the log of the integrand is then not the log-slope of
    the computed map.)

    Cost: a product with a matrix `(nodes, units)` and `nodes` exponentials either way; forward solves one quadratic
    equation.

    Unconstrained monotonic neural networks (Wehenkel & Louppe 2019, arXiv 1908.05164).

    Arguments:
        units: hidden units of the network; default 16.
        nodes: panels between nodes, an even number; default 32.
        bound: half the side of the box; default 5.

    Raises `InputError` for fewer than 1 unit, an odd number of nodes or a bound that is not positive.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> family = pf.transformers.Integral(units=2)
    >>> z, _ = family.inverse(jnp.array([2.0, 9.0]), jnp.zeros((family.size, 2)))
    >>> [round(float(v), 3) for v in z]
    [2.0, 9.0]

    ```
    """

    slopes: Float[Array, " units"]
    shifts: Float[Array, " units"]
    units: int = eqx.field(static=True)
    nodes: int = eqx.field(static=True)
    bound: float = eqx.field(static=True)

    def __init__(self, units: int = 16, nodes: int = 32, bound: float = 5.0):
        check_count("units", units)
        if nodes < 2 or nodes % 2:
            raise InputError(f"nodes={nodes}: an even number of at least 2 was expected")
        check_bound(bound)
        self.units, self.nodes, self.bound = units, nodes, bound
        # Spread over the box, each just steep enough to reach its neighbours.
        steep = units / (2 * bound)
        places = np.linspace(-bound, bound, 2 * units + 1)[1::2]
        self.slopes = jnp.full(units, steep)
        self.shifts = jnp.asarray(-steep * places, jnp.zeros(()).dtype)

    @property
    def size(self) -> int:
        return 2 + self.units

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        g, width = self._integrand(params), 2 * self.bound / self.nodes
        inside = jnp.clip(x, -self.bound, self.bound)
        # The interpolant is a sum of hats; `risen` is the integral of each from the left.
        places = jnp.asarray(self._places, x.dtype).reshape(-1, *[1] * x.ndim)
        away = jnp.clip((inside[None] - places) / width, -1.0, 1.0)
        risen = _risen(away) - _risen(jnp.clip(-places / width, -1.0, 1.0))
        z, density = params[0] + width * (g * risen).sum(0), (g * (1 - jnp.abs(away))).sum(0)
        return linear_tails(x - inside, z, jnp.log(density))

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        g, width, half = self._integrand(params), 2 * self.bound / self.nodes, self.nodes // 2
        masses = 0.5 * width * (g[1:] + g[:-1])
        knots = jnp.concatenate([jnp.zeros((1, *masses.shape[1:]), g.dtype), jnp.cumsum(masses, 0)])
        knots = knots - knots[half][None] + params[:1]
        inside = (z > knots[0]) & (z < knots[-1])
        clipped = jnp.where(inside, z, params[0])
        passed = clipped[None] >= knots[1:-1]
        here = masks(passed)[1]
        places = jnp.asarray(self._places[:-1], z.dtype).reshape(-1, *[1] * z.ndim)
        candidates = (knots[:-1], knots[1:], g[:-1], g[1:], places)
        left, right, g0, g1, edge = (picked(here, values) for values in candidates)
        # From the end where g is less, `(more - less) t^2 / 2 + less t = rise`: its root is a sum of positive terms,
        # and would cancel from the other end.
        down = g1 < g0
        less, more = jnp.minimum(g0, g1), jnp.maximum(g0, g1)
        rise = jnp.where(down, right - clipped, clipped - left) / width
        slope = jnp.sqrt(less * less + 2 * (more - less) * jnp.maximum(rise, 0.0))
        step = width * 2 * rise / (less + slope)
        x = edge + jnp.where(down, width - step, step)
        end = jnp.where(z < params[0], g[0], g[-1])
        edge_z = jnp.where(z < params[0], knots[0], knots[-1])
        beyond = jnp.sign(z - params[0]) * self.bound + jnp.where(inside, 0.0, z - edge_z) / end
        return jnp.where(inside, x, beyond), -jnp.log(jnp.where(inside, slope, end))

    @property
    def _places(self) -> list[float]:
        return [float(t) for t in np.linspace(-self.bound, self.bound, self.nodes + 1)]

    def _integrand(self, params: Array) -> Array:
        """The network at the nodes, `(nodes + 1, *shape)`."""
        places = jnp.asarray(self._places, params.dtype)[:, None]
        hidden = jnp.tanh(places * self.slopes[None] + self.shifts[None])
        # A conditioner fed 1e30 must not overflow the sum.
        weights = jnp.clip(params[2:], -1e6, 1e6)
        raw = params[1:2] + jnp.tensordot(hidden, weights, 1, precision="highest")
        return jnp.exp(bounded(raw, LARGEST))


LARGEST = 5.0
"""Largest |log| of the integrand."""


def _risen(s: Array) -> Array:
    """The integral of the unit hat from -1 to s, for s within [-1, 1]."""
    return 0.5 + s - 0.5 * s * jnp.abs(s)
