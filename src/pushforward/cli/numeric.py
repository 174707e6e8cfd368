"""What `fit` does with a table of numbers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.progress import say
from pushforward.cli.typed import held_out_how, trust_line
from pushforward.cli.watch import Watch, watched
from pushforward.errors import InputError

if TYPE_CHECKING:
    from pushforward.architectures import Architecture
    from pushforward.columns import AbstractColumn
    from pushforward.data.stream import StreamFiles
    from pushforward.data.tables import Table
    from pushforward.models.table_model import TableModel
    from pushforward.models.typed_table import TypedTable
    from pushforward.training import Training

LARGE = 100_000
"""The number of rows from which a fit reports at once what it has begun."""


def fit_flow_file(
    table: "Table | StreamFiles",
    given: "Table | None",
    output: Path,
    *,
    data: str,
    kinds: "Mapping[str, AbstractColumn]",
    architecture: "str | Architecture",
    training: "Training",
    precision: int,
    seed: int,
    rival: bool,
    holdout: str,
    groups: Any,
    checkpoint: Path,
    resume: bool,
    quiet: bool,
) -> None:
    """Fit a flow to a table of numbers or a stream, given another's columns if there are any, and write it; with
    `rival`, a typed table where that is better."""
    from pushforward.data.tables import Table
    from pushforward.fitting.fit_table import fit_table
    from pushforward.models.notes import with_names_noted
    from pushforward.models.table_file import save_table_model
    from pushforward.models.typed_file import save_typed_table

    rows: dict[str, Any]
    if isinstance(table, Table):
        count, named = len(table.values), (table.named, None if given is None else given.named)
        rows = {
            "values": table.values,
            "condition": None if given is None else given.values,
            "names": table.names,
            "condition_names": None if given is None else given.names,
            "called": (data, data),
        }
    else:
        count, named = table.total, (True, True if table.condition else None)
        rows = {"values": table}
    size = f"{count:,} rows x {len(table.names)} columns"
    with watched(size, training.max_time, checkpoint, quiet, large=count >= LARGE) as watch:
        model = fit_table(
            **rows,
            columns=kinds,
            architecture=architecture,
            training=training,
            precision=precision,
            seed=seed,
            report=watch,
            progress=watch.step,
            checkpoint=checkpoint,
            resume=resume,
            holdout=holdout,
            groups=groups,
        )
        model = with_names_noted(model, *named)
        typed = None
        if rival:
            assert isinstance(table, Table)
            typed = _rival(table, model, training, seed, watch, holdout, groups)
        watch.writing()
        if typed is None:
            save_table_model(model, output)
        else:
            save_typed_table(typed, output)
    for line in _held_out(model.trust) if typed is None else [trust_line(typed.trust)]:
        say(line, quiet)
    say(watch.ending((typed or model).summary["stopped"], output), quiet)


def counted_column_of(table: "Table", kinds: "Mapping[str, AbstractColumn]") -> str | None:
    """A column of values that repeat, unless it is declared otherwise or some column is of a kind for flows."""
    from pushforward.columns import Whole
    from pushforward.data.frames import framed
    from pushforward.fitting.rival import counted_column

    if any(not isinstance(kind, Whole) for kind in kinds.values()):
        return None
    try:
        return counted_column(framed(table))
    except InputError:
        # Said by the fit, which knows where the table is from.
        return None


def _rival(
    table: "Table",
    flow: "TableModel",
    training: "Training",
    seed: int,
    watch: Watch,
    holdout: str,
    groups: Any,
) -> "TypedTable | None":
    """A typed table that is better than the flow, or None. Both are tried where there was a race."""
    from pushforward.data.frames import framed
    from pushforward.fitting.rival import FEWEST_ROWS, typed_rival

    race = flow.summary.get("race", {}).get("validation_nats")
    if not race or flow.summary["stopped"] == "interrupted" or len(table.values) < FEWEST_ROWS:
        return None
    return typed_rival(
        framed(table),
        flow,
        training=training,
        seed=seed,
        report=watch,
        progress=watch.step,
        holdout=holdout,
        groups=groups,
    )


def kept_columns(
    data: str,
    columns: tuple[str, ...] | None,
    condition: tuple[str, ...] | None,
    ignored: tuple[str, ...],
) -> tuple[str, ...] | None:
    """The columns to model once some are left out; None for all."""
    if not ignored or columns is not None:
        return columns
    if data == "-":
        raise InputError("--ignore: from standard input, name the columns to model by --columns")
    from pushforward.columns.names import unknown_columns
    from pushforward.data.frames import frame_names
    from pushforward.data.parts import in_parts, parts_of

    if in_parts(data):
        with parts_of(data)[0].local() as path:
            names = frame_names(path)
    else:
        names = frame_names(data)
    if unknown := [name for name in ignored if name not in names]:
        raise InputError(unknown_columns(unknown, names, data))
    rest = tuple(name for name in names if name not in (*ignored, *(condition or ())))
    if not rest:
        raise InputError(f"--ignore takes every column of {data}; none is left to model")
    return rest


def read_columns(
    data: str,
    columns: tuple[str, ...] | None,
    condition: tuple[str, ...] | None,
    progress: Callable[[str], None],
) -> "tuple[Table, Table | None]":
    """The columns to model, and those to condition on."""
    from pushforward.cli.streaming import read_parts
    from pushforward.data.parts import in_parts
    from pushforward.data.tables import read_table as read_file

    read_table = read_parts if in_parts(data) else read_file
    if columns is None and condition is None:
        return read_table(data, single=True, progress=progress), None
    if columns is not None:
        table = read_table(data, (*columns, *(condition or ())), single=True, progress=progress)
        return table.select(columns), None if condition is None else table.select(condition)
    table = read_table(data, single=True, progress=progress)
    given = table.select(condition or ())
    rest = [name for name in table.names if name not in given.names]
    if not rest:
        raise InputError(f"--condition takes every column of {data}; none is left to model")
    return table.select(rest), given


def _held_out(trust: dict[str, Any]) -> list[str]:
    """The main figure of the trust report, and its warnings; `inspect` shows the rest."""
    from pushforward.trust.verdict import format_trust

    if not trust:
        return []
    error = "" if trust["nats_error"] is None else f" +- {trust['nats_error']:.3f}"
    how = held_out_how(trust)
    nats = f"held out{how}: {trust['nats']:.3f}{error} nats per row (a Gaussian: {trust['gaussian_nats']:.3f})"
    return [nats, *(line for line in format_trust(trust) if line.startswith("warning: "))]
