"""Composition: chains, stacks of equal layers, and the inverse of a map."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import is_
from typing import Any, TypeVar

import equinox as eqx
import jax
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.base import (
    AbstractBijection,
    Condition,
    Key,
    Mapped,
    check_bijection,
    replaced,
)
from pushforward.bijections.remat import check_remat, run
from pushforward.errors import InputError, check_count
from pushforward.networks.layers import restacked, stacked
from pushforward.rows import Shape

M = TypeVar("M")


class Chain(AbstractBijection):
    """Maps one after another: forward applies them first to last, inverse last to first. Log-dets add up.

    Arguments:
        bijections: at least one map. Each gives the shape that the next one takes; all conditions have one shape.
        remat: where gradients get the activations from, `"none"` or `"invertible"`, see `Stack`.

    Raises `InputError` where ends do not meet or conditions differ, for an unknown `remat`, and unless all are
    bijections.

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
    remat: str = eqx.field(static=True)

    def __init__(self, bijections: Sequence[AbstractBijection], *, remat: str = "none"):
        if not bijections:
            raise InputError("a chain needs at least one bijection")
        for i, bijection in enumerate(bijections):
            check_bijection(bijection, f"a chain's map {i}")
        for one, following in pairwise(bijections):
            if one.event_shape != following.latent_shape:
                raise InputError(
                    f"the ends of a chain do not meet: {type(one).__name__} gives events of shape {one.event_shape}, "
                    f"{type(following).__name__} takes {following.latent_shape}"
                )
        conditions = {b.condition_shape for b in bijections} - {None}
        if len(conditions) > 1:
            raise InputError(f"a chain's maps take conditions of different shapes: {conditions}")
        self.remat = check_remat(remat)
        self.bijections = tuple(bijections)
        self.event_shape = bijections[-1].event_shape
        self.condition_shape = conditions.pop() if conditions else None

    @property
    def latent_shape(self) -> Shape:
        return self.bijections[0].latent_shape

    def parts(self) -> tuple[AbstractBijection, ...]:
        return self.bijections

    def with_parts(self, parts: Sequence[AbstractBijection]) -> "Chain":
        return Chain(parts, remat=self.remat)

    def without_log_det(self) -> "Chain":
        parts = [part.without_log_det() for part in self.bijections]
        return self if all(map(is_, parts, self.bijections)) else self.with_parts(parts)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return run(self.bijections, None, z, condition, key, "forward_rows", self.remat)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return run(self.bijections, None, x, condition, key, "inverse_rows", self.remat)


class Stack(AbstractBijection):
    """Equal layers with their own parameters, stacked along a leading axis and scanned: the compiled program holds
    one layer, however many there are.

    Forward applies them first to last, inverse last to first.

    Arguments:
        make: from a key to one layer; called with another key for every layer.
        layers: how many, at least 1.
        key: source of the layers' keys.
        remat: where gradients get the activations from. `"none"` keeps those of every layer; `"invertible"` keeps the
            last and recomputes the others through the layers' inverses (Gomez et al. 2017, arXiv 1707.04585): memory
            does not grow with the layers, at the price of the inverse's time. Reverse mode only, and worth it where
            both directions cost the same.

    Raises `InputError` for fewer than 1 layer, layers whose two ends differ in shape, or an unknown `remat`.

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
    remat: str = eqx.field(static=True)

    def __init__(
        self,
        make: Callable[[PRNGKeyArray], AbstractBijection],
        layers: int,
        *,
        key: PRNGKeyArray,
        remat: str = "none",
    ):
        check_count("layers", layers)
        self.remat = check_remat(remat)
        self.layer = stacked(make, layers, key)
        check_bijection(self.layer, "a stack's layer")
        if self.layer.latent_shape != self.layer.event_shape:
            raise InputError(
                f"a stack's layers feed each other: {type(self.layer).__name__} takes events of shape "
                f"{self.layer.latent_shape} and gives {self.layer.event_shape}"
            )
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

    def parts(self) -> tuple[AbstractBijection, ...]:
        return tuple(self.unstack())

    def with_parts(self, parts: Sequence[AbstractBijection]) -> "Stack":
        return replaced(self, layer=restacked(parts))

    def without_log_det(self) -> "Stack":
        layer = self.layer.without_log_det()
        return self if layer is self.layer else replaced(self, layer=layer)

    def with_remat(self, remat: str) -> "Stack":
        """The same layers with another `remat`."""
        return replaced(self, remat=check_remat(remat))

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return run(self.layer, self.layers, z, condition, key, "forward_rows", self.remat)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return run(self.layer, self.layers, x, condition, key, "inverse_rows", self.remat)


class Invert(AbstractBijection):
    """The inverse of a map: its `forward` is the other's `inverse`. Turns a fast density into fast sampling.

    Arguments:
        bijection: the map to invert.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> tails = pf.bijections.SoftTails(1)
    >>> inverted = pf.bijections.Invert(tails)
    >>> bool(inverted.forward(jnp.array([20.0]))[0] == tails.inverse(jnp.array([20.0]))[0])
    True

    ```
    """

    bijection: AbstractBijection
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(self, bijection: AbstractBijection):
        check_bijection(bijection, "the map to invert")
        self.bijection = bijection
        self.event_shape = bijection.latent_shape
        self.condition_shape = bijection.condition_shape

    @property
    def latent_shape(self) -> Shape:
        return self.bijection.event_shape

    def facts_of(self) -> tuple[AbstractBijection, ...]:
        return (self.bijection,)

    def parts(self) -> tuple[AbstractBijection, ...]:
        return _inverted(self.bijection.parts())

    def with_parts(self, parts: Sequence[AbstractBijection]) -> "Invert":
        return Invert(self.bijection.with_parts(_inverted(parts)))

    def without_log_det(self) -> "Invert":
        inner = self.bijection.without_log_det()
        return self if inner is self.bijection else Invert(inner)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return self.bijection.inverse_rows(z, condition, key)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return self.bijection.forward_rows(x, condition, key)


def _inverted(maps: Sequence[AbstractBijection]) -> tuple[AbstractBijection, ...]:
    """The inverses of maps, last to first."""
    return tuple(b.bijection if isinstance(b, Invert) else Invert(b) for b in reversed(maps))


def with_remat(model: M, remat: str) -> M:
    """The model with this `remat` in every `Stack`; all else unchanged.

    Arguments:
        model: any pytree of modules.
        remat: `"none"` or `"invertible"`, see `Stack`.

    Raises `InputError` for an unknown `remat`, or for `"invertible"` where the model has no stack.

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.RealNVP(layers=2, width=8).build(3, key=jax.random.key(0))
    >>> pf.bijections.with_remat(flow, "invertible").bijection.remat
    'invertible'

    ```
    """

    def is_stack(node: Any) -> bool:
        return isinstance(node, Stack)

    leaves, tree = jax.tree.flatten(model, is_leaf=is_stack)
    if check_remat(remat) != "none" and not any(map(is_stack, leaves)):
        raise InputError(f"remat={remat!r}: the model has no stack of layers to apply it to")
    leaves = [leaf.with_remat(remat) if is_stack(leaf) else leaf for leaf in leaves]
    changed: M = jax.tree.unflatten(tree, leaves)
    return changed
