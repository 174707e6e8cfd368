"""The product of independent distributions."""

from collections.abc import Sequence

import equinox as eqx
import jax
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.base import Condition, Key, PerRow
from pushforward.bijections.cylinder import joined, parted
from pushforward.distributions.base import AbstractDistribution, Draws
from pushforward.errors import InputError
from pushforward.rows import Shape


class Product(AbstractDistribution):
    """Two independent distributions side by side in one vector: `log p(x) = log p_a(x_a) + log p_b(x_b)`.

    Cost: that of both.

    Arguments:
        first, second: the distributions; they take no condition.
        of_first: which coordinates are the first's, in their order; the others are the second's.

    Raises `InputError` where the numbers of coordinates do not fit.

    ```python
    >>> import pushforward as pf
    >>> angle, line = pf.distributions.UniformTorus(1), pf.distributions.Uniform(1)
    >>> both = pf.distributions.Product(angle, line, (False, True))
    >>> print(round(float(both.log_prob([0.5, 3.0])), 4))
    -1.8379

    ```
    """

    first: AbstractDistribution
    second: AbstractDistribution
    of_first: tuple[bool, ...] = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(
        self, first: AbstractDistribution, second: AbstractDistribution, of_first: Sequence[bool]
    ):
        k, d = sum(of_first), len(of_first)
        if (first.event_shape, second.event_shape) != ((k,), (d - k,)):
            raise InputError(
                f"distributions of {k} and {d - k} coordinates are expected, not of the shapes {first.event_shape} and "
                f"{second.event_shape}"
            )
        self.first, self.second, self.of_first = first, second, tuple(map(bool, of_first))
        self.event_shape = (d,)

    def log_prob_rows(self, x: Array, condition: Condition, key: Key) -> PerRow:
        one, other = parted(x, self.of_first)
        log_other = self.second.log_prob_rows(other, None, key)
        return self.first.log_prob_rows(one, None, key) + log_other

    def sample_rows(self, key: PRNGKeyArray, n: int, condition: Condition) -> Draws:
        keys = jax.random.split(key)
        one, log_one = self.first.sample_rows(keys[0], n, None)
        other, log_other = self.second.sample_rows(keys[1], n, None)
        return joined(one, other, self.of_first), log_one + log_other
