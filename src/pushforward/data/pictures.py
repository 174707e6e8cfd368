"""Pictures from folders and files, and pictures written."""

import io
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from pushforward.data.images import mnist, read_idx
from pushforward.data.picture_sources import ARRAYS, SETS, SUFFIXES, is_idx
from pushforward.data.targets import check_output, put_in_place
from pushforward.errors import InputError, warn
from pushforward.words import plural

LOSSY = (".jpg", ".jpeg")
MODES = ("L", "RGB")
INSTEAD = {
    "1": "black and white of one bit",
    "LA": "grey with an alpha channel",
    "RGBA": "colours with an alpha channel",
    "P": "a palette",
    "I;16": "grey of 16 bit",
    "I": "grey of 32 bit",
    "F": "grey of real numbers",
    "CMYK": "colours of print",
}
MOST_IN_GRID = 4096


class Pictures(NamedTuple):
    """Pictures of one size.

    Attributes:
        pixels: `(n, h, w, c)`, grey levels; c is 1 for grey, 3 for colours.
        names: of files, or numbers from 0.
        labels: of each picture, None where there are none.
    """

    pixels: UInt8[np.ndarray, "n h w c"]
    names: list[str]
    labels: list[str] | None


def read_pictures(source: str | Path) -> Pictures:
    """Read pictures.

    Arguments:
        source: a folder with PNG or JPEG files, whose sub-folders, if any, are labels; one such file; `.npy` or `.npz`
            of uint8, `(n, h, w)` or `(n, h, w, c)`, with labels in `labels` if there are any; an IDX file, packed by
            gzip or not; `mnist:train` or `mnist:test`.

    Raises `InputError` that names the file at fault, for what cannot be read, and pictures of different sizes or kinds.

    ```python
    >>> import numpy as np, pathlib, tempfile
    >>> from pushforward.data.pictures import read_pictures
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "two.npy"
    >>> np.save(path, np.zeros((2, 8, 6), np.uint8))
    >>> read_pictures(path).pixels.shape
    (2, 8, 6, 1)

    ```
    """
    if str(source) in SETS:
        digits = mnist()
        train = str(source).endswith("train")
        pixels, labels = (
            (digits.train, digits.train_labels) if train else (digits.test, digits.test_labels)
        )
        return _numbered(pixels[..., None], list(map(str, labels.tolist())))
    path = Path(source)
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    if path.suffix.lower() in ARRAYS:
        return _read_arrays(path)
    if is_idx(path):
        return _numbered(as_pixels(read_idx(path), str(path)), None)
    if path.suffix.lower() in SUFFIXES:
        return Pictures(_read_file(path)[None], [path.name], None)
    raise InputError(
        f"{path}: pictures are read from folders, {', '.join(SUFFIXES + ARRAYS)} and IDX files; tables from .csv or "
        ".parquet"
    )


def as_pixels(array: Any, what: str) -> UInt8[np.ndarray, "n h w c"]:
    """Pictures as grey levels, `(n, h, w, c)`.

    Arguments:
        array: `(n, h, w)` or `(n, h, w, c)` with c 1 or 3, uint8 or other whole numbers from 0 to 255.
        what: the name in errors.

    Raises `InputError` for another shape, for numbers that are no levels, or for no picture at all.
    """
    array = np.asarray(array)
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        raise InputError(
            f"{what} has shape {array.shape}, with channels first: (n, height, width, channels) was expected; "
            "np.moveaxis(array, 1, -1) puts them last"
        )
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise InputError(
            f"{what} has shape {array.shape}: pictures (n, height, width), or (n, height, width, channels) with 1 or 3 "
            "channels were expected"
        )
    if 0 in array.shape:
        raise InputError(f"{what} has shape {array.shape}: there is no picture in it")
    if array.dtype != np.uint8:
        array = _levels(array, what)
    pixels: np.ndarray = array[..., None] if array.ndim == 3 else array
    return pixels


