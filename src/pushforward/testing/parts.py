"""The layers of composed maps one by one, and what a single layer does with a condition."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.bijections import AbstractBijection, Autoregressive
from pushforward.bijections.autoregressive import as_columns
from pushforward.testing.perturb import cast


def parts(
    bijection: AbstractBijection, name: str = "map"
) -> Iterator[tuple[str, AbstractBijection]]:
    """The single maps of a composition, however deep, with their names."""
    inside = bijection.parts()
    if not inside:
        yield f"{name} {type(bijection).__name__}", bijection
    for i, part in enumerate(inside):
        yield from parts(part, f"{name}.{i}")


def autoregressive_layers(bijection: AbstractBijection) -> Iterator[Autoregressive]:
    """The autoregressive layers within a single map, such as an inverted one."""

    def found(node: object) -> bool:
        return isinstance(node, Autoregressive)

    return filter(found, jax.tree.leaves(bijection, is_leaf=found))


def conditional_part_ignores(part: AbstractBijection, x: Array, condition: Array) -> str | None:
    """Which coordinate, changed by a conditional map, ignores which feature of the condition; None if none does."""
    x, (n, size) = x.reshape(len(x), *part.event_shape), (len(condition), condition[0].size)

    def latent(condition: Array) -> np.ndarray:
        return np.asarray(part.inverse(x, condition)[0]).reshape(n, -1)

    z = latent(condition)
    changed = (z != np.asarray(x).reshape(n, -1)).any(axis=0)
    flat = condition.reshape(n, size)
    for j in range(size):
        other = flat.at[:, j].add(1.0).reshape(condition.shape)
        silent = changed & ~(latent(other) != z).any(axis=0)
        if silent.any():
            return f"coordinate {int(np.argmax(silent))} does not depend on condition feature {j}"
    return None


def naive_forward(
    layer: Autoregressive, z: Array, condition: Array | None
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """An autoregressive layer's forward, and the same by one whole network pass per coordinate; float64, for use inside
    `jax.enable_x64(True)`."""
    z = z.reshape(len(z), *layer.latent_shape)
    condition = None if layer.condition_shape is None else condition
    layer, z, condition = cast((layer, z, condition), jnp.float64)
    columns, log_det = jnp.zeros_like(z.T), jnp.zeros(z.shape[0], z.dtype)
    for i in range(z.shape[1]):
        params = layer.network(columns, as_columns(condition))
        value, log_slope = layer.transformer.forward(z[:, i], params[:, i])
        columns, log_det = columns.at[i].set(value), log_det + log_slope
    return layer.forward(z, condition), (columns.T, log_det)
