"""From a table to a fitted density: columns, the choice of a model, training, the trust report."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pushforward.architectures import ARCHITECTURES, Architecture, CircularNSF, Facts
from pushforward.columns import AbstractColumn, Angle, Columns
from pushforward.columns.names import stand_in_names
from pushforward.draws import key_of, spawn
from pushforward.errors import InputError
from pushforward.estimators.auto import LARGE, RACE_STEPS, Entrant, candidates
from pushforward.estimators.encoder import Encoder
from pushforward.estimators.labels import labels_of
from pushforward.estimators.order import order_report
from pushforward.estimators.prepared import Prepared, Teller, loss_of
from pushforward.estimators.race import against_mixture, race, winner
from pushforward.estimators.table_model import TableModel
from pushforward.estimators.trust import trust_report
from pushforward.estimators.trust_draws import draws_report
from pushforward.training import Checkpoint, Epoch, Fitted, RowSource, Step, Training
from pushforward.training.batches import Batch, holdout
from pushforward.training.loss import Loss, negative_log_prob

# Training rows that the trust report sees.
TRUST_ROWS = 1 << 16
# Seconds of a time limit from which on there is time for a race and a mixture, so that the race is a tenth of them: it
# takes a dozen with a program to compile, and twice as many where tables are large.
RACE_TIME, RACE_TIME_LARGE = 120.0, 240.0


def fit_table(
    values: np.ndarray,
    given: np.ndarray | None = None,
    *,
    names: Sequence[str] | None = None,
    given_names: Sequence[str] | None = None,
    columns: Mapping[str, AbstractColumn | str] | None = None,
    architecture: str | Architecture = "auto",
    training: Training | None = None,
    precision: int = 32,
    seed: int = 0,
    report: Callable[[Epoch], bool | None] | None = None,
    progress: Callable[[Step], bool | None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    trust: bool = True,
    called: tuple[str, str] = ("the table", "the condition"),
) -> TableModel:
    """Fit a density to the rows of a table.

    Arguments:
        values: `(n, d)` rows, finite, in their own units.
        given: `(n, c)` rows to condition on, or None.
        names, given_names: column names; default x0, x1, ...
        columns: kinds of columns by name, where they are not to be guessed: instances such as `columns.Whole()`, or
            words as `columns.declared_column` takes them.
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
        called: what messages call the two tables.

    Raises `InputError` for values that no density can be fitted to.
    """
    architecture = _known(architecture)
    values, given = _numbers(values), None if given is None else _numbers(given)
    if given is not None and len(given) != len(values):
        raise InputError(f"{len(values)} rows, but {len(given)} rows of the condition")
    encoder = _encoder(values, given, names, given_names, columns or {}, architecture, called)
    training, began = training or Training(), time.perf_counter()
    keys = spawn(key_of(seed), 3)
    train, held = holdout(len(values), training.validation, keys[0])
    modelled, log_det = encoder.columns, encoder.columns.mean_log_det(values, held)
    tell = Teller(report, progress, log_det, began)
    with jax.enable_x64(precision == 64):
        table = _rows(encoder, values, given, precision)
        rows = Prepared(
            table.some(train), table.take(held), modelled, encoder.given, keys[1], keys[2], seed
        )
        entrants = _entrants(architecture, rows)
        enough = RACE_TIME if rows.train.count < LARGE else RACE_TIME_LARGE
        hurried = training.max_time is not None and training.max_time < enough
        tried = {} if len(entrants) == 1 or hurried else race(entrants, rows, training, tell)
        final: dict[str, float] = {}
        chosen = winner(entrants, tried, modelled.width)
        left = training
        if training.max_time is not None:
            spent = time.perf_counter() - began
            left = replace(training, max_time=max(training.max_time - spent, 1.0))
        kept = None if checkpoint is None else Checkpoint(checkpoint, resume=resume)
        fitted = rows.fit(chosen, left, tell, checkpoint=kept)
        if architecture == "auto" and given is None and training.validation > 0 and not hurried:
            chosen, fitted, final = against_mixture(chosen, fitted, rows, training, tell)
    summary = _summary(fitted, rows.train.count, log_det, loss_of(chosen.architecture))
    if given is not None and encoder.given is not None:
        summary["labels"] = labels_of(given, encoder.given.names)
    if tried or final:
        nats, last = (
            {name: log_det + float(value) for name, value in of.items()} for of in (tried, final)
        )
        summary["race"] = {"steps": RACE_STEPS, "validation_nats": nats, "at_the_end": last}
    model = TableModel(
        fitted.model, chosen.architecture, modelled, encoder.given, precision, summary, cells=True
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
    report_of["order"] = order_report(values, modelled.names)
    report_of["draws"] = draws_report(model, judge, values[some], heldout_given=judge_given)
    return replace(model, trust=report_of)


def _numbers(values: np.ndarray) -> np.ndarray:
    """The array itself in float32 or float64, anything else in float64: a large table is not copied."""
    values = np.asarray(values)
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)


def _encoder(
    values: np.ndarray,
    given: np.ndarray | None,
    names: Sequence[str] | None,
    given_names: Sequence[str] | None,
    declared: Mapping[str, AbstractColumn | str],
    architecture: str | Architecture,
    called: tuple[str, str],
) -> Encoder:
    """The columns of both tables, their kinds declared or guessed."""
    if names is None:
        names = stand_in_names(values.shape[1] if values.ndim == 2 else 0)
    others = {k: v for k, v in declared.items() if k in (given_names or ()) and k not in names}
    own = {k: v for k, v in declared.items() if k not in others}
    facts = Facts() if isinstance(architecture, str) else Facts.of(architecture)
    called_flow = type(architecture).__name__
    if facts.angles:
        own = {**dict.fromkeys(names, Angle()), **own}
    columns = Columns.fit(values, names, declared=own, where=called[0])
    straight = [
        columns.names[i] for i in columns.modelled if not isinstance(columns.kinds[i], Angle)
    ]
    if facts.angles and straight:
        raise InputError(
            f"{called_flow} models angles only, and column '{straight[0]}' is declared otherwise; choose another flow: "
            "it models the columns that are declared angles as such"
        )
    if not facts.angles and not isinstance(architecture, str) and any(columns.angles):
        if not straight:
            raise InputError(
                f"all columns are angles, which {called_flow} does not model; choose circular_nsf"
            )
        if facts.loss is not None:
            raise InputError(f"{called_flow} has a loss of its own and models no angles")
    if given is None:
        return Encoder(columns, None)
    return Encoder(
        columns,
        Columns.fit(given, given_names, declared=others, modelled=False, where=called[1]),
    )


def _rows(
    encoder: Encoder, values: np.ndarray, given: np.ndarray | None, precision: int
) -> RowSource:
    """The rows of a fit, encoded as they are taken."""
    dtype = np.float64 if precision == 64 else np.float32

    def take(rows: np.ndarray) -> Batch:
        u, c = encoder(values[rows], None if given is None else given[rows])
        return Batch(u.astype(dtype), None if c is None else c.astype(dtype))

    return RowSource(len(values), take)


def _summary(fitted: Fitted, rows: int, log_det: float, loss: Loss) -> dict[str, Any]:
    """What the training did, for the file."""
    last = fitted.history[-1] if fitted.history else None
    best = {"validation_loss": fitted.best_loss}
    if loss is negative_log_prob:
        best = {"validation_nats": log_det - fitted.best_loss}
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
    if not isinstance(choice, str):
        return (Entrant("", choice),)
    if all(rows.columns.angles):
        return (Entrant("", CircularNSF()),)
    return candidates(rows.train.count, rows.width)
