"""Typed tables in files."""

import os
from dataclasses import asdict, fields
from typing import Any

import jax

from pushforward.architectures.products import Products
from pushforward.architectures.typed import Typed
from pushforward.columns.typed_columns import TypedColumns
from pushforward.distributions.product_mixture import ProductMixture
from pushforward.distributions.typed_row import TypedRow
from pushforward.errors import InputError
from pushforward.model_file import read_model, write_model
from pushforward.models.typed_table import TypedTable

KIND = "typed"
MODELS: dict[str, type[Typed] | type[Products]] = {"network": Typed, "mixture": Products}
"""What a file may hold, by the header's word for it; a file without the word holds a network."""


def save_typed_table(model: TypedTable, path: str | os.PathLike[str], force: bool = True) -> None:
    """Write a fitted typed table to one safetensors file, all or nothing.

    Its header holds the kinds and the spelling of the columns, their levels and quantiles, the architecture's fields,
    the summary of the training and what was measured of the model. Of the table itself it holds no value that was seen
    less often than the fit was told to keep, but for the quantiles of columns of numbers.

    Arguments:
        model: the density.
        path: the file.
        force: whether an existing file may be replaced.

    Raises `InputError` where the file cannot be written.
    """
    header = {
        "kind": KIND,
        "model": next(name for name, of in MODELS.items() if isinstance(model.architecture, of)),
        "architecture": asdict(model.architecture),
        "columns": model.columns.to_json(),
        "summary": model.summary,
        "trust": model.trust,
    }
    write_model(path, header, model.model, skeleton=_skeleton, force=force)


def load_typed_table(path: str | os.PathLike[str]) -> TypedTable:
    """The density that `save_typed_table` wrote. Nothing that the file holds is executed.

    Raises `InputError`, one line that names the file, for a file that is missing, damaged, changed, of another kind,
    or written by a newer version.
    """
    header, model = read_model(path, _skeleton, kind=KIND)
    architecture, columns = _parts(header)
    return TypedTable(model, architecture, columns, header["summary"], header["trust"])


def _parts(header: dict[str, Any]) -> tuple[Typed | Products, TypedColumns]:
    kind = MODELS.get(header.get("model", "network"))
    if kind is None:
        raise InputError(f"it holds a {header['model']!r}, which this version does not know")
    try:
        known = {field.name for field in fields(kind)}
        options = header["architecture"]
        if unknown := set(options) - known:
            raise InputError(f"the architecture has no field {sorted(unknown)[0]!r}")
        return kind(**options), TypedColumns.from_json(header["columns"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the columns are damaged ({error!r})") from None


def _skeleton(header: dict[str, Any]) -> TypedRow | ProductMixture:
    architecture, columns = _parts(header)
    return architecture.build(columns.layout(architecture.components), {}, key=jax.random.key(0))
