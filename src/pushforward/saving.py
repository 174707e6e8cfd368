"""Saving flows and architectures. Architectures come from the registry by name, their fields are checked."""

import json
import os
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jax

from pushforward.architectures import ARCHITECTURES, Architecture
from pushforward.distributions import Flow
from pushforward.errors import InputError
from pushforward.model_file import check_target, plain, read_header, read_model, write_model

__all__ = [
    "architecture_from_json",
    "architecture_to_json",
    "check_target",
    "load_flow",
    "read_header",
    "read_model",
    "save_flow",
    "write_model",
]


def architecture_to_json(architecture: Architecture) -> dict[str, Any]:
    """An architecture as plain data, `{"name": registry name, "fields": configuration}`.

    Raises `InputError` for a class that is not in the registry.
    """
    for name, kind in ARCHITECTURES.items():
        if type(architecture) is kind:
            values = {field.name: getattr(architecture, field.name) for field in fields(kind)}
            return {"name": name, "fields": json.loads(json.dumps(values, default=plain))}
    raise InputError(
        f"{type(architecture).__name__} is not in the registry of architectures: a file could not be loaded again"
    )


def architecture_from_json(data: Any) -> Architecture:
    """The inverse of `architecture_to_json`. Fields that `data` lacks keep their defaults.

    Raises `InputError` for an unknown name, an unknown field or a value of the wrong type.
    """
    if not (isinstance(data, dict) and isinstance(data.get("fields"), dict)):
        raise InputError("the architecture must be given as a name and fields")
    name, values = data.get("name"), data["fields"]
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise InputError(f"architecture {name!r} is unknown; known: {', '.join(ARCHITECTURES)}")
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
        if key not in chosen and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"architecture {name!r} needs the field {key!r}")
    return kind(**chosen)


def save_flow(path: str | os.PathLike[str], flow: Flow, architecture: Architecture) -> None:
    """Write a flow that was built by `architecture.build(event, condition)`, and perhaps trained.

    Arguments:
        path: the file; an existing one is replaced.
        flow: the model.
        architecture: what built it.

    Raises `InputError` where the file cannot be written, or the architecture does not build such a flow.

    ```python
    >>> import jax, tempfile
    >>> from pushforward.architectures import NICE
    >>> from pushforward.saving import load_flow, save_flow
    >>> architecture = NICE(layers=2, width=8)
    >>> flow = architecture.build(3, key=jax.random.key(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_flow(f"{folder}/flow.safetensors", flow, architecture)
    ...     again = load_flow(f"{folder}/flow.safetensors")
    >>> bool(again.log_prob([0.1, 0.2, 0.3]) == flow.log_prob([0.1, 0.2, 0.3]))
    True

    ```
    """
    condition = None if flow.condition_shape is None else list(flow.condition_shape)
    header = {
        "kind": "flow",
        "architecture": architecture_to_json(architecture),
        "event": list(flow.event_shape),
        "condition": condition,
    }
    write_model(path, header, flow, skeleton=_flow_skeleton)


def load_flow(path: str | os.PathLike[str]) -> Flow:
    """The flow that `save_flow` wrote. A 64-bit flow stays so; evaluate it under `jax.enable_x64`.

    Raises `InputError` as `read_model`.
    """
    return read_model(path, _flow_skeleton, kind="flow")[1]


def _flow_skeleton(header: dict[str, Any]) -> Flow:
    event, condition = header["event"], header["condition"]
    for shape in (event, condition or []):
        if not (isinstance(shape, list) and all(type(size) is int for size in shape)):
            raise InputError(f"a shape is expected, not {shape!r}")
    architecture = architecture_from_json(header["architecture"])
    shape = None if condition is None else tuple(condition)
    return architecture.build(tuple(event), shape, key=jax.random.key(0))


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a value from JSON is of the annotated type."""
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
