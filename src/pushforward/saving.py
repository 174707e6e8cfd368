"""Flows in files, and architectures as plain data: a name in the registry and checked fields."""

import json
import os
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jax

from pushforward.architectures import ARCHITECTURES, Architecture
from pushforward.architectures.registry import source_of
from pushforward.deprecated import outdated
from pushforward.distributions import Flow
from pushforward.errors import InputError
from pushforward.model_file import check_target, plain, read_header, read_model, write_model

__all__ = [
    "architecture_from_json",
    "architecture_to_json",
    "check_target",
    "read_flow",
    "read_header",
    "read_model",
    "write_flow",
    "write_model",
]


def architecture_to_json(architecture: Architecture) -> dict[str, Any]:
    """An architecture as plain data, `{"name": registry name, "fields": options}`.

    For a class of another package, `source` and `package` say where it is from. Readers that do not know the name
    quote them in their error; they never import what a file names.

    Raises `InputError` for a class that is not in the registry, or a field that JSON cannot represent.
    """
    kind = type(architecture)
    if (name := ARCHITECTURES.name_of(kind)) is None:
        raise InputError(
            f"{kind.__name__} is not in the registry of architectures: a file could not be loaded again; "
            "pushforward.architectures.register(name, class) adds it"
        )
    chosen = {field.name: getattr(architecture, field.name) for field in fields(kind)}
    try:
        values = json.loads(json.dumps(chosen, default=plain))
    except (TypeError, ValueError) as error:
        raise InputError(f"{architecture}: a file holds numbers and words, {error}") from None
    return {"name": name, "fields": values, **source_of(name, kind)}


def architecture_from_json(data: Any) -> Architecture:
    """The inverse of `architecture_to_json`. Fields that `data` lacks keep their defaults, but for those whose metadata
    say what they were where older files lack them, `"absent"`.

    Raises `InputError` for an unknown name, an unknown field or a value of the wrong type.
    """
    if not (isinstance(data, dict) and isinstance(data.get("fields"), dict)):
        raise InputError("the architecture must be given as a name and fields")
    name, values = data.get("name"), data["fields"]
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise InputError(_unknown(name, data))
    kind = ARCHITECTURES[name]
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise InputError(
                f"architecture {name!r} has no field {key!r}; known: {', '.join(known)}"
            )
        value = tuple(value) if isinstance(value, list) else value
        if not _is_of(value, hints[key]):
            wanted = getattr(hints[key], "__name__", str(hints[key]))
            raise InputError(
                f"field {key!r} of architecture {name!r} must be {wanted}, not {value!r}"
            )
        chosen[key] = value
    for key, field in known.items():
        if key in chosen:
            continue
        if "absent" in field.metadata:
            chosen[key] = field.metadata["absent"]
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"architecture {name!r} needs the field {key!r}")
    return kind(**chosen)


def _unknown(name: Any, data: dict[str, Any]) -> str:
    """The message for an unknown name, which quotes, but does not trust, what the file says of its source."""
    source, package = (str(data.get(key, ""))[:100] for key in ("source", "package"))
    if not source:
        return f"architecture {name!r} is unknown; known: {', '.join(ARCHITECTURES)}"
    module = source.partition(":")[0]
    install = f"install the package {package!r} and " if package else ""
    return f"architecture {name!r} is unknown here; it is {source!r}: {install}import {module!r} before loading"


def write_flow(path: str | os.PathLike[str], flow: Flow, *, force: bool = True) -> None:
    """Write a flow that an architecture has built.

    Arguments:
        path: the file.
        flow: the model.
        force: whether an existing file may be replaced; default True.

    Raises `InputError` if the file cannot be written, if the flow does not know its architecture, or if that does not
    build such a flow.
    """
    if flow.architecture is None:
        raise InputError(
            f"{path}: this flow was put together from parts; a file holds one that a registered architecture has "
            "built, or Flow(base, bijection, architecture) for one changed since"
        )
    header = {
        "kind": "flow",
        "architecture": architecture_to_json(flow.architecture),
        "event": list(flow.event_shape),
        "condition": None if flow.condition_shape is None else list(flow.condition_shape),
    }
    write_model(path, header, flow, skeleton=_flow_skeleton, force=force)


def read_flow(path: str | os.PathLike[str]) -> Flow:
    """The flow that `write_flow` wrote, in its precision; evaluate a 64-bit one under `jax.enable_x64`.

    Raises `InputError` as `read_model`.
    """
    flow: Flow = read_model(path, _flow_skeleton, kind="flow")[1]
    return flow


def save_flow(path: str | os.PathLike[str], flow: Flow, architecture: Architecture) -> None:
    """Deprecated: use `pushforward.save(path, flow)`, as a flow knows its architecture."""
    outdated("saving.save_flow(path, flow, architecture)", "pushforward.save(path, flow)")
    write_flow(path, Flow(flow.base, flow.bijection, architecture))


def load_flow(path: str | os.PathLike[str]) -> Flow:
    """Deprecated: use `pushforward.load(path)`."""
    outdated("saving.load_flow(path)", "pushforward.load(path)")
    return read_flow(path)


def _flow_skeleton(header: dict[str, Any]) -> Flow:
    event, condition = header["event"], header["condition"]
    for shape in (event, condition or []):
        if not (isinstance(shape, list) and all(type(size) is int for size in shape)):
            raise InputError(f"a shape is expected, not {shape!r}")
    architecture = architecture_from_json(header["architecture"])
    shape = None if condition is None else tuple(condition)
    return architecture.build(tuple(event), shape, key=jax.random.key(0))


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a value from JSON has the annotated type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_is_of(value, part) for part in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = inner[:1] * len(value) if inner[-1] is ... else inner
        return len(value) == len(kinds) and all(map(_is_of, value, kinds))
    if hint is float:
        return type(value) in (int, float)
    return type(value) is (NoneType if hint is None else hint)
