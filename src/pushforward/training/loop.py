"""The training loop."""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.bijections import has_statistics, with_remat, with_statistics
from pushforward.draws import permutation, spawn
from pushforward.errors import InputError, InputWarning
from pushforward.rows import broadcasting, precision_of, unmasked
from pushforward.training.checkpoint import (
    Checkpoint,
    CheckpointFile,
    digest,
    open_checkpoint,
    spelled,
)
from pushforward.training.loss import Loss, negative_log_prob
from pushforward.training.rows import BLOCK, PaddedRows, Pair, check_rows, holdout, jittered
from pushforward.training.settings import Epoch, Training

Model = TypeVar("Model")

# Steps between two looks at the clock and at the loss; a fixed number, so that results do not depend on speed.
SEGMENT = 256
# Rows on which batch-norm layers are measured before every validation.
MEASURED = 4096


@dataclass(frozen=True)
class Fitted(Generic[Model]):
    """The outcome of a fit.

    Attributes:
        model: the best weights by validation (averaged weights, if the settings average).
        history: one `Epoch` for each epoch that ran.
        best_loss: the validation loss of `model`.
        stopped: why the fit ended: "finished", "early", "time", "interrupted", or "diverged" (steps, or all
            validations, were not finite).
        seconds: wall time, compilation included.
    """

    model: Model
    history: tuple[Epoch, ...]
    best_loss: float
    stopped: str
    seconds: float


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
def _run(
    state: State, static: Any, rows: PaddedRows, order: Array, span: Array, pace: Array,
    jitter: Array | None, key: PRNGKeyArray, loss: Loss, training: Training, batch: int,
) -> tuple[State, Array]:  # fmt: skip
    """Steps `span[0] .. span[1]` of an epoch; returns the mean loss, NaN if any step was not finite.

    `pace` is (progress at the first step, progress of one step, factor on the step size), progress in [0, 1].
    """
    optimiser = optimiser_of(training)

    def objective(params: Any, x: Array, condition: Array | None, k: PRNGKeyArray) -> Array:
        return _of_rows(loss(eqx.combine(params, static), x, condition, k), len(x)).mean()

    def step(i: Array, carry: Any) -> Any:
        params, opt_state, average, count, total = carry
        chosen = jax.lax.dynamic_slice_in_dim(order, i * batch, batch)
        x, condition = rows.take(chosen)
        noise_key, loss_key = jax.random.split(jax.random.fold_in(key, i))
        if jitter is not None:
            x = x + jitter * jax.random.uniform(noise_key, x.shape, x.dtype, -0.5, 0.5)
        value, grads = jax.value_and_grad(objective)(params, x, condition, loss_key)
        updates, opt_state = optimiser.update(grads, opt_state, params)
        rate = pace[2] * learning_rate(pace[0] + (i - span[0]) * pace[1], training)
        params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
        # Early on the average follows closely, or it would remember the initial weights.
        decay = jnp.minimum(training.average or 0.0, (count + 1) / (count + 10))
        average = jax.tree.map(lambda a, p: a + (1 - decay) * (p - a), average, params)
        return params, opt_state, average, count + 1, total + value

    start = (state.params, state.optimiser, state.average, state.step, jnp.zeros((), rows.x.dtype))
    params, opt_state, average, count, total = jax.lax.fori_loop(span[0], span[1], step, start)
    return State(params, opt_state, average, count), total / jnp.maximum(span[1] - span[0], 1)


@eqx.filter_jit
def _measured(params: Any, static: Any, rows: tuple[Array, Array | None]) -> Any:
    """The parameters with the statistics of batch-norm layers measured on training rows."""
    model = eqx.combine(params, static)
    measured = with_statistics(model.bijection, *rows)
    return eqx.filter(eqx.tree_at(lambda m: m.bijection, model, measured), eqx.is_inexact_array)


@eqx.filter_jit
def _evaluate(params: Any, static: Any, rows: PaddedRows, loss: Loss) -> Array:
    """Mean loss over all rows, block by block."""
    model, size = eqx.combine(params, static), min(BLOCK, len(rows.x))

    def block(i: Array, total: Array) -> Array:
        index = i * size + jnp.arange(size)
        x, condition = rows.take(index)
        values = _of_rows(loss(model, x, condition, None), size)
        return total + jnp.where(index < rows.count, values, 0.0).sum()

    blocks = (rows.count + size - 1) // size
    return jax.lax.fori_loop(0, blocks, block, jnp.zeros((), rows.x.dtype)) / rows.count


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


