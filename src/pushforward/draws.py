"""Numbers that are drawn once, such as initial weights, are drawn by NumPy: XLA takes half a second to a second to
compile a draw of `jax.random` for each shape, which would be most of the time to build a model."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.errors import InputError, check_count
from pushforward.rows import Shape


def check_key(key: Any) -> None:
    """Raises `InputError` unless `key` is a JAX key; an integer seed is refused."""
    if not isinstance(key, (jax.Array, np.ndarray)):
        raise InputError(f"key={key!r}: a key was expected, such as jax.random.key(0)")


def key_of(seed: Any) -> PRNGKeyArray:
    """The key of a seed. Raises `InputError` for what is not a whole number from 0 to 2**63 - 1."""
    check_count("seed", seed, 0)
    if seed >= 2**63:
        raise InputError(f"seed={seed}: a whole number below 2**63 is needed")
    return jax.random.key(int(seed))


def spawn(key: PRNGKeyArray, n: int) -> list[PRNGKeyArray]:
    """`n` independent keys of the same kind. Raises `InputError` for anything but a JAX key."""
    check_key(key)
    words = jax.random.key_data(key).shape[-1]

    def draw(seed: list[int]) -> np.ndarray:
        # With its own spawn key no child equals what another function here draws from the parent.
        state = np.random.SeedSequence(seed, spawn_key=(0,)).generate_state(n * words)
        return state.reshape(n, words)

    found = _drawn(draw, key, (n, words), jnp.uint32)
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return [found[i] for i in range(n)]
    return [jax.random.wrap_key_data(found[i], impl=jax.random.key_impl(key)) for i in range(n)]


def uniform(key: PRNGKeyArray, shape: Shape, low: float = -1.0, high: float = 1.0) -> Array:
    """Uniform in `[low, high)`, of JAX's default type."""
    return _drawn(lambda seed: np.random.default_rng(seed).uniform(low, high, shape), key, shape)


def normal(key: PRNGKeyArray, shape: Shape) -> Array:
    """Standard normal, of JAX's default type."""
    return _drawn(lambda seed: np.random.default_rng(seed).standard_normal(shape), key, shape)


def rotation(key: PRNGKeyArray, d: int) -> Float[Array, "d d"]:
    """The factors of a random orthogonal matrix `L U`: below the diagonal L, whose diagonal is 1, from it on U, whose
    diagonal is positive. Rows are in an order in which elimination needs no pivots."""

    # Few models need it.
    from scipy.linalg import lu

    def draw(seed: list[int]) -> np.ndarray:
        matrix = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]
        _, lower, upper = lu(matrix)
        # Columns are turned around where a pivot is negative, which leaves L as it is.
        factors: np.ndarray = np.tril(lower, -1) + upper * np.sign(np.diag(upper))
        return factors

    return _drawn(draw, key, (d, d))


def permutation(key: PRNGKeyArray, n: int, number: int = 0) -> Int[np.ndarray, " n"]:
    """The numbers below `n` in random order; a key has an order for every `number`."""
    words = np.asarray(jax.random.key_data(key)).tolist()
    return np.random.default_rng([*words, number]).permutation(n).astype(np.int32)


def _drawn(
    draw: Callable[[list[int]], np.ndarray], key: PRNGKeyArray, shape: Shape, dtype: Any = None
) -> Array:
    """`draw` of a key's words; under a transformation of JAX the same numbers, by a callback."""
    dtype = jnp.zeros(()).dtype if dtype is None else dtype

    def host(words: Any) -> np.ndarray:
        words = np.asarray(words)
        rows = [draw(row.tolist()) for row in words.reshape(-1, words.shape[-1])]
        return np.asarray(rows, dtype).reshape((*words.shape[:-1], *shape))

    words = jax.random.key_data(key)
    if isinstance(words, jax.core.Tracer):
        spec = jax.ShapeDtypeStruct(shape, dtype)
        drawn: Array = jax.pure_callback(host, spec, words, vmap_method="broadcast_all")
    else:
        # `jnp.asarray` would compile a program for every shape.
        drawn = jax.device_put(host(words))
    return drawn
