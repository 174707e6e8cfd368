"""What the commands do with tables of any kind of cells, and with models of them."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.cli.interrupts import PoliteInterrupt, Terminated, without_model
from pushforward.cli.progress import Meter, on_terminal, say
from pushforward.cli.watch import Watch
from pushforward.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from pushforward.architectures.typed import Typed
    from pushforward.models.typed_table import TypedTable
    from pushforward.training import Training


def is_typed(model: Path) -> bool:
    """Whether a model file holds a typed table."""
    from pushforward.model_file import read_header

    return read_header(model).get("kind") == "typed"


def typed_model(model: Path, what: str) -> "TypedTable":
    """The typed table of a file.

    Raises `InputError` for a flow's file, saying what it cannot do.
    """
    from pushforward.models.typed_file import load_typed_table

    if not is_typed(model):
        raise InputError(f"{model}: holds a flow, which cannot {what}; refit with --flow typed")
    return load_typed_table(model)


def fit_typed_file(
    data: str,
    output: Path,
    *,
    frame: "pl.DataFrame | None" = None,
    columns: Sequence[str] | None,
    ignore: Sequence[str],
    gaps: bool,
    least: int | None,
    declared: dict[str, str],
    architecture: "Typed | None",
    training: "Training",
    seed: int,
    checkpoint: Path,
    resume: bool,
    quiet: bool,
    holdout: str = "random",
    groups: Any = None,
) -> None:
    """Fit a typed table to a file of any kind of cells, or to a frame of it, and write it."""
    from pushforward.columns.marginal import LEAST
    from pushforward.columns.names import unknown_columns
    from pushforward.data.frames import DELIMITERS, read_frame, suffix_of
    from pushforward.data.parts import in_parts
    from pushforward.fitting.fit_typed import fit_typed
    from pushforward.models.typed_file import save_typed_table

    with Meter("reading", quiet):
        if frame is None or (data != "-" and not in_parts(data) and suffix_of(data) in DELIMITERS):
            # Text can be read again, as its cells are spelled.
            frame = read_frame(data)
        else:
            # It was read without them.
            ignore = [name for name in ignore if name in frame.columns]
        if columns is not None:
            if unknown := [name for name in columns if name not in frame.columns]:
                raise InputError(unknown_columns(unknown, frame.columns, data))
            frame = frame.select(columns)
    least = LEAST if least is None else least
    began = time.perf_counter()
    with Meter("fitting", quiet) as meter, PoliteInterrupt(quiet) as interrupt:
        meter.update(f"{len(frame):,} rows x {len(frame.columns)} columns, compiling")
        watch = Watch(meter, interrupt, training.max_time)
        try:
            model = fit_typed(
                frame,
                declared=declared,
                ignore=ignore,
                gaps=gaps,
                least=least,
                architecture=architecture,
                training=training,
                seed=seed,
                report=watch,
                progress=watch.step,
                checkpoint=checkpoint,
                resume=resume,
                holdout=holdout,
                groups=groups,
            )
            save_typed_table(model, output)
        except (KeyboardInterrupt, Terminated) as stop:
            raise without_model(stop, interrupt, checkpoint) from None
    checkpoint.unlink(missing_ok=True)
    for column in model.columns.every:
        if not column.modelled and (column.kind != "constant" or column.missing == 1):
            say(f"column '{column.name}' is not modelled: {column.kind}, {column.reason}", quiet)
    say(trust_line(model.trust), quiet)
    for line in _trust_warnings(model.trust):
        say(f"warning: {line}", quiet)
    say(watch.ending(model.summary["stopped"], began, output), quiet)


def trust_line(trust: dict[str, Any]) -> str:
    """The held-out figure of a typed table."""
    return (
        f"held out{held_out_how(trust)}: {trust['nats']:.3f} +- {trust['nats_error']:.3f} nats per row of "
        f"{trust['rows']:,} (each column by itself: {trust['marginal_nats']:.3f})"
    )


def held_out_how(trust: dict[str, Any]) -> str:
    """How rows were held out, where it was not at random."""
    from pushforward.trust.holdout import held_out_how

    return held_out_how(trust)


def trust_sections(fitted: "TypedTable") -> dict[str, list[str]]:
    """What `inspect` shows of the measures of a typed table: titles and lines."""
    from pushforward.trust.agreement import format_agreement
    from pushforward.trust.privacy import format_privacy

    trust = fitted.trust
    return {
        "trust": [trust_line(trust)],
        "agreement": format_agreement(trust.get("agreement", {})),
        "privacy": format_privacy(trust.get("privacy", {}), fitted.columns),
    }


def _trust_warnings(trust: dict[str, Any]) -> list[str]:
    from pushforward.trust.agreement import agreement_warnings
    from pushforward.trust.privacy import privacy_warnings

    agreement, privacy = (trust.get(name, {}) for name in ("agreement", "privacy"))
    return [*agreement_warnings(agreement), *privacy_warnings(privacy)]


def score_exactly(
    model: Path, data: str, output: str, *, given: Sequence[str], draws: int, quiet: bool
) -> None:
    """Write the log-probability of every row as it follows from the joint distribution, with its error."""
    from pushforward.data.frames import read_frame
    from pushforward.data.tables import open_writer
    from pushforward.models.exact import exact_log_prob
    from pushforward.models.typed_file import load_typed_table

    fitted, frame = load_typed_table(model), read_frame(data)
    with Meter("scoring", quiet, output != "-" or not on_terminal()) as meter:

        def show(rows: int) -> None:
            meter.update(f"{rows:,} rows", rows / len(frame))

        found = exact_log_prob(fitted, frame, given, draws=draws, progress=show)
    with open_writer(output, list(found._fields)) as writer:
        writer.write(np.stack(found, axis=1))
    say(
        f"{len(frame):,} rows, mean {found.log_prob.mean():.4f} nats, mean error of a row {found.error.mean():.4f}, "
        f"{found.effective_draws.mean():.1f} effective draws of {draws}",
        quiet,
    )


def score_typed(
    model: Path,
    data: str,
    output: str,
    *,
    given: Sequence[str],
    per_column: bool,
    gaps: bool,
    absent: bool,
    quiet: bool,
) -> None:
    """Write the log-probability of every row."""
    from pushforward.data.frames import read_frame
    from pushforward.data.tables import open_writer
    from pushforward.models.typed_file import load_typed_table
    from pushforward.models.unfamiliar import improbable, improbable_line, unseen_cells

    fitted = load_typed_table(model)
    frame = read_frame(data)
    _warn_of_table(fitted, frame, given, quiet)
    unseen, line = unseen_cells(fitted.columns, frame, absent=absent)
    if line is not None:
        say(f"warning: {line}", quiet)
    cells = fitted.log_prob_cells(frame, given, absent=absent)
    if given and (line := improbable_line(improbable(fitted, frame, given, absent=absent))):
        say(f"warning: {line}", quiet)
    constants = fitted.columns.log_prob_of_constants(frame)
    total = cells.sum(1) + constants
    columns = {"log_prob": total}
    if gaps:
        cells = fitted.log_prob_cells(frame, given, gaps=True, absent=absent)
        columns["log_prob_with_gaps"] = cells.sum(1) + constants
    if per_column:
        for name in fitted.columns.names:
            if name in (*columns, "unseen"):
                raise InputError(
                    f"--per-column: column '{name}' has the name of a column of the output"
                )
            # A column's gaps count with its values.
            own = [of.name == name for of, _ in fitted.columns.places]
            columns[name] = cells[:, own].sum(1)
        columns["unseen"] = unseen
    whole = [name == "unseen" for name in columns]
    with open_writer(output, list(columns), whole) as writer:
        writer.write(np.stack(list(columns.values()), axis=1))
    row = int(total.argmin())
    say(
        f"{len(total):,} rows, mean {total.mean():.4f} nats, least {total[row]:.4f} (row {row + 1})",
        quiet,
    )


def score_where(
    model: Path, data: str, output: str, *, given: Sequence[str], where: str, seed: int, quiet: bool
) -> None:
    """Write the probability of a range for every row, given some of its cells."""
    from pushforward.columns.names import unknown_columns
    from pushforward.data.frames import read_frame
    from pushforward.data.tables import open_writer
    from pushforward.models.typed_file import load_typed_table
    from pushforward.models.where import probability

    fitted = load_typed_table(model)
    frame = read_frame(data)
    if not given:
        raise InputError(
            f"--where {where}: name by --given the columns whose cells are known; sample --where says how probable "
            "the range is without any"
        )
    if lacking := [name for name in given if name not in frame.columns]:
        raise InputError(unknown_columns(lacking, frame.columns, data))
    if lacking := [name for name in given if name not in fitted.columns.names]:
        raise InputError(unknown_columns(lacking, fitted.columns.names, str(model)))
    _warn_of_table(fitted, frame, given, quiet)
    found = probability(fitted, where, frame.select(given), seed=seed)
    with open_writer(output, ["probability", "standard_error", "effective_draws"]) as writer:
        writer.write(np.stack(found, axis=1))
    say(f"{len(frame):,} rows, mean probability {found.value.mean():.4g}", quiet)


def _warn_of_table(
    fitted: "TypedTable", frame: "pl.DataFrame", given: Sequence[str], quiet: bool
) -> None:
    """Warn of columns that the model does not know; raise `InputError` where a given one holds nothing."""
    from pushforward.models.unfamiliar import refuse_empty_condition, unknown_columns_line

    if (line := unknown_columns_line(fitted.columns, frame)) is not None:
        say(f"warning: {line}", quiet)
    refuse_empty_condition(fitted.columns, frame, given)


def sample_typed(
    model: Path,
    n: int,
    output: str,
    *,
    given: str | None,
    where: str | None,
    seed: int,
    quiet: bool,
) -> None:
    """Write draws as the table had them."""
    from pushforward.data.frames import PARQUET, read_frame, write_frame
    from pushforward.models.typed_file import load_typed_table
    from pushforward.models.unfamiliar import improbable, improbable_line
    from pushforward.models.where import sample_where

    fitted = load_typed_table(model)
    rows = None if given is None else read_frame(given)
    text = Path(output).suffix.lower() not in PARQUET
    if rows is not None:
        held = [name for name in rows.columns if name in fitted.columns.names]
        if not held:
            raise InputError(f"--given {given}: none of its columns is one of the model's")
        _warn_of_table(fitted, rows, (), quiet)
        if (line := improbable_line(improbable(fitted, rows, absent=True))) is not None:
            say(f"warning: {line}", quiet)
    if where is None:
        drawn = fitted.sample(n, seed, rows, text=text)
    else:
        drawn, found = sample_where(fitted, n, seed, where, rows, text=text)
        effective = found.effective.min()
        say(
            f"probability of {where}: {found.value.mean():.4g}"
            + (f" +- {found.error[0]:.2g}" if rows is None else " on average")
            + f"; {'at least ' if len(found.value) > 1 else ''}{effective:,.0f} effective draws",
            quiet,
        )
        if effective < min(n, 100) / 2:
            say("warning: few effective draws: some rows come several times", quiet)
    write_frame(drawn, output)
    say(f"{len(drawn):,} rows" + ("" if output == "-" else f" in {output}"), quiet)


def typed_sections(fitted: "TypedTable") -> dict[str, list[str]]:
    """What `inspect` shows of a typed table itself: titles and lines."""
    options = fitted.architecture.__dict__
    width = max(4, *(len(column.name) for column in fitted.columns.every))
    head = f"{'name':<{width}} {'kind':<11} {'missing':>8} {'levels':>7}  measure and reason"
    columns = [head]
    for column in fitted.columns.every:
        levels = "" if column.labels is None else f"{len(column.labels):,}"
        what = f"{column.measure or 'not modelled'}: {column.reason}"
        columns.append(
            f"{column.name:<{width}} {column.kind:<11} {column.missing:>8.2%} {levels:>7}  {what}"
        )
    return {
        "model": [
            f"joint distribution of the cells of {len(fitted.columns.names)} columns: {fitted.described}",
            " ".join(f"{name}={value}" for name, value in options.items()),
        ],
        "columns": columns,
        "gaps": [f"modelled: {', '.join(fitted.columns.gaps)}"] if fitted.columns.gaps else [],
    }
