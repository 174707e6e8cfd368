"""From a table to a fitted density: columns, the choice of a model, training, the trust report."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pushforward.architectures import ARCHITECTURES, Architecture, CircularNSF, Facts, registered
from pushforward.columns import AbstractColumn, Angle, Columns
from pushforward.columns.columns import row_name
from pushforward.columns.names import stand_in_names
from pushforward.data.statistics import Measured, measured
from pushforward.data.stream import Stream, StreamFiles
from pushforward.deprecated import renamed_arguments
from pushforward.draws import key_of, spawn
from pushforward.errors import InputError, check_choice
from pushforward.fitting.auto import RACE_STEPS, Entrant, candidates
from pushforward.fitting.prepared import Prepared, Teller, loss_of
from pushforward.fitting.race import Choice, chosen
from pushforward.fitting.streamed import Streamed
from pushforward.models.elements import Elements, Embedding
from pushforward.models.encoder import Encoder
from pushforward.models.labels import labels_of
from pushforward.models.table_model import TableModel
from pushforward.training import Checkpoint, Epoch, RowSource, Step, Training
from pushforward.training.batches import MOST_HELD, Batch
from pushforward.training.holdout import WAYS, group_codes, held_out
from pushforward.training.loss import negative_log_prob
from pushforward.trust.holdout import holdout_report
from pushforward.trust.report import trusted


@renamed_arguments(given="condition", given_names="condition_names")
def fit_table(
    values: np.ndarray | Stream | StreamFiles,
    condition: np.ndarray | None = None,
    *,
    names: Sequence[str] | None = None,
    condition_names: Sequence[str] | None = None,
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
    embedding: Embedding | None = None,
    holdout: str = "random",
    groups: Any = None,
) -> TableModel:
    """Fit a density to the rows of a table.

    Arguments:
        values: `(n, d)` rows, finite, in their own units; or a `Stream`, a table in files that need not fit the memory,
            which names the columns of both tables itself. All but the steps of the fit in full (kinds and units of
            columns, race, validation, trust) then goes by a sample of a million rows and exact extremes.
        condition: `(n, c)` rows to condition on, or None; `(n, k, c)` with an `embedding`.
        names, condition_names: column names; default x0, x1, ...
        columns: kinds of columns by name, where they are not to be guessed: instances such as `columns.Whole()`, or
            words as `columns.declared_column` takes them.
        architecture: "auto" (a short race between the models of `auto.candidates`, decided by validation), a name
            in the registry, or an instance.
        training: how to train; default `Training()`.
        precision: 32 or 64 bits.
        seed: source of all randomness.
        report: called after every epoch; return True to stop with the best model so far.
        progress: called within epochs and before each stage of the work; return True to stop in the same way.
        checkpoint: file to keep the state of training in, for the caller to delete once the model is saved; None for
            none.
        resume: continue from the checkpoint, if it exists.
        trust: whether to measure the trust report on the validation rows.
        called: the names of the two tables in messages.
        holdout: which rows are held out, "random" (default) or "last": the last of the table, where rows follow each
            other in time.
        groups: `(n,)` labels; rows of one label are held out together or not at all, as those of one person or image
            say little of others. Default None.
        embedding: of a condition that is a set or a series of up to k elements, whose cells may be missing; default
            None. Its trust is not measured.

    Cost: with the default architecture a race of short fits, then 1,800 to 12,000 steps, see `Training`. A stream is
    read once before the steps, and once in each pass.

    Raises `InputError` for values to which no density can be fitted, naming column and row, and of a stream the file;
    for arguments that a stream excludes; and where a file was changed while it was read.

    ```python
    >>> import numpy as np, pushforward as pf
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> small, short = pf.architectures.RealNVP(layers=2, width=8), pf.Training(max_epochs=2)
    >>> model = pf.fit_table(x, names=["a", "b"], architecture=small, training=short, trust=False)
    >>> model.log_prob(x).shape
    (500,)

    ```
    """
    architecture, training, began = (
        _known(architecture),
        training or Training(),
        time.perf_counter(),
    )
    table, at = None, row_name
    if isinstance(values, Stream | StreamFiles):
        table = _passed_over(
            values, condition, names, condition_names, groups, embedding, seed, progress
        )
        names, condition_names = table.files.names, table.files.condition
        values, condition = table.tables()
        called, at = (table.files.where, table.files.where), table.place
    values, condition = _numbers(values), None if condition is None else _numbers(condition)
    if condition is not None and len(condition) != len(values):
        raise InputError(f"{len(values)} rows, but {len(condition)} rows of the condition")
    encoder = _encoder(
        values,
        condition,
        names,
        condition_names,
        columns or {},
        architecture,
        called,
        embedding,
        at,
    )
    _, build_key, fit_key = spawn(key_of(seed), 3)
    codes = None if groups is None else group_codes(groups, len(values))
    if table is not None:
        check_choice("holdout", holdout, WAYS)
        train, held, passed, left_out = table.split(training.validation, MOST_HELD, holdout)
    else:
        train, held = split_of(len(values), training, seed, holdout, codes)
    log_det = encoder.columns.mean_log_det(values, held)
    tell = Teller(report, progress, log_det, began)
    kept = None if checkpoint is None else Checkpoint(checkpoint, resume=resume)
    with jax.enable_x64(precision == 64):
        source = _rows(encoder, values, condition, precision)
        stream = None
        if table is not None:
            stream = _streamed(
                table, encoder, source.some(train), passed, left_out, precision, seed
            )
        rows = Prepared(
            train=source.some(train),
            judge=source.take(held),
            columns=encoder.columns,
            condition=encoder.condition,
            build_key=build_key,
            fit_key=fit_key,
            seed=seed,
            stream=stream,
        )
        choice = chosen(_entrants(architecture, rows), rows, training, tell, kept)
    summary = _summary(choice, rows.count, log_det)
    if condition is not None and encoder.condition is not None and embedding is None:
        summary["labels"] = labels_of(condition, encoder.condition.names)
    model = TableModel(
        flow=choice.fitted.model,
        architecture=choice.entrant.architecture,
        columns=encoder.columns,
        condition=encoder.condition,
        precision=precision,
        summary=summary,
        cells=True,
    )
    if not trust or training.validation == 0 or embedding is not None:
        return model
    if choice.entrant.name:
        tell.stage("measuring how far to trust it")
    how = holdout_report(holdout, groups, codes, held)
    return trusted(model, values, condition, train, held, how, codes)


def split_of(
    count: int,
    training: Training,
    seed: int,
    way: str = "random",
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the training rows and of the held-out ones, in a fit with these settings."""
    return held_out(count, training.validation, spawn(key_of(seed), 3)[0], way, groups)


