"""Composition: chains, stacks of equal layers, and the inverse of a map."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.base import AbstractBijection
from pushforward.errors import InputError
from pushforward.networks.layers import split
from pushforward.rows import Shape


class Chain(AbstractBijection):
    """Maps one after another: forward applies them first to last, inverse last to first. Log-dets add up.

    Arguments:
        bijections: at least one map; all of one event shape, and those that take a condition of one condition shape.

    Raises `InputError` where shapes differ.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> turn = pf.bijections.Reverse(2)
    >>> [int(v) for v in pf.bijections.Chain([turn, turn]).forward(jnp.arange(2.0))[0]]
    [0, 1]

    ```
    """

    bijections: tuple[AbstractBijection, ...]
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(self, bijections: Sequence[AbstractBijection]):
        if not bijections:
            raise InputError("a chain needs at least one bijection")
        events = {b.event_shape for b in bijections}
        conditions = {b.condition_shape for b in bijections} - {None}
        if len(events) > 1 or len(conditions) > 1:
            raise InputError(
                f"a chain's maps differ in shape: events {events}, conditions {conditions}"
            )
        self.bijections = tuple(bijections)
        self.event_shape = bijections[0].event_shape
        self.condition_shape = conditions.pop() if conditions else None

    def forward_rows(
        self, z: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        total = jnp.zeros(z.shape[0], z.dtype)
        for bijection, k in zip(self.bijections, split(key, len(self.bijections)), strict=True):
            z, log_det = bijection.forward_rows(z, condition, k)
            total = total + log_det
        return z, total

    def inverse_rows(
        self, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        total = jnp.zeros(x.shape[0], x.dtype)
        keys = split(key, len(self.bijections))
        for bijection, k in zip(reversed(self.bijections), keys, strict=True):
            x, log_det = bijection.inverse_rows(x, condition, k)
            total = total + log_det
        return x, total


class Stack(AbstractBijection):
    """Equal layers with their own parameters, stacked along a leading axis and scanned: the compiled program holds
    one layer, however many there are.

    Forward applies them first to last, inverse last to first.

    Arguments:
        make: from a key to one layer; called under `vmap`, so that every layer draws its own parameters.
        layers: how many, at least 1.
        key: source of the layers' keys.

    Raises `InputError` for fewer than 1 layer.

    ```python
    >>> import jax, pushforward as pf
    >>> stack = pf.bijections.Stack(lambda key: pf.bijections.LULinear(2), 3, key=jax.random.key(0))
    >>> len(stack.unstack()), stack.forward(jax.numpy.ones(2))[0].shape
    (3, (2,))

    ```
    """

    layer: AbstractBijection
    layers: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self, make: Callable[[PRNGKeyArray], AbstractBijection], layers: int, *, key: PRNGKeyArray
    ):
        if layers < 1:
            raise InputError(f"layers={layers}: at least 1 layer is needed")
        self.layer = eqx.filter_vmap(make)(jax.random.split(key, layers))
        self.layers = layers
        self.event_shape = self.layer.event_shape
        self.condition_shape = self.layer.condition_shape

    def unstack(self) -> list[AbstractBijection]:
        """The layers, first to last, as maps of their own."""
        arrays, static = eqx.partition(self.layer, eqx.is_array)
        return [
            eqx.combine(jax.tree.map(lambda a, i=i: a[i], arrays), static)
            for i in range(self.layers)
        ]

    def _scan(self, value, condition, key, method: str, reverse: bool):
        arrays, static = eqx.partition(self.layer, eqx.is_array)
        keys = None if key is None else jax.random.split(key, self.layers)

        def step(carry, layer):
            value, total = carry
            arrays, k = layer
            bijection = eqx.combine(arrays, static)
            value, log_det = getattr(bijection, method)(value, condition, k)
            return (value, total + log_det), None

        start = (value, jnp.zeros(value.shape[0], value.dtype))
        return jax.lax.scan(step, start, (arrays, keys), reverse=reverse)[0]

    def forward_rows(
        self, z: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        return self._scan(z, condition, key, "forward_rows", reverse=False)

    def inverse_rows(
        self, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        return self._scan(x, condition, key, "inverse_rows", reverse=True)


class Invert(AbstractBijection):
    """The inverse of a map as a map: its forward is the other's inverse. Turns a fast density into fast sampling.

    Arguments:
        bijection: the map to turn round.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> norm = pf.bijections.SoftTails(1)
    >>> turned = pf.bijections.Invert(norm)
    >>> bool(turned.forward(jnp.array([20.0]))[0] == norm.inverse(jnp.array([20.0]))[0])
    True

    ```
    """

    bijection: AbstractBijection
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(self, bijection: AbstractBijection):
        self.bijection = bijection
        self.event_shape = bijection.event_shape
        self.condition_shape = bijection.condition_shape

    def forward_rows(
        self, z: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        return self.bijection.inverse_rows(z, condition, key)

    def inverse_rows(
        self, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        return self.bijection.forward_rows(x, condition, key)
