"""The sum-of-squares polynomial."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.numeric import solved
from pushforward.bijections.transformers.base import AbstractTransformer
from pushforward.bijections.transformers.tails import bounded, linear_tails
from pushforward.errors import InputError


class SumOfSquares(AbstractTransformer):
    """The integral of a sum of squared polynomials, on `[-bound, bound]` with straight tails.

        z = b + e x + B int_0^{x/B} sum_r p_r(u)^2 du,    p_r(u) = sum_l a_rl u^l,    B = bound

    The floor `e` keeps the slope positive where all polynomials vanish. Parameters are b and the coefficients, as
    offsets from `p_0 = 1` and small different starts of the others (a polynomial that is 0 has no gradient). Cost:
    inverse `polynomials * degree^2` multiply-adds, forward a numeric search.

    Sum-of-squares polynomial flow (Jaini, Selby & Yu 2019, arXiv 1905.02325).

    Arguments:
        polynomials: number of squares; default 3.
        degree: of each polynomial; default 4.
        bound: half the side of the box; default 5.

    Raises `InputError` for fewer than 1 polynomial, a degree below 1 or a bound that is not positive.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.bijections import SumOfSquares
    >>> family = SumOfSquares(polynomials=1)
    >>> z, _ = family.inverse(jnp.array([2.0]), jnp.zeros((family.size, 1)))
    >>> round(float(z[0]), 3)
    2.0

    ```
    """

    polynomials: int = eqx.field(static=True, default=3)
    degree: int = eqx.field(static=True, default=4)
    bound: float = eqx.field(static=True, default=5.0)

    def __check_init__(self):
        if self.polynomials < 1 or self.degree < 1:
            raise InputError(
                f"polynomials={self.polynomials}, degree={self.degree}: both must be at least 1"
            )
        if not self.bound > 0:
            raise InputError(f"bound={self.bound}: the half-width of the box must be positive")

    @property
    def size(self) -> int:
        return 1 + self.polynomials * (self.degree + 1)

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        shape = (self.polynomials, self.degree + 1, *x.shape)
        raw = bounded(params[1:].reshape(shape), LARGEST)
        squares: list[Array | float] = [0.0] * (2 * self.degree + 1)
        for r in range(self.polynomials):
            # p_0 starts at the constant 1, p_r at 0.2 u^r.
            start = [
                (FIRST if r == 0 else 0.2) * (j == r % (self.degree + 1)) for j in range(shape[1])
            ]
            a = [raw[r, j] + start[j] for j in range(shape[1])]
            for j in range(shape[1]):
                for k in range(j, shape[1]):
                    squares[j + k] = squares[j + k] + (1 if j == k else 2) * a[j] * a[k]

        def evaluate(x: Array) -> tuple[Array, Array]:
            u = x / self.bound
            value, slope = jnp.zeros_like(u), jnp.zeros_like(u)
            for s in reversed(range(len(squares))):
                value = value * u + squares[s] / (s + 1)
                slope = slope * u + squares[s]
            # The sum of squares is positive, but Horner's rule may round it below 0.
            floored = FLOOR + jnp.maximum(slope, 0.0)
            return params[0] + FLOOR * x + x * value, jnp.log(floored)

        return linear_tails(evaluate, x, self.bound)

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        return solved(self.inverse, z, params)


# Largest coefficient.
LARGEST = 10.0
FLOOR = 0.01
FIRST = (1 - FLOOR) ** 0.5
