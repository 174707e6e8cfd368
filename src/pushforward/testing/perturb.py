"""Moving a model away from its initialisation, and between precisions."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import DTypeLike, PRNGKeyArray

M = TypeVar("M")


def perturbed(model: M, key: PRNGKeyArray, scale: float = 0.5) -> M:
    """The model with normal noise added to every floating-point array.

    At initialisation a model is often the identity, which hides sign errors, dead conditions and masks that let too
    much through. The noise has deviation `scale / sqrt(fan_in)`, where the fan-in is the size of an array's last axis:
    sums over inputs then move by about `scale` whatever the width, and the map stays well conditioned.

    Arguments:
        model: any pytree; integer arrays and static fields stay as they are.
        key: source of the noise.
        scale: size of the noise; default 0.5.
    """
    noise = np.random.default_rng(np.asarray(jax.random.key_data(key)))

    def moved(leaf: np.ndarray) -> np.ndarray:
        fan_in = max(leaf.shape[-1], 1) if leaf.ndim else 1
        shifted = leaf + scale * fan_in**-0.5 * noise.normal(size=leaf.shape)
        return np.asarray(shifted, leaf.dtype)

    return _mapped(moved, model)


def cast(model: M, dtype: DTypeLike) -> M:
    """The model with every floating-point array in another precision."""
    return _mapped(lambda leaf: np.asarray(leaf, dtype), model)


def _mapped(function: Callable[[np.ndarray], np.ndarray], model: M) -> M:
    """The model with a function of its floating-point arrays, by NumPy: JAX would compile a program for every shape."""

    def of_leaf(leaf: Any) -> Any:
        inexact = eqx.is_inexact_array(leaf)
        return jax.device_put(function(np.asarray(leaf))) if inexact else leaf

    mapped: M = jax.tree.map(of_leaf, model)
    return mapped
