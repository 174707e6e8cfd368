"""The compiled parts of a fit: segments of steps, measured statistics, the loss over all rows."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections import with_statistics
from pushforward.errors import InputError
from pushforward.training.loss import Loss
from pushforward.training.settings import Training

# Steps between two looks at the clock and at the loss: a number that follows from sizes alone, so that results do not
# depend on speed. At most so many, and less where the rows would fill that many bytes, or where rows times weights say
# that they would take many seconds.
SEGMENT = 128
SEGMENT_BYTES, SEGMENT_WORK = 1 << 24, 1 << 35


class State(eqx.Module):
    """What a training step changes."""

    params: Any
    optimiser: Any
    average: Any
    step: Array


def optimiser_of(training: Training) -> optax.GradientTransformation:
    """Clipped Adam with decoupled weight decay on matrices; the step size is applied by the loop."""
    return optax.chain(
        optax.clip_by_global_norm(training.clip),
        optax.scale_by_adam(),
        optax.add_decayed_weights(
            training.weight_decay or 0.0,
            # Stacked layers lead with the layer axis: weights are what has two axes more, biases one.
            mask=lambda params: jax.tree.map(lambda p: p.ndim >= 3, params),
        ),
    )


@eqx.filter_jit
def run(
    state: State, static: Any, rows: tuple[Array, Array | None], span: Array, pace: Array,
    jitter: Array | None, key: PRNGKeyArray, loss: Loss, training: Training, batch: int,
) -> tuple[State, Array]:  # fmt: skip
    """Steps `span[0] .. span[1]` of an epoch, `batch` of the rows each; returns the mean loss, NaN if any step was not
    finite.

    `pace` is (progress at the first step, progress of one step, factor on the step size, decay of the average),
    progress in [0, 1].
    """
    optimiser = optimiser_of(training)

    def objective(params: Any, x: Array, condition: Array | None, k: PRNGKeyArray) -> Array:
        return _of_rows(loss(eqx.combine(params, static), x, condition, k), len(x)).mean()

    def step(i: Array, carry: Any) -> Any:
        params, opt_state, average, count, total = carry

        def batch_of(a: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(a, (i - span[0]) * batch, batch)

        x, condition = jax.tree.map(batch_of, rows)
        noise_key, loss_key = jax.random.split(jax.random.fold_in(key, i))
        if jitter is not None:
            x = x + jitter * jax.random.uniform(noise_key, x.shape, x.dtype, -0.5, 0.5)
        value, grads = jax.value_and_grad(objective)(params, x, condition, loss_key)
        updates, opt_state = optimiser.update(grads, opt_state, params)
        rate = pace[2] * learning_rate(pace[0] + (i - span[0]) * pace[1], training)
        params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
        # Early on the average follows closely, or it would remember the initial weights.
        decay = jnp.minimum(pace[3], (count + 1) / (count + 10))
        average = jax.tree.map(lambda a, p: a + (1 - decay) * (p - a), average, params)
        return params, opt_state, average, count + 1, total + value

    start = (state.params, state.optimiser, state.average, state.step, jnp.zeros((), rows[0].dtype))
    params, opt_state, average, count, total = jax.lax.fori_loop(span[0], span[1], step, start)
    return State(params, opt_state, average, count), total / jnp.maximum(span[1] - span[0], 1)


def segment_steps(steps: int, batch: int, x: np.ndarray, params: Any) -> int:
    """Steps of a segment, see `SEGMENT`."""
    weights = sum(a.size for a in jax.tree.leaves(params))
    of_bytes = SEGMENT_BYTES // max(batch * x.nbytes, 1)
    of_work = SEGMENT_WORK // max(batch * weights, 1)
    # A power of two, so that few programs serve all sizes.
    return min(SEGMENT, 1 << max(min(of_bytes, of_work), 1).bit_length() - 1, _round_up(steps))


def _round_up(steps: int) -> int:
    return 1 << (steps - 1).bit_length()


@eqx.filter_jit
def measured(params: Any, static: Any, rows: tuple[Array, Array | None]) -> Any:
    """The parameters with the statistics of batch-norm layers measured on training rows."""
    model = eqx.combine(params, static)
    measured = with_statistics(model.bijection, *rows)
    return eqx.filter(eqx.tree_at(lambda m: m.bijection, model, measured), eqx.is_inexact_array)


@eqx.filter_jit
def losses(params: Any, static: Any, rows: tuple[Array, Array | None], loss: Loss) -> Array:
    """The loss of each row, without noise."""
    return _of_rows(loss(eqx.combine(params, static), *rows, None), len(rows[0]))


def _of_rows(values: Array, n: int) -> Array:
    """The loss's values, which must be one number a row: a sum would be taken for a mean."""
    if jnp.shape(values) != (n,):
        raise InputError(
            f"the loss gives an array of shape {jnp.shape(values)} for {n} rows: one number a row, ({n},), was expected"
        )
    return values


def learning_rate(progress: Array, training: Training) -> Array:
    """Linear warm-up to the peak, then a half cosine to zero; `progress` in [0, 1]."""
    progress = jnp.clip(progress, 0.0, 1.0)
    warm = jnp.minimum(1.0, (progress + 1e-3) / (training.warmup + 1e-3))
    assert training.learning_rate is not None
    return training.learning_rate * warm * 0.5 * (1 + jnp.cos(jnp.pi * progress))
