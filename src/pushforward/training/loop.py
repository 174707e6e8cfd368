"""The training loop."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray, PyTree

from pushforward.bijections import with_remat
from pushforward.draws import spawn
from pushforward.errors import InputError, warn
from pushforward.rows import Numbers, broadcasting
from pushforward.training.arguments import jitter_of, rows_of, without_rows
from pushforward.training.batches import Jitter, RowSource
from pushforward.training.checkpoint import Checkpoint, digest, open_checkpoint, spelled
from pushforward.training.hosts import check_alike, together
from pushforward.training.loss import Loss, adapted, negative_log_prob
from pushforward.training.run import Ending, Progress, Run
from pushforward.training.settings import Epoch, Step, Training
from pushforward.training.step import State, optimiser_of

Model = TypeVar("Model")


@dataclass(frozen=True)
class Fitted(Generic[Model]):
    """The outcome of a fit.

    Attributes:
        model: the best weights by validation (averaged weights, if the settings average).
        history: one `Epoch` for each epoch that ran.
        best_loss: the validation loss of `model`.
        stopped: why the fit ended: "finished", "early", "time", "interrupted", or "diverged" (the loss of steps, or of
            all validations, was not finite).
        seconds: wall time, compilation included.
    """

    model: Model
    history: tuple[Epoch, ...]
    best_loss: float
    stopped: Ending
    seconds: float


def fit(
    model: Model,
    rows: Any = None,
    condition: Numbers | None = None,
    *,
    key: PRNGKeyArray,
    loss: Loss = negative_log_prob,
    steps: int | None = None,
    training: Training | None = None,
    validation: Any = None,
    jitter: Float[ArrayLike, " d"]
    | Sequence[float]
    | Callable[[PyTree, PRNGKeyArray], PyTree]
    | None = None,
    report: Callable[[Epoch], bool | None] | None = None,
    progress: Callable[[Step], bool | None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Fitted[Model]:
    """Fit a model to rows, or to what a loss draws.

    Steps run in compiled segments, and only the rows of one segment are on the device. With `max_time` unset the result
    is a function of the arguments: the same key gives the same model, resumed or not. Bit for bit this holds for one
    version of JAX on one kind of processor with one number of cores (XLA splits sums among its threads; `NPROC` sets
    their number); elsewhere models differ by rounding. On several devices it holds for one number of them, or with
    `Devices(lanes=K)` for any.

    Arguments:
        model: any Equinox module that the loss accepts; the default loss needs a method
            `log_prob(x, condition, *, key)` that returns one number per row.
        rows: an array `(n, *event)`, whose batches the loss receives as `Batch(x, condition)`; or any other pytree of
            arrays with one leading axis, whose batches are such pytrees; or a `RowSource`; or None, with `steps`, for a
            loss that draws its own.
        condition: `(n, *condition)`, where rows are an array and the model takes one.
        key: source of the split, the order of rows and all noise.
        loss: what to minimise, `loss(model, batch, key)`, see `training.loss.Loss`; default maximum likelihood.
        steps: how many, in a fit without rows (rounded up to whole epochs of at most 128).
        training: the configuration; default `Training()`.
        validation: validation rows of the same kind (for an array a pair `(x, condition)`, or `(x, None)`); default a
            random share of the rows.
        jitter: a function `(batch, key)` that returns the batch with noise, drawn anew in each step (dequantization);
            or the width of uniform noise in every coordinate of an array.
        report: called after every epoch; return True to stop.
        progress: called after every segment of steps; return True to stop after a last validation.
        checkpoint: where to save the state; default None for nowhere.

    Raises `InputError` where rows do not fit together or are too few, for what the loss's own `check` refuses, for a
    loss that returns another shape than one number per row, and where a checkpoint cannot be used.

    ```python
    >>> import jax, jax.numpy as jnp, pushforward as pf
    >>> x = jax.random.normal(jax.random.key(0), (200, 2)) * 3.0
    >>> model = pf.architectures.RealNVP(layers=2, width=8).build(2, key=jax.random.key(1))
    >>> fitted = pf.fit(model, x, key=jax.random.key(2), training=pf.Training(max_epochs=2))
    >>> len(fitted.history)
    2

    ```

    Rows of any kind, here weighted ones:

    ```python
    >>> def weighted(model, batch, key):
    ...     return -batch["weight"] * model.log_prob(batch["x"], key=key)
    >>> rows = {"x": x, "weight": jnp.ones(200)}
    >>> training = pf.Training(max_epochs=2)
    >>> pf.fit(model, rows, key=jax.random.key(2), loss=weighted, training=training).stopped
    'finished'

    ```
    """
    training = training or Training()
    loss, jitter = adapted(loss), jitter_of(jitter)
    split, run_key = spawn(key, 2)
    judge: PyTree = None
    if rows is None:
        others = {"condition": condition, "validation": validation, "jitter": jitter}
        source, training = without_rows(steps, training, others)
    elif steps is not None:
        raise InputError("steps= is for a fit without rows: give Training(max_steps=...) with rows")
    else:
        with together(training.devices):
            given = model, rows, condition, validation, loss, training, jitter, split
            source, judge = rows_of(*given)
    fingerprint = {}
    if checkpoint is not None:
        # Reading all rows takes a while: only for a fit that can be resumed.
        fingerprint = _fingerprint(model, source, judge, key, loss, training, jitter)
        check_alike(training.devices, "the rows", fingerprint["data"])
    try:
        with broadcasting(), open_checkpoint(checkpoint, fingerprint, training.devices) as file:
            run = Run(model, source, judge, run_key, loss, training, jitter, progress, file)
            return _fitted(run, report)
    finally:
        if source.batches is not None:
            source.batches.close()


def _fingerprint(
    model: Any, source: RowSource, judge: PyTree, key: Any, loss: Loss, training: Training, jitter: Any
) -> dict[str, str]:  # fmt: skip
    """What distinguishes one fit from another."""
    blocks: Iterable[str]
    if source.batches is not None:
        blocks = [source.batches.marks()]
    else:
        blocks = (digest(*map(np.asarray, jax.tree.leaves(block))) for block in source.blocks())
    noise = np.asarray(jitter.width).tolist() if isinstance(jitter, Jitter) else spelled(jitter)
    # A fit goes on on any number of devices; lanes determine the noise.
    lanes = training.devices and training.devices.lanes
    kept = replace(training, max_time=None, devices=None)
    settings = kept, jax.random.key_data(key).tolist(), noise, *([] if lanes is None else [lanes])
    shapes = [a.shape for a in jax.tree.leaves(model) if eqx.is_array(a)]
    return {
        "data": digest(*blocks, *map(np.asarray, jax.tree.leaves(judge))),
        "settings": digest(*settings),
        "loss": digest(*spelled(loss)),
        "model": digest(jax.tree.structure(model), shapes),
    }


def _fitted(run: Run, report: Callable[[Epoch], bool | None] | None) -> Fitted[Any]:
    """The loop over epochs."""
    params, training, file = run.params, run.training, run.file
    state = State(params, optimiser_of(training).init(params), params, jnp.zeros((), jnp.int32))
    best, at = params, Progress()
    if file is not None and (stored := file.read((state, best))) is not None:
        (state, best), at = stored[0], Progress.from_json(stored[1])
    state, best = run.placed((state, best))
    run.began -= at.seconds
    while not at.stopped:
        state, asked = run.epoch(state, best, at)
        if at.retries > training.retries:
            at.stopped = "diverged"
            break
        whole = at.step == run.steps
        if file is not None and not whole:
            # Before a validation that an uninterrupted fit would not run: a resumed fit goes on without it too.
            run.write(state, best, at)
        judged, value = run.validation(state.average)
        if not math.isfinite(value):
            at.note = f"{at.note}; validation is not finite".removeprefix("; ")
        at.since_best += 1
        if value < at.best_loss:
            best, at.best_loss, at.since_best = judged, value, 0
        record = run.record(at, value)
        at.history.append(record)
        at.note = ""
        if whole:
            at.epoch, at.step, at.total = at.epoch + 1, 0, 0.0
        asked = run.asks(report, record) or asked
        at.stopped = run.verdict(at, record, asked)
    stopped = _ending(at)
    at.seconds = run.seconds()
    # A resumed fit goes on from where time or the user has ended it.
    at.stopped = "" if stopped in ("interrupted", "time") else stopped
    if file is not None and at.step == 0:
        file.write(run.fetched((state, best)), at.to_json())
    fitted = eqx.combine(*run.fetched((best, run.static)))
    return Fitted(
        model=fitted if training.remat == "none" else with_remat(fitted, "none"),
        history=tuple(at.history),
        best_loss=at.best_loss,
        stopped=stopped,
        seconds=at.seconds,
    )


def _ending(at: Progress) -> Ending:
    """How the fit ended; warns where nothing came of it."""
    assert at.stopped
    never = not math.isfinite(at.best_loss)
    # No epoch had a finite validation: the model is as it was.
    stopped = "diverged" if at.stopped in ("finished", "early") and never else at.stopped
    if stopped == "diverged" and never:
        warn(
            "the fit diverged: no loss was finite, and the model is as it was given; look for values that the model or "
            "the loss cannot take"
        )
    return stopped
