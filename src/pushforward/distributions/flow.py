"""A normalizing flow: a base distribution pushed through a bijection."""

from operator import is_
from typing import Any

import equinox as eqx
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.base import (
    AbstractBijection,
    Condition,
    Key,
    PerRow,
    check_bijection,
    replaced,
)
from pushforward.distributions.base import AbstractDistribution, Draws
from pushforward.errors import InputError
from pushforward.rows import Numbers, Shape


class Flow(AbstractDistribution):
    """The push-forward of a base distribution: `x = f(z)`, `log p(x) = log p_base(z) + log |det dz/dx|`.

    Cost: `log_prob` one inverse pass, `sample` one forward pass of the bijection.

    Arguments:
        base: the distribution of z; it takes no condition.
        bijection: the map from z to x, conditional or not.
        architecture: the configuration of `pushforward.architectures` that built it, which `pushforward.save` writes;
            default None. Every registered architecture sets it.

    Raises `InputError` unless the base's events have the shape that the bijection takes, and for anything but a
    bijection.

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.RealNVP(layers=2, width=8).build(3, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((5, 3))).shape
    (5,)

    ```
    """

    base: AbstractDistribution
    bijection: AbstractBijection
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)
    architecture: Any = eqx.field(static=True)

    def __init__(
        self, base: AbstractDistribution, bijection: AbstractBijection, architecture: Any = None
    ):
        check_bijection(bijection, "a flow's map")
        if base.event_shape != bijection.latent_shape:
            raise InputError(
                f"the base {type(base).__name__} has events of shape {base.event_shape}, the bijection "
                f"{type(bijection).__name__} takes {bijection.latent_shape}"
            )
        self.base, self.bijection, self.architecture = base, bijection, architecture
        self.event_shape = bijection.event_shape
        self.condition_shape = bijection.condition_shape

    def without_log_prob(self) -> "Flow":
        changed = self.base.without_log_prob(), self.bijection.without_log_det()
        if all(map(is_, changed, (self.base, self.bijection))):
            return self
        return replaced(self, base=changed[0], bijection=changed[1])

    def log_prob_rows(self, x: Array, condition: Condition, key: Key) -> PerRow:
        z, log_det = self.bijection.inverse_rows(x, condition, key)
        return self.base.log_prob_rows(z, None, None) + log_det

    def sample_rows(self, key: PRNGKeyArray, n: int, condition: Condition) -> Draws:
        z, log_base = self.base.sample_rows(key, n, None)
        x, log_det = self.bijection.forward_rows(z, condition, None)
        return x, log_base - log_det

    def forward(
        self, z: Numbers, condition: Numbers | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """Push latent to data: the bijection's `forward`."""
        return self.bijection.forward(z, condition, key=key)

    def inverse(
        self, x: Numbers, condition: Numbers | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """Pull data back to latent: the bijection's `inverse`."""
        return self.bijection.inverse(x, condition, key=key)
