"""Sets of images in the IDX format."""

import gzip
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from pushforward.errors import InputError

FOLDER = "PUSHFORWARD_DATA"
"""The environment variable that names the folder with data."""

KINDS = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class Images(NamedTuple):
    """Images with labels, for training and for testing.

    Attributes:
        train, test: `(n, height, width)`, grey levels from 0 to 255.
        train_labels, test_labels: `(n,)`, from 0.
    """

    train: UInt8[np.ndarray, "n h w"]
    train_labels: Int[np.ndarray, " n"]
    test: UInt8[np.ndarray, "m h w"]
    test_labels: Int[np.ndarray, " m"]


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """An array from a file in IDX format, compressed by gzip or not.

    The file has two zero bytes, one byte for the type, one for the number of axes, their lengths as big-endian integers
    of four bytes, then the numbers.

    Arguments:
        path: of the file.

    Raises `InputError` for a file that is missing, of another format, or shorter or longer than its header says.

    Source: LeCun, Cortes & Burges, the MNIST database.

    ```python
    >>> import pathlib, tempfile
    >>> from pushforward.data.images import read_idx
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "two.idx"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    >>> read_idx(path).tolist()
    [7, 9]

    ```
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is damaged ({error}): fetch it again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    kind, axes = (content[2], content[3]) if len(content) >= 4 else (0, 0)
    start = 4 + 4 * axes
    if content[:2] != b"\0\0" or kind not in KINDS or not axes or len(content) < start:
        raise InputError(f"{path} does not begin as an IDX file does: was it made by another tool?")
    shape = np.frombuffer(content, ">i4", axes, 4).astype(np.int64)
    dtype = np.dtype(KINDS[kind])
    expected = start + int(np.prod(shape)) * dtype.itemsize
    if (shape < 0).any() or len(content) != expected:
        why = f"has {len(content)} bytes, but {expected} by its header"
        raise InputError(f"{path} {why}: fetch it again")
    numbers = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return numbers.astype(dtype.newbyteorder("="))


def mnist(folder: str | os.PathLike[str] | None = None) -> Images:
    """Handwritten digits: 60,000 images for training and 10,000 for testing, 28 by 28 pixels.

    Arguments:
        folder: the folder with the four files, or with a folder `mnist` that has them; default the one that the
            environment variable `PUSHFORWARD_DATA` names. The files are `train-images-idx3-ubyte.gz`,
            `train-labels-idx1-ubyte.gz` and the same with `t10k` for `train`, or these without `.gz`.

    Raises `InputError` if no folder is known, a file is missing or damaged, or images and labels differ in number.

    Source: LeCun, Bottou, Bengio & Haffner 1998.
    """
    given = folder if folder is not None else os.environ.get(FOLDER)
    if not given:
        raise InputError(
            f"no folder for MNIST: set {FOLDER} to a folder that holds mnist/train-images-idx3-ubyte.gz "
            "and the other three IDX files, or give folder="
        )
    root = Path(given)
    parts = []
    for share in ("train", "t10k"):
        images = read_idx(_found(root, f"{share}-images-idx3-ubyte"))
        labels = read_idx(_found(root, f"{share}-labels-idx1-ubyte"))
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise InputError(
                f"{share} images in {root} have shape {images.shape}, their labels {labels.shape}: "
                "(n, height, width) and (n,) were expected"
            )
        parts += [images, labels.astype(np.int64)]
    return Images(*parts)


def _found(root: Path, name: str) -> Path:
    places = [at / (name + end) for at in (root / "mnist", root) for end in (".gz", "")]
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"MNIST's file {name}.gz is missing: put it into {root / 'mnist'}")
