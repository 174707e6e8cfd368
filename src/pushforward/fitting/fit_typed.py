"""From a table of any kind of columns to a fitted density."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from pushforward.architectures.typed import Typed, random_contexts
from pushforward.columns.base import AbstractColumn
from pushforward.columns.marginal import LEAST
from pushforward.columns.spelling import as_polars
from pushforward.columns.typed_columns import TypedColumns, empty_rows
from pushforward.distributions.typed_layout import Cells
from pushforward.draws import key_of, spawn
from pushforward.errors import InputError, warn
from pushforward.fitting.contest import contested, refitted
from pushforward.models.typed_table import TypedTable
from pushforward.training import Checkpoint, Epoch, Step, Training, fit
from pushforward.training.batches import taken
from pushforward.training.holdout import group_codes, held_out
from pushforward.trust.agreement import ROWS, agreement_report
from pushforward.trust.holdout import holdout_report, mean_error
from pushforward.trust.privacy import privacy_report
from pushforward.words import plural

LEARNING_RATE, BATCH = 5e-3, 256
# Passes over the rows, between the fewest and the most steps, and the share of epochs that are a stall.
PASSES, FEWEST, MOST, STALL = 100, 1500, 6000, 0.05


def fit_typed(
    table: Any,
    *,
    declared: Mapping[str, str | AbstractColumn] | None = None,
    ignore: Sequence[str] = (),
    gaps: bool = True,
    least: int = LEAST,
    architecture: Typed | None = None,
    training: Training | None = None,
    seed: int = 0,
    report: Callable[[Epoch], bool | None] | None = None,
    progress: Callable[[Step], bool | None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    measures: bool = True,
    holdout: str = "random",
    groups: Any = None,
) -> TypedTable:
    """Fit the joint density of a table's cells.

    Arguments:
        table: rows, a frame or a mapping of columns.
        declared: kinds of columns by name, as of `TypedColumn.fit`; default none, all are guessed.
        ignore: names of columns to leave out.
        gaps: whether missing cells are modelled; default True.
        least: times that a value must be seen for it to be kept in the model.
        architecture: default None, by the number of rows; then a mixture of products takes part too (`contest.py`).
        training: how; default by the number of rows.
        seed: of all that is random.
        report, progress: as of `fit`.
        checkpoint: file to keep the state of training in, for the caller to delete once the model is saved; None for
            none.
        resume: continue from the checkpoint, if it exists.
        holdout, groups: which rows are held out, as of `fit_table`.
        measures: whether agreement of conditionals and privacy are measured, beside held-out nats; default True.

    Warns of rows without any cell, which are left out. Raises `InputError`, naming column and row, for a table that
    cannot be modelled.
    """
    began = time.perf_counter()
    whole = as_polars(table)
    codes = None if groups is None else group_codes(groups, len(whole))
    frame, rows = _rows_with_cells(whole)
    training = training or Training()
    split, build_key, fit_key = spawn(key_of(seed), 3)
    codes = None if codes is None else codes[rows - 1]
    train, held = held_out(len(frame), training.validation, split, holdout, codes)
    # Kinds are those of all rows; units and frequencies those of the training rows.
    measured = np.zeros(len(frame), bool)
    measured[train] = True
    columns = TypedColumns.fit(
        frame,
        declared=declared,
        ignore=ignore,
        gaps=gaps,
        least=least,
        rows=rows,
        measured=measured,
    )
    values = columns.read(frame)
    cells = columns.encode(values)
    columns, start = columns.counted(taken(cells, train), least)
    asked, architecture = architecture, architecture or _for_rows(len(train))
    built = architecture.build(columns.layout(architecture.components), start, key=build_key)
    fitted = fit(
        built,
        taken(cells, train),
        key=fit_key,
        loss=random_contexts,
        training=_for_typed(training, len(train)),
        validation=taken(cells, held),
        report=report,
        progress=progress,
        checkpoint=None if checkpoint is None else Checkpoint(checkpoint, resume=resume),
    )
    summary = {
        "rows": len(train),
        "epochs": len(fitted.history),
        "stopped": fitted.stopped,
        "validation_loss": fitted.best_loss,
        "seconds": time.perf_counter() - began,
    }
    model = TypedTable(fitted.model, architecture, columns, summary)
    if asked is None:
        model = contested(model, taken(cells, train), taken(cells, held), seed)
    trust = _held_out(model, taken(cells, held), None if codes is None else codes[held])
    trust["holdout"] = holdout_report(holdout, groups, codes, held)
    if measures:
        trust["agreement"] = agreement_report(model, taken(cells, held[:ROWS]))
    if measures and training.validation > 0:
        both = (taken(values, some) for some in (train, held))
        trust["privacy"] = privacy_report(model, *both, least=least)
    return refitted(replace(model, trust=trust), cells, seed)


def _rows_with_cells(frame: pl.DataFrame) -> tuple[pl.DataFrame, Int[np.ndarray, " n"]]:
    """The rows that hold anything, with their numbers; warns of others. Raises `InputError` where too few are left."""
    empty = empty_rows(frame)
    if empty.any():
        count = plural(int(empty.sum()), "row")
        warn(f"{count} without any cell left out, the first is row {int(empty.argmax()) + 1}")
    rows = np.flatnonzero(~empty)
    if len(rows) < 3:
        given = plural(len(rows), "row")
        raise InputError(f"{given} given; at least 3 are needed: two to fit, one to judge by")
    return (frame[rows] if empty.any() else frame), rows + 1


def _held_out(model: TypedTable, cells: Cells, groups: np.ndarray | None) -> dict[str, Any]:
    """Log-probabilities of held-out rows, beside those of each column by itself."""
    present = np.asarray(cells.present) & model.columns.values
    nats = model.log_prob_of(cells, present, np.zeros_like(present)).sum(1)
    alone = np.where(present, np.asarray(cells.log_marginal, np.float64), 0.0).sum(1)
    gain = nats - alone
    return {
        "rows": len(nats),
        **{
            name: figure
            for what, values in (("nats", nats), ("marginal_nats", alone), ("gain", gain))
            for name, figure in (
                (what, float(values.mean())),
                (f"{what}_error", _error(values, groups)),
            )
        },
    }


def _error(values: np.ndarray, groups: np.ndarray | None) -> float:
    """The standard error of a mean."""
    if groups is None:
        return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    error = mean_error(values, groups)
    return float("nan") if error is None else error


def _for_rows(rows: int) -> Typed:
    """The architecture for a number of training rows: fewer rows, more dropout."""
    # Of flights (`benchmarks/tables.py`) 0.05 costs 0.2 nats; on adult 0.3 gains 0.04, within its error.
    dropout = 0.3 if rows < 1000 else 0.15 if rows < 30_000 else 0.05
    if rows < 1000:
        return Typed(width=64, blocks=2, context=64, dropout=dropout)
    return Typed(dropout=dropout)


def _for_typed(training: Training, rows: int) -> Training:
    """What is not set, chosen for a number of training rows. The best number of steps differs by ten between tables of
    one size (adult 1,250, flights 5,000): the fit is annealed when it stalls."""
    chosen: dict[str, Any] = {"batch": min(BATCH, rows), "learning_rate": LEARNING_RATE}
    chosen |= {"weight_decay": _decay(rows), "stall": STALL}
    if training.max_epochs is None:
        chosen["max_steps"] = round(min(max(rows * PASSES / BATCH, FEWEST), MOST))
    lacking = {name: value for name, value in chosen.items() if getattr(training, name) is None}
    return replace(training, **lacking)


def _decay(rows: int) -> float:
    return 0.1 if rows < 30_000 else 0.01
