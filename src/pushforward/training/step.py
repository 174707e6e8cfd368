"""The compiled parts of a fit: segments of steps, measured statistics, the loss of all rows."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from pushforward.bijections import with_statistics
from pushforward.errors import InputError
from pushforward.training.batches import Batch
from pushforward.training.decay import decayed
from pushforward.training.devices import Layout, laned, laned_values
from pushforward.training.loss import Loss, is_scalar
from pushforward.training.settings import Training

# Steps between two looks at the clock and the loss. Their number follows from sizes alone, so that results do not
# depend on speed: at most `SEGMENT`, and fewer where their rows would fill `SEGMENT_BYTES`, or where rows times weights
# exceed `SEGMENT_WORK` and they would take many seconds.
SEGMENT = 128
SEGMENT_BYTES, SEGMENT_WORK = 1 << 24, 1 << 35


class State(eqx.Module):
    """What a training step changes."""

    params: PyTree
    optimiser: Any
    average: PyTree
    step: Array


class Pace(NamedTuple):
    """Where a segment stands in the schedule.

    Attributes:
        progress: at its first step, in [0, 1].
        per_step: progress of one step.
        scale: factor on the step size.
        average: decay of the averaged weights.
    """

    progress: Any
    per_step: Any
    scale: Any
    average: Any


def optimiser_of(training: Training) -> optax.GradientTransformation:
    """Clipped Adam with decoupled weight decay on weights; `run` applies the step size."""
    return optax.chain(
        optax.clip_by_global_norm(training.clip),
        optax.scale_by_adam(),
        optax.add_decayed_weights(training.weight_decay or 0.0, mask=decayed),
    )


@eqx.filter_jit
def run(
    state: State, static: PyTree, rows: PyTree, span: Array, pace: Pace, jitter: Any,
    key: PRNGKeyArray, loss: Loss, training: Training, batch: int, layout: Layout | None = None,
) -> tuple[State, Array]:  # fmt: skip
    """Steps `span[0] .. span[1]` of an epoch, with `batch` rows each; with lanes `span[2]` is how many a device has.
    Returns the mean loss, NaN if a step was not finite."""
    optimiser = optimiser_of(training)
    constants, rest = eqx.partition((static, loss, jitter), eqx.is_array)

    def objective(
        params: PyTree, rows: PyTree, k: PRNGKeyArray, at: Array, static: PyTree, loss: Loss
    ) -> Array:
        now = loss.at(at) if hasattr(loss, "at") else loss
        return values_of(now, eqx.combine(params, static), rows, k).mean()

    def gradient(params: PyTree, own: PyTree, others: PyTree, k: PRNGKeyArray) -> PyTree:
        static, loss, jitter = eqx.combine(others[0], rest)
        noise_key, loss_key = jax.random.split(k)
        if jitter is not None:
            own = jitter(own, noise_key)
        return jax.value_and_grad(objective)(params, own, loss_key, others[1], static, loss)

    def step(i: Array, carry: Any) -> Any:
        params, opt_state, average, count, total = carry

        def batch_of(a: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(a, (i - span[0]) * batch, batch)

        own = jax.tree.map(batch_of, rows) if layout is None else layout.of_step(rows, i - span[0])
        step_key = jax.random.fold_in(key, i)
        at = pace.progress + (i - span[0]).astype(pace.per_step.dtype) * pace.per_step
        if layout is None or layout.lanes is None:
            whole = params if layout is None else layout.gathered(params)
            value, grads = gradient(whole, own, (constants, at), step_key)
            grads = grads if layout is None else layout.constrained(grads)
        else:
            value, grads = laned(layout, gradient, params, own, (constants, at), step_key, span[2])
        with jax.numpy_dtype_promotion("standard"):  # optax mixes types
            updates, opt_state = optimiser.update(grads, opt_state, params)
        rate = pace.scale * learning_rate(at, training)
        params = jax.tree.map(lambda p, u: p - rate.astype(u.dtype) * u, params, updates)
        # Early on the average follows closely, so that it does not remember the initial weights.
        closely = (count + 1) / (count + 10)
        new = 1 - jnp.minimum(pace.average.astype(closely.dtype), closely)
        average = jax.tree.map(lambda a, p: a + new.astype(a.dtype) * (p - a), average, params)
        if layout is not None:
            params, opt_state, average = layout.constrained((params, opt_state, average))
        return params, opt_state, average, count + 1, total + value

    first = jax.tree.map(lambda a: a[:batch] if layout is None else a[0], rows)
    dtype = jax.eval_shape(
        lambda p, r, k: gradient(p, r, (constants, pace.progress), k)[0], state.params, first, key
    ).dtype  # fmt: skip
    start = (state.params, state.optimiser, state.average, state.step, jnp.zeros((), dtype))
    params, opt_state, average, count, total = jax.lax.fori_loop(span[0], span[1], step, start)
    steps = jnp.maximum(span[1] - span[0], 1).astype(total.dtype)
    return State(params, opt_state, average, count), total / steps


def segment_steps(steps: int, batch: int, row: PyTree, params: PyTree) -> int:
    """Steps of a segment, see `SEGMENT`."""
    weights = sum(a.size for a in jax.tree.leaves(params))
    of_bytes = SEGMENT_BYTES // max(batch * sum(a.nbytes for a in jax.tree.leaves(row)), 1)
    of_work = SEGMENT_WORK // max(batch * weights, 1)
    # Powers of two, so that few programs serve all sizes.
    most: int = 1 << max(min(of_bytes, of_work), 1).bit_length() - 1
    return min(SEGMENT, most, 1 << (steps - 1).bit_length())


@eqx.filter_jit
def measured(params: PyTree, static: PyTree, rows: Batch) -> PyTree:
    """The parameters with the statistics of batch norm measured on training rows."""
    model = eqx.combine(params, static)
    measured = with_statistics(model.bijection, *rows)
    return eqx.filter(eqx.tree_at(lambda m: m.bijection, model, measured), eqx.is_inexact_array)


@eqx.filter_jit
def losses(
    params: PyTree, static: PyTree, rows: PyTree, loss: Loss, key: PRNGKeyArray | None,
    layout: Layout | None = None, each: Array | None = None,
) -> Array:  # fmt: skip
    """The values of the loss, without noise; with lanes `each` is how many a device has."""
    constants, rest = eqx.partition((static, loss), eqx.is_array)

    def values(params: PyTree, rows: PyTree, constants: PyTree) -> Array:
        static, loss = eqx.combine(constants, rest)
        return values_of(loss, eqx.combine(params, static), rows, key)

    if layout is None:
        return values(params, rows, constants)
    if each is None or not layout.divides(rows):
        found: Array = layout.gathered(values(params, rows, constants))
    else:
        found = layout.gathered(laned_values(layout, values, params, rows, constants, each))
    return found


def values_of(loss: Loss, model: Any, rows: PyTree, key: PRNGKeyArray | None) -> Array:
    """The loss's values: one per row unless the loss is `scalar`, or a sum would be taken for a mean."""
    values = jnp.asarray(loss(model, rows, key))
    leaves = jax.tree.leaves(rows)
    if is_scalar(loss):
        expected, said = values.shape == (), "one number, ()"
    elif not leaves:
        expected, said = values.ndim <= 1, "one number, (), or one per draw, (n,)"
    else:
        n = len(leaves[0])
        expected, said = values.shape == (n,), f"one number per row, ({n},)"
    if not expected:
        rows_said = f" for {len(leaves[0])} rows" if leaves else ""
        given = f"an array of shape {values.shape}{rows_said}"
        raise InputError(f"the loss gives {given}: {said}, was expected")
    return values


def learning_rate(progress: Array, training: Training) -> Array:
    """Linear warm-up to the peak, then a half cosine to zero; `progress` in [0, 1]."""
    progress = jnp.clip(progress, 0.0, 1.0)
    warm = jnp.minimum(1.0, (progress + 1e-3) / (training.warmup + 1e-3))
    assert training.learning_rate is not None
    return training.learning_rate * warm * 0.5 * (1 + jnp.cos(jnp.pi * progress))
