"""The trust report: what held-out rows say about a fitted density, and whether its map does what it claims."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import chdtri

from pushforward.bijections import Chain, SoftTails
from pushforward.bijections.continuous import holds_continuous
from pushforward.data.preprocess import Preprocessing
from pushforward.distributions import Flow, Normal
from pushforward.errors import InputError
from pushforward.estimators.gaussian import gaussian_log_prob
from pushforward.estimators.table_model import FAR, TableModel
from pushforward.ode import with_solver

# More rows would make the standard error smaller than anybody needs.
_ROWS = 8192
# Rows of one call of the compiled density.
_BLOCK = 1024
_ROUND_TRIP_ROWS = 256
# The log-det is compared where its Jacobian costs little: at most 16 rows and about 256 products, up to 128 columns.
_LOG_DET_ROWS, _LOG_DET_PRODUCTS, _LOG_DET_COLUMNS = 16, 256, 128
_TOLERANCE = 1e-8
# A normal latent lies beyond the radius with this probability.
_BEYOND = 0.001
_ROUND_TRIP_LIMIT, _LOG_DET_LIMIT = 1e-3, 1e-2
# Share of rows with one value from which on a column that is not whole numbers is warned of.
_REPEATED = 0.1


def trust_report(
    model: TableModel,
    heldout: Float[np.ndarray, "n d"],
    train: Float[np.ndarray, "m d"],
    *,
    heldout_given: Float[np.ndarray, "n c"] | None = None,
    train_given: Float[np.ndarray, "m c"] | None = None,
) -> dict[str, Any]:
    """How far to trust a fitted density.

    Arguments:
        model: the density; its own `trust` is not looked at.
        heldout: rows that no gradient saw (they may have chosen when to stop, and between models), in the table's
            units. Of more than 8,192, that many drawn at
            random are used.
        train: the rows of the training; a Gaussian with full covariance is fitted to them for comparison.
        heldout_given, train_given: the condition of each, for a conditional model. The Gaussian is then the linear
            regression p(columns | given), a joint Gaussian conditioned.

    Returns a JSON-able dictionary:
        rows: held-out rows used.
        nats, nats_error: mean log-density of a held-out row in the table's units, and its standard error.
        gaussian_nats, gaussian_nats_error: the same of the Gaussian, on the same rows.
        gain, gain_error: mean of the rows' differences, and its standard error.
        integer_columns: names; for them both densities are read at the grid point, the Gaussian's fitted with the
            variance of a cell added, as the flow's training fills the cells.
        round_trip, round_trip_rows: the worst |forward(inverse(u)) - u| / max(1, |u|) in encoded units, and on how
            many rows.
        log_det, log_det_rows: the worst difference, in nats, between the flow's log-det and that of its Jacobian by
            automatic differentiation in 64 bits; None and 0 where skipped, above 128 columns.
        tail_start, tail_rows: encoded values beyond `tail_start` are compressed; the share of rows with such a value.
        latent_beyond, latent_expected: share of latent rows beyond the radius that a normal base exceeds with
            probability `latent_expected`; None for another base.
        repeated: for columns that are not whole numbers and hold one value in a tenth of the training rows or more:
            the value and its share.

    Raises `InputError` without held-out rows, for a wrong number of columns or a missing condition.
    """
    heldout, train = np.asarray(heldout, np.float64), np.asarray(train, np.float64)
    if len(heldout) == 0 or len(train) == 0:
        raise InputError("a trust report needs at least 1 held-out row and 1 training row")
    if len(heldout) > _ROWS:
        some = np.sort(np.random.default_rng(0).choice(len(heldout), _ROWS, replace=False))
        heldout = heldout[some]
        heldout_given = None if heldout_given is None else np.asarray(heldout_given)[some]
    u, c = _encoded(model, heldout, heldout_given)
    # Nearly all the time goes into compiling, on one core: the Jacobian's program is compiled beside the others.
    with ThreadPoolExecutor(1) as beside, jax.enable_x64(model.precision == 64):
        by_jacobian = beside.submit(_jacobian_log_dets, model.flow, u, c)
        z, log_det, log_prob = _pull(model.flow, u, c, model.precision)
        k = min(len(u), _ROUND_TRIP_ROWS)
        round_trip = _round_trip(model.flow, u[:k], None if c is None else c[:k], z[:k])
        reference = by_jacobian.result()
    differences = np.abs(reference - log_det[: len(reference)])
    nats = log_prob + model.columns.log_det
    gaussian = gaussian_log_prob(model.columns, u, c, *_encoded(model, train, train_given))
    start = _tail_start(model.flow)
    beyond, base = None, model.flow.base
    # A normal base with soft tails differs beyond the radius in question only.
    if isinstance(base.base if isinstance(base, Flow) else base, Normal):
        radius = chdtri(u.shape[1], _BEYOND)
        beyond = float((np.square(z).sum(1) > radius).mean())
    return {
        "rows": len(u),
        **_mean("nats", nats),
        **_mean("gaussian_nats", gaussian),
        **_mean("gain", nats - gaussian),
        "integer_columns": [
            name
            for name, whole in zip(model.columns.names, model.columns.lattice, strict=True)
            if whole
        ],
        "round_trip": round_trip,
        "round_trip_rows": k,
        "log_det": float(differences.max()) if len(differences) else None,
        "log_det_rows": len(differences),
        "tail_start": start,
        "tail_rows": float((np.abs(u) > start).any(1).mean()),
        "latent_beyond": beyond,
        "latent_expected": _BEYOND,
        "repeated": _repeated(model.columns, train),
    }


def format_trust(trust: dict[str, Any]) -> list[str]:
    """The report in plain English, line by line; warnings start with "warning: ".

    Arguments:
        trust: what `trust_report` returned, or an empty dictionary.
    """
    if not trust:
        return ["no trust report: nothing was held out"]
    rows = f"{trust['rows']:,} held-out row{'' if trust['rows'] == 1 else 's'}"
    lines = [
        f"density of {rows}: {_nats(trust, 'nats')} per row",
        f"a Gaussian with full covariance, same rows: {_nats(trust, 'gaussian_nats')}",
        f"gain over the Gaussian: {_nats(trust, 'gain')}",
    ]
    if trust["integer_columns"]:
        names = ", ".join(trust["integer_columns"])
        lines.append(f"whole-number columns ({names}): both densities are read at the whole number")
    lines.append(
        f"there and back through the map: off by at most {trust['round_trip']:.1e} deviations "
        f"(on {trust['round_trip_rows']} rows)"
    )
    if trust["log_det"] is None:
        lines.append(f"log-determinant: not checked, more than {_LOG_DET_COLUMNS} columns")
    else:
        lines.append(
            f"log-determinant against automatic differentiation: off by at most {trust['log_det']:.1e} nats "
            f"(on {trust['log_det_rows']} rows)"
        )
    lines.append(
        f"in the tails, over {trust['tail_start']:g} deviations out in some column: {trust['tail_rows']:.2%} of rows"
    )
    if trust["latent_beyond"] is not None:
        lines.append(
            f"latent rows beyond the radius that holds {1 - trust['latent_expected']:.1%} of the base: "
            f"{trust['latent_beyond']:.2%} (expected {trust['latent_expected']:.1%})"
        )
    return lines + [f"warning: {text}" for text in _warnings(trust)]


def _warnings(trust: dict[str, Any]) -> list[str]:
    # Written so that NaN warns.
    found = []
    if not trust["gain"] > 0:
        found.append("the flow is not better than the Gaussian on held-out rows")
    if not trust["round_trip"] <= _ROUND_TRIP_LIMIT:
        found.append(
            f"the map does not lead back to where it came from (off by over {_ROUND_TRIP_LIMIT:g} deviations): "
            "samples may not follow the density; 64-bit precision may help"
        )
    if trust["log_det"] is not None and not trust["log_det"] <= _LOG_DET_LIMIT:
        found.append(
            f"the log-determinant is wrong by over {_LOG_DET_LIMIT:g} nats: densities may not integrate to 1; "
            "64-bit precision may help"
        )
    for name, (value, share) in trust.get("repeated", {}).items():
        found.append(
            f"column '{name}' holds {value:g} in {share:.0%} of rows: a density is without bound at a value that "
            "repeats, so nats say little and draws only come near it; model these rows apart, or leave the column out"
        )
    return found


def _repeated(columns: Preprocessing, train: np.ndarray) -> dict[str, list[float]]:
    found = {}
    for name, whole, values in zip(columns.names, columns.lattice, train.T, strict=True):
        if whole:
            continue
        distinct, counts = np.unique(values, return_counts=True)
        share = float(counts.max() / len(values))
        if counts.max() > 1 and share >= _REPEATED:
            found[name] = [float(distinct[counts.argmax()]), share]
    return found


def _nats(trust: dict[str, Any], key: str) -> str:
    error = trust[f"{key}_error"]
    return f"{trust[key]:.3f} nats" + ("" if error is None else f" +- {error:.3f}")


def _mean(name: str, values: Float[np.ndarray, " n"]) -> dict[str, float | None]:
    """Mean and standard error; one row tells nothing of the error, nor do infinite densities."""
    mean, error = float(values.mean()), None
    if len(values) > 1 and np.isfinite(mean):
        error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return {name: mean, f"{name}_error": error}


def _encoded(
    model: TableModel, values: np.ndarray, given: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    if (given is None) != (model.given is None):
        need = "needs a condition" if given is None else "takes no condition"
        raise InputError(f"this model {need}")
    u = _rounded(model.columns, values, model.precision)
    if model.given is None or given is None:
        return u, None
    c = _rounded(model.given, given, model.precision)
    if len(c) != len(u):
        raise InputError(f"{len(u)} rows, but {len(c)} rows of the condition")
    return u, c


def _rounded(columns: Preprocessing, values: np.ndarray, precision: int) -> np.ndarray:
    """Encoded rows as the model sees them, so that probes in 64 bits look at the very same points."""
    encoded = np.clip(columns.encode(np.asarray(values, np.float64)), -FAR, FAR)
    return encoded if precision == 64 else encoded.astype(np.float32).astype(np.float64)


def _tail_start(flow: Flow) -> float:
    """Where compression starts; the outermost map of every table's flow."""
    outermost = flow.bijection.bijections[-1] if isinstance(flow.bijection, Chain) else None
    return outermost.start if isinstance(outermost, SoftTails) else float("inf")


