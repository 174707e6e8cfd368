"""Probes of a fitted flow: latent rows, round trips, log-determinants against automatic differentiation.

Each probe runs once after a fit, so compile time matters and speed does not. Low optimisation levels and XLA's older
CPU emitters compile in a quarter of the time.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.distributions import Flow
from pushforward.ode import with_solver
from pushforward.ode.solver import holds_solver
from pushforward.rows import broadcasting, padded

# Rows of one call of the compiled density.
_BLOCK = 1024
ROUND_TRIP_ROWS = 256
# The log-det is compared where its Jacobian costs little: at most 16 rows and about 256 products, up to 128 columns.
_LOG_DET_ROWS, _LOG_DET_PRODUCTS, LOG_DET_COLUMNS = 16, 256, 128
_TOLERANCE = 1e-8


def _pull_rows(static: Flow, arrays: Flow, u: Array, c: Array | None) -> tuple[Array, ...]:
    flow = eqx.combine(arrays, static)
    z, log_det = flow.bijection.inverse_rows(u, c, None)
    return z, log_det, flow.base.log_prob_rows(z, None, None) + log_det


def _push_rows(static: Flow, arrays: Flow, z: Array, c: Array | None) -> Array:
    return eqx.combine(arrays, static).bijection.forward_rows(z, c, None)[0]


def _slope_rows(static: Flow, arrays: Flow, u: Array, c: Array | None, unit: Array) -> Array:
    """The derivative of the inverse along one unit vector per row. Rows are independent, so repeating a row with all
    unit vectors gives its Jacobian, in a smaller program than a vmap. An ODE solve is differentiated in reverse mode,
    which gives the rows of the Jacobian instead of its columns."""
    flow = eqx.combine(arrays, static)

    def inverse(rows: Array) -> Array:
        return flow.bijection.inverse_rows(rows, c, None)[0]

    slopes: Array
    if holds_solver(flow):
        (slopes,) = jax.vjp(inverse, u)[1](unit)
    else:
        _, slopes = jax.jvp(inverse, (u,), (unit,))
    return slopes


# Options of the older emitters, and of one module of code instead of many.
_EMITTERS = (("xla_cpu_use_fusion_emitters", False), ("xla_cpu_parallel_codegen_split_count", 1))


@cache
def _quickly(probe: Callable[..., Any], level: int) -> Callable[..., Any]:
    """The probe, compiled fast at that optimisation level; its first argument is static."""
    options = {"xla_backend_optimization_level": level, **_known(_EMITTERS)}

    @wraps(probe)
    def within(*arguments: Any) -> Any:
        with broadcasting():
            return probe(*arguments)

    return jax.jit(within, static_argnums=0, compiler_options=options)


@cache
def _known(options: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """The compiler options, or none if this version of XLA does not know all of them."""
    try:
        jax.jit(lambda x: x, compiler_options=dict(options)).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return dict(options)


def pull(
    flow: Flow, u: np.ndarray, c: np.ndarray | None, precision: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latent rows, log-dets and log-densities, in blocks, computed in the model's precision."""
    arrays, static = eqx.partition(flow, eqx.is_array)
    dtype = np.float64 if precision == 64 else np.float32
    parts = []
    for start in range(0, len(u), _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = padded(u[rows].astype(dtype), _BLOCK)
        condition = None if c is None else padded(c[rows].astype(dtype), _BLOCK)
        found = _quickly(_pull_rows, 1)(static, arrays, block, condition)
        parts.append([np.asarray(a, np.float64)[: len(u[rows])] for a in found])
    z, log_det, log_prob = (np.concatenate(part) for part in zip(*parts, strict=True))
    return z, log_det, log_prob


def round_trip_error(flow: Flow, u: np.ndarray, c: np.ndarray | None, z: np.ndarray) -> float:
    """The worst error of going to the latent and back, relative to the value where that is above 1."""
    arrays, static = eqx.partition(flow, eqx.is_array)
    dtype = jnp.zeros(()).dtype
    latent = padded(z.astype(dtype), ROUND_TRIP_ROWS)
    condition = None if c is None else padded(c.astype(dtype), ROUND_TRIP_ROWS)
    back = np.asarray(_quickly(_push_rows, 0)(static, arrays, latent, condition), np.float64)[
        : len(u)
    ]
    return float((np.abs(back - u) / np.maximum(1.0, np.abs(u))).max())


def jacobian_log_dets(flow: Flow, u: np.ndarray, c: np.ndarray | None) -> Float[np.ndarray, " k"]:
    """Log-dets of the first rows by automatic differentiation; empty above 128 columns.

    Jacobians are computed in 64 bits from the same parameters, with ODEs solved to `_TOLERANCE`: in 32 bits the
    determinant of a badly scaled Jacobian is too inaccurate to judge by.
    """
    d = u.shape[1]
    if holds_solver(flow):
        flow = with_solver(flow, rtol=_TOLERANCE, atol=_TOLERANCE)
    if d > LOG_DET_COLUMNS:
        return np.zeros(0)
    slots = min(_LOG_DET_ROWS, max(2, _LOG_DET_PRODUCTS // d))
    k = min(slots, len(u))
    with jax.enable_x64(True):
        arrays, static = eqx.partition(flow, eqx.is_array)
        arrays = jax.tree.map(_widened, arrays)
        rows = np.repeat(u[:k], d, axis=0)
        condition = None
        if c is not None:
            condition = padded(np.repeat(c[:k], d, axis=0), slots * d)
        units = np.tile(np.eye(d), (k, 1))
        slopes = _quickly(_slope_rows, 0)(
            static,
            arrays,
            padded(rows, slots * d),
            condition,
            padded(units, slots * d),
        )
        # Row i d + j holds a column of row i's Jacobian, or a row of it: the determinant is the same.
        jacobians = np.asarray(slopes)[: k * d].reshape(k, d, d)
    log_dets: np.ndarray = np.linalg.slogdet(jacobians)[1]
    return log_dets


def _widened(array: Array) -> Array:
    # By way of NumPy: converting on the device would compile a program for each shape.
    wide = jnp.issubdtype(array.dtype, jnp.floating)
    return jnp.asarray(np.asarray(array, np.float64)) if wide else array