def _levels(array: np.ndarray, what: str) -> UInt8[np.ndarray, "..."]:
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(np.nanmin(array)), float(np.nanmax(array))
        scale = "np.round(255 * x)" if low >= 0 and high <= 1 else "np.round(x)"
        raise InputError(
            f"{what} holds real numbers from {low:g} to {high:g}: whole levels from 0 to 255 were expected, such as by "
            f"{scale}.astype(np.uint8)"
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{what} is of type {array.dtype}: levels of type uint8 were expected")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 255:
        raise InputError(
            f"{what} holds numbers from {low} to {high}: levels from 0 to 255 were expected"
        )
    return array.astype(np.uint8)


def _numbered(pixels: np.ndarray, labels: list[str] | None) -> Pictures:
    return Pictures(pixels, list(map(str, range(len(pixels)))), labels)


def _read_arrays(path: Path) -> Pictures:
    try:
        loaded, found = np.load(path), dict[str, np.ndarray]()
        if not isinstance(loaded, np.ndarray):
            with loaded as arrays:
                found = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if isinstance(loaded, np.ndarray):
        return _numbered(as_pixels(loaded, str(path)), None)
    pictures = [name for name, array in found.items() if array.ndim in (3, 4)]
    if len(pictures) != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in found.items())
        raise InputError(
            f"{path} holds {shapes}: one array of pictures (n, height, width) or (n, height, width, channels) was "
            "expected"
        )
    pixels = as_pixels(found[pictures[0]], f"{path}: {pictures[0]}")
    labels = found.get("labels")
    if labels is None:
        return _numbered(pixels, None)
    if labels.shape != (len(pixels),):
        raise InputError(
            f"{path}: labels have shape {labels.shape}, one for each of {len(pixels)} pictures was expected"
        )
    return _numbered(pixels, list(map(str, labels.tolist())))


def _read_folder(folder: Path) -> Pictures:
    own = _files(folder)
    inside = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    below = {sub: _files(sub) for sub in inside}
    labelled = [(path, sub.name) for sub, paths in below.items() for path in paths]
    if own and labelled:
        raise InputError(
            f"{folder} holds pictures beside folders of pictures ({own[0].name}, {labelled[0][1]}/): either all in "
            "sub-folders, which are their labels, or none"
        )
    files = labelled or [(path, "") for path in own]
    if not files:
        raise InputError(f"{folder} holds no pictures: files {', '.join(SUFFIXES)} were expected")
    lossy = sum(path.suffix.lower() in LOSSY for path, _ in files)
    if lossy:
        warn(
            f"{plural(lossy, 'picture')} of {len(files)} in {folder} are JPEG, which is lossy: bits per dimension are "
            "of what they decode to"
        )
    first = _read_file(files[0][0])
    pixels = np.empty((len(files), *first.shape), np.uint8)
    for i, (path, _) in enumerate(files):
        picture = _read_file(path) if i else first
        if picture.shape != first.shape:
            raise InputError(
                f"{files[0][0]} is {_size(first)}, {path} is {_size(picture)}: pictures of one size and kind were "
                "expected; crop or resize them first"
            )
        pixels[i] = picture
    names = [str(path.relative_to(folder)) for path, _ in files]
    return Pictures(pixels, names, [label for _, label in files] if labelled else None)


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _size(picture: np.ndarray) -> str:
    h, w, c = picture.shape
    return f"{h} x {w} pixels of {'grey' if c == 1 else 'colour'}"


def _pillow() -> Any:
    """Pillow, which only pictures in files need."""
    try:
        from PIL import Image
    except ImportError:
        raise InputError(
            "PNG and JPEG files are read by Pillow, which is not installed: pip install 'pushforward[images]'"
        ) from None
    return Image


def _read_file(path: Path) -> UInt8[np.ndarray, "h w c"]:
    image = _pillow()
    from PIL import ImageOps

    try:
        with warnings.catch_warnings():
            # A picture that unpacks to more than memory should hold is refused, not only warned of.
            warnings.simplefilter("error", image.DecompressionBombWarning)
            with image.open(path) as opened:
                if getattr(opened, "n_frames", 1) > 1:
                    raise InputError(f"{path} is animated: one picture a file was expected")
                opened.load()
                turned = ImageOps.exif_transpose(opened)
    except InputError:
        raise
    except (image.DecompressionBombWarning, image.DecompressionBombError) as error:
        raise InputError(f"{path} unpacks to too many pixels: {error}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as a picture ({reason})") from None
    if turned.mode not in MODES:
        kind = INSTEAD.get(turned.mode, f"mode {turned.mode}")
        raise InputError(
            f"{path} has {kind}: grey or colours of 8 bit were expected; convert it, such as by Pillow's "
            ".convert('L') or .convert('RGB')"
        )
    array = np.asarray(turned, np.uint8)
    return array[..., None] if array.ndim == 2 else array


