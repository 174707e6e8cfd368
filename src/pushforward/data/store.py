"""Parquet files in object stores and on web servers, by URL, as Polars reads them.

Polars finds credentials where the stores' own tools keep them: in the environment (`AWS_ACCESS_KEY_ID`,
`AWS_ENDPOINT_URL`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, ...), in their files, and from the machine.
"""

import contextlib
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from pushforward.errors import InputError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_WILD = re.compile(r"[*?\[]")
_FILE = "__file__"


def is_url(source: str | Path) -> bool:
    """Whether a source is a URL, such as `s3://bucket/data/`.

    ```python
    >>> is_url("s3://bucket/data/*.parquet"), is_url("data/*.parquet")
    (True, False)

    ```
    """
    return isinstance(source, str) and _SCHEME.match(source) is not None


def root_of(url: str) -> str:
    """What of a URL has no wildcards and ends with a slash: parts have their places below it.

    ```python
    >>> root_of("s3://b/data/day=*/x.parquet"), root_of("s3://b/x.parquet"), root_of("s3://b/data")
    ('s3://b/data/', 's3://b/', 's3://b/data/')

    ```
    """
    wild = _WILD.search(url)
    if wild is None and not _is_file(url):
        return url.rstrip("/") + "/"
    return url[: url.rindex("/", 0, None if wild is None else wild.start()) + 1]


def files_of(url: str, options: Mapping[str, Any]) -> list[str]:
    """The URLs of the Parquet files that one stands for: one file, a pattern, or a folder with all below.

    Raises `InputError` where the store cannot be reached, or has none.
    """
    if _WILD.search(url) is None:
        if _is_file(url):
            return [url]
        # Polars lists a store only by reading the footers of what it finds there.
        url = url.rstrip("/") + "/**/*.parquet"
    with _refused(url), warnings.catch_warnings():
        # That a region is looked up is no news.
        warnings.simplefilter("ignore")
        rows = pl.scan_parquet(
            url,
            include_file_paths=_FILE,
            hive_partitioning=False,
            missing_columns="insert",
            extra_columns="ignore",
            storage_options=_dict(options),
        )
        try:
            found = rows.select(pl.col(_FILE).unique()).collect()
        except pl.exceptions.ComputeError as error:
            if "expanded paths were empty" not in str(error):
                raise
            raise InputError(f"{url}: no Parquet files are there") from None
    files: list[str] = found.to_series().to_list()
    return files


def scan_stored(url: str, options: tuple[tuple[str, Any], ...]) -> pl.LazyFrame:
    """Scan exactly this file; its name is no pattern, and folders are not columns."""
    return pl.scan_parquet(
        url, glob=False, hive_partitioning=False, storage_options=_dict(dict(options))
    )


@contextlib.contextmanager
def fetched(url: str, options: tuple[tuple[str, Any], ...]) -> Iterator[Path]:
    """A copy of a file in a temporary folder, with the same rows.

    Raises `InputError` where it cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "part.parquet"
        with _refused(url):
            scan_stored(url, options).sink_parquet(copy, compression="lz4")
        yield copy


@contextlib.contextmanager
def _refused(url: str) -> Iterator[None]:
    """Turn what goes wrong in a store into one line."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:240] or type(error).__name__
        raise InputError(f"{url}: cannot be read from its store ({reason})") from None


def _is_file(url: str) -> bool:
    return url.lower().endswith((".parquet", ".pq"))


def _dict(options: Mapping[str, Any]) -> Any:
    # None lets Polars look into the environment alone.
    return dict(options) or None
