"""The arguments that commands share, and the checks before any work."""

import re
import tempfile
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pushforward.errors import InputError
from pushforward.words import finite_number

if TYPE_CHECKING:
    from pushforward.architectures import Architecture
    from pushforward.architectures.typed import Typed
    from pushforward.columns import AbstractColumn
    from pushforward.models.table_model import TableModel
    from pushforward.training import Training

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="The table to read; - for CSV on standard input.")
]

Tables = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="The table to read; a folder or a quoted pattern of many files; - for CSV on standard input.",
    ),
]
Share = Annotated[
    str | None,
    typer.Option("--part", metavar="I/N", help="Do the work of the I-th of N workers only."),
]


def _existing(model: Path) -> Path:
    """Refuse a missing model before seconds go into importing what reads it."""
    if not model.exists():
        raise InputError(f"{model}: no such file")
    return model


Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model written by fit.", callback=_existing)
]
TableOutput = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FILE", help="Where to write; - for CSV on stdout."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
SOLVER = {"method": str, "steps": int, "rtol": float, "atol": float, "max_steps": int}
SolverOption = Annotated[
    list[str] | None,
    typer.Option(
        "--solver",
        metavar="KEY=VALUE",
        help=f"Change the solver of a continuous flow from that of the fit: {', '.join(SOLVER)}; repeatable.",
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        metavar="W",
        help="Strengthen the condition by this weight, for a flow fitted with drop_condition; 0 is the fitted density.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="CONDITIONS",
        help="Of a typed model: a range of columns, such as 'dep_delay>60, origin in JFK,LGA'.",
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=2**32 - 1, metavar="N", help="Seed of all randomness."),
]


def column_list(option: str, text: str | None) -> tuple[str, ...] | None:
    """Column names separated by commas, with double quotes around names that contain commas or begin or end in blanks.

    ```python
    >>> column_list("--columns", 'a, "b,c"')
    ('a', 'b,c')

    ```
    """
    if text is None:
        return None
    from pushforward.data.source import names_in_line

    names = names_in_line(text, spaced=True)
    if not names or not all(names):
        raise InputError(f"{option} {text!r}: column names separated by commas are expected")
    return names


def declared_words(settings: Sequence[str]) -> dict[str, str]:
    """From names to the words of kinds, as `--column` declares them."""
    chosen: dict[str, str] = {}
    for setting in settings:
        # A name may contain the sign, a kind does not.
        name, equals, text = (part.strip() for part in setting.rpartition("="))
        if not (name and equals):
            raise InputError(f"--column {setting}: NAME=KIND is expected")
        if name in chosen:
            raise InputError(f"--column {setting}: {name} is declared twice")
        chosen[name] = text
    return chosen


def declared_columns(settings: Sequence[str]) -> "dict[str, AbstractColumn]":
    """From names to kinds of columns, as `--column` declares them for a flow."""
    from pushforward.columns import declared_column

    chosen: dict[str, AbstractColumn] = {}
    for name, text in declared_words(settings).items():
        try:
            chosen[name] = declared_column(text)
        except InputError as error:
            raise InputError(f"--column {name}={text}: {error}") from None
    return chosen


def declares_typed(settings: Sequence[str]) -> bool:
    """Whether some `--column` declares a kind that no flow takes.

    ```python
    >>> declares_typed(["age=whole", "code=category"]), declares_typed(["wind=angle:360"])
    (True, False)

    ```
    """
    if not settings:
        return False
    from pushforward.columns import KINDS, typed_kinds

    kinds = (text.partition(":")[0] for text in declared_words(settings).values())
    return any(
        kind in (*typed_kinds.KINDS, *typed_kinds.ANGLES) and kind not in KINDS for kind in kinds
    )


def typed_architecture(settings: Sequence[str]) -> "Typed | None":
    """The options of a typed table that `--set` describes; None where all are left to the fit."""
    if not settings:
        return None
    from pushforward.architectures.typed import Typed

    chosen: Typed = _configured(Typed, "typed", settings)
    return chosen


def chosen_architecture(
    flow: str, settings: Sequence[str], *, data: str, images: bool
) -> "str | Architecture":
    """The architecture that `--flow` and `--set` describe, or "auto"; of images where `data` holds them."""
    from pushforward.architectures import ARCHITECTURES, Facts, registered

    name = flow.lower()
    if name == "auto":
        if settings:
            known = ", ".join(registered(images=images))
            raise InputError(f"--set {settings[0]}: choose a flow to set, with --flow ({known})")
        return "auto"
    if name not in ARCHITECTURES:
        known = ", ".join(registered(images=images))
        raise InputError(f"--flow {flow}: unknown; known are auto, {known}")
    chosen: Architecture = _configured(ARCHITECTURES[name], name, settings)
    if Facts.of(chosen).images is not images:
        wrong = f"tables; {data} holds pictures" if images else f"pictures; {data} is a table"
        known = ", ".join(registered(images=images))
        raise InputError(f"--flow {flow}: models {wrong}, for which there are auto, {known}")
    # By its name alone, the pictures choose the side of its patches.
    return name if images and not settings else chosen


def _configured(kind: Any, name: str, settings: Sequence[str]) -> Any:
    """A configuration with the options that `--set` describes."""
    defaults = architecture_defaults(kind)
    types = typing.get_type_hints(kind)
    options = ", ".join(f"{option}={value}" for option, value in defaults.items())
    return kind(**_chosen("--set", settings, {key: types[key] for key in defaults}, name, options))