def _numbers(values: np.ndarray) -> np.ndarray:
    """The array itself in float32 or float64, anything else in float64: a large table is not copied."""
    values = np.asarray(values)
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)


def _encoder(
    values: np.ndarray,
    condition: np.ndarray | None,
    names: Sequence[str] | None,
    condition_names: Sequence[str] | None,
    declared: Mapping[str, AbstractColumn | str],
    architecture: str | Architecture,
    called: tuple[str, str],
    embedding: Embedding | None,
    at: Callable[[int], str],
) -> Encoder:
    """The columns of both tables, their kinds declared or guessed."""
    if names is None:
        names = stand_in_names(values.shape[1] if values.ndim == 2 else 0)
    others = {k: v for k, v in declared.items() if k in (condition_names or ()) and k not in names}
    own = {k: v for k, v in declared.items() if k not in others}
    facts = Facts() if isinstance(architecture, str) else Facts.of(architecture)
    called_flow = type(architecture).__name__
    if facts.angles:
        own = {**dict.fromkeys(names, Angle()), **own}
    columns = Columns.fit(values, names, declared=own, where=called[0], at=at)
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
    if condition is None:
        return Encoder(columns, None)
    if embedding is not None:
        return Encoder(columns, Elements.of(condition, condition_names or (), embedding, called[1]))
    return Encoder(
        columns,
        Columns.fit(
            condition, condition_names, declared=others, modelled=False, where=called[1], at=at
        ),
    )


def _rows(
    encoder: Encoder, values: np.ndarray, condition: np.ndarray | None, precision: int
) -> RowSource:
    """The rows of a fit, encoded as they are taken."""

    def take(rows: np.ndarray) -> Batch:
        return _encoded(
            encoder, values[rows], None if condition is None else condition[rows], precision
        )

    return RowSource(len(values), take)


