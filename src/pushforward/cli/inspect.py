"""`pushforward inspect`: the contents of a model file."""

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pushforward.cli.image_files import image_sections, is_of_images
from pushforward.cli.options import Model, shown
from pushforward.cli.typed import is_typed, trust_sections, typed_sections

if TYPE_CHECKING:
    from pushforward.columns import Columns


def inspect(
    model: Model,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the file's header as JSON.")
    ] = False,
) -> None:
    """Show what a model is and how far to trust it.

    Prints the flow and its options, the columns with their kinds and the reasons for them, how the
    model was trained, and the trust report. The report was measured on the validation rows of the
    fit: the mean log density beside that of a Gaussian, whether the map can be inverted and its log
    determinant is right, and how many rows lie in the tails.
    """
    from pushforward.architectures import Facts
    from pushforward.model_file import read_header
    from pushforward.models.image_file import load_image_model
    from pushforward.models.notes import NOTES
    from pushforward.models.table_file import load_table_model
    from pushforward.models.typed_file import load_typed_table
    from pushforward.trust.verdict import format_trust

    if is_of_images(model):
        pictures = load_image_model(model)
        if as_json:
            print(json.dumps(read_header(model), indent=2))
            return
        for title, lines in image_sections(pictures).items():
            _section(title, lines)
        _section("training", _training(pictures.summary))
        return
    # The whole file is read for --json too, so that a damaged one does not pass for a model.
    typed = load_typed_table(model) if is_typed(model) else None
    fitted = load_table_model(model) if typed is None else None
    if as_json:
        print(json.dumps(read_header(model), indent=2))
        return
    if typed is not None:
        for title, lines in typed_sections(typed).items():
            _section(title, lines)
        _section("training", _training(typed.summary))
        for title, lines in trust_sections(typed).items():
            _section(title, lines)
        return
    assert fitted is not None
    architecture = fitted.architecture
    modelled = ", ".join(fitted.columns.names)
    density = f"p({modelled})"
    if fitted.condition is not None:
        density = f"p({modelled} | {', '.join(fitted.condition.names)})"
    _section("model", [density, f"{fitted.precision}-bit arithmetic"])
    options = {field.name: getattr(architecture, field.name) for field in fields(architecture)}
    flow = f"{type(architecture).__name__}  {Facts.of(architecture).reference}".rstrip()
    _section("flow", [flow, " ".join(f"{name}={shown(value)}" for name, value in options.items())])
    _section("columns", _columns(fitted.columns))
    if fitted.condition is not None:
        _section("condition", _columns(fitted.condition))
    _section("training", _training({k: v for k, v in fitted.summary.items() if k != NOTES}))
    _section("trust", format_trust(fitted.trust))
    _section("typed", _beside_typed(fitted.summary))


def _beside_typed(summary: dict[str, Any]) -> list[str]:
    """How a typed table did in the race that the flow won."""
    race = summary.get("race", {})
    nats = race.get("validation_nats", {})
    if "typed" not in nats:
        return []
    others = max(value for name, value in nats.items() if name != "typed")
    return [
        f"after {race['steps']} steps a typed table had {nats['typed']:.3f} nats per row, the best flow {others:.3f}; "
        "fit --flow typed for densities of any columns given any others, and for gaps"
    ]


def _section(title: str, lines: list[str]) -> None:
    for i, line in enumerate(lines):
        print(f"{title if i == 0 else '':<11}{line}".rstrip())


def _columns(columns: "Columns") -> list[str]:
    width = max(4, *(len(name) for name in columns.names))
    kinds = max(4, *(len(kind.kind) for kind in columns.kinds))
    lines = [f"{'name':<{width}} {'kind':<{kinds}} {'median':>11} {'least':>11} {'greatest':>11}"]
    reasons = columns.reasons or ("",) * len(columns.names)
    for name, kind, reason in zip(columns.names, columns.kinds, reasons, strict=True):
        numbers = " ".join(f"{v:>11.5g}" for v in (kind.median, kind.lower, kind.upper))
        why = f" ({reason})" if reason else ""
        lines.append(f"{name:<{width}} {kind.kind:<{kinds}} {numbers}  {kind.described}{why}")
    return lines


def _training(summary: dict[str, Any]) -> list[str]:
    return [f"{name}: {_brief(value)}" for name, value in summary.items() if value != []]


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_brief(part)}" for key, part in value.items())
    return str(value)
