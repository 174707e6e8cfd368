"""The data passes that set data-dependent layers."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from pushforward.bijections.actnorm import ActNorm
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.batch_norm import BatchNorm
from pushforward.bijections.chain import Chain, Invert, Stack
from pushforward.bijections.cylinder import Cylinder, joined
from pushforward.errors import InputError
from pushforward.rows import broadcasting

B = TypeVar("B", bound=AbstractBijection)
Setters = Mapping[type, Callable[[Any, Array], Any]]
STATISTICS: Setters = {BatchNorm: BatchNorm.measuring}
START: Setters = {ActNorm: ActNorm.standardising, **STATISTICS}


def initialised(bijection: B, x: ArrayLike, condition: ArrayLike | None = None) -> B:
    """The map with every `ActNorm` and `BatchNorm` in it set from the data rows that reach it; all else unchanged.

    Arguments:
        bijection: a map; chains and stacks are entered.
        x: `(n, *event)` data rows.
        condition: `(n, *condition)`, if the map takes one.

    Raises `InputError` for such a layer inside `Invert`, which no data pass can reach.
    """
    if not _has(bijection, START):
        return bijection
    with broadcasting():
        return _set(bijection, jnp.asarray(x), condition, START)[0]


def with_statistics(bijection: B, x: ArrayLike, condition: ArrayLike | None = None) -> B:
    """The map with the stored statistics of every `BatchNorm` in it measured on the data rows that reach it.

    Arguments and errors as in `initialised`.
    """
    if not has_statistics(bijection):
        return bijection
    with broadcasting():
        return _set(bijection, jnp.asarray(x), condition, STATISTICS)[0]


def has_statistics(model: Any) -> bool:
    """Whether a `BatchNorm` stands anywhere in the model."""
    return _has(model, STATISTICS)


def _set(bijection, x, condition, setters: Setters):
    if type(bijection) in setters:
        bijection = setters[type(bijection)](bijection, x)
    elif isinstance(bijection, Chain):
        parts = []
        for part in reversed(bijection.bijections):
            part, x = _set(part, x, condition, setters)
            parts.append(part)
        return eqx.tree_at(lambda c: c.bijections, bijection, tuple(reversed(parts))), x
    elif isinstance(bijection, Cylinder):
        turned, straight, seen = bijection.split(x, condition)
        turned, z_turned = _set(bijection.turned, turned, condition, setters)
        straight, z_straight = _set(bijection.straight, straight, seen, setters)
        return (
            Cylinder(turned, straight, bijection.angles),
            joined(z_turned, z_straight, bijection.angles),
        )
    elif isinstance(bijection, Stack):
        layers = []
        for layer in reversed(bijection.unstack()):
            layer, x = _set(layer, x, condition, setters)
            layers.append(layer)
        stacked = jax.tree.map(
            lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0],
            *reversed(layers),
        )
        return eqx.tree_at(lambda s: s.layer, bijection, stacked), x
    elif isinstance(bijection, Invert) and _has(bijection, setters):
        names = " or ".join(kind.__name__ for kind in setters)
        raise InputError(f"an {names} inside Invert cannot be set from data")
    return bijection, bijection.inverse_rows(x, condition, None)[0]


def _has(model: Any, setters: Setters) -> bool:
    kinds = tuple(setters)
    leaves = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, kinds))
    return any(isinstance(leaf, kinds) for leaf in leaves)
