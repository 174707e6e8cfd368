"""The words that commands share, and the checks that come before any work."""

import math
import re
import tempfile
import typing
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pushforward.errors import InputError

if TYPE_CHECKING:
    from pushforward.architectures import Architecture
    from pushforward.columns import AbstractColumn
    from pushforward.estimators.table_model import TableModel

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="The table to read; - for CSV on standard input.")
]


def _existing(model: Path) -> Path:
    """Say that there is no such model before everything that reads one is imported, which takes seconds."""
    if not model.exists():
        raise InputError(f"{model}: no such file")
    return model


Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model written by fit.", callback=_existing)
]
TableOutput = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="Where to write; - for CSV on stdout.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
SOLVER = {"method": str, "steps": int, "rtol": float, "atol": float, "max_steps": int}
SolverOption = Annotated[
    list[str] | None,
    typer.Option(
        "--solver",
        metavar="KEY=VALUE",
        help=f"How a continuous flow is solved, in place of what it was fitted with: {', '.join(SOLVER)}. Repeatable.",
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        metavar="W",
        help="Press the condition by this weight, of a flow fitted with drop_condition; 0 is the fitted density.",
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=2**32 - 1, metavar="N", help="The source of all randomness."),
]


def column_list(option: str, text: str | None) -> tuple[str, ...] | None:
    """Column names separated by commas; a name that holds a comma, or blanks at its ends, stands in double quotes.

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


def declared_columns(settings: Sequence[str]) -> "dict[str, AbstractColumn]":
    """The kinds of columns that `--column` declares, by name."""
    from pushforward.columns import declared_column

    chosen: dict[str, AbstractColumn] = {}
    for setting in settings:
        # A name may hold the sign, a kind does not.
        name, equals, text = (part.strip() for part in setting.rpartition("="))
        if not (name and equals):
            raise InputError(f"--column {setting}: NAME=KIND is expected")
        if name in chosen:
            raise InputError(f"--column {setting}: {name} is declared twice")
        try:
            chosen[name] = declared_column(text)
        except InputError as error:
            raise InputError(f"--column {setting}: {error}") from None
    return chosen


def chosen_architecture(flow: str, settings: Sequence[str]) -> "str | Architecture":
    """The architecture that `--flow` and `--set` describe, or "auto"."""
    from pushforward.architectures import ARCHITECTURES

    known = ", ".join(ARCHITECTURES)
    name = flow.lower()
    if name == "auto":
        if settings:
            raise InputError(f"--set {settings[0]}: choose a flow to set, with --flow ({known})")
        return "auto"
    if name not in ARCHITECTURES:
        raise InputError(f"--flow {flow}: unknown; known are auto, {known}")
    kind = ARCHITECTURES[name]
    defaults = architecture_defaults(kind)
    types = typing.get_type_hints(kind)
    chosen: dict[str, Any] = {}
    for setting in settings:
        key, text = _pair("--set", setting, chosen)
        if key not in defaults:
            options = ", ".join(f"{option}={value}" for option, value in defaults.items())
            raise InputError(f"--set {setting}: {name} has no {key!r}; it has {options}")
        chosen[key] = _value(f"--set {setting}", text, types[key])
    return kind(**chosen)


def solved_anew(
    model: "TableModel", path: Path, solver: Sequence[str] | None, guidance: float | None
) -> "TableModel":
    """The model as `--solver` and `--guidance` change it."""
    from pushforward.fields import with_guidance
    from pushforward.ode import with_solver

    chosen: dict[str, Any] = {}
    for setting in solver or ():
        key, text = _pair("--solver", setting, chosen)
        if key not in SOLVER:
            raise InputError(f"--solver {setting}: known are {', '.join(SOLVER)}")
        chosen[key] = _value(f"--solver {setting}", text, SOLVER[key])
    try:
        model = with_solver(model, **chosen) if chosen else model
        return model if guidance is None else with_guidance(model, guidance)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _pair(option: str, setting: str, chosen: dict[str, Any]) -> tuple[str, str]:
    key, equals, text = (part.strip() for part in setting.partition("="))
    if not equals:
        raise InputError(f"{option} {setting}: key=value is expected")
    if key in chosen:
        raise InputError(f"{option} {setting}: {key} is set twice")
    return key, text


def architecture_defaults(kind: type[Any]) -> dict[str, str]:
    """An architecture's options and their defaults, as `--set` writes them."""
    return {field.name: shown(field.default) for field in fields(kind)}


def shown(value: object) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(where: str, text: str, kind: Any) -> bool | int | float | str | tuple[int, ...]:
    if typing.get_origin(kind) is tuple:
        try:
            return tuple(int(part) for part in text.split(",") if text != "none")
        except ValueError:
            raise InputError(
                f"{where}: whole numbers with commas between are expected, such as 2,0,1"
            ) from None
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
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{where}: a number is expected")
        return number
    if typing.get_origin(kind) is typing.Literal:
        if text not in typing.get_args(kind):
            known = ", ".join(typing.get_args(kind))
            raise InputError(f"{where}: known are {known}")
        return text
    if kind is str:
        return text
    raise InputError(f"{where}: cannot be set from the command line ({kind})")


def check_model_output(target: Path, force: bool) -> None:
    """Find out before training whether the model can be written."""
    if str(target) == "-":
        raise InputError("-o -: a model is written to a file, not to standard output")
    from pushforward.model_file import check_target

    if target.is_file() and not force:
        raise InputError(
            f"{target}: exists already; choose another name or replace it with --force"
        )
    directory = check_target(target).parent
    try:
        # Permissions do not tell of read-only file systems and full disks; trying does.
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"x")
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{target}: nothing can be written to {directory} ({reason})") from None


def refuse_same_file(target: str | Path, *sources: str | Path) -> None:
    """Refuse to write over what is being read."""
    for source in map(str, sources):
        # An array of an archive is named `file.npz:array`.
        path = re.sub(r"(?i)(\.npz):.*", r"\1", source)
        same = Path(target).resolve() in (Path(source).resolve(), Path(path).resolve())
        if same and source != "-" and str(target) != "-":
            raise InputError(f"{target}: is the input; choose another name for the output")
