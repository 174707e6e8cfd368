"""The sum-of-squares polynomial."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from pushforward.errors import check_count
from pushforward.numeric import solved
from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.tails import bounded, check_bound, linear_tails


class SumOfSquares(AbstractTransformer):
    """The integral of a sum of squared polynomials, on `[-bound, bound]` with straight tails.

        z = b + exp(s) B (-1 + int_{-1}^{x/B} q(u) du),    B = bound,
        q = e + (1 - e) sum_r p_r(u)^2 / c,    p_r(u) = sum_l a_rl P_l(u)

    `P_l` are Legendre polynomials of norm 1, and `c` is the mean of the sum over the box: the integral takes the box
    onto itself, whatever the coefficients, and a scale and a shift follow. (Monomials with free coefficients, as in the
    original, are the same family; but their slopes at the ends of the box grow without bound, and every layer throws a
    row beyond it further.) The floor `e` keeps the slope positive where all polynomials vanish. Parameters are b, s and
    the coefficients, as offsets from `p_0 = 1` and small different starts of the others (a polynomial of 0 has no
    gradient). Cost: inverse `polynomials * degree^2` multiply-adds and a product with a matrix
    `(2 degree + 1, degree^2)`, forward a numeric search of `2 degree` multiply-adds per step.

    Sum-of-squares polynomial flow (Jaini, Selby & Yu 2019, arXiv 1905.02325).

    Arguments:
        polynomials: number of squares; default 3.
        degree: of each polynomial; default 4.
        bound: half the side of the box; default 5.

    Raises `InputError` for fewer than 1 polynomial, a degree below 1 or a bound that is not positive.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> family = pf.transformers.SumOfSquares(polynomials=1)
    >>> z, _ = family.inverse(jnp.array([2.0, 9.0]), jnp.zeros((family.size, 2)))
    >>> [round(float(v), 3) for v in z]
    [2.0, 9.0]

    ```
    """

    searched = True
    polynomials: int = eqx.field(static=True, default=3)
    degree: int = eqx.field(static=True, default=4)
    bound: float = eqx.field(static=True, default=5.0)

    def __check_init__(self) -> None:
        check_count("polynomials", self.polynomials)
        check_count("degree", self.degree)
        check_bound(self.bound)

    @property
    def size(self) -> int:
        return 2 + self.polynomials * (self.degree + 1)

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        return self._map(x, self._density(params))

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        return solved(self._map, z, self._density(params))

    def _density(self, params: Array) -> tuple[Array, Array, tuple[Array, ...]]:
        """The shift, the log-scale, and q's `2 degree + 1` coefficients in Legendre's polynomials."""
        nodes, moments = _quadrature(self.degree)
        k, shape = self.degree + 1, params.shape[1:]
        # p_0 starts at 1, p_r at 0.2 P_r.
        start = np.zeros((self.polynomials, k, *[1] * len(shape)))
        for r in range(self.polynomials):
            start[r, r % k] = 0.2 if r else 1.0
        # Split, not sliced: a slice's gradient is a whole array of zeros around it. The sum is written out: as a
        # reduction, XLA on CPU (JAX 0.10) gives wrong values under `jit` from 4,000 rows on.
        shift, log_scale, *raws = lax.split(params, (1, 1, *[k] * self.polynomials))
        squares = [
            jnp.square(_product(nodes, bounded(raw, LARGEST) + jnp.asarray(first, raw.dtype)))
            for raw, first in zip(raws, start, strict=True)
        ]
        total = sum(squares[1:], squares[0])
        mean, *others = lax.split(_product(moments, total), [1] * len(nodes))
        # The first coefficient is the mean; 0 only where all coefficients are.
        scale = (1 - FLOOR) / (mean + jnp.finfo(params.dtype).tiny)
        q = (FLOOR + scale * mean, *(scale * other for other in others))
        return shift[0], bounded(log_scale[0], STRETCH), tuple(each[0] for each in q)

    def _map(
        self, x: Array, density: tuple[Array, Array, tuple[Array, ...]]
    ) -> tuple[Array, Array]:
        shift, log_scale, q = density
        inside = jnp.clip(x, -self.bound, self.bound)
        u = inside / self.bound
        # By (2 k + 1) int P_k = P_{k+1} - P_{k-1}, which vanishes at -1 for k > 0.
        before, now = jnp.ones_like(u), u
        value, slope = q[0] * u, q[0]
        for k in range(1, len(q)):
            after = ((2 * k + 1) * u * now - k * before) / (k + 1)
            slope = slope + q[k] * now
            value = value + q[k] * (after - before) / (2 * k + 1)
            before, now = now, after
        # The sum of squares is positive, but may be rounded below 0.
        log_slope = jnp.log(jnp.maximum(slope, FLOOR))
        value, log_slope = linear_tails(x - inside, self.bound * value, log_slope, steepest=END)
        return shift + jnp.exp(log_scale) * value, log_scale + log_slope


def _quadrature(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Normed polynomials at Gauss-Legendre nodes, and the matrix from a square there to its coefficients of P_l."""
    orders = np.arange(2 * degree + 1)
    at, weights = np.polynomial.legendre.leggauss(2 * degree + 1)
    values = np.polynomial.legendre.legvander(at, 2 * degree)
    normed = (values * np.sqrt(2 * orders + 1))[:, : degree + 1]
    return normed, (values * weights[:, None] * (2 * orders + 1) / 2).T


def _product(table: np.ndarray, values: Array) -> Array:
    return jnp.tensordot(jnp.asarray(table, values.dtype), values, 1, precision="highest")


# Largest coefficient, |log-scale| and |log-slope| of a tail.
LARGEST, STRETCH, END = 10.0, 5.0, 1.0
FLOOR = 0.01
