"""Notes beside a model in its file: whether the names of its columns are the table's own, and an estimator's marks."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pushforward.models.table_model import TableModel

# Where the notes stand in a model's summary.
NOTES = "estimator"


def with_notes(model: TableModel, **notes: Any) -> TableModel:
    """The model with notes in its summary, so that they are saved with it."""
    return replace(model, summary={**model.summary, NOTES: notes})


def notes_of(model: TableModel) -> dict[str, Any]:
    """The notes of `with_notes`; empty for a model that has none."""
    return dict(model.summary.get(NOTES, {}))


def with_names_noted(
    model: TableModel, named: bool, condition_named: bool | None = None
) -> TableModel:
    """The model with a note on its names.

    Arguments:
        model: the model.
        named: whether the table had names for the modelled columns; otherwise they are stand-ins.
        condition_named: the same for the condition's columns; None for a model without a condition.
    """
    if condition_named is None:
        return with_notes(model, named=named)
    return with_notes(model, named=condition_named, target_named=named)


def real_names(names: Sequence[str], named: bool | None) -> tuple[str, ...] | None:
    """A model's column names, or None if they are stand-ins for names that the table lacked.

    Arguments:
        names: the names that the model holds.
        named: the note from the fit; without one (None), `x0, x1, ...` are stand-ins.
    """
    if named is None:
        named = not all(re.fullmatch(r"x\d+", name) for name in names)
    return tuple(names) if named else None


def names_of(model: TableModel) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """The names of the modelled columns and of the condition's, None where they are stand-ins or there is no
    condition."""
    notes = notes_of(model)
    if model.condition is None:
        return real_names(model.columns.names, notes.get("named")), None
    return (
        real_names(model.columns.names, notes.get("target_named")),
        real_names(model.condition.names, notes.get("named")),
    )