def grid(pixels: UInt8[np.ndarray, "n h w c"], columns: int | None = None) -> np.ndarray:
    """Pictures side by side with a line of 2 pixels between, `(height, width, c)`.

    Arguments:
        pixels: the pictures.
        columns: of the grid; default as square as it gets.

    Raises `InputError` for more pictures than anyone could look at.
    """
    n, h, w, c = pixels.shape
    if n > MOST_IN_GRID:
        raise InputError(
            f"a grid of {n:,} pictures: at most {MOST_IN_GRID:,} were expected; write them to a folder or an .npz file"
        )
    columns = math.ceil(math.sqrt(n)) if columns is None else columns
    lines = math.ceil(n / columns)
    whole = np.full((lines * (h + 2) - 2, columns * (w + 2) - 2, c), 128, np.uint8)
    for i in range(n):
        top, left = (i // columns) * (h + 2), (i % columns) * (w + 2)
        whole[top : top + h, left : left + w] = pixels[i]
    return whole


def write_picture(path: str | Path, picture: UInt8[np.ndarray, "h w c"], *, force: bool) -> None:
    """Write one PNG file, all or nothing. Raises `InputError` if it exists, unless `force`, or cannot be written."""
    target = Path(path)
    check_output(target, force, (".png",))
    with _replacing(target) as part:
        part.write_bytes(as_png(picture))


def as_png(picture: UInt8[np.ndarray, "h w c"]) -> bytes:
    """A picture as the bytes of a PNG file. Raises `InputError` where Pillow is missing."""
    packed = io.BytesIO()
    array = picture[..., 0] if picture.shape[2] == 1 else picture
    _pillow().fromarray(array).save(packed, format="PNG")
    return packed.getvalue()


def write_pictures(
    target: str | Path,
    pixels: UInt8[np.ndarray, "n h w c"],
    labels: Sequence[str] | None = None,
    *,
    force: bool = False,
) -> None:
    """Write pictures into a folder of PNG files, in sub-folders where they have labels, or into one `.npz` or `.npy`.

    Raises `InputError` if the target exists, unless `force`, or cannot be written.
    """
    path = Path(target)
    check_pictures_output(path, force)
    if path.suffix.lower() in ARRAYS:
        _write_arrays(path, pixels, labels)
        return
    digits = len(str(max(len(pixels) - 1, 1)))
    for i, picture in enumerate(pixels):
        folder = path if labels is None else path / labels[i]
        folder.mkdir(parents=True, exist_ok=True)
        write_picture(folder / f"{i:0{digits}}.png", picture, force=True)


def check_pictures_output(target: str | Path, force: bool) -> None:
    """Raise `InputError` unless pictures can be written to a target, see `write_pictures`."""
    path = Path(target)
    if path.suffix.lower() in ARRAYS:
        check_output(path, force, ARRAYS)
    elif path.suffix:
        raise InputError(f"{path}: pictures are written to a folder, or to {' or '.join(ARRAYS)}")
    elif path.exists() and (not path.is_dir() or (any(path.iterdir()) and not force)):
        raise InputError(f"{path} exists and is not an empty folder: give another name, or --force")


def _write_arrays(path: Path, pixels: np.ndarray, labels: Sequence[str] | None) -> None:
    with _replacing(path) as part, part.open("wb") as file:
        if path.suffix.lower() == ".npy":
            np.save(file, pixels)
        elif labels is None:
            np.savez_compressed(file, pictures=pixels)
        else:
            np.savez_compressed(file, pictures=pixels, labels=np.array(labels))


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A file beside the target to write to, which takes its place at the end. Raises `InputError` if that fails."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        put_in_place(part, target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
