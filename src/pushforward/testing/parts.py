"""Looking into composed maps: their layers one by one, and what a single layer does with a condition."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.bijections import AbstractBijection, Autoregressive, Chain, Invert, Stack
from pushforward.bijections.autoregressive import as_columns
from pushforward.testing.perturb import cast


def parts(
    bijection: AbstractBijection, name: str = "map"
) -> Iterator[tuple[str, AbstractBijection]]:
    """The single maps of a composition with their names; chains, stacks and inversions are entered."""
    if isinstance(bijection, Chain):
        inside = list(bijection.bijections)
    elif isinstance(bijection, Stack):
        inside = bijection.unstack()
    elif isinstance(bijection, Invert):
        inside = [bijection.bijection]
    else:
        yield f"{name} {type(bijection).__name__}", bijection
        return
    for i, part in enumerate(inside):
        yield from parts(part, f"{name}.{i}")


def conditional_part_ignores(part: AbstractBijection, x: Array, condition: Array) -> str | None:
    """Which coordinate, changed by a conditional map, does not depend on which condition feature; None if all do."""
    z = np.asarray(part.inverse(x, condition)[0])
    changed = (z != np.asarray(x)).any(axis=0)
    n, size = condition.shape[0], condition[0].size
    flat = condition.reshape(n, size)
    for j in range(size):
        other = flat.at[:, j].add(1.0).reshape(condition.shape)
        reached = (np.asarray(part.inverse(x, other)[0]) != z).any(axis=0)
        if (changed & ~reached).any():
            at = tuple(map(int, np.argwhere(changed & ~reached)[0]))
            return f"coordinate {at} does not depend on condition feature {j}"
    return None


def naive_forward(
    layer: Autoregressive, z: Array, condition: Array | None
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """An autoregressive layer's forward, and the same by one whole network pass a coordinate; float64.

    To be called inside `jax.enable_x64(True)`.
    """
    layer, z, condition = cast((layer, z, condition), jnp.float64)
    columns, log_det = jnp.zeros_like(z.T), jnp.zeros(z.shape[0], z.dtype)
    for i in range(z.shape[1]):
        params = layer.network(columns, as_columns(condition))
        value, log_slope = layer.transformer.forward(z[:, i], params[:, i])
        columns, log_det = columns.at[i].set(value), log_det + log_slope
    return layer.forward(z, condition), (columns.T, log_det)
