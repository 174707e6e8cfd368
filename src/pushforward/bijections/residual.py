"""The residual map."""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.bijections.autoregressive import as_columns
from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, PerRow, replaced
from pushforward.errors import InputError, check_count
from pushforward.networks.contraction import AbstractContraction, AbstractJacobian
from pushforward.networks.lipschitz import series_tail
from pushforward.numeric import certified
from pushforward.rows import Shape, kept_whole

METHODS = ("auto", "exact", "truncated", "roulette")


class Residual(AbstractBijection):
    """The identity plus a contraction, `z = x + g(x)` with `Lip(g) < 1`.

        log |det dz/dx| = log det(I + J) = sum_k (-1)^(k+1) tr(J^k) / k,    J = dg/dx

    In evaluation (without a key) the log-det is the exact determinant, by as many tangents as there are coordinates or
    units of the narrowest hidden layer, whichever are fewer, up to `EXACT`. Beyond, it is an estimate (`exact` is
    False): the series by `judged` noise vectors, which depend on the row alone and smoothly, with as many terms as
    leave less than `TAIL` nats per coordinate. `log_det_with_bound` bounds the terms left out; the error of the noise
    comes on top, which the mean over many rows averages out. In training `log_det` chooses:

    - `"exact"`: the determinant. `m` passes and `m^3` operations per row, `m` the smaller of coordinates and units.
    - `"truncated"`: the first `terms` terms, traces by Hutchinson's estimator. Biased.
    - `"roulette"`: `terms` terms and a random number more, weighted so that value and gradient have no bias.
    - `"auto"` (default): exact up to `EXACT_TRAINING` coordinates, roulette beyond.

    Gradients of the series are those of the Neumann series, `d log det = E[(sum_k (-1)^k (J^T)^k v)^T dJ v]`, whose sum
    is formed without being differentiated: memory does not grow with the terms. Cost: a network pass per term.

    Forward (sampling): Banach's fixed point, `x <- z - g(x)`, until its a-posteriori bound `L / (1 - L) |step|` is
    rounding; gradients, of any order, by the implicit function theorem.

    i-ResNet (Behrmann et al. 2019, arXiv 1811.00995), Residual flows (Chen et al. 2019, arXiv 1906.02735).

    Arguments:
        network: the contraction, such as `LipschitzMLP` on vectors and `LipschitzConv` on images.
        log_det: the method in training; default "auto".
        terms: of "truncated", and the certain ones of "roulette"; default 10 and 2.
        probes: noise vectors of the estimator in training; default 1.
        judged: noise vectors of the estimate in evaluation; default 16.
        condition_shape: the shape of a condition; None for none.

    Raises `InputError` for an unknown method, or fewer than 1 term or noise vector.

    ```python
    >>> import jax, pushforward as pf
    >>> from pushforward.networks import LipschitzMLP
    >>> network = LipschitzMLP(3, 3, width=8, depth=1, key=jax.random.key(0))
    >>> layer = pf.bijections.Residual(network)
    >>> log_det, bound = layer.log_det_with_bound(jax.numpy.ones((5, 3)), terms=5)
    >>> log_det.shape, round(float(bound), 2)
    ((5,), 1.42)

    ```
    """

    network: AbstractContraction
    log_det: str = eqx.field(static=True)
    terms: int = eqx.field(static=True)
    probes: int = eqx.field(static=True)
    judged: int = eqx.field(static=True)
    rows_only: bool = eqx.field(static=True)  # log-dets are left out, as 0
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        network: AbstractContraction,
        *,
        log_det: str = "auto",
        terms: int | None = None,
        probes: int = 1,
        judged: int = 16,
        condition_shape: Shape | None = None,
    ):
        if log_det not in METHODS:
            raise InputError(f"log_det={log_det!r} is unknown; known: {', '.join(METHODS)}")
        terms = (10 if log_det == "truncated" else 2) if terms is None else terms
        check_count("terms", terms)
        check_count("probes", probes)
        check_count("judged", judged)
        self.network, self.log_det, self.terms = network, log_det, terms
        self.probes, self.judged, self.rows_only = probes, judged, False
        self.event_shape, self.condition_shape = network.event_shape, condition_shape

    @property
    def exact(self) -> bool:
        row = jnp.zeros((1, *self.event_shape))
        condition = None if self.condition_shape is None else jnp.zeros((1, *self.condition_shape))
        x = eqx.filter_eval_shape(self.network.columns, row)
        return bool(eqx.filter_eval_shape(self._linearised, x, condition)[1].least <= EXACT)

    def without_log_det(self) -> "Residual":
        return replaced(self, rows_only=True)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        columns = self.network.columns(x)
        g, jacobian = self._linearised(columns, condition)
        return x + self.network.rows(g), self._log_det(jacobian, columns, key)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        arrays, static = eqx.partition(self.network, eqx.is_array)
        with kept_whole():
            target = self.network.columns(z)
            x, residual = _fixed_point(static, arrays, target, as_columns(condition))
        x = certified(x, residual, target)
        if self.rows_only:
            return self.network.rows(x), jnp.zeros(len(z), z.dtype)
        return self.network.rows(x), -self._log_det(self._linearised(x, condition)[1], x, key)

    def log_det_with_bound(
        self, x: Array, condition: Condition = None, terms: int | None = None
    ) -> tuple[PerRow, Array]:
        """The log-det of dz/dx, and a bound of what the terms left out would add to it: 0 where it is exact.

        The bound is `d sum_{k > terms} L^k / k` with d coordinates and the network's certified Lipschitz constant L. It
        does not cover the traces of the terms, estimates by `judged` noise vectors.

        Arguments:
            x: `(n, *event)` rows.
            condition: `(n, *condition)`, if the map takes one.
            terms: of the series; default as in evaluation, with the exact determinant where it is small.
        """
        columns = self.network.columns(x)
        jacobian, lipschitz = self._linearised(columns, condition)[1], self.network.lipschitz
        if terms is None and jacobian.least <= EXACT:
            return exact_log_det(jacobian), jnp.zeros((), x.dtype)
        terms = enough_terms(lipschitz) if terms is None else terms
        bound = jacobian.size * series_tail(lipschitz, terms)
        log_det = fixed_log_det(jacobian, columns, terms, self.judged)
        return log_det, jnp.asarray(bound, x.dtype)

    def _linearised(self, columns: Array, condition: Condition) -> tuple[Array, AbstractJacobian]:
        return self.network.linearised(self.network.weights(), columns, as_columns(condition))

    def _log_det(self, jacobian: AbstractJacobian, columns: Array, key: Key) -> PerRow:
        method = self.log_det
        if self.rows_only:
            return jnp.zeros(columns.shape[-1], columns.dtype)
        if method == "auto":
            method = "exact" if jacobian.size <= EXACT_TRAINING else "roulette"
        if key is None:
            method = "exact" if jacobian.least <= EXACT else "fixed"
        if method == "exact":
            return exact_log_det(jacobian)
        if key is None:
            enough = enough_terms(self.network.lipschitz)
            return fixed_log_det(jacobian, columns, enough, self.judged)
        noise_key, count_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, (self.probes, *columns.shape), columns.dtype)
        terms = jnp.asarray(self.terms)
        if method == "roulette":
            # P(more >= m) = SURVIVAL^m.
            terms = terms + jax.random.geometric(count_key, 1 - SURVIVAL) - 1
        return series_log_det(jacobian, noise, terms, self.terms)


