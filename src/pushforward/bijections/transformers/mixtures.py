"""What the mixture transformers share: cumulative mixtures in log space, and quantiles of a log probability."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, ndtri
from jaxtyping import Array

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def spread(components: int, reach: float) -> list[float]:
    """Starting points of the components, evenly spread over +-reach: equal ones would never learn to differ."""
    return [float(v) for v in np.linspace(-reach, reach, 2 * components + 1)[1::2]]


def along(values: list[float], like: Array) -> Array:
    """Numbers, one a component, shaped to stand on the leading axis of `like`."""
    return jnp.asarray(values, like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def log_sum(terms: Array) -> Array:
    """`logsumexp` over the leading axis."""
    largest = jax.lax.stop_gradient(terms.max(0))
    return jnp.log(jnp.exp(terms - largest).sum(0)) + largest


def logit_of_mixture(log_weights: Array, log_slopes: Array, u: Array) -> tuple[Array, Array]:
    """`logit(sum_k w_k sigmoid(u_k))` with its log-slope, from log-weights that sum to 1 and the log-slopes of u.

    All arrays have the components on the leading axis. Both tails are summed, so that neither cancels.
    """
    log_up, log_down = -jax.nn.softplus(-u), -jax.nn.softplus(u)
    log_below, log_above = log_sum(log_weights + log_up), log_sum(log_weights + log_down)
    log_density = log_sum(log_weights + log_slopes + log_up + log_down)
    return log_below - log_above, log_density - log_below - log_above


def normal_of_mixture(log_weights: Array, log_slopes: Array, u: Array) -> tuple[Array, Array]:
    """`ndtri(sum_k w_k ndtr(u_k))` with its log-slope; arguments as in `logit_of_mixture`."""
    # One of the two integrals from the other: `log_ndtr` is by far the dearest part.
    lesser = log_ndtr(-jnp.abs(u))
    greater = jnp.log1p(-jnp.exp(lesser))
    log_below = log_sum(log_weights + jnp.where(u < 0, lesser, greater))
    log_above = log_sum(log_weights + jnp.where(u < 0, greater, lesser))
    log_density = log_sum(log_weights + log_slopes - 0.5 * u * u) - HALF_LOG_TAU
    lower = log_below < log_above
    tail = log_ndtri(jnp.minimum(log_below, log_above))
    return jnp.where(lower, tail, -tail), log_density + 0.5 * tail * tail + HALF_LOG_TAU


@jax.custom_jvp
def log_ndtri(log_p: Array) -> Array:
    """The normal quantile of a log probability of at most 1/2 or so, however small.

    Where `exp` can hold the probability, from it; below, Newton's method on `log_ndtr` from the leading terms of its
    expansion, which lie left of the root, so that the steps approach it from one side.
    """
    holds = 0.9 * math.log(float(jnp.finfo(log_p.dtype).tiny))
    deep = jnp.minimum(log_p, holds)
    z = -jnp.sqrt(-2 * deep)
    for _ in range(4):
        log_cdf = log_ndtr(z)
        z = z - (log_cdf - deep) * jnp.exp(log_cdf + 0.5 * z * z + HALF_LOG_TAU)
    return jnp.where(log_p < holds, z, ndtri(jnp.exp(jnp.maximum(log_p, holds))))


@log_ndtri.defjvp
def _log_ndtri_jvp(primals, tangents):
    z = log_ndtri(primals[0])
    return z, tangents[0] * jnp.exp(primals[0] + 0.5 * z * z + HALF_LOG_TAU)
