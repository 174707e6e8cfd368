"""From a table to a fitted density: pre-processing, the choice of a model, training, the trust report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pushforward.architectures import ARCHITECTURES, Architecture
from pushforward.bijections import Chain, SoftTails, initialised
from pushforward.data.preprocess import Preprocessing
from pushforward.data.source import plural
from pushforward.distributions import Flow
from pushforward.draws import key_of, spawn
from pushforward.errors import InputError
from pushforward.estimators.auto import RACE_STEPS, candidates
from pushforward.estimators.labels import labels_of
from pushforward.estimators.table_model import TableModel
from pushforward.estimators.trust import trust_report
from pushforward.rows import Shape
from pushforward.training import Checkpoint, Epoch, Fitted, Training, fit
from pushforward.training.loss import Loss, negative_log_prob
from pushforward.training.rows import Pair, holdout

FEWEST_ROWS = 3
# Rows of the data pass that sets data-dependent layers (Glow's actnorm).
FIRST_ROWS = 4096
# Seconds of a time limit from which on there is time for a race.
RACE_TIME = 30.0


def of_angles(architecture: str | Architecture) -> bool:
    """Whether an architecture, or the one of that name, models angles."""
    kind = ARCHITECTURES.get(architecture) if isinstance(architecture, str) else type(architecture)
    return getattr(kind, "angles", False)


def loss_of(architecture: Architecture) -> Loss:
    """What a fit of an architecture minimises: a loss of its own, or the negative log-density."""
    return getattr(architecture, "loss", negative_log_prob)


def _with_rate(training: Training, architecture: Architecture) -> Training:
    """The settings with a learning rate of the architecture's own, if it has one and the user has none."""
    own = getattr(architecture, "learning_rate", None)
    return training if training.learning_rate else replace(training, learning_rate=own)


def table_flow(architecture: Architecture, d: int, condition: Shape | None, key: jax.Array) -> Flow:
    """The architecture's flow for encoded rows: far outliers compressed before the model sees them (angles
    have none)."""
    flow = architecture.build((d,), condition, key=key)
    if of_angles(architecture):
        return flow
    return Flow(flow.base, Chain([flow.bijection, SoftTails(d)]))


