"""The residual map."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.bijections.autoregressive import as_columns
from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, PerRow
from pushforward.errors import InputError, check_count
from pushforward.networks.lipschitz import LipschitzMLP, NetworkJacobian, series_tail
from pushforward.numeric import certified
from pushforward.rows import Shape, kept_whole

METHODS = ("auto", "exact", "truncated", "roulette")


class Residual(AbstractBijection):
    """The identity plus a contraction, `z = x + g(x)` with `Lip(g) < 1`.

        log |det dz/dx| = log det(I + J) = sum_k (-1)^(k+1) tr(J^k) / k,    J = dg/dx

    In evaluation (without a key) the log-det is the exact determinant, by as many tangents as there are coordinates or
    units of the narrowest hidden layer, whichever are fewer, up to `EXACT`. Beyond, it is an estimate, the first
    `TERMS` terms of the series by `PROBES` fixed noise vectors: `log_det_with_bound` bounds the terms left out; the
    error of the probes comes on top. In training `log_det` chooses:

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
        network: the contraction, from `(d + condition)` to d features.
        log_det: the method in training; default "auto".
        terms: of "truncated", and the certain ones of "roulette"; default 10 and 2.
        probes: noise vectors of the estimator; default 1.
        condition_shape: the shape of a condition; None for none.

    Raises `InputError` for an unknown method, or fewer than 1 term or probe.

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

    network: LipschitzMLP
    log_det: str = eqx.field(static=True)
    terms: int = eqx.field(static=True)
    probes: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        network: LipschitzMLP,
        *,
        log_det: str = "auto",
        terms: int | None = None,
        probes: int = 1,
        condition_shape: Shape | None = None,
    ):
        if log_det not in METHODS:
            raise InputError(f"log_det={log_det!r} is unknown; known: {', '.join(METHODS)}")
        terms = (10 if log_det == "truncated" else 2) if terms is None else terms
        check_count("terms", terms)
        check_count("probes", probes)
        self.network, self.log_det, self.terms, self.probes = network, log_det, terms, probes
        self.event_shape, self.condition_shape = (network.last.shape[0],), condition_shape

    @property
    def exact(self) -> bool:
        row = jnp.zeros((*self.event_shape, 1))
        condition = None if self.condition_shape is None else jnp.zeros((1, *self.condition_shape))
        return smallest(eqx.filter_eval_shape(self._linearised, row, condition)[1])[0] <= EXACT

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        g, jacobian = self._linearised(x.T, condition)
        return x + g.T, self._log_det(jacobian, key)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        arrays, static = eqx.partition(self.network, eqx.is_array)
        with kept_whole():
            x, residual = _fixed_point(static, arrays, z.T, as_columns(condition))
        x = certified(x, residual, z.T)
        return x.T, -self._log_det(self._linearised(x, condition)[1], key)

    def log_det_with_bound(
        self, x: Float[Array, "n d"], condition: Condition = None, terms: int | None = None
    ) -> tuple[PerRow, Array]:
        """The log-det of dz/dx, and a bound of what the terms left out would add to it: 0 where it is exact.

        The bound is `d sum_{k > terms} L^k / k` with the network's certified Lipschitz constant L. It does not cover
        the traces of the terms, estimates by `PROBES` noise vectors.

        Arguments:
            x: `(n, d)` rows.
            condition: `(n, *condition)`, if the map takes one.
            terms: of the series; default as in evaluation, with the exact determinant where it is small.
        """
        (_, jacobian), d = self._linearised(x.T, condition), x.shape[1]
        if terms is None and smallest(jacobian)[0] <= EXACT:
            return exact_log_det(jacobian), jnp.zeros((), x.dtype)
        terms = TERMS if terms is None else terms
        bound = d * series_tail(self.network.lipschitz, terms)
        return fixed_log_det(jacobian, terms, self.probes), jnp.asarray(bound, x.dtype)

    def _linearised(self, columns: Array, condition: Condition) -> tuple[Array, NetworkJacobian]:
        return self.network.linearised(self.network.weights(), columns, as_columns(condition))

    def _log_det(self, jacobian: NetworkJacobian, key: Key) -> PerRow:
        (d,), method, slope = self.event_shape, self.log_det, jacobian.slopes[0]
        if method == "auto":
            method = "exact" if d <= EXACT_TRAINING else "roulette"
        if key is None:
            method = "exact" if smallest(jacobian)[0] <= EXACT else "fixed"
        if method == "exact":
            return exact_log_det(jacobian)
        if key is None:
            return fixed_log_det(jacobian, TERMS, self.probes)
        noise_key, count_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, (self.probes, d, slope.shape[1]), slope.dtype)
        terms = jnp.asarray(self.terms)
        if method == "roulette":
            # P(more >= m) = SURVIVAL^m.
            terms = terms + jax.random.geometric(count_key, 1 - SURVIVAL) - 1
        return series_log_det(jacobian, noise, terms, self.terms)