@dataclass
class _Progress:
    """Where a fit stands between two segments; all of it goes into a checkpoint."""

    epoch: int = 0
    step: int = 0
    total: float = 0.0
    note: str = ""
    best_loss: float = math.inf
    since_best: int = 0
    scale: float = 1.0
    retries: int = 0
    seconds: float = 0.0
    stopped: str = ""
    history: list[Epoch] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(stored: dict[str, Any]) -> "_Progress":
        return _Progress(**{**stored, "history": [Epoch(**e) for e in stored["history"]]})


def fit(
    model: Model,
    x: ArrayLike,
    condition: ArrayLike | None = None,
    *,
    key: PRNGKeyArray,
    loss: Loss = negative_log_prob,
    training: Training | None = None,
    validation: tuple[ArrayLike, ArrayLike | None] | None = None,
    jitter: Float[ArrayLike, " d"] | None = None,
    report: Callable[[Epoch], bool | None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Fitted[Model]:
    """Fit a model to rows.

    Epochs run compiled, with the data on the device. The result is a function of the arguments alone (with
    `max_time` unset): the same key gives the same model, resumed or not.

    Arguments:
        model: any Equinox module that the loss accepts; the default loss wants a method
            `log_prob(x, condition, *, key)`, one number a row.
        x: `(n, *event)` rows, finite.
        condition: `(n, *condition)`, if the model takes one.
        key: source of the split, the order of rows and all noise.
        loss: what to minimise, one number a row; default maximum likelihood.
        training: how; default `Training()`.
        validation: rows (and conditions, or None) to judge by; default a share of x, drawn at random.
        jitter: width of the uniform noise added to every coordinate anew in each step (dequantization).
        report: called after every epoch; return True to stop.
        checkpoint: where to keep the state.

    Raises `InputError` where rows and conditions do not fit or are too few, for what the loss's own `check` refuses,
    and where a checkpoint cannot be used.

    ```python
    >>> import jax, pushforward as pf
    >>> x = jax.random.normal(jax.random.key(0), (200, 2)) * 3.0
    >>> model = pf.architectures.RealNVP(layers=2, width=8).build(2, key=jax.random.key(1))
    >>> fitted = pf.fit(model, x, key=jax.random.key(2), training=pf.Training(max_epochs=2))
    >>> len(fitted.history)
    2

    ```
    """
    training = training or Training()
    split_key, run_key = spawn(key, 2)
    rows = _arrays(model, x, condition)
    check_rows(*rows, "x")
    check = getattr(loss, "check", None)
    if check is not None:
        check(model, *rows)
    if validation is None:
        rows, judge = holdout(*rows, training.validation, split_key)
    elif not isinstance(validation, tuple) or len(validation) != 2:
        raise InputError(
            "validation: a pair of rows and conditions was expected, (x, None) without"
        )
    else:
        judge = _arrays(model, *validation)
        check_rows(*judge, "validation")
        if judge[0].shape[1:] != rows[0].shape[1:]:
            raise InputError(
                f"validation has rows of shape {judge[0].shape[1:]}, but x of {rows[0].shape[1:]}"
            )
        if check is not None:
            check(model, *judge)
    fingerprint = {
        "data": digest(*rows, *judge),
        "settings": digest(
            replace(training, max_time=None),
            jax.random.key_data(key).tolist(),
            None if jitter is None else np.asarray(jitter, float).tolist(),
        ),
        "loss": digest(*spelled(loss)),
        "model": digest(
            jax.tree.structure(model), [a.shape for a in jax.tree.leaves(model) if eqx.is_array(a)]
        ),
    }
    with broadcasting(), open_checkpoint(checkpoint, fingerprint) as file:
        return _fit(model, rows, judge, run_key, loss, training, jitter, report, file)


def _arrays(model: Any, x: Any, condition: Any) -> Pair:
    """Rows and conditions as arrays, narrower floats widened to the precision of all, as `log_prob` does."""
    given = [np.asarray(unmasked(a)) for a in (x, condition) if a is not None]
    # JAX has no floats beyond 64 bits.
    given = [a.astype(np.float64) if a.dtype == np.longdouble else a for a in given]
    floats = [jnp.issubdtype(a.dtype, jnp.floating) for a in given]
    kinds = (np.zeros(0, a.dtype) for a, is_float in zip(given, floats, strict=True) if is_float)
    widest = precision_of(model, *map(jnp.asarray, kinds))
    given = [
        a.astype(widest) if is_float and a.dtype.itemsize < widest.itemsize else a
        for a, is_float in zip(given, floats, strict=True)
    ]
    return given[0], None if condition is None else given[1]


def _fit(
    model: Model,
    rows: Pair,
    judge: Pair,
    key: PRNGKeyArray,
    loss: Loss,
    training: Training,
    jitter: Any,
    report: Callable[[Epoch], bool | None] | None,
    file: CheckpointFile | None,
) -> Fitted[Model]:
    began = time.perf_counter()
    train, valid = PaddedRows.pad(*rows), PaddedRows.pad(*jittered(judge, jitter))
    n, padded = int(train.count), train.x.shape[0]
    training = training.for_rows(n)
    batch, epochs = training.batch, training.max_epochs
    assert batch is not None
    assert epochs is not None
    steps = n // batch
    # The clock is the host's business: fits that differ in their time limit share one compiled program.
    compiled = replace(training, max_time=None)
    patience = max(1, math.ceil(training.patience * epochs))
    noise = None if jitter is None else jnp.asarray(jitter, train.x.dtype)
    few = jax.tree.map(lambda a: a[: min(n, MEASURED)], (train.x, train.condition))

    if training.remat != "none":
        model = with_remat(model, training.remat)
    params, static = eqx.partition(model, eqx.is_inexact_array)
    state = State(params, optimiser_of(training).init(params), params, jnp.zeros((), jnp.int32))
    best, at = params, _Progress()
    if file is not None and (stored := file.read((state, best))) is not None:
        (state, best), at = stored[0], _Progress.from_json(stored[1])
    began -= at.seconds

    while not at.stopped:
        epoch_key = jax.random.fold_in(key, at.epoch)
        order = jax.device_put(np.pad(permutation(key, n, at.epoch), (0, padded - n)))
        while at.step < steps and at.retries <= training.retries:
            last = min(at.step + SEGMENT, steps)
            progress, per_step = _pace(at.epoch * steps + at.step, epochs * steps, began, training)
            pace = jnp.asarray([progress, per_step, at.scale], jnp.float32)
            trial, mean = _run(
                state, static, train, order, jnp.asarray([at.step, last]), pace, noise, epoch_key,
                loss, compiled, batch,
            )  # fmt: skip
            if not math.isfinite(float(mean)):
                at.retries, at.scale = at.retries + 1, at.scale / 2
                at.note = f"non-finite loss: went back, step size x {at.scale:g}"
                continue
            state, at.total, at.step = trial, at.total + float(mean) * (last - at.step), last
            if file is not None and file.due():
                at.seconds = time.perf_counter() - began
                file.write((state, best), at.to_json())
        if at.retries > training.retries:
            at.stopped = "diverged"
            break
        judged = _measured(state.average, static, few) if has_statistics(model) else state.average
        value = float(_evaluate(judged, static, valid, loss))
        if not math.isfinite(value):
            at.note = f"{at.note}; validation is not finite".removeprefix("; ")
        at.since_best += 1
        if value < at.best_loss:
            best, at.best_loss, at.since_best = judged, value, 0
        seconds = time.perf_counter() - began
        record = Epoch(
            *(at.epoch + 1, epochs, at.total / steps, value, at.best_loss, seconds, at.note),
            likelihood=loss is negative_log_prob,
        )
        at.history.append(record)
        at.epoch, at.step, at.total, at.note = at.epoch + 1, 0, 0.0, ""
        if report is not None and report(record):
            at.stopped = "interrupted"
        elif at.epoch == epochs:
            at.stopped = "finished"
        elif training.max_time is not None and seconds > training.max_time:
            at.stopped = "time"
        elif at.since_best >= patience:
            at.stopped = "early"
    if at.stopped in ("finished", "early") and not math.isfinite(at.best_loss):
        at.stopped = "diverged"  # no epoch could be judged: the model is as it was
    if at.stopped == "diverged" and not math.isfinite(at.best_loss):
        warnings.warn(
            "the fit diverged: no loss was finite, and the model is as it was given; look for values that the model or "
            "the loss cannot take",
            InputWarning,
            stacklevel=3,
        )
    at.seconds, stopped = time.perf_counter() - began, at.stopped
    if stopped in ("interrupted", "time"):
        at.stopped = ""  # a resumed fit goes on from here
    if file is not None:
        file.write((state, best), at.to_json())
    fitted = eqx.combine(best, static)
    return Fitted(
        fitted if training.remat == "none" else with_remat(fitted, "none"),
        tuple(at.history),
        at.best_loss,
        stopped,
        at.seconds,
    )


def _pace(step: int, steps: int, began: float, training: Training) -> tuple[float, float]:
    """Progress of the schedule, and progress of one step: by steps, or by the clock where that ends first."""
    progress, per_step = step / steps, 1 / steps
    if training.max_time is not None:
        elapsed = time.perf_counter() - began
        by_clock = elapsed / training.max_time
        if by_clock > progress:
            return by_clock, by_clock / max(step, 1)
    return progress, per_step
