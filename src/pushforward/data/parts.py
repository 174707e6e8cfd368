"""A table in many files: a folder, or a pattern such as `data/**/*.parquet`, as a list of parts.

Files of an object store are parts whose path is a URL; `data.store` reads them.
"""

import contextlib
import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from pushforward.data.arrays import scan_parquet
from pushforward.data.store import fetched, files_of, is_url, root_of, scan_stored
from pushforward.data.targets import SUFFIXES
from pushforward.errors import InputError
from pushforward.words import plural

PACKED = (".gz", ".zst", ".bz2", ".xz", ".zip")
KNOWN = (*SUFFIXES, ".pq")
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_ANY_DEPTH = "**"


@dataclass(frozen=True)
class Part:
    """One file of a table in many.

    Arguments:
        path: the file, or the URL of one in a store.
        relative: its place below the folder, or below the part of the pattern without wildcards. What is made of the
            part lies at the same place below another folder.
        options: how to reach the store, see `Stream`; default none.

    ```python
    >>> part = Part(Path("data/day=3/b.parquet"), Path("day=3/b.parquet"))
    >>> part.folders
    {'day': '3'}

    ```
    """

    path: Path | str
    relative: Path
    # It may hold keys, which no message shall show.
    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)

    @property
    def suffix(self) -> str:
        """The end of the name that says what the file holds, in lower case."""
        return self.relative.suffix.lower()

    def stamp(self) -> tuple[int, int]:
        """Its size in bytes, and when it was written in nanoseconds; zeros in a store, which Polars does not ask."""
        if isinstance(self.path, str):
            return 0, 0
        stat = self.path.stat()
        return stat.st_size, stat.st_mtime_ns

    def scan(self) -> pl.LazyFrame:
        """The rows of a Parquet file, unread."""
        if isinstance(self.path, str):
            return scan_stored(self.path, self.options)
        return scan_parquet(self.path)

    @contextlib.contextmanager
    def local(self) -> Iterator[Path]:
        """The file, or for a while a copy of one in a store.

        Raises `InputError` where the store does not give it.
        """
        if isinstance(self.path, Path):
            yield self.path
        else:
            with fetched(self.path, self.options) as path:
                yield path

    @property
    def folders(self) -> dict[str, str | None]:
        """The columns that the folders above the file name, as in `day=3/`, with their values as text; None for a
        missing one. They are no columns of the file."""
        pairs = (name.partition("=") for name in re.split(r"[/\\]", str(self.path))[:-1])
        return {
            name: None if value == NO_VALUE else unquote(value)
            for name, equals, value in pairs
            if name and equals
        }


def in_parts(source: str | Path) -> bool:
    """Whether a source names many files: a folder, a pattern that is no file's own name, or a URL."""
    text = str(source)
    return (
        is_url(text) or os.path.isdir(text) or (glob.has_magic(text) and not os.path.exists(text))
    )


def holds_tables(folder: str | Path) -> bool:
    """Whether some file in a folder, or below it, is a table by its suffix."""
    return any(map(_is_table, _found(str(folder))))


def parts_of(source: str | Path, options: Mapping[str, Any] | None = None) -> tuple[Part, ...]:
    """The files of a table in many, in natural order: `part-2` comes before `part-10`.

    Files and folders whose names begin with a dot or an underline are left out, as engines keep what is unfinished
    there; so are files that are no tables by their suffix. A file that several links lead to is one part.

    Arguments:
        source: a folder, with all tables in it and below; a pattern with `*`, `?`, `[...]`, and `**` for any number of
            folders; one file; or a URL of any of them.
        options: how to reach the store of a URL, see `Stream`; default None.

    Raises `InputError` where there is none.

    ```python
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("p10.csv", "p2.csv", "README.md"):
    ...     _ = (folder / name).write_text("a\\n1\\n")
    >>> [str(part.relative) for part in parts_of(folder)]
    ['p2.csv', 'p10.csv']

    ```
    """
    text = str(source)
    if is_url(text):
        return _stored(text, options or {})
    if not in_parts(text):
        if not os.path.exists(text):
            raise InputError(f"{text}: no such file or folder")
        return (Part(Path(text), Path(Path(text).name)),)
    folder = os.path.isdir(text)
    root = Path(text) if folder else _root(text)
    found = _found(text)
    places = {path: path.relative_to(root) for path in found if _is_table(path)}
    shown = [path for path, place in places.items() if not any(map(_hidden, place.parts))]
    if not shown:
        nothing = "the folder holds no tables" if folder else "the pattern matches no tables"
        others = f", but {plural(len(found), 'other file')}" if found else ""
        raise InputError(f"{text}: {nothing}{others}; known are {', '.join(SUFFIXES)}")
    own: dict[str, Path] = {}
    for path in sorted(shown, key=lambda path: (len(path.parts), str(path))):
        own.setdefault(os.path.realpath(path), path)
    ordered = sorted(own.values(), key=lambda path: _natural(places[path]))
    return tuple(Part(path, places[path]) for path in ordered)