# The probes. Each runs once after a fit, so compiling counts and speed does not: low optimisation levels, and XLA's
# older emitters of code for the CPU, compile in a quarter of the time.


def _pull_rows(static: Flow, arrays: Flow, u: Array, c: Array | None) -> tuple[Array, ...]:
    flow = eqx.combine(arrays, static)
    z, log_det = flow.bijection.inverse_rows(u, c, None)
    return z, log_det, flow.base.log_prob_rows(z, None, None) + log_det


def _push_rows(static: Flow, arrays: Flow, z: Array, c: Array | None) -> Array:
    return eqx.combine(arrays, static).bijection.forward_rows(z, c, None)[0]


def _slope_rows(static: Flow, arrays: Flow, u: Array, c: Array | None, unit: Array) -> Array:
    """The derivative of the inverse along one unit vector a row. Rows are independent, so that the Jacobian of one row
    comes from repeating it, with all unit vectors: a smaller program than a vmap. The solve of an ODE is
    differentiated backwards, which gives the rows of the Jacobian instead of its columns."""
    flow = eqx.combine(arrays, static)

    def inverse(rows: Array) -> Array:
        return flow.bijection.inverse_rows(rows, c, None)[0]

    if holds_continuous(flow):
        return jax.vjp(inverse, u)[1](unit)[0]
    return jax.jvp(inverse, (u,), (unit,))[1]


