"""The Bernstein polynomial."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from pushforward.errors import check_count
from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.tails import check_bound, linear_tails


class Bernstein(AbstractTransformer):
    """A Bernstein polynomial with increasing coefficients, on `[-bound, bound]` with straight tails.

        z = sum_k c_k binom(n, k) t^k (1 - t)^(n-k),    t = (x + bound) / (2 bound),    c_0 < c_1 < ... < c_n

    Parameters are the first coefficient and the n raw increments. Cost: inverse n products, forward a numeric search.

    Bernstein polynomials in normalizing flows (Ramasinghe et al. 2021, arXiv 2102.03509; Sick et al. 2020, arXiv
    2004.00464).

    Arguments:
        degree: n, at least 1; default 16.
        bound: half the side of the box; default 5.

    Raises `InputError` for a degree below 1 or a bound that is not positive.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> family = pf.transformers.Bernstein(degree=4)
    >>> z, _ = family.inverse(jnp.array([2.0, 9.0]), jnp.zeros((family.size, 2)))
    >>> [round(float(v), 3) for v in z]
    [2.0, 9.0]

    ```
    """

    searched = True
    degree: int = eqx.field(static=True, default=16)
    bound: float = eqx.field(static=True, default=5.0)

    def __check_init__(self) -> None:
        check_count("degree", self.degree)
        check_bound(self.bound)

    @property
    def size(self) -> int:
        return self.degree + 1

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        n, side = self.degree, 2 * self.bound
        # Split, not sliced: a slice's gradient is a whole array of zeros around it.
        first, *raws = (raw[0] for raw in lax.split(params, [1] * (n + 1)))
        # 1 at raw = 0, never below a thousandth.
        rises = [1e-3 + jax.nn.softplus(raw + math.log(math.expm1(1 - 1e-3))) for raw in raws]

        inside = jnp.clip(x, -self.bound, self.bound)
        t = (inside + self.bound) / side
        # z - c_0 = side sum_k rise_k P(B_n(t) >= k) / n, the tail probabilities of a binomial variable.
        below, at_least = _basis(n - 1, t), _basis(n, t)
        slope = sum(rises[k] * below[k] for k in range(n))
        tail, value = jnp.zeros_like(t), jnp.zeros_like(t)
        for k in reversed(range(1, n + 1)):
            tail = tail + at_least[k]
            value = value + rises[k - 1] * tail
        z = first - self.bound + side / n * value
        return linear_tails(x - inside, z, jnp.log(slope))


def _basis(n: int, t: Array) -> list[Array]:
    """The Bernstein polynomials of degree n at t."""
    ups, downs = [jnp.ones_like(t)], [jnp.ones_like(t)]
    for _ in range(n):
        ups.append(ups[-1] * t)
        downs.append(downs[-1] * (1 - t))
    return [math.comb(n, k) * ups[k] * downs[n - k] for k in range(n + 1)]