def _encoded(
    encoder: Encoder, values: np.ndarray, condition: np.ndarray | None, precision: int
) -> Batch:
    dtype = np.float64 if precision == 64 else np.float32
    u, c = encoder(values, condition)
    return Batch(u.astype(dtype), None if c is None else c.astype(dtype))


def _passed_over(
    stream: Stream | StreamFiles,
    condition: Any,
    names: Any,
    condition_names: Any,
    groups: Any,
    embedding: Any,
    seed: int,
    progress: Callable[[Step], bool | None] | None,
) -> Measured:
    """What a pass over a stream finds. Raises `InputError` for arguments that go with rows in memory only."""
    others = {
        "condition": condition,
        "names": names,
        "condition_names": condition_names,
        "groups": groups,
        "embedding": embedding,
    }
    if given := [name for name, value in others.items() if value is not None]:
        raise InputError(
            f"{' and '.join(given)}: not expected with a Stream, whose columns have names"
        )
    began = time.perf_counter()

    def tell(share: float) -> None:
        if progress is not None:
            seconds = time.perf_counter() - began
            said = f"looking at all rows once, {math.floor(10 * share) / 10:.0%}"
            progress(Step(0, 0, 0, 0, float("nan"), seconds, False, said))

    return measured(stream if isinstance(stream, StreamFiles) else stream.open(), seed, tell)


def _streamed(
    table: Measured,
    encoder: Encoder,
    sample: RowSource,
    rows: int,
    held: np.ndarray,
    precision: int,
    seed: int,
) -> Streamed:
    """A stream as rows of a fit."""

    def read(start: int, stop: int) -> Batch:
        return _encoded(encoder, *table.parted(table.read(start, stop)), precision)

    return Streamed(rows, held, read, sample, table.files.marks(), seed)


def _summary(choice: Choice, rows: int, log_det: float) -> dict[str, Any]:
    """A summary of the training, for the file."""
    fitted = choice.fitted
    last = fitted.history[-1] if fitted.history else None
    likelihood = loss_of(choice.entrant.architecture) is negative_log_prob
    summary: dict[str, Any] = {
        "rows": rows,
        "epochs": len(fitted.history),
        "of_epochs": 0 if last is None else last.epochs,
        "stopped": fitted.stopped,
        **(
            {"validation_nats": log_det - fitted.best_loss}
            if likelihood
            else {"validation_loss": fitted.best_loss}
        ),
        "notes": [f"epoch {e.epoch}: {e.note}" for e in fitted.history if e.note],
    }
    if choice.raced or choice.at_the_end:
        nats, last_nats = (
            {name: log_det + float(value) for name, value in of.items()}
            for of in (choice.raced, choice.at_the_end)
        )
        summary["race"] = {"steps": RACE_STEPS, "validation_nats": nats, "at_the_end": last_nats}
    return summary


def _known(choice: str | Architecture) -> str | Architecture:
    """The architecture of a name, "auto" as it is. Raises `InputError` for one that is unknown or of images."""
    if isinstance(choice, str):
        if choice == "auto":
            return choice
        if choice not in ARCHITECTURES:
            known = ", ".join(registered(images=False))
            raise InputError(f"flow {choice!r} is unknown; known: auto, {known}")
        architecture: Architecture = ARCHITECTURES[choice]()
    elif ARCHITECTURES.name_of(type(choice)) is not None:
        architecture = choice
    else:
        raise InputError(
            f"architecture must be a name or an instance such as NSF(), not {choice!r}; a class of your own is known "
            "after pushforward.architectures.register(name, class)"
        )
    if Facts.of(architecture).images:
        raise InputError(
            f"{type(architecture).__name__} models pictures, not the rows of a table: ImageDensity fits it; of tables "
            "are auto, " + ", ".join(registered(images=False))
        )
    return architecture


def _entrants(choice: str | Architecture, rows: Prepared) -> tuple[Entrant, ...]:
    """The models among which validation chooses: one, unless the choice is "auto"."""
    if not isinstance(choice, str):
        return (Entrant("", choice),)
    if all(rows.columns.angles):
        return (Entrant("", CircularNSF()),)
    return candidates(rows.count, rows.width)
