"""Backpropagation that stores no activations: they are recomputed through the inverses (`remat="invertible"`)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.base import AbstractBijection
from pushforward.errors import InputError
from pushforward.networks.layers import split
from pushforward.rows import broadcasting

OTHER = {"forward_rows": "inverse_rows", "inverse_rows": "forward_rows"}


def check_remat(remat: str) -> str:
    """Check the name of a rematerialisation strategy."""
    if remat not in ("none", "invertible"):
        raise InputError(f"remat={remat!r}: known are 'none' and 'invertible'")
    return remat


def run_chain(
    bijections: Sequence[AbstractBijection],
    value: Array,
    condition: Array | None,
    key: PRNGKeyArray | None,
    method: str,
    remat: str,
) -> tuple[Array, Float[Array, " n"]]:
    """Maps applied one after another, first to last.

    Arguments:
        bijections: in the order of application.
        value: rows of the shape that the first of them takes.
        condition: `(n, *condition)` or None.
        key: noise, or None.
        method: `"forward_rows"` or `"inverse_rows"`.
        remat: `"none"` keeps what every map computes for the gradient; `"invertible"` keeps the result only.
    """
    arrays, static = eqx.partition(tuple(bijections), eqx.is_array)
    run = _loop
    if remat == "invertible":
        _check_noise(bijections, key)
        run = _loop_invertibly
    # A map draws the same noise in either direction, or its activations could not be recomputed.
    keys = split(key, len(bijections))
    keys = keys[::-1] if method == "inverse_rows" else keys
    return run((static, method), arrays, value, condition, keys)


def run_stack(
    layer: AbstractBijection,
    layers: int,
    value: Array,
    condition: Array | None,
    key: PRNGKeyArray | None,
    method: str,
    remat: str,
) -> tuple[Array, Float[Array, " n"]]:
    """As `run_chain`, for equal layers stacked along the leading axis of their arrays; `inverse_rows` runs them last
    to first."""
    arrays, static = eqx.partition(layer, eqx.is_array)
    keys = None if key is None else jax.random.split(key, layers)
    run = _scan_compiled
    if remat == "invertible":
        _check_noise([layer], key)
        run = _scan_invertibly
    return run((static, method, layers), arrays, value, condition, keys)


def _check_noise(bijections: Sequence[AbstractBijection], key: PRNGKeyArray | None) -> None:
    """Refuse layers whose two directions differ while training, so that other activations would be recomputed."""
    if key is not None and not all(bijection.recomputable for bijection in bijections):
        raise InputError(
            "remat='invertible' cannot be combined with dropout in autoregressive layers or with batch-norm, "
            "whose inverses see other noise; leave them out or set remat='none'"
        )


def _apply(static: Any, method: str, arrays: Any, value: Array, condition: Any, key: Any):
    with broadcasting():
        return getattr(eqx.combine(arrays, static), method)(value, condition, key)


def _loop(how, arrays, value, condition, keys):
    statics, method = how
    total = jnp.zeros(value.shape[0], value.dtype)
    for own, static, key in zip(arrays, statics, keys, strict=True):
        value, log_det = _apply(static, method, own, value, condition, key)
        total = total + log_det
    return value, total


def _scan(how, arrays, value, condition, keys):
    static, method, layers = how

    def step(carry, layer):
        value, total = carry
        value, log_det = _apply(static, method, layer[0], value, condition, layer[1])
        return (value, total + log_det), None

    start = (value, jnp.zeros(value.shape[0], value.dtype))
    backwards = method == "inverse_rows"
    return jax.lax.scan(step, start, (arrays, keys), reverse=backwards, length=layers)[0]


# Outside of `jit` a scan would be traced and compiled anew at every call.
_scan_compiled = eqx.filter_jit(_scan)


def _keep(run, how, arrays, value, condition, keys):
    out = run(how, arrays, value, condition, keys)
    return out, (arrays, out[0], condition, keys)


def _back(static, method, by_log_det, own, key, carry):
    """One map backwards: what went into it, and the cotangents of that, of the condition and of its arrays."""
    value, by_value, condition, by_condition = carry
    before, _ = _apply(static, OTHER[method], own, value, condition, key)
    floats, rest = eqx.partition(own, eqx.is_inexact_array)

    def run(floats, before, condition):
        return _apply(static, method, eqx.combine(floats, rest), before, condition, key)

    by_floats, by_before, more = jax.vjp(run, floats, before, condition)[1]((by_value, by_log_det))
    return (before, by_before, condition, jax.tree.map(jnp.add, by_condition, more)), by_floats


def _loop_back(how, kept, cotangents):
    (statics, method), (arrays, value, condition, keys) = how, kept
    by_value, by_log_det = cotangents
    carry = (value, by_value, condition, jax.tree.map(jnp.zeros_like, condition))
    by_arrays: list[Any] = []
    for own, static, key in list(zip(arrays, statics, keys, strict=True))[::-1]:
        carry, by_own = _back(static, method, by_log_det, own, key, carry)
        by_arrays.insert(0, by_own)
    return _cotangents(tuple(by_arrays), arrays, carry, keys)


def _scan_back(how, kept, cotangents):
    (static, method, layers), (arrays, value, condition, keys) = how, kept
    by_value, by_log_det = cotangents

    def step(carry, layer):
        own, key = layer
        return _back(static, method, by_log_det, own, key, carry)

    start = (value, by_value, condition, jax.tree.map(jnp.zeros_like, condition))
    backwards = method == "inverse_rows"
    layered = (arrays, keys)
    carry, by_arrays = jax.lax.scan(step, start, layered, reverse=not backwards, length=layers)
    return _cotangents(by_arrays, arrays, carry, keys)


def _cotangents(by_floats, arrays, carry, keys):
    """Everything's cotangent; integers and keys have the empty one."""
    rest = eqx.filter(arrays, eqx.is_inexact_array, inverse=True)
    silent_rest, silent_keys = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, jax.dtypes.float0), (rest, keys)
    )
    return eqx.combine(by_floats, silent_rest), carry[1], carry[3], silent_keys


_loop_invertibly = jax.custom_vjp(_loop, nondiff_argnums=(0,))
_loop_invertibly.defvjp(partial(_keep, _loop), _loop_back)
_scan_invertibly = jax.custom_vjp(_scan, nondiff_argnums=(0,))
_scan_invertibly.defvjp(partial(_keep, _scan), _scan_back)