def chosen_training(
    settings: Sequence[str], max_epochs: int | None, max_time: float | None
) -> "Training":
    """The settings that `--train`, `--max-epochs` and `--max-time` describe."""
    from pushforward.training import Training

    types = typing.get_type_hints(Training)
    # Devices have options of their own.
    names = [field.name for field in fields(Training) if field.name != "devices"]
    known = {name: types[name] for name in names}
    limits = {"max_epochs": max_epochs, "max_time": max_time}
    given = {key: value for key, value in limits.items() if value is not None}
    return Training(**_chosen("--train", settings, known, "training", ", ".join(known), given))


def refuse_for_typed(model: Path, solver: Sequence[str] | None, guidance: float | None) -> None:
    """Raise `InputError` for options that a typed model has no use for."""
    if solver or guidance is not None:
        raise InputError(f"{model}: holds a typed model; --solver and --guidance are for flows")


def refuse_for_flow(model: Path, options: Mapping[str, bool]) -> None:
    """Raise `InputError` for options that only a typed model has a use for, of which some are given."""
    refuse_options(model, "a flow", options, "typed models: refit with --flow typed")


def refuse_options(what: str | Path, holds: str, options: Mapping[str, bool], purpose: str) -> None:
    """Raise `InputError` for options that what a file holds has no use for, of which some are given.

    Arguments:
        what: the file.
        holds: what is in it.
        options: whether each is given.
        purpose: what they are for.
    """
    if given := [option for option, is_given in options.items() if is_given]:
        verb = "is" if len(given) == 1 else "are"
        raise InputError(f"{what}: holds {holds}; {' and '.join(given)} {verb} for {purpose}")


def solved_anew(
    model: "TableModel", path: Path, solver: Sequence[str] | None, guidance: float | None
) -> "TableModel":
    """The model with the changes of `--solver` and `--guidance`."""
    from pushforward.fields import with_guidance
    from pushforward.ode import with_solver

    chosen = _chosen("--solver", solver or (), SOLVER, "a solver", ", ".join(SOLVER))
    try:
        model = with_solver(model, **chosen) if chosen else model
        return model if guidance is None else with_guidance(model, guidance)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _chosen(
    option: str,
    settings: Sequence[str],
    types: Mapping[str, Any],
    what: str,
    known: str,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The values that a repeatable option `key=value` sets, together with those given by other options."""
    chosen = dict(given or {})
    for setting in settings:
        key, equals, text = (part.strip() for part in setting.partition("="))
        where = f"{option} {setting}"
        if not equals:
            raise InputError(f"{where}: key=value is expected")
        if key in chosen:
            raise InputError(f"{where}: {key} is set twice")
        if key not in types:
            raise InputError(f"{where}: {what} has no {key!r}; it has {known}")
        chosen[key] = _value(where, text, types[key])
    return chosen


def architecture_defaults(kind: type[Any]) -> dict[str, str]:
    """An architecture's options and their defaults, in the syntax of `--set`."""
    default = kind()
    return {field.name: shown(getattr(default, field.name)) for field in fields(kind)}


def shown(value: object) -> str:
    """A value in the syntax of `--set`."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(where: str, text: str, kind: Any) -> bool | int | float | str | tuple[int, ...] | None:
    if typing.get_origin(kind) in (typing.Union, UnionType):
        inner = [part for part in typing.get_args(kind) if part is not NoneType]
        if len(inner) < len(typing.get_args(kind)) and text == "none":
            return None
        kind = inner[0]
    if typing.get_origin(kind) is tuple:
        try:
            return tuple(int(part) for part in text.split(",") if text != "none")
        except ValueError:
            what = "whole numbers with commas between are expected, such as 2,0,1"
            raise InputError(f"{where}: {what}") from None
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise InputError(f"{where}: true or false is expected")
        return words[text.lower()]
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise InputError(f"{where}: a whole number is expected") from None
    if kind is float:
        if (number := finite_number(text)) is None:
            raise InputError(f"{where}: a number is expected")
        return number
    if typing.get_origin(kind) is typing.Literal:
        if text not in typing.get_args(kind):
            raise InputError(f"{where}: known are {', '.join(typing.get_args(kind))}")
        return text
    if kind is str:
        return text
    raise InputError(f"{where}: cannot be set from the command line ({kind})")


def check_model_output(target: Path, force: bool) -> None:
    """Check before training that the model can be written."""
    if str(target) == "-":
        raise InputError("-o -: a model is written to a file, not to standard output")
    from pushforward.model_file import check_target

    if target.is_file() and not force:
        raise InputError(
            f"{target}: exists already; choose another name or replace it with --force"
        )
    directory = check_target(target).parent
    try:
        # Permissions do not show read-only file systems and full disks, so try.
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"x")
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{target}: nothing can be written to {directory} ({reason})") from None


def refuse_same_file(target: str | Path, *sources: str | Path) -> None:
    """Raise `InputError` if the output is an input."""
    for source in map(str, sources):
        # An array of an archive is named `file.npz:array`.
        path = re.sub(r"(?i)(\.npz):.*", r"\1", source)
        same = Path(target).resolve() in (Path(source).resolve(), Path(path).resolve())
        if same and source != "-" and str(target) != "-":
            raise InputError(f"{target}: is the input; choose another name for the output")
