"""Distributions of pictures in files."""

import os
from typing import Any

import jax

from pushforward.architectures.images.noise import dequantized
from pushforward.distributions import Dequantized
from pushforward.errors import InputError
from pushforward.model_file import read_model, write_model
from pushforward.models.image_model import ImageModel
from pushforward.saving import architecture_from_json, architecture_to_json

KIND = "images"


def save_image_model(model: ImageModel, path: str | os.PathLike[str], force: bool = True) -> None:
    """Write a fitted distribution of pictures to one safetensors file, all or nothing.

    Its header holds the architecture with its fields, the pictures' shape, the classes, the summary of the training
    and the trust report.

    Arguments:
        model: the distribution.
        path: the file.
        force: whether an existing file may be replaced.

    Raises `InputError` where the file cannot be written.
    """
    header = {
        "kind": KIND,
        "architecture": architecture_to_json(model.architecture),
        "shape": list(model.shape),
        "labels": None if model.labels is None else list(model.labels),
        "summary": model.summary,
        "trust": model.trust,
    }
    write_model(path, header, model.model, skeleton=_skeleton, force=force)


def load_image_model(path: str | os.PathLike[str]) -> ImageModel:
    """The distribution that `save_image_model` wrote. Nothing that the file holds is executed.

    Raises `InputError`, one line that names the file, for a file that is missing, damaged, changed, of another kind,
    or written by a newer version.
    """
    header, model = read_model(path, _skeleton, kind=KIND)
    labels = header["labels"]
    return ImageModel(
        model,
        architecture_from_json(header["architecture"]),
        None if labels is None else tuple(labels),
        header["summary"],
        header["trust"],
    )


def _skeleton(header: dict[str, Any]) -> Dequantized:
    labels, shape = header["labels"], header["shape"]
    if not isinstance(shape, list) or len(shape) != 3:
        raise InputError(f"the shape of pictures is damaged: {shape!r}")
    condition = None if labels is None else (len(labels),)
    architecture = architecture_from_json(header["architecture"])
    return dequantized(architecture, tuple(shape), condition, key=jax.random.key(0))
