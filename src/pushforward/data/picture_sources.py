"""Which files hold pictures; light, as every fit of the command line asks."""

import zipfile
from pathlib import Path
from typing import Any

SUFFIXES = (".png", ".jpg", ".jpeg")
ARRAYS = (".npy", ".npz")
SETS = ("mnist:train", "mnist:test")


def holds_pictures(source: str | Path) -> bool:
    """Whether a source is one of pictures: a folder, a picture, IDX, the name of a set, or an array of 3 or 4 axes."""
    if str(source) in SETS:
        return True
    path = Path(source)
    if path.is_dir() or path.suffix.lower() in SUFFIXES or is_idx(path):
        return True
    if path.suffix.lower() not in ARRAYS or not path.is_file():
        return False
    return any(len(shape) in (3, 4) for shape in _shapes(path))


def is_idx(path: Path) -> bool:
    """Whether a file's name is that of one in IDX format."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith((".idx", "-ubyte", "-idx3", ".idx3"))


def _shapes(path: Path) -> list[tuple[int, ...]]:
    """The shapes of the arrays in a file, by their headers."""
    from numpy.lib import format as header

    def shape(stream: Any) -> tuple[int, ...]:
        version = header.read_magic(stream)
        read = header.read_array_header_1_0 if version == (1, 0) else header.read_array_header_2_0
        found: tuple[int, ...] = read(stream)[0]
        return found

    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return [shape(file)]
        with zipfile.ZipFile(path) as archive:
            shapes = []
            for name in archive.namelist():
                with archive.open(name) as member:
                    shapes.append(shape(member))
            return shapes
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        # The reader of tables says what is wrong with it.
        return []