EXACT_TRAINING, EXACT, TAIL = 3, 128, 3e-5
"""Coordinates up to which log-dets are exact, in training and in evaluation; beyond, the nats per coordinate that an
evaluation's series may leave out: over 20 maps less than 1e-3 bits per dimension."""
SURVIVAL = 0.75
"""Probability of one term more. The roulette's variance is finite where the spectral radius of J is below its root,
0.87; the paper's 1/2 would need 0.71."""


def enough_terms(lipschitz: float) -> int:
    """How many terms leave less than `TAIL` nats per coordinate: 37 at 0.8, 78 at 0.9, 160 at 0.95."""
    return next(k for k in count(1) if series_tail(lipschitz, k) <= TAIL)


def fixed_log_det(jacobian: AbstractJacobian, x: Array, terms: int, probes: int) -> PerRow:
    """The first terms of the series, with noise that follows from the row.

    A row's density must not depend on its place in the batch, nor jump where rounding differs, and an error that all
    rows share would stay in their mean. So the noise is `sqrt(2) cos(W A x + b)` with the same random W, A and b for
    all: of variance 1 and uncorrelated, as b is uniform, smooth in x, and another one for every x.
    """
    keys, (rows, features) = jax.random.split(jax.random.key(0), 3), (jacobian.size, FEATURES)
    flat = x.reshape(rows, x.shape[-1])
    seen = jax.random.rademacher(keys[0], (features, rows), x.dtype) @ flat
    turns = jax.random.normal(keys[1], (probes, rows, features), x.dtype) @ seen
    phases = 2 * jnp.pi * jax.random.uniform(keys[2], (probes, rows, 1), x.dtype)
    noise = 2**0.5 * jnp.cos(turns + phases).reshape(probes, *x.shape)
    return series_log_det(jacobian, noise, jnp.asarray(terms), terms)


