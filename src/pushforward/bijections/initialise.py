"""The one data pass that sets data-dependent layers."""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike

from pushforward.bijections.actnorm import ActNorm
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.chain import Chain, Invert, Stack
from pushforward.errors import InputError

B = TypeVar("B", bound=AbstractBijection)


def initialised(bijection: B, x: ArrayLike, condition: ArrayLike | None = None) -> B:
    """The map with every `ActNorm` in it set from the data rows that reach it; all else unchanged.

    Arguments:
        bijection: a map; chains and stacks are entered.
        x: `(n, *event)` data rows.
        condition: `(n, *condition)`, if the map takes one.

    Raises `InputError` for an `ActNorm` inside `Invert`, which no data pass can reach.
    """
    return (
        _initialised(bijection, jnp.asarray(x), condition)[0]
        if _has_actnorm(bijection)
        else bijection
    )


def _initialised(bijection, x, condition):
    if isinstance(bijection, ActNorm):
        bijection = bijection.standardising(x)
    elif isinstance(bijection, Chain):
        parts = []
        for part in reversed(bijection.bijections):
            part, x = _initialised(part, x, condition)
            parts.append(part)
        return eqx.tree_at(lambda c: c.bijections, bijection, tuple(reversed(parts))), x
    elif isinstance(bijection, Stack):
        layers = []
        for layer in reversed(bijection.unstack()):
            layer, x = _initialised(layer, x, condition)
            layers.append(layer)
        stacked = jax.tree.map(
            lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0],
            *reversed(layers),
        )
        return eqx.tree_at(lambda s: s.layer, bijection, stacked), x
    elif isinstance(bijection, Invert) and _has_actnorm(bijection):
        raise InputError("an ActNorm inside Invert cannot be initialised from data")
    return bijection, bijection.inverse_rows(x, condition, None)[0]


def _has_actnorm(bijection: AbstractBijection) -> bool:
    leaves = jax.tree.leaves(bijection, is_leaf=lambda node: isinstance(node, ActNorm))
    return any(isinstance(leaf, ActNorm) for leaf in leaves)
