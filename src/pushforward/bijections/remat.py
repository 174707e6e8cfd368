"""Backpropagation that stores no activations but recomputes them through the inverses (`remat="invertible"`)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.errors import InputError
from pushforward.networks.layers import split
from pushforward.rows import broadcasting

OTHER = {"forward_rows": "inverse_rows", "inverse_rows": "forward_rows"}


def check_remat(remat: str) -> str:
    """Check the name of a rematerialisation strategy."""
    if remat not in ("none", "invertible"):
        raise InputError(f"remat={remat!r}: known are 'none' and 'invertible'")
    return remat


def run(
    maps: AbstractBijection | tuple[AbstractBijection, ...],
    layers: int | None,
    value: Array,
    condition: Condition,
    key: Key,
    method: str,
    remat: str,
) -> Mapped:
    """Apply maps one after another: `"forward_rows"` first to last, `"inverse_rows"` last to first.

    Arguments:
        maps: the maps; or a single one, stacked along the leading axis of its arrays, which is scanned.
        layers: how many are stacked; None for maps one by one.
        value: rows of the shape that the first map to be applied takes.
        condition: `(n, *condition)` or None.
        key: noise, or None.
        method: `"forward_rows"` or `"inverse_rows"`.
        remat: `"none"` keeps what every map computes for the gradient; `"invertible"` keeps the result only.
    """
    each = maps if isinstance(maps, tuple) else (maps,)
    if remat == "invertible" and key is not None and not all(one.recomputable for one in each):
        raise InputError(
            "remat='invertible' cannot be combined with dropout in autoregressive layers or with batch-norm, whose "
            "inverses see other noise, nor with continuous maps of few steps in training, which those back do not "
            "undo; leave them out or set remat='none'"
        )
    arrays, static = eqx.partition(maps, eqx.is_array)
    # A map draws the same noise in either direction, or its activations could not be recomputed.
    if layers is None:
        keys: Any = tuple(split(key, len(each)))
    else:
        keys = None if key is None else jax.random.split(key, layers)
    plain = _applied if layers is None else _applied_compiled
    applied: Callable[..., Mapped] = _applied_invertibly if remat == "invertible" else plain
    return applied((static, method, layers), arrays, value, condition, keys)


# Below, `how` is (the maps' static parts, the method, the number of stacked layers), and `by_x` the cotangent of x.


def _over(
    step: Callable[..., tuple[Any, Any]], start: Any, how: Any, layered: Any, backwards: bool
) -> tuple[Any, Any]:
    """`jax.lax.scan` of `step(carry, static, arrays, key)` over the layers of a stack, or a loop over single maps."""
    static, _, layers = how
    if layers is not None:

        def scanned(carry: Any, layer: Any) -> tuple[Any, Any]:
            return step(carry, static, layer[0], layer[1])

        return jax.lax.scan(scanned, start, layered, reverse=backwards, length=layers)
    order, carry, outs = -1 if backwards else 1, start, []
    for one in list(zip(static, *layered, strict=True))[::order]:
        carry, out = step(carry, *one)
        outs.append(out)
    return carry, tuple(outs[::order])


def _apply(static: Any, method: str, arrays: Any, value: Array, condition: Any, key: Any) -> Mapped:
    with broadcasting():
        mapped: Mapped = getattr(eqx.combine(arrays, static), method)(value, condition, key)
        return mapped


def _applied(how: Any, arrays: Any, value: Array, condition: Condition, keys: Any) -> Mapped:
    method = how[1]

    def step(carry: Mapped, static: Any, own: Any, key: Any) -> tuple[Mapped, None]:
        value, log_det = _apply(static, method, own, carry[0], condition, key)
        return (value, carry[1] + log_det), None

    start = (value, jnp.zeros(value.shape[0], value.dtype))
    end: Mapped = _over(step, start, how, (arrays, keys), method == "inverse_rows")[0]
    return end


def _keep(
    how: Any, arrays: Any, value: Array, condition: Condition, keys: Any
) -> tuple[Mapped, Any]:
    out = _applied(how, arrays, value, condition, keys)
    return out, (arrays, out[0], condition, keys)


def _back(how: Any, kept: Any, cotangents: Mapped) -> tuple[Any, ...]:
    """The cotangents of arrays, rows, condition and keys; those of integers and keys are empty."""
    method, (arrays, value, condition, keys) = how[1], kept
    by_value, by_log_det = cotangents

    def step(carry: Any, static: Any, own: Any, key: Any) -> tuple[Any, Any]:
        # One map backwards, from its output to its input.
        value, by_value, by_condition = carry
        before, _ = _apply(static, OTHER[method], own, value, condition, key)
        floats, rest = eqx.partition(own, eqx.is_inexact_array)

        def again(floats: Any, before: Array, condition: Condition) -> Mapped:
            return _apply(static, method, eqx.combine(floats, rest), before, condition, key)

        pull_back = jax.vjp(again, floats, before, condition)[1]
        by_floats, by_before, more = pull_back((by_value, by_log_det))
        return (before, by_before, jax.tree.map(jnp.add, by_condition, more)), by_floats

    start = (value, by_value, jax.tree.map(jnp.zeros_like, condition))
    backwards = method == "forward_rows"
    (_, by_value, by_condition), by_floats = _over(step, start, how, (arrays, keys), backwards)
    rest = eqx.filter(arrays, eqx.is_inexact_array, inverse=True)
    silent_rest, silent_keys = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, jax.dtypes.float0), (rest, keys)
    )
    return eqx.combine(by_floats, silent_rest), by_value, by_condition, silent_keys


# Outside of `jit` a scan would be traced and compiled anew at every call.
_applied_compiled = eqx.filter_jit(_applied)
_applied_invertibly = jax.custom_vjp(_applied, nondiff_argnums=(0,))
_applied_invertibly.defvjp(_keep, _back)
