"""Named arrays of a modelling language as flat rows, and back."""

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.errors import InputError
from pushforward.rows import Shape

BLOCK = 1024
"""Rows of a compiled call."""


def imported(module: str, package: str) -> Any:
    """A module of a library that is no dependency.

    Raises `InputError`, which says what to install, where it is absent.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if getattr(error, "name", None) != module.split(".")[0]:
            raise
        raise InputError(f"{package} is not installed: pip install {package}") from None


def split(
    u: Float[Array, " d"] | Float[np.ndarray, " d"], shapes: Mapping[str, Shape]
) -> dict[str, Any]:
    """A flat vector as named arrays, in their order, the last axis fastest."""
    parts, at = {}, 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        parts[name] = u[at : at + size].reshape(shape)
        at += size
    return parts


def joined(
    rows: Mapping[str, Any], shapes: Mapping[str, Shape], what: str = "draws"
) -> Float[np.ndarray, "n d"]:
    """Named arrays `(n, ...)` as flat rows.

    Raises `InputError` for a name that is absent, or an array of another shape.
    """
    if absent := [name for name in shapes if name not in rows]:
        raise InputError(f"{what}: {', '.join(absent)} is missing; there is {', '.join(rows)}")
    arrays = {name: np.asarray(rows[name], np.float64) for name in shapes}
    n = len(next(iter(arrays.values())))
    for name, shape in shapes.items():
        if arrays[name].shape != (n, *shape):
            raise InputError(
                f"{what}: {name} has shape {arrays[name].shape}; ({n}, "
                f"{', '.join(map(str, shape))}) was expected"
            )
    return np.concatenate([array.reshape(n, -1) for array in arrays.values()], axis=1)


def names_of(shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """A name for each number: `theta`, or `theta[0, 1]` in an array."""
    return tuple(
        f"{name}[{', '.join(map(str, index))}]" if shape else name
        for name, shape in shapes.items()
        for index in product(*map(range, shape))
    )


def by_blocks(function: Any, rows: Float[np.ndarray, "n d"]) -> dict[str, np.ndarray]:
    """Named arrays that a compiled function gives for rows, by blocks of one size: one program for any n."""
    found: list[dict[str, np.ndarray]] = []
    for at in range(0, len(rows), BLOCK):
        some = rows[at : at + BLOCK]
        filled = np.concatenate([some, np.repeat(some[:1], BLOCK - len(some), axis=0)])
        block = function(jnp.asarray(filled, jnp.zeros(()).dtype))
        found.append({name: np.asarray(array)[: len(some)] for name, array in block.items()})
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def shapes_of(parts: Mapping[str, Any]) -> dict[str, Shape]:
    """The shapes of named arrays."""
    return {name: tuple(np.shape(part)) for name, part in parts.items()}


def refuse_discrete(names: Sequence[str], library: str) -> None:
    """Raise `InputError` for parameters that are not real."""
    if names:
        raise InputError(
            f"this {library} model has discrete parameters ({', '.join(names)}), which a flow has no density of: "
            "sum them out of the model"
        )


def compiled(function: Any) -> Any:
    """A function of one flat vector over rows, compiled."""
    return jax.jit(jax.vmap(function))
