"""What the mixture transformers share: cumulative mixtures and their quantiles."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array


def spread(components: int, reach: float) -> list[float]:
    """Starting points of components, evenly over +-reach: equal ones would never learn to differ."""
    return [float(v) for v in np.linspace(-reach, reach, 2 * components + 1)[1::2]]


def along(values: list[float], like: Array) -> Array:
    """One number per component, on the leading axis of `like`."""
    return jnp.asarray(values, like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def log_sum(terms: Array) -> Array:
    """`logsumexp` over the leading axis."""
    largest = jax.lax.stop_gradient(terms.max(0))
    return jnp.log(jnp.exp(terms - largest[None]).sum(0)) + largest


def logit_of_mixture(log_weights: Array, log_slopes: Array, u: Array) -> tuple[Array, Array]:
    """`logit(sum_k w_k sigmoid(u_k))` and its log-slope, from log-weights of a total weight 1 and the log-slopes of u.

    All arrays have the components on the leading axis. Both tails are summed, so that neither cancels.
    """
    log_up, log_down = -jax.nn.softplus(-u), -jax.nn.softplus(u)
    log_below, log_above = log_sum(log_weights + log_up), log_sum(log_weights + log_down)
    log_density = log_sum(log_weights + log_slopes + log_up + log_down)
    return log_below - log_above, log_density - log_below - log_above


@jax.custom_jvp
def normal_of_mixture(log_weights: Array, log_slopes: Array, u: Array) -> tuple[Array, Array]:
    """`ndtri(sum_k w_k ndtr(u_k))` and its log-slope; arguments as in `logit_of_mixture`.

    The sums are not in log space: in both tails some `w_k ndtr(-|u_k|)` must be above the type's smallest number.
    """
    weights = jnp.exp(log_weights)
    below, above = (jnp.sum(weights * tail, 0) for tail in _tails(u))
    tail = ndtri(jnp.minimum(below, above))
    density = (weights * jnp.exp(log_slopes - 0.5 * u * u)).sum(0)
    return jnp.where(below < above, tail, -tail), jnp.log(density) + 0.5 * tail * tail


@normal_of_mixture.defjvp
def _normal_of_mixture_jvp(
    primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Written out, so that a gradient stores few arrays per component and takes no exponential of its own.

    Each factor is complete before it meets a tangent: parts of it may be too large for the type.
    """
    log_weights, log_slopes, u = primals
    d_weights, d_slopes, d_u = tangents
    z, log_slope = normal_of_mixture(*primals)
    below, above = _tails(u)
    rise = log_weights + (0.5 * z * z)[None]
    # z falls as the mass above grows.
    by_weight = jnp.exp(rise) * jnp.where(z[None] < 0, below, -above) * ROOT_TAU
    by_u = jnp.exp(rise - 0.5 * u * u)
    shares = jnp.exp(rise - 0.5 * u * u + log_slopes - log_slope[None])
    d_z = (by_weight * d_weights + by_u * d_u).sum(0)
    return (z, log_slope), (d_z, (shares * (d_weights + d_slopes - u * d_u)).sum(0) + z * d_z)


def _tails(u: Array) -> tuple[Array, Array]:
    """`ndtr(u)` and `ndtr(-u)`, both to the type's precision."""
    lesser = 0.5 * jax.lax.erfc(jnp.abs(u) * math.sqrt(0.5))
    greater = 1 - lesser
    return jnp.where(u < 0, lesser, greater), jnp.where(u < 0, greater, lesser)


ROOT_TAU = math.sqrt(2 * math.pi)
