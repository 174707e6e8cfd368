"""A map whose condition goes through a network first."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.base import (
    AbstractBijection,
    Condition,
    Key,
    Mapped,
    check_bijection,
    replaced,
)
from pushforward.errors import InputError
from pushforward.rows import Shape, as_shape


class Embedded(AbstractBijection):
    """A map whose condition is what a network makes of another: `f(z; network(c))`.

    The condition may be a set, a series or an image, which no conditioner takes by itself; network and map are trained
    together. Cost: a pass of the network, beside the map. `Flow(flow.base, Embedded(flow.bijection, network, shape))`
    is a flow with an embedded condition.

    Arguments:
        bijection: the map, which takes a condition.
        network: `network(condition_rows, key)`, from `(n, *condition)` to `(n, *condition of the map)`; the key is None
            in evaluation.
        condition: size or shape of the network's condition.

    Raises `InputError` for a map without a condition, or where the network gives another shape than it takes.

    ```python
    >>> import jax, jax.numpy as jnp, pushforward as pf
    >>> flow = pf.architectures.RealNVP(layers=2, width=8).build(2, 4, key=jax.random.key(0))
    >>> network = pf.networks.DeepSets(3, 4, width=8, key=jax.random.key(1))
    >>> of_sets = pf.bijections.Embedded(flow.bijection, network, (10, 3))
    >>> of_sets.inverse(jnp.ones((5, 2)), jnp.ones((5, 10, 3)))[0].shape
    (5, 2)

    ```
    """

    bijection: AbstractBijection
    network: Callable[[Array, PRNGKeyArray | None], Array]
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape = eqx.field(static=True)

    def __init__(
        self,
        bijection: AbstractBijection,
        network: Callable[[Array, PRNGKeyArray | None], Array],
        condition: int | Shape,
    ):
        check_bijection(bijection, "what is embedded")
        shape, inner = as_shape(condition, "condition"), bijection.condition_shape
        if shape is None or inner is None:
            raise InputError(
                f"{type(bijection).__name__} takes no condition: there is nothing to embed"
            )
        rows = jax.ShapeDtypeStruct((2, *shape), jnp.zeros(()).dtype)
        given = eqx.filter_eval_shape(network, rows, None).shape
        if given != (2, *inner):
            raise InputError(
                f"the network gives {given} for 2 conditions of shape {shape}; {(2, *inner)} is expected, what "
                f"{type(bijection).__name__} takes"
            )
        self.bijection, self.network = bijection, network
        self.event_shape, self.condition_shape = bijection.event_shape, shape

    @property
    def latent_shape(self) -> Shape:
        return self.bijection.latent_shape

    def facts_of(self) -> tuple[AbstractBijection, ...]:
        return (self.bijection,)

    def without_log_det(self) -> AbstractBijection:
        bare = self.bijection.without_log_det()
        return self if bare is self.bijection else replaced(self, bijection=bare)

    def visited(
        self, visit: Callable[..., tuple[Any, Array]], x: Array, condition: Condition
    ) -> tuple["Embedded", Array]:
        """See `initialised`: the map is visited with the embedded conditions."""
        inner, z = visit(self.bijection, x, self.network(condition, None))  # type: ignore[arg-type]
        return replaced(self, bijection=inner), z

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return self.bijection.forward_rows(z, *self._embedded(condition, key))

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return self.bijection.inverse_rows(x, *self._embedded(condition, key))

    def _embedded(self, condition: Condition, key: Key) -> tuple[Array, Key]:
        """The map's own condition, and its key."""
        assert condition is not None
        if key is None:
            return self.network(condition, None), None
        own, rest = jax.random.split(key)
        return self.network(condition, own), rest