# Options of the older emitters, and of one module of code instead of many.
_EMITTERS = (("xla_cpu_use_fusion_emitters", False), ("xla_cpu_parallel_codegen_split_count", 1))


@cache
def _quickly(probe: Callable[..., Any], level: int) -> Callable[..., Any]:
    """The probe, compiled in little time at that optimisation level; its first argument is static."""
    options = {"xla_backend_optimization_level": level, **_known(_EMITTERS)}
    return jax.jit(probe, static_argnums=0, compiler_options=options)


@cache
def _known(options: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """The compiler's options, or none where this version of XLA does not know them all."""
    try:
        jax.jit(lambda x: x, compiler_options=dict(options)).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return dict(options)


def _padded(rows: np.ndarray, size: int, dtype: Any) -> Array:
    """Rows as a device array of `size` rows, so that tables of any length share one compiled program."""
    rows = np.asarray(rows, dtype)
    return jnp.asarray(np.concatenate([rows, np.zeros((size - len(rows), rows.shape[1]), dtype)]))


def _pull(
    flow: Flow, u: np.ndarray, c: np.ndarray | None, precision: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latent rows, log-dets and log-densities, in blocks, computed in the model's precision."""
    arrays, static = eqx.partition(flow, eqx.is_array)
    dtype = np.float64 if precision == 64 else np.float32
    parts = []
    for start in range(0, len(u), _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = _padded(u[rows], _BLOCK, dtype)
        given = None if c is None else _padded(c[rows], _BLOCK, dtype)
        found = _quickly(_pull_rows, 1)(static, arrays, block, given)
        parts.append([np.asarray(a, np.float64)[: len(u[rows])] for a in found])
    z, log_det, log_prob = (np.concatenate(part) for part in zip(*parts, strict=True))
    return z, log_det, log_prob


def _round_trip(flow: Flow, u: np.ndarray, c: np.ndarray | None, z: np.ndarray) -> float:
    """The worst error of going to the latent and back, relative to the value where that is above 1."""
    arrays, static = eqx.partition(flow, eqx.is_array)
    dtype = jnp.zeros(()).dtype
    latent = _padded(z, _ROUND_TRIP_ROWS, dtype)
    given = None if c is None else _padded(c, _ROUND_TRIP_ROWS, dtype)
    back = np.asarray(_quickly(_push_rows, 0)(static, arrays, latent, given), np.float64)[: len(u)]
    return float((np.abs(back - u) / np.maximum(1.0, np.abs(u))).max())


def _jacobian_log_dets(flow: Flow, u: np.ndarray, c: np.ndarray | None) -> Float[np.ndarray, " k"]:
    """Log-dets of the first rows by automatic differentiation; of none above 128 columns.

    The Jacobians are those of the same parameters in 64 bits, ODEs solved to `_TOLERANCE`: in 32 bits the determinant
    of a badly scaled Jacobian is itself not good enough to judge by.
    """
    d = u.shape[1]
    if holds_continuous(flow):
        flow = with_solver(flow, rtol=_TOLERANCE, atol=_TOLERANCE)
    if d > _LOG_DET_COLUMNS:
        return np.zeros(0)
    slots = min(_LOG_DET_ROWS, max(2, _LOG_DET_PRODUCTS // d))
    k = min(slots, len(u))
    with jax.enable_x64(True):
        arrays, static = eqx.partition(flow, eqx.is_array)
        arrays = jax.tree.map(_widened, arrays)
        rows = np.repeat(u[:k], d, axis=0)
        given = None
        if c is not None:
            given = _padded(np.repeat(c[:k], d, axis=0), slots * d, np.float64)
        units = np.tile(np.eye(d), (k, 1))
        slopes = _quickly(_slope_rows, 0)(
            static,
            arrays,
            _padded(rows, slots * d, np.float64),
            given,
            _padded(units, slots * d, np.float64),
        )
        # Row i d + j holds a column of row i's Jacobian, or a row of it: the determinant is the same.
        jacobians = np.asarray(slopes)[: k * d].reshape(k, d, d)
    return np.linalg.slogdet(jacobians)[1]


def _widened(array: Array) -> Array:
    # By way of NumPy: converting on the device would compile a program for each shape.
    wide = jnp.issubdtype(array.dtype, jnp.floating)
    return jnp.asarray(np.asarray(array, np.float64)) if wide else array
