"""The compiled programs behind the checks: few, because compiling is most of what checking costs."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.distributions import AbstractDistribution, Flow


class Pulled(NamedTuple):
    """One direction of a map on n rows, events flattened to D, conditions to C.

    Attributes:
        value: the output, `(n, *event)` or `(n, *latent)`.
        log_det: `(n,)`, as the map reports it.
        jacobian: `(n, D, D)`, by autodiff: `[row, output, input]`.
        by_condition: `(n, D, C)`, the derivative with respect to the condition; None without one.
    """

    value: np.ndarray
    log_det: np.ndarray
    jacobian: np.ndarray
    by_condition: np.ndarray | None


class Scored(NamedTuple):
    """Log-densities of n rows, and the gradients of their mean with respect to model, rows and conditions."""

    log_prob: np.ndarray
    by_model: AbstractDistribution
    by_x: np.ndarray
    by_condition: np.ndarray | None


def pull(flow: Flow, direction: str, value: Array, condition: Array | None, mode: str) -> Pulled:
    """A direction of a flow's map with its autodiff Jacobian, as numpy arrays.

    Arguments:
        flow: the owner of the map.
        direction: `"forward"` or `"inverse"`.
        value: the input, `(n, *latent)` or `(n, *event)`.
        condition: `(n, *condition)` or None.
        mode: of differentiation. `"forward"` compiles in half the time; `"reverse"` is for maps with a reverse-mode
            rule of their own, which JAX cannot differentiate forwards.
    """
    run = {"forward": _by_forward_mode, "reverse": _by_reverse_mode}[mode]
    return Pulled(*jax.device_get(run(flow, direction, value, condition)))


def score(model: AbstractDistribution, x: Array, condition: Array | None) -> Scored:
    """Log-densities of rows with the gradients of their mean."""
    log_prob, gradients = _score((model, x, condition))
    return Scored(np.asarray(log_prob), *jax.device_get(gradients))


@eqx.filter_jit
def log_prob(model: AbstractDistribution, x: Array, condition: Array | None) -> Array:
    """`model.log_prob`, compiled."""
    return model.log_prob(x, condition)


@eqx.filter_jit
def log_prob_by_row(model: AbstractDistribution, x: Array, condition: Array | None) -> Array:
    """Log-densities of `(n, *event)` rows one by one, under `vmap`."""
    if condition is None:
        return jax.vmap(model.log_prob)(x)
    return jax.vmap(model.log_prob)(x, condition)


@eqx.filter_jit
def draw(
    model: AbstractDistribution, key: PRNGKeyArray, n: int, condition: Array | None
) -> tuple[Array, Array]:
    """`n` draws with their log-densities, all under one condition."""
    return model.sample_and_log_prob(key, (n,), condition)


@eqx.filter_jit
def _by_forward_mode(
    flow: Flow, direction: str, value: Array, condition: Array | None
) -> tuple[Array, Array, Array, Array | None]:
    method, n, size = getattr(flow, direction), value.shape[0], math.prod(value.shape[1:])
    inputs = value.reshape(n, size)
    if condition is not None:
        inputs = jnp.concatenate([inputs, condition.reshape(n, -1)], axis=1)

    def outputs(inputs: Array) -> tuple[Array, Array]:
        given = None if condition is None else inputs[:, size:].reshape(condition.shape)
        out, log_det = method(inputs[:, :size].reshape(value.shape), given)
        return out, log_det

    def along(tangent: Array) -> Any:
        return jax.jvp(outputs, (inputs,), (jnp.broadcast_to(tangent, inputs.shape),))

    (out, log_det), (slope, _) = jax.vmap(along)(jnp.eye(inputs.shape[1], dtype=inputs.dtype))
    jacobian = jnp.moveaxis(slope.reshape(inputs.shape[1], n, size), 0, 2)
    by_condition = None if condition is None else jacobian[:, :, size:]
    return out[0], log_det[0], jacobian[:, :, :size], by_condition


@eqx.filter_jit
def _by_reverse_mode(
    flow: Flow, direction: str, value: Array, condition: Array | None
) -> tuple[Array, Array, Array, Array | None]:
    (out, log_det), pull_back = jax.vjp(getattr(flow, direction), value, condition)
    n, size = value.shape[0], math.prod(value.shape[1:])
    directions = jnp.eye(size, dtype=out.dtype).reshape(size, 1, *out.shape[1:])
    rows = jnp.broadcast_to(directions, (size, *out.shape))
    silent = jnp.zeros((size, *log_det.shape), log_det.dtype)

    def row_first(derivative: Array) -> Array:
        return jnp.moveaxis(derivative.reshape(size, n, -1), 0, 1)

    by_value, by_condition = jax.tree.map(row_first, jax.vmap(pull_back)((rows, silent)))
    return out, log_det, by_value, by_condition


@eqx.filter_jit
def _score(parts: Any) -> tuple[Array, Any]:
    def mean(parts: Any) -> tuple[Array, Array]:
        model, x, condition = parts
        log_prob = model.log_prob(x, condition)
        return log_prob.mean(), log_prob

    (_, log_prob), gradients = eqx.filter_value_and_grad(mean, has_aux=True)(parts)
    return log_prob, gradients