FEATURES = 4
"""Projections of a row that its noise follows from."""


def exact_log_det(jacobian: AbstractJacobian) -> PerRow:
    """`log det(I + J)` per row, of J or of a smaller matrix that the network gives."""
    # Small ones are eliminated without pivots, which only J itself allows.
    few = jacobian.size <= ELIMINATED
    matrix = jacobian.matrix() if few else jacobian.smallest()
    matrix = matrix + jnp.eye(len(matrix), dtype=matrix.dtype)[:, :, None]
    if not few:
        log_dets: Array = jnp.linalg.slogdet(jnp.moveaxis(matrix, 2, 0))[1]
        return log_dets
    # Elimination needs no pivots: J is a contraction, so that I + J is positive definite or diagonally dominant.
    total = jnp.zeros(matrix.shape[2], matrix.dtype)
    while len(matrix):
        pivot = matrix[:1, :1]
        total = total + jnp.log(pivot[0, 0])
        matrix = matrix[1:, 1:] - matrix[1:, :1] * (matrix[:1, 1:] / pivot)
    return total


ELIMINATED = 8
"""Coordinates up to which elimination is written out over rows; beyond, LAPACK's factorisation per row compiles faster
and is no slower."""


def series_log_det(
    jacobian: AbstractJacobian, noise: Float[Array, "probes *event n"], terms: Array, certain: int
) -> PerRow:
    """`sum_{k <= terms} (-1)^(k+1) w_k v^T J^k v / k`, the mean over probes, with the Neumann-series gradient.

    Terms up to `certain` weigh 1, later ones `1 / P(N >= k) = SURVIVAL^(certain - k)`.
    """
    held = jax.lax.stop_gradient(jacobian)

    def of_probe(v: Array) -> tuple[Array, Array]:
        def term(k: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            power, value, neumann = state
            # `power` is (-J^T)^(k-1) v; the k-th term of the series needs one more product, of Neumann's none.
            weight = SURVIVAL ** -jnp.maximum(k - certain, 0).astype(v.dtype)
            neumann = neumann + weight * power
            power = -held.transposed(power)
            return power, value - weight / k * _inner(power, v), neumann

        start = (v, jnp.zeros(v.shape[-1], v.dtype), jnp.zeros_like(v))
        _, value, neumann = jax.lax.fori_loop(1, terms + 1, term, start)
        return value, neumann

    value, neumann = jax.lax.map(of_probe, jax.lax.stop_gradient(noise))
    # One by one: products of matrices with many probes at once are slow to differentiate on a CPU.
    surrogate = jax.lax.map(lambda vw: _inner(vw[1], jacobian.times(vw[0])), (noise, neumann))
    log_det: Array = (surrogate + jax.lax.stop_gradient(value - surrogate)).mean(0)
    return log_det


def _inner(a: Float[Array, "*event n"], b: Float[Array, "*event n"]) -> PerRow:
    product: Array = (a * b).sum(tuple(range(a.ndim - 1)))
    return product


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _fixed_point(static: Any, arrays: Any, z: Array, condition: Condition) -> tuple[Array, Array]:
    """The x with `x + g(x) = z`, NaN in columns that do not converge, and the residual."""
    network: AbstractContraction = eqx.combine(arrays, static)
    weights = network.weights()
    event = tuple(range(z.ndim - 1))
    eps, ratio = jnp.finfo(z.dtype).eps, network.lipschitz / (1 - network.lipschitz)

    def error(step: Array, x: Array) -> Array:
        """How far each column is from its limit, in roundings of its largest entry: the a-posteriori bound
        `L / (1 - L) |step|`, taken of largest entries. It says when to stop; `certified` judges the result."""
        return ratio * jnp.abs(step).max(event) / (eps * jnp.maximum(jnp.abs(x).max(event), 1.0))

    def improve(state: tuple[Array, ...]) -> tuple[Array, ...]:
        i, x, best, waited, frozen = state
        new = z - network.apply(weights, x, condition)
        found = error(new - x, new)
        waited = jnp.where(found < best, 0, waited + 1)
        x = jnp.where(frozen, x, new)
        best = jnp.where(frozen, best, jnp.minimum(best, found))
        # A step of rounding's size does not get shorter.
        done = (best <= ROUNDINGS) | ((best <= SLACK) & (waited >= 3))
        return i + 1, x, best, waited, frozen | done

    known = jnp.isfinite(z).all(event)
    n = z.shape[-1]
    start: tuple[Array, ...] = (
        *(jnp.zeros((), jnp.int32), jnp.where(known, z, 0.0), jnp.full(n, jnp.inf, z.dtype)),
        *(jnp.zeros(n, jnp.int32), ~known),
    )
    state = jax.lax.while_loop(lambda s: (s[0] < STEPS) & ~s[4].all(), improve, start)
    x = state[1]
    residual = jnp.abs(x + network.apply(weights, x, condition) - z)
    x = jnp.where(known & (state[2] <= SLACK), x, jnp.nan)
    return jnp.where(known, x, z), residual


# Error bounds, in roundings, at which the search ends, and up to which a stalled one has converged; the most steps.
ROUNDINGS, SLACK, STEPS = 4.0, 1000.0, 10_000


@_fixed_point.defjvp
def _fixed_point_jvp(static: Any, primals: Any, tangents: Any) -> tuple[Any, Any]:
    arrays, z, condition = primals
    arrays_dot, z_dot, condition_dot = tangents
    x, residual = _fixed_point(static, arrays, z, condition)

    def g(arrays: Any, x: Array, condition: Condition) -> Array:
        value: Array = eqx.combine(arrays, static)(x, condition)
        return value

    others, others_dot = (arrays, condition), (arrays_dot, condition_dot)
    _, by_others = jax.jvp(lambda a, c: g(a, x, c), others, others_dot)
    _, product = jax.linearize(lambda x: g(arrays, x, condition), x)

    def solve(times: Callable[[Array], Array], right: Array) -> Array:
        """Neumann's iteration for `(I + J) w = right`, a contraction."""

        def improve(state: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
            i, w, _ = state
            new = right - (times(w) - w)
            return i + 1, new, jnp.abs(new - w).max(initial=0.0)

        small = jnp.finfo(x.dtype).eps * jnp.maximum(jnp.abs(right).max(initial=0.0), 1e-30)
        start = (0, right, jnp.asarray(jnp.inf, x.dtype))
        return jax.lax.while_loop(lambda s: (s[0] < STEPS) & (s[2] > small), improve, start)[1]

    x_dot = jax.lax.custom_linear_solve(
        lambda w: w + product(w), z_dot - by_others, solve, transpose_solve=solve
    )
    return (x, residual), (x_dot, jnp.zeros_like(residual))
