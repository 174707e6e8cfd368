"""Moving a model away from its initialisation, and between precisions."""

from typing import TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import DTypeLike, PRNGKeyArray

M = TypeVar("M")


def perturbed(model: M, key: PRNGKeyArray, scale: float = 0.5) -> M:
    """The model with normal noise added to every floating-point array.

    A model at initialisation is often the identity, and an identity hides sign errors, dead conditions and masks that
    let too much through. The noise of one entry has deviation `scale / sqrt(fan_in)`, fan-in being the size of the
    array's last axis: sums over inputs then move by about `scale` whatever the width, and the map stays well
    conditioned.

    Arguments:
        model: any pytree; integer arrays and static fields are left alone.
        key: source of the noise.
        scale: size of the noise; default 0.5.
    """
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(arrays)
    # NumPy's noise: JAX would compile a program for every shape.
    noise = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    moved = [_moved(leaf, noise, scale) for leaf in leaves]
    return eqx.combine(jax.tree.unflatten(tree, moved), rest)


def cast(model: M, dtype: DTypeLike) -> M:
    """The model with every floating-point array in another precision."""
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    # By NumPy too: see `perturbed`.
    return eqx.combine(
        jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf, dtype)), arrays), rest
    )


def _moved(leaf, noise: np.random.Generator, scale: float):
    fan_in = max(leaf.shape[-1], 1) if leaf.ndim else 1
    moved = np.asarray(leaf) + scale * fan_in**-0.5 * noise.normal(size=leaf.shape)
    return jax.device_put(np.asarray(moved, leaf.dtype))