def fit_table(
    values: np.ndarray,
    given: np.ndarray | None = None,
    *,
    names: Sequence[str] | None = None,
    given_names: Sequence[str] | None = None,
    architecture: str | Architecture = "auto",
    training: Training | None = None,
    precision: int = 32,
    seed: int = 0,
    report: Callable[[Epoch], bool | None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    trust: bool = True,
) -> TableModel:
    """Fit a density to the rows of a table.

    Arguments:
        values: `(n, d)` rows, finite, in their own units.
        given: `(n, c)` rows to condition on, or None.
        names, given_names: column names; default x0, x1, ...
        architecture: "auto" (a short race between the models of `auto.candidates`, decided by validation), a name
            in the registry, or an instance.
        training: how to train; default `Training()`.
        precision: 32 or 64 bits.
        seed: source of all randomness.
        report: called after every epoch; return True to stop with the best model so far.
        checkpoint: file to keep the state of training in, for the caller to delete once the model is saved; None for
            none.
        resume: continue from the checkpoint, if it exists.
        trust: whether to measure the trust report on the validation rows.

    Raises `InputError` for values that no density can be fitted to.
    """
    values = np.asarray(values, np.float64)
    if values.ndim == 2 and len(values) < FEWEST_ROWS:
        raise InputError(
            f"{plural(len(values), 'row')} given; at least {FEWEST_ROWS} are needed: two to fit, one to judge by"
        )
    columns = Preprocessing.fit(values, names)
    if of_angles(architecture):
        columns = columns.of_angles()
    given_columns = None
    if given is not None:
        given = np.asarray(given, np.float64)
        if len(given) != len(values):
            raise InputError(f"{len(values)} rows, but {len(given)} rows of the condition")
        given_columns = Preprocessing.fit(given, given_names, modelled=False)
    training = training or Training()
    keys = spawn(key_of(seed), 3)
    train, judge = holdout(values, given, training.validation, keys[0])
    with jax.enable_x64(precision == 64):
        rows, judge_rows = (
            _encoded(part, columns, given_columns, precision) for part in (train, judge)
        )
        width = values.shape[1] + (0 if given is None else given.shape[1])
        entrants = _entrants(architecture, len(train[0]), width)
        condition = None if given is None else (given.shape[1],)

        def run(
            entrant: Architecture,
            training: Training,
            report: Callable[[Epoch], bool | None] | None,
            checkpoint: Checkpoint | None = None,
        ) -> Fitted:
            flow = table_flow(entrant, values.shape[1], condition, keys[1])
            x, c = rows
            first = x[:FIRST_ROWS], None if c is None else c[:FIRST_ROWS]
            flow = Flow(flow.base, initialised(flow.bijection, *first))
            return fit(
                flow, *rows, key=keys[2], loss=loss_of(entrant),
                training=_with_rate(training, entrant), validation=judge_rows,
                jitter=columns.jitter if any(columns.lattice) else None,
                report=report, checkpoint=checkpoint,
            )  # fmt: skip

        began = time.perf_counter()
        tried = {}
        if len(entrants) > 1 and (training.max_time is None or training.max_time >= RACE_TIME):
            # Never on the clock: the order of the entrants must not depend on how long they take to compile.
            short = replace(training, max_time=None)
            steps = len(train[0]) // (training.for_rows(len(train[0])).batch or 1)
            tried = {
                e: run(e, short, lambda at: at.epoch * steps >= RACE_STEPS).best_loss
                for e in entrants
            }
        # Without a race the last: affine layers, which compile and train fastest.
        chosen = min(entrants, key=lambda entrant: tried[entrant]) if tried else entrants[-1]
        if training.max_time is not None:
            left = training.max_time - (time.perf_counter() - began)
            training = replace(training, max_time=max(left, 1.0))
        kept = None if checkpoint is None else Checkpoint(checkpoint, resume=resume)
        fitted = run(chosen, training, _in_units(report, columns.log_det), kept)
    summary = _summary(fitted, train[0], columns, loss_of(chosen))
    if given is not None and given_columns is not None:
        summary["labels"] = labels_of(given, given_columns.names)
    if tried:
        nats = {type(e).__name__: columns.log_det - loss for e, loss in tried.items()}
        summary["race"] = {"steps": RACE_STEPS, "validation_nats": nats}
    model = TableModel(fitted.model, chosen, columns, given_columns, precision, summary)
    if not trust or training.validation == 0:
        return model
    report_of = trust_report(
        model, judge[0], train[0], heldout_given=judge[1], train_given=train[1]
    )
    return replace(model, trust=report_of)


def _encoded(
    part: Pair, columns: Preprocessing, given_columns: Preprocessing | None, precision: int
) -> Pair:
    """Rows and conditions in the model's units and precision."""
    dtype = np.float64 if precision == 64 else np.float32
    x, c = part
    if c is None or given_columns is None:
        return columns.encode(x).astype(dtype), None
    return columns.encode(x).astype(dtype), given_columns.encode(c).astype(dtype)


def _in_units(
    report: Callable[[Epoch], bool | None] | None, log_det: float
) -> Callable[[Epoch], bool | None] | None:
    """The same report, told of likelihoods in nats of the table's units."""
    if report is None:
        return None

    def told(epoch: Epoch) -> bool | None:
        losses = ("train_loss", "validation_loss", "best_loss") if epoch.likelihood else ()
        return report(replace(epoch, **{name: getattr(epoch, name) - log_det for name in losses}))

    return told


def _summary(
    fitted: Fitted, train: np.ndarray, columns: Preprocessing, loss: Loss
) -> dict[str, Any]:
    """What the training did, for the file."""
    last = fitted.history[-1] if fitted.history else None
    best = {"validation_loss": fitted.best_loss}
    if loss is negative_log_prob:
        best = {"validation_nats": columns.log_det - fitted.best_loss}
    return {
        "rows": len(train),
        "epochs": len(fitted.history),
        "of_epochs": 0 if last is None else last.epochs,
        "stopped": fitted.stopped,
        **best,
        "notes": [f"epoch {e.epoch}: {e.note}" for e in fitted.history if e.note],
    }


def _entrants(choice: str | Architecture, rows: int, columns: int) -> tuple[Architecture, ...]:
    """The architectures among which validation chooses: one, unless the choice is "auto"."""
    if not isinstance(choice, str):
        if type(choice) in ARCHITECTURES.values():
            return (choice,)
        raise InputError(
            f"architecture must be a name or an instance such as NSF(), not {choice!r}"
        )
    if choice == "auto":
        return candidates(rows, columns)
    if choice not in ARCHITECTURES:
        raise InputError(f"flow {choice!r} is unknown; known: auto, {', '.join(ARCHITECTURES)}")
    return (ARCHITECTURES[choice](),)
