"""What all networks share: initial weights, stacked layers, dropout, activations by name."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.draws import spawn, uniform
from pushforward.errors import InputError, check_choice, check_count

M = TypeVar("M")

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
}


def activation_named(name: str) -> Callable[[Array], Array]:
    """The activation of that name. Raises `InputError` listing the known ones."""
    check_choice("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


def check_network(width: int, depth: int, activation: str, dropout: float) -> None:
    """Raises `InputError` for a width or depth below 1, an unknown activation, or a dropout outside [0, 1)."""
    activation_named(activation)
    check_count("width", width)
    check_count("depth", depth)
    if not 0 <= dropout < 1:
        raise InputError(f"dropout={dropout}: a share at least 0 and below 1 was expected")


def uniform_weights(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int) -> Array:
    """Uniform in `+- 1 / sqrt(fan_in)`."""
    bound = max(fan_in, 1) ** -0.5
    return uniform(key, shape, -bound, bound)


def stacked(make: Callable[[PRNGKeyArray], M], layers: int, key: PRNGKeyArray) -> M:
    """Equal layers, each made with its own key, as one whose arrays have the layers along their first axis."""
    return restacked([make(k) for k in spawn(key, layers)])


def restacked(layers: Sequence[M]) -> M:
    """Equal layers as one whose arrays have the layers along their first axis."""
    arrays, rest = eqx.partition(list(layers), eqx.is_array)
    whole: M = eqx.combine(jax.tree.map(lambda *each: _stack(each), *arrays), rest[0])
    return whole


def dropout(h: Array, rate: float, key: PRNGKeyArray | None) -> Array:
    """Zero a share `rate` of the entries and scale up the rest; the identity without a key.

    The mask is drawn from single random bytes (the rate is met to within 1/512), four to a word: the random bits would
    otherwise cost as much as the layer's matrix product.
    """
    if key is None or rate == 0.0:
        return h
    cut = min(max(round(rate * 256), 1), 255)
    keep = jax.random.bits(key, h.shape, jnp.uint8) >= cut
    return jnp.where(keep, h * (256 / (256 - cut)), 0.0)


def split(key: PRNGKeyArray | None, n: int) -> list[PRNGKeyArray | None]:
    """`n` keys from one, or `n` times None."""
    return [None] * n if key is None else list(jax.random.split(key, n))


def _stack(arrays: Sequence[Array]) -> Array:
    if any(isinstance(array, jax.core.Tracer) for array in arrays):
        return jnp.stack(arrays)
    # NumPy does not compile a program for every shape.
    whole: Array = jax.device_put(np.stack([np.asarray(array) for array in arrays]))
    return whole
