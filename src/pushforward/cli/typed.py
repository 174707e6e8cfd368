"""What the commands do with tables of any kind of cells, and with models of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.progress import Meter, say
from pushforward.cli.watch import watched
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
    size = f"{len(frame):,} rows x {len(frame.columns)} columns"
    with watched(size, training.max_time, checkpoint, quiet) as watch:
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
        watch.writing()
        save_typed_table(model, output)
    for column in model.columns.every:
        if not column.modelled and (column.kind != "constant" or column.missing == 1):
            say(f"column '{column.name}' is not modelled: {column.kind}, {column.reason}", quiet)
    say(trust_line(model.trust), quiet)
    for line in _trust_warnings(model.trust):
        say(f"warning: {line}", quiet)
    say(watch.ending(model.summary["stopped"], output), quiet)


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


def table_warnings(
    fitted: "TypedTable", frame: "pl.DataFrame", given: Sequence[str] = ()
) -> list[str]:
    """Of columns that the model does not know; raises `InputError` where a given one holds nothing."""
    from pushforward.models.unfamiliar import refuse_empty_condition, unknown_columns_line

    line = unknown_columns_line(fitted.columns, frame)
    refuse_empty_condition(fitted.columns, frame, given)
    return [] if line is None else [line]


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
