"""Table models in files."""

import os
from typing import Any

import jax

from pushforward.architectures import Facts
from pushforward.columns import Columns
from pushforward.distributions import Flow
from pushforward.errors import InputError
from pushforward.models.elements import Elements
from pushforward.models.table_flow import has_margins, table_flow
from pushforward.models.table_model import TableModel
from pushforward.saving import (
    architecture_from_json,
    architecture_to_json,
    read_model,
    write_model,
)

KIND = "table"
EMBEDDED = "table given elements"
"""The kind of one whose condition is sets or series."""


def save_table_model(model: TableModel, path: str | os.PathLike[str], force: bool = True) -> None:
    """Write a fitted density to one safetensors file, all or nothing.

    Its header holds the architecture with its fields, the kinds and units of the columns, the precision, the summary
    of the training and the trust report.

    Arguments:
        model: the density.
        path: the file.
        force: whether an existing file may be replaced.

    Raises `InputError` where the file cannot be written, or the model's architecture does not build its flow.
    """
    header = {
        "kind": EMBEDDED if isinstance(model.condition, Elements) else KIND,
        "architecture": architecture_to_json(model.architecture),
        "columns": model.columns.to_json(),
        "given": None if model.condition is None else model.condition.to_json(),
        "precision": model.precision,
        "margins": has_margins(model.flow),
        "cells": model.cells,
        "summary": model.summary,
        "trust": model.trust,
    }
    write_model(path, header, model.flow, skeleton=_skeleton, force=force)


def load_table_model(path: str | os.PathLike[str], kind: str = KIND) -> TableModel:
    """The density that `save_table_model` wrote: its log-densities are the same, bit for bit on
    one machine with one number of threads. Nothing is executed.

    Arguments:
        path: the file.
        kind: `EMBEDDED` for a model whose condition is sets or series; default `KIND`.

    Raises `InputError`, one line that names the file, for a file that is missing, damaged, changed, of another kind,
    or written by a newer version.
    """
    header, flow = read_model(path, _skeleton, kind=kind)
    columns, condition = _columns(header)
    return TableModel(
        flow,
        architecture_from_json(header["architecture"]),
        columns,
        condition,
        header["precision"],
        header["summary"],
        header["trust"],
        cells=header.get("cells", False),
    )


def _skeleton(header: dict[str, Any]) -> Flow:
    """The flow's structure; checks all of the header, as its errors carry the file's name."""
    architecture, (columns, condition) = (
        architecture_from_json(header["architecture"]),
        _columns(header),
    )
    if header["precision"] not in (32, 64):
        raise InputError(f"a precision of 32 or 64 bits is expected, not {header['precision']!r}")
    for key in ("summary", "trust"):
        if not isinstance(header[key], dict):
            raise InputError(f"the header's {key!r} is damaged")
    shape = None if condition is None else (condition.features_width,)
    # Files of before 0.5 have no margins and do not say so.
    margins = header.get("margins", False)
    elements = condition if isinstance(condition, Elements) else None
    return table_flow(
        architecture, columns.width, shape, jax.random.key(0), margins, columns.angles, elements
    )


def _columns(header: dict[str, Any]) -> tuple[Columns, Columns | None]:
    """The modelled columns, and those of the condition."""
    data, condition = header["columns"], header["given"]
    if Facts.of(architecture_from_json(header["architecture"])).angles and "kinds" not in data:
        # Files of versions before 0.5 do not say it.
        data = {**data, "angles": True}
    if condition is None:
        return Columns.from_json(data), None
    kind = Elements if header["kind"] == EMBEDDED else Columns
    return Columns.from_json(data), kind.from_json(condition)
