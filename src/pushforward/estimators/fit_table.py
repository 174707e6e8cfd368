"""From a table to a fitted density: pre-processing, the choice of a model, training, the trust report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pushforward.architectures import ARCHITECTURES, Architecture, Facts
from pushforward.data.preprocess import Preprocessing
from pushforward.data.source import plural
from pushforward.draws import key_of, spawn
from pushforward.errors import InputError
from pushforward.estimators.auto import RACE_STEPS, Entrant, candidates
from pushforward.estimators.labels import labels_of
from pushforward.estimators.order import order_report
from pushforward.estimators.prepared import Encoder, Prepared, Teller, loss_of
from pushforward.estimators.race import against_mixture, race, winner
from pushforward.estimators.table_model import TableModel
from pushforward.estimators.trust import trust_report
from pushforward.estimators.trust_draws import draws_report
from pushforward.training import Checkpoint, Epoch, Fitted, RowSource, Step, Training
from pushforward.training.batches import holdout
from pushforward.training.loss import Loss, negative_log_prob

FEWEST_ROWS = 3
# Training rows that the trust report sees.
TRUST_ROWS = 1 << 16
# Seconds of a time limit from which on there is time for a race and a mixture: a minute may go into compiling.
RACE_TIME = 120.0


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
    progress: Callable[[Step], bool | None] | None = None,
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
        progress: called within epochs and before each stage of the work; return True to stop likewise.
        checkpoint: file to keep the state of training in, for the caller to delete once the model is saved; None for
            none.
        resume: continue from the checkpoint, if it exists.
        trust: whether to measure the trust report on the validation rows.

    Raises `InputError` for values that no density can be fitted to.
    """
    values = _numbers(values)
    if values.ndim == 2 and len(values) < FEWEST_ROWS:
        raise InputError(
            f"{plural(len(values), 'row')} given; at least {FEWEST_ROWS} are needed: two to fit, one to judge by"
        )
    columns, architecture = Preprocessing.fit(values, names), _known(architecture)
    if not isinstance(architecture, str) and Facts.of(architecture).angles:
        columns = columns.of_angles()
    given_columns = None
    if given is not None:
        given = _numbers(given)
        if len(given) != len(values):
            raise InputError(f"{len(values)} rows, but {len(given)} rows of the condition")
        given_columns = Preprocessing.fit(given, given_names, modelled=False)
    training, began = training or Training(), time.perf_counter()
    keys = spawn(key_of(seed), 3)
    train, held = holdout(len(values), training.validation, keys[0])
    tell = Teller(report, progress, columns.log_det, began)
    with jax.enable_x64(precision == 64):
        table = RowSource(len(values), Encoder(values, columns, given, given_columns, precision))
        rows = Prepared(
            table.some(train), table.take(held), columns, given_columns, keys[1], keys[2], seed
        )
        entrants = _entrants(architecture, rows)
        hurried = training.max_time is not None and training.max_time < RACE_TIME
        tried = {} if len(entrants) == 1 or hurried else race(entrants, rows, training, tell)
        final: dict[str, float] = {}
        chosen = winner(entrants, tried, len(columns.names))
        left = training
        if training.max_time is not None:
            spent = time.perf_counter() - began
            left = replace(training, max_time=max(training.max_time - spent, 1.0))
        kept = None if checkpoint is None else Checkpoint(checkpoint, resume=resume)
        fitted = rows.fit(chosen, left, tell, checkpoint=kept)
        if architecture == "auto" and given is None and training.validation > 0 and not hurried:
            chosen, fitted, final = against_mixture(chosen, fitted, rows, training, tell)
    summary = _summary(fitted, rows.train.count, columns, loss_of(chosen.architecture))
    if given is not None and given_columns is not None:
        summary["labels"] = labels_of(given, given_columns.names)
    if tried or final:
        nats, last = (
            {name: columns.log_det + float(value) for name, value in of.items()}
            for of in (tried, final)
        )
        summary["race"] = {"steps": RACE_STEPS, "validation_nats": nats, "at_the_end": last}
    model = TableModel(
        fitted.model, chosen.architecture, columns, given_columns, precision, summary, cells=True
    )
    if not trust or training.validation == 0:
        return model
    if len(entrants) > 1:
        tell.stage("measuring how far to trust it")
    some = np.sort(train[:TRUST_ROWS])
    judge, judge_given = values[held], None if given is None else given[held]
    report_of = trust_report(
        model,
        judge,
        values[some],
        heldout_given=judge_given,
        train_given=None if given is None else given[some],
    )
    report_of["order"] = order_report(values, columns.names)
    report_of["draws"] = draws_report(model, judge, values[some], heldout_given=judge_given)
    return replace(model, trust=report_of)


def _numbers(values: np.ndarray) -> np.ndarray:
    """The array itself in float32 or float64, anything else in float64: a large table is not copied."""
    values = np.asarray(values)
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)


def _summary(fitted: Fitted, rows: int, columns: Preprocessing, loss: Loss) -> dict[str, Any]:
    """What the training did, for the file."""
    last = fitted.history[-1] if fitted.history else None
    best = {"validation_loss": fitted.best_loss}
    if loss is negative_log_prob:
        best = {"validation_nats": columns.log_det - fitted.best_loss}
    return {
        "rows": rows,
        "epochs": len(fitted.history),
        "of_epochs": 0 if last is None else last.epochs,
        "stopped": fitted.stopped,
        **best,
        "notes": [f"epoch {e.epoch}: {e.note}" for e in fitted.history if e.note],
    }


def _known(choice: str | Architecture) -> str | Architecture:
    """The architecture of a name, "auto" as it is. Raises `InputError` for what is not registered."""
    if choice == "auto":
        return choice
    if not isinstance(choice, str):
        if ARCHITECTURES.name_of(type(choice)) is not None:
            return choice
        raise InputError(
            f"architecture must be a name or an instance such as NSF(), not {choice!r}; a class of your own is known "
            "after pushforward.architectures.register(name, class)"
        )
    if choice not in ARCHITECTURES:
        raise InputError(f"flow {choice!r} is unknown; known: auto, {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[choice]()


def _entrants(choice: str | Architecture, rows: Prepared) -> tuple[Entrant, ...]:
    """The models among which validation chooses: one, unless the choice is "auto"."""
    if isinstance(choice, str):
        return candidates(rows.train.count, rows.width)
    return (Entrant("", choice),)
