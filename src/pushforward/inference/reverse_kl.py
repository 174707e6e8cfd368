"""Reverse KL by path gradients: a flow is moved to where a density is high."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.distributions import Flow
from pushforward.inference.start import Located
from pushforward.inference.target import COMPILER, FEW, MANY, Target, device_rows
from pushforward.inference.weights import effective_share
from pushforward.rows import broadcasting

BATCH = FEW
SEGMENT = 125
RATE = 3e-3
ROUNDS = (500, 1000, 2000)
"""Steps of each round: the rate rises and falls to zero in each, and the last one without a gain is the last."""
ENOUGH = 0.97
"""The share of effective draws with which no further round begins."""


def path_gradient_loss(
    flow: Flow, target: Callable[[Array], tuple[Array, Array]], key: PRNGKeyArray, n: int, cut: Any
) -> tuple[Array, tuple[Array, Array]]:
    """`KL(q || p)` up to a constant, from n draws of a flow, with the path gradient: no gradient flows through the
    parameters of `log q` itself, so that it vanishes draw by draw where q is p.

        gradient = mean of [grad log q(x_i) - grad log p(x_i)] dx_i/dparameters

    Of p it needs value and gradient per draw. Draws at which these are not finite are left out. Gradients of p longer
    than `cut` medians are shortened: a few steep draws would hide all others.

    Roeder, Wu & Duvenaud 2017 (arXiv 1703.09194); Vaitl, Nicoli, Nakajima & Kessel 2022 (arXiv 2206.09016).

    Returns the mean over the finite draws, and that of `log p - log q` with the number left out.
    """
    frozen = jax.lax.stop_gradient(eqx.filter(flow, eqx.is_inexact_array))
    frozen = eqx.combine(frozen, flow)
    x, _ = flow.sample_rows(key, n, None)
    still = jax.lax.stop_gradient(x)
    log_q, pull = jax.vjp(lambda rows: frozen.log_prob_rows(rows, None, None), still)
    (of_q,) = pull(jnp.ones_like(log_q))
    log_p, of_p = target(still)
    finite = jnp.isfinite(log_p) & jnp.isfinite(of_p).all(1) & jnp.isfinite(log_q)
    of_p = jnp.where(finite[:, None], of_p, 0.0)
    length = jnp.sqrt((of_p**2).sum(1))
    most = cut * jnp.nanmedian(jnp.where(finite, length, jnp.nan)) + 1e-6
    of_p = of_p * jnp.minimum(1.0, most / jnp.maximum(length, 1e-12))[:, None]
    slope = jax.lax.stop_gradient(jnp.where(finite[:, None], of_q - of_p, 0.0))
    count = jnp.maximum(finite.sum(), 1).astype(x.dtype)
    bound = jnp.where(finite, log_p - log_q, 0.0).sum() / count
    # Rows that are not finite must not meet a gradient of 0, which gives NaN.
    moved = (jnp.where(jnp.isfinite(x), x, 0.0) * slope).sum() / count
    return moved, (bound, n - finite.sum())


class _State(NamedTuple):
    params: Array
    optimiser: Any
    average: Array
    step: Array


@dataclass(frozen=True)
class Round:
    """What one round of steps did.

    Attributes:
        steps: how many.
        bound: the mean evidence lower bound of its last segment, in nats.
        left_out: share of the draws that were not finite in its last segment.
        effective: share of effective draws, of fresh ones after it.
    """

    steps: int
    bound: float
    left_out: float
    effective: float


class ReverseKL:
    """Fits flows to one target in one frame; all its fits share one compiled program.

    Arguments:
        target: the density.
        flow: any flow of the shape that is fitted, in the frame's units.
        frame: the map from those units to the target's.
    """

    def __init__(self, target: Target, flow: Flow, frame: Located):
        self.target, self.frame = target, frame
        params, self._static = eqx.partition(flow, eqx.is_inexact_array)
        # All parameters as one vector: a third less to compile.
        self._unravel = ravel_pytree(params)[1]
        self._optimiser = optax.chain(optax.clip_by_global_norm(10.0), optax.scale_by_adam())
        self._run = jax.jit(self._segment, compiler_options=COMPILER)

    def _flow(self, params: Array) -> Flow:
        flow: Flow = eqx.combine(self._unravel(params), self._static)
        return flow

    def _framed(self, z: Float[Array, "n d"]) -> tuple[Array, Array]:
        """Log-density and gradient of p in the frame's units."""
        x, log_det = self.frame.forward_rows(z, None, None)
        value, gradient = self.target.traced_rows(x)
        return value + log_det, gradient @ self.frame.scale

    def _segment(self, state: _State, key: PRNGKeyArray, span: Array, first: Array) -> Any:
        """`SEGMENT` steps of a round; `span` has the steps done and those of the whole round."""

        def loss(params: Array, key: PRNGKeyArray, cut: Array) -> Any:
            return path_gradient_loss(self._flow(params), self._framed, key, BATCH, cut)

        def step(state: _State, i: Array) -> tuple[_State, tuple[Array, Array]]:
            at = (span[0] + i).astype(jnp.zeros(()).dtype) / span[1].astype(jnp.zeros(()).dtype)
            # Shortened gradients lead there sooner, and elsewhere: they fade out in the first round.
            cut = jnp.where(first, 3.0 / jnp.maximum(1 - at, 1e-3) ** 2, 1e4)
            own = jax.random.fold_in(key, state.step)
            grads, (bound, out) = jax.grad(loss, has_aux=True)(state.params, own, cut)
            grads = jnp.where(jnp.isfinite(grads).all(), grads, 0.0)
            with jax.numpy_dtype_promotion("standard"):  # optax mixes types
                updates, optimiser = self._optimiser.update(grads, state.optimiser, state.params)
            rate = RATE * jnp.minimum(1.0, 20 * at + 0.02) * 0.5 * (1 + jnp.cos(jnp.pi * at))
            params = state.params - rate * updates
            count = state.step.astype(rate.dtype)
            new = 1 - jnp.minimum(0.99, (count + 1) / (count + 10))
            average = state.average + new * (params - state.average)
            return _State(params, optimiser, average, state.step + 1), (bound, out)

        state, (bounds, out) = jax.lax.scan(step, state, jnp.arange(SEGMENT))
        return state, bounds.mean(), out.sum()

    def fit(
        self,
        flow: Flow,
        key: PRNGKeyArray,
        steps: int | None = None,
        halt: Callable[[Flow], bool] | None = None,
    ) -> tuple[Flow, list[Round]]:
        """A flow in the frame's units, fitted.

        Arguments:
            flow: where it starts.
            key: of all draws.
            steps: how many, in one round, rounded up to segments of 125; default None: rounds of `ROUNDS` until one
                gains nothing.
            halt: called with the flow after the first of several rounds; True ends the fit.
        """
        params = ravel_pytree(eqx.filter(flow, eqx.is_inexact_array))[0]
        rounds = ROUNDS if steps is None else (SEGMENT * max(1, -(-steps // SEGMENT)),)
        best, best_share, history = params, -1.0, []
        state = _State(params, self._optimiser.init(params), params, jnp.zeros((), jnp.int32))
        for number, length in enumerate(rounds):
            for done in range(0, length, SEGMENT):
                span = jnp.asarray([done, length], jnp.int32)
                with broadcasting():
                    state, bound, out = self._run(state, key, span, jnp.asarray(number == 0))
            share = self.effective(self._flow(state.average), key, number)
            left_out = float(out) / (SEGMENT * BATCH)
            history.append(Round(length, float(bound), left_out, share))
            gained = share - best_share
            if gained > 0:
                best, best_share = state.average, share
            if share >= ENOUGH or (number > 0 and gained < 0.005):
                break
            if number == 0 and len(rounds) > 1 and halt is not None and halt(self._flow(best)):
                break
        return self._flow(best), history

    def effective(self, flow: Flow, key: PRNGKeyArray, number: int) -> float:
        """Share of effective draws among fresh ones."""
        z, log_q = draws_of(flow, jax.random.fold_in(key, 2**30 + number), MANY)
        shift, scale = np.asarray(self.frame.shift), np.asarray(self.frame.scale)
        log_p = self.target.values(shift + z @ scale.T) + float(self.frame.log_scale)
        return effective_share(np.where(np.isfinite(log_p), log_p, -np.inf) - log_q)


def _draw(flow: Flow, key: PRNGKeyArray) -> tuple[Array, Array]:
    return flow.sample_rows(key, MANY, None)


def _score(flow: Flow, rows: Array) -> Array:
    return flow.log_prob_rows(rows, None, None)


_jit: Any = eqx.filter_jit  # its types do not know the options of `jax.jit`
_compiled_draw = _jit(_draw, compiler_options=COMPILER)
_compiled_score = _jit(_score, compiler_options=COMPILER)


def draws_of(flow: Flow, key: PRNGKeyArray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """`n` draws of a flow `(n, d)` and their log-densities, in blocks of one size."""
    xs, logs = [], []
    for number in range(-(-n // MANY)):
        with broadcasting():
            x, log_q = _compiled_draw(flow, jax.random.fold_in(key, number))
        xs.append(np.asarray(x, np.float64))
        logs.append(np.asarray(log_q, np.float64))
    return np.concatenate(xs)[:n], np.concatenate(logs)[:n]


def log_prob_of(flow: Flow, rows: np.ndarray) -> np.ndarray:
    """Log-densities of rows under a flow, in blocks of two sizes."""
    size = FEW if len(rows) <= 2 * FEW else MANY
    out = []
    for at in range(0, len(rows), size):
        block = rows[at : at + size]
        filled = np.concatenate(
            [block, np.broadcast_to(block[:1], (size - len(block), rows.shape[1]))]
        )
        with broadcasting():
            found = _compiled_score(flow, device_rows(filled))
        out.append(np.asarray(found, np.float64)[: len(block)])
    return np.concatenate(out) if out else np.empty(0)