def _stored(url: str, options: Mapping[str, Any]) -> tuple[Part, ...]:
    root = root_of(url)
    places = {file: Path(file.removeprefix(root)) for file in files_of(url, options)}
    shown = [file for file, place in places.items() if not any(map(_hidden, place.parts))]
    if not shown:
        raise InputError(f"{url}: no Parquet files are there")
    ordered = sorted(shown, key=lambda file: _natural(places[file]))
    kept = tuple(sorted(options.items()))
    return tuple(Part(file, places[file], kept) for file in ordered)


def share_of(parts: Sequence[Part], share: str | None) -> tuple[Part, ...]:
    """The parts that fall to one of several workers: of `3/16` the third, the nineteenth and so on; all for None.

    Raises `InputError` for another text.

    ```python
    >>> parts = [Part(Path(name), Path(name)) for name in "abcde"]
    >>> [str(part.path) for part in share_of(parts, "2/3")]
    ['b', 'e']

    ```
    """
    number, of = share_numbers(share)
    return tuple(parts[number - 1 :: of])


def share_numbers(share: str | None) -> tuple[int, int]:
    """I and N of `I/N`, with 1 <= I <= N; 1 and 1 for None.

    Raises `InputError` for another text.
    """
    if share is None:
        return 1, 1
    found = re.fullmatch(r"\s*([0-9]+)\s*/\s*([0-9]+)\s*", share)
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of:
        raise InputError(
            f"--part {share}: I/N is expected, I from 1 to N; the third of 16 workers is 3/16"
        )
    return number, of


def _found(source: str) -> list[Path]:
    """The files that a folder holds or a pattern names, with those in folders that it names."""
    folder = os.path.isdir(source)
    root = Path(source) if folder else _root(source)
    patterns = (_ANY_DEPTH, "*") if folder else Path(source).parts[len(root.parts) :]
    if not root.is_dir():
        return []
    return [path for path in _matches(root, patterns, set()) if path.is_file()]


def _matches(
    folder: Path, patterns: tuple[str, ...], seen: set[tuple[str, tuple[str, ...]]]
) -> Iterator[Path]:
    """What lies below a folder at a place that the patterns, one for each level, describe.

    `glob` would walk in circles where links lead back, in time that doubles with every level.
    """
    state = (os.path.realpath(folder), patterns)
    if state in seen:
        return
    seen.add(state)
    first, rest = patterns[0], patterns[1:]
    with os.scandir(folder) as entries:
        # Folders by their own names before links to them.
        listed = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    if first == _ANY_DEPTH:
        yield from _matches(folder, rest or ("*",), seen)
    for entry in listed:
        path = folder / entry.name
        if first == _ANY_DEPTH:
            if entry.is_dir() and not _hidden(entry.name):
                yield from _matches(path, patterns, seen)
        elif fnmatchcase(entry.name, first):
            if entry.is_dir():
                yield from _matches(path, rest or (_ANY_DEPTH, "*"), seen)
            elif not rest:
                yield path


def _root(pattern: str) -> Path:
    """The folders at the beginning of a pattern that have no wildcards."""
    parts = Path(pattern).parts
    # `[*]`, `[?]` and `[[]` stand for the character itself.
    wild = (glob.has_magic(re.sub(r"\[[*?[]\]", "", part)) for part in parts[:-1])
    fixed = next((i for i, is_wild in enumerate(wild) if is_wild), len(parts) - 1)
    return Path(*(re.sub(r"\[([*?[])\]", r"\1", part) for part in parts[:fixed]))


def _is_table(path: Path) -> bool:
    suffixes = [suffix for suffix in map(str.lower, path.suffixes) if suffix not in PACKED]
    return bool(suffixes) and suffixes[-1] in KNOWN


def _hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _natural(path: Path) -> list[tuple[list[str | int], str]]:
    """What sorts names as people do: numbers in them by size."""
    return [
        ([int(s) if i % 2 else s for i, s in enumerate(re.split(r"(\d+)", part))], part)
        for part in path.parts
    ]
