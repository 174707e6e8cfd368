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
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.bijections import has_statistics, with_remat
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
from pushforward.training.rows import (
    BLOCK,
    Pair,
    RowSource,
    check_rows,
    holdout,
    jittered,
    padded_blocks,
)
from pushforward.training.settings import Epoch, Step, Training
from pushforward.training.step import State, losses, measured, optimiser_of, run, segment_steps

Model = TypeVar("Model")

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
    x: ArrayLike | RowSource,
    condition: ArrayLike | None = None,
    *,
    key: PRNGKeyArray,
    loss: Loss = negative_log_prob,
    training: Training | None = None,
    validation: tuple[ArrayLike, ArrayLike | None] | None = None,
    jitter: Float[ArrayLike, " d"] | None = None,
    report: Callable[[Epoch], bool | None] | None = None,
    progress: Callable[[Step], bool | None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Fitted[Model]:
    """Fit a model to rows.

    Segments of steps run compiled; the rows of one are on the device at a time. With `max_time` unset the result is a
    function of the arguments: the same key gives the same model, resumed or not. To the bit this holds for one version
    of JAX on one kind of processor with one number of cores (XLA splits sums among its threads; `NPROC` sets their
    number); elsewhere models differ by rounding.

    Arguments:
        model: any Equinox module that the loss accepts; the default loss wants a method
            `log_prob(x, condition, *, key)`, one number a row.
        x: `(n, *event)` rows, finite; or a `RowSource`, which has its conditions.
        condition: `(n, *condition)`, if the model takes one.
        key: source of the split, the order of rows and all noise.
        loss: what to minimise, one number a row; default maximum likelihood.
        training: how; default `Training()`.
        validation: rows (and conditions, or None) to judge by; default a share of x, drawn at random.
        jitter: width of the uniform noise added to every coordinate anew in each step (dequantization).
        report: called after every epoch; return True to stop.
        progress: called after every segment of steps; return True to stop with a last validation.
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
    check = getattr(loss, "check", None)
    if isinstance(x, RowSource):
        rows, seen = x, x.take(np.arange(min(x.count, BLOCK)))
    else:
        seen = _checked(model, x, condition, "x")
        rows = RowSource.of(*seen)
    if check is not None:
        check(model, *seen)
    if validation is None:
        train, held = holdout(rows.count, training.validation, split_key)
        rows, judge = rows.some(train), rows.take(held)
    elif not isinstance(validation, tuple) or len(validation) != 2:
        raise InputError(
            "validation: a pair of rows and conditions was expected, (x, None) without"
        )
    else:
        judge, shape = _checked(model, *validation, "validation"), seen[0].shape[1:]
        if judge[0].shape[1:] != shape:
            raise InputError(f"validation has rows of shape {judge[0].shape[1:]}, but x of {shape}")
        if check is not None:
            check(model, *judge)
    # Reading all rows takes a while: only for a fit that can be resumed.
    fingerprint = (
        {}
        if checkpoint is None
        else {
            "data": digest(*(digest(*block) for block in rows.blocks()), *judge),
            "settings": digest(
                replace(training, max_time=None),
                jax.random.key_data(key).tolist(),
                None if jitter is None else np.asarray(jitter, float).tolist(),
            ),
            "loss": digest(*spelled(loss)),
            "model": digest(
                jax.tree.structure(model),
                [a.shape for a in jax.tree.leaves(model) if eqx.is_array(a)],
            ),
        }
    )
    with broadcasting(), open_checkpoint(checkpoint, fingerprint) as file:
        return _fit(model, rows, judge, run_key, loss, training, jitter, report, progress, file)


def _checked(model: Any, x: Any, condition: Any, name: str) -> Pair:
    """Rows and conditions as arrays that a fit can take."""
    pair = _arrays(model, x, condition)
    check_rows(*pair, name)
    return pair


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
    train: RowSource,
    judge: Pair,
    key: PRNGKeyArray,
    loss: Loss,
    training: Training,
    jitter: Any,
    report: Callable[[Epoch], bool | None] | None,
    progress: Callable[[Step], bool | None] | None,
    file: CheckpointFile | None,
) -> Fitted[Model]:
    began, n = time.perf_counter(), train.count
    valid = padded_blocks(*jittered(judge, jitter))
    training = training.for_rows(n)
    batch, epochs = training.batch, training.max_epochs
    assert batch is not None
    assert epochs is not None
    steps = n // batch
    # What the host decides is no part of the program: fits that differ in their length share one.
    compiled = replace(training, max_time=None, max_steps=None, max_epochs=None, average=None)
    patience = max(1, math.ceil(training.patience * epochs))
    noise = None if jitter is None else jnp.asarray(jitter, judge[0].dtype)
    likelihood = loss is negative_log_prob

    if training.remat != "none":
        model = with_remat(model, training.remat)
    params, static = eqx.partition(model, eqx.is_inexact_array)
    state = State(params, optimiser_of(training).init(params), params, jnp.zeros((), jnp.int32))
    segment = segment_steps(steps, batch, train.take(np.arange(1))[0], params)
    few: Any = train.take(np.arange(min(n, MEASURED))) if has_statistics(model) else None
    best, at = params, _Progress()
    if file is not None and (stored := file.read((state, best))) is not None:
        (state, best), at = stored[0], _Progress.from_json(stored[1])
    began -= at.seconds

    def seconds() -> float:
        return time.perf_counter() - began

    while not at.stopped:
        epoch_key = jax.random.fold_in(key, at.epoch)
        order = permutation(key, n, at.epoch)
        asked = late = False
        while at.step < steps and at.retries <= training.retries and not (asked or late):
            last = min(at.step + segment, steps)
            # All segments have one size; what is beyond the last step is never read.
            numbers = np.resize(order[at.step * batch : last * batch], segment * batch)
            span, pace = [at.step, last], _pace(at, steps, epochs, seconds(), training)
            trial, mean = run(
                state, static, jax.device_put(train.take(numbers)), jnp.asarray(span),
                jnp.asarray(pace, jnp.float32), noise, epoch_key, loss, compiled, batch,
            )  # fmt: skip
            if not math.isfinite(float(mean)):
                at.retries, at.scale = at.retries + 1, at.scale / 2
                at.note = f"non-finite loss: went back, step size x {at.scale:g}"
                continue
            state, at.total, at.step = trial, at.total + float(mean) * (last - at.step), last
            late = training.max_time is not None and seconds() > training.max_time
            if progress is not None:
                where = at.epoch + 1, epochs, at.step, steps, at.total / at.step, seconds()
                asked = bool(progress(Step(*where, likelihood=likelihood)))
            if file is not None and file.due():
                at.seconds = seconds()
                file.write((state, best), at.to_json())
        if at.retries > training.retries:
            at.stopped = "diverged"
            break
        whole = at.step == steps
        if file is not None and not whole:
            # Before a validation that an uninterrupted fit would not make: resumed, this one goes on as that.
            at.seconds = seconds()
            file.write((state, best), at.to_json())
        judged = state.average if few is None else measured(state.average, static, few)
        value = _mean_loss(judged, static, valid, len(judge[0]), loss)
        if not math.isfinite(value):
            at.note = f"{at.note}; validation is not finite".removeprefix("; ")
        at.since_best += 1
        if value < at.best_loss:
            best, at.best_loss, at.since_best = judged, value, 0
        record = Epoch(
            at.epoch + 1,
            epochs,
            at.total / at.step,
            value,
            at.best_loss,
            seconds(),
            at.note,
            likelihood,
        )
        at.history.append(record)
        at.note = ""
        if whole:
            at.epoch, at.step, at.total = at.epoch + 1, 0, 0.0
        if (report is not None and report(record)) or asked:
            at.stopped = "interrupted"
        elif at.epoch == epochs:
            at.stopped = "finished"
        elif training.max_time is not None and record.seconds > training.max_time:
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
    at.seconds, stopped = seconds(), at.stopped
    if stopped in ("interrupted", "time"):
        at.stopped = ""  # a resumed fit goes on from here
    if file is not None and at.step == 0:
        file.write((state, best), at.to_json())
    fitted = eqx.combine(best, static)
    return Fitted(
        fitted if training.remat == "none" else with_remat(fitted, "none"),
        tuple(at.history),
        at.best_loss,
        stopped,
        at.seconds,
    )


def _mean_loss(
    params: Any, static: Any, blocks: list[tuple[Array, Array | None]], n: int, loss: Loss
) -> float:
    """Mean loss of the first n rows of padded blocks."""
    found = [np.asarray(losses(params, static, block, loss), np.float64) for block in blocks]
    return float(np.concatenate(found)[:n].mean())


def _pace(
    at: _Progress, steps: int, epochs: int, elapsed: float, training: Training
) -> tuple[float, float, float, float]:
    """Progress of the schedule, progress of one step (by steps, or by the clock where that ends first), the factor on
    the step size, and the decay of the average."""
    done, per_step = at.epoch * steps + at.step, 1 / (epochs * steps)
    progress = done * per_step
    if training.max_time is not None and elapsed / training.max_time > progress:
        progress = elapsed / training.max_time
        per_step = progress / max(done, 1)
    return progress, per_step, at.scale, training.average or 0.0