EXACT_TRAINING, EXACT, TERMS, PROBES = 3, 128, 200, 16
SURVIVAL = 0.75
"""Probability of one term more. The roulette's variance is finite where the spectral radius of J is below its root,
0.87; the paper's 1/2 would need 0.71."""


def fixed_log_det(jacobian: NetworkJacobian, terms: int, probes: int) -> PerRow:
    """The first terms of the series, with the same noise in every call and for every row: a row's density must not
    depend on its place in the batch."""
    d, slope, probes = jacobian.weights[-1].shape[0], jacobian.slopes[0], max(probes, PROBES)
    noise = jax.random.rademacher(jax.random.key(0), (probes, d, 1), slope.dtype)
    noise = jnp.broadcast_to(noise, (probes, d, slope.shape[1]))
    return series_log_det(jacobian, noise, jnp.asarray(terms), terms)


def smallest(jacobian: NetworkJacobian) -> tuple[int, int | None]:
    """The size of the smallest matrix with the determinant of `I + J`, and the hidden layer to cut at; None for J."""
    d = jacobian.weights[-1].shape[0]
    widths = [len(slope) for slope in jacobian.slopes]
    # Small ones are eliminated without pivots, which only J itself allows.
    if d <= ELIMINATED or min(widths) >= d:
        return d, None
    return min(widths), int(np.argmin(widths))


def exact_log_det(jacobian: NetworkJacobian) -> PerRow:
    """`log det(I + J)` per row, of J by d tangents or of the smaller matrix that a narrow hidden layer gives."""
    d, layer = smallest(jacobian)
    matrix = jacobian.matrix() if layer is None else jacobian.turned(layer)
    matrix = matrix + jnp.eye(d, dtype=matrix.dtype)[:, :, None]
    if layer is not None or d > ELIMINATED:
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
    jacobian: NetworkJacobian, noise: Float[Array, "probes d n"], terms: Array, certain: int
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
            return power, value - weight / k * (power * v).sum(0), neumann

        start = (v, jnp.zeros(v.shape[1], v.dtype), jnp.zeros_like(v))
        _, value, neumann = jax.lax.fori_loop(1, terms + 1, term, start)
        return value, neumann

    value, neumann = jax.lax.map(of_probe, jax.lax.stop_gradient(noise))
    surrogate = jax.vmap(lambda v, w: (w * jacobian.times(v)).sum(0))(noise, neumann)
    log_det: Array = (surrogate + jax.lax.stop_gradient(value - surrogate)).mean(0)
    return log_det


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _fixed_point(static: Any, arrays: Any, z: Array, condition: Condition) -> tuple[Array, Array]:
    """The x with `x + g(x) = z`, NaN in columns that do not converge, and the residual."""
    network: LipschitzMLP = eqx.combine(arrays, static)
    weights = network.weights()
    eps, ratio = jnp.finfo(z.dtype).eps, network.lipschitz / (1 - network.lipschitz)

    def error(step: Array, x: Array) -> Array:
        """The a-posteriori bound of each column's error, in roundings of its largest entry."""
        return ratio * jnp.abs(step).max(0) / (eps * jnp.maximum(jnp.abs(x).max(0), 1.0))

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

    known = jnp.isfinite(z).all(0)
    n = z.shape[1]
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
