"""Scores and draws on a Dask cluster: one task for each partition, the same numbers as on one machine. An extra:
`pip install 'pushforward[dask]'`.

A model goes to the workers as its file, a path that all of them can read or the bytes of it, and each process reads it
once. A task that is done again because its worker died gives the same rows.
"""

import hashlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pushforward.errors import InputError, check_count
from pushforward.model_file import read_header
from pushforward.models.table_file import load_table_model
from pushforward.models.table_model import TableModel
from pushforward.models.typed_file import load_typed_table
from pushforward.models.typed_table import TypedTable

try:
    import dask
    import dask.dataframe
    import pandas
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}: pip install 'pushforward[dask]'") from None

__all__ = ["sample", "score"]

Model = str | os.PathLike[str] | bytes


def score(frame: Any, model: Model) -> Any:
    """The log-density of every row of a Dask frame in nats, of a typed table its log-probability.

    Cost: that of `pushforward score`, on all workers; nothing is shuffled. What is written of the result should have a
    name for each partition, as `to_parquet` gives it, so that a task done twice is written once.

    Arguments:
        frame: a `dask.dataframe.DataFrame` with the model's columns, and those of its condition.
        model: a model of a table, the path of its file or the file's bytes.

    Returns a `dask.dataframe.Series` of float64 named `log_prob`, with the partitions and the index of the frame.

    Raises `InputError` at once for a model or a frame that will not do, and in the task for cells that will not.

    ```python
    >>> import dask.dataframe as dd, numpy as np, pandas as pd, pathlib, tempfile
    >>> import pushforward as pf
    >>> from pushforward.fitting.fit_table import fit_table
    >>> from pushforward.models.table_file import save_table_model
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> tiny = pf.architectures.RealNVP(layers=1, width=8)
    >>> model = fit_table(x, architecture=tiny, training=pf.Training(max_epochs=1))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "m.safetensors"
    >>> save_table_model(model, path)
    >>> table = dd.from_pandas(pd.DataFrame(x, columns=["x0", "x1"]), npartitions=4)
    >>> found = score(table, path)
    >>> found.name, len(found.compute(scheduler="synchronous"))
    ('log_prob', 500)

    ```
    """
    fitted = _loaded(*_key(model))
    if missing := [name for name in _names(fitted) if name not in frame.columns]:
        raise InputError(f"the frame lacks column '{missing[0]}', which the model has")
    meta = pandas.Series(dtype="float64", name="log_prob")
    return frame[_names(fitted)].map_partitions(_scores, _sent(model), meta=meta)


def sample(model: Model, n: int, seed: int, npartitions: int) -> Any:
    """Draws as a Dask frame: the rows of `pushforward sample` with the same seed, in its order.

    Each partition draws blocks of its own; where there are fewer blocks than partitions some of these are empty.

    Arguments:
        model: a model of a table without a condition, the path of its file or the file's bytes.
        n: the number of rows.
        seed: of the draws.
        npartitions: the number of partitions.

    Returns a `dask.dataframe.DataFrame` with the model's columns; whole numbers are int64, of a typed table all types
    are those of Arrow.

    Raises `InputError` for a model with a condition, and for numbers that are not positive.
    """
    check_count("n", n)
    check_count("npartitions", npartitions)
    fitted, source = _loaded(*_key(model)), _sent(model)
    if isinstance(fitted, TableModel) and fitted.condition is not None:
        raise InputError(
            "the model has a condition: draw from it by `pushforward sample --condition`"
        )
    draws = dask.delayed(_draws)
    parts = [draws(source, n, seed, (i, npartitions)) for i in range(1, npartitions + 1)]
    return dask.dataframe.from_delayed(parts, meta=_framed(fitted, None), verify_meta=False)


def _names(fitted: TableModel | TypedTable) -> list[str]:
    if isinstance(fitted, TypedTable):
        return [column.name for column in fitted.columns.every]
    return [*fitted.columns.names, *(() if fitted.condition is None else fitted.condition.names)]


def _sent(model: Model) -> Any:
    """The model as an argument of tasks: bytes are one object of the graph, not one of each task."""
    return dask.delayed(model) if isinstance(model, bytes) else os.fspath(model)


def _key(model: Model) -> tuple[str | bytes, str]:
    """A model and what tells it from a later one."""
    if isinstance(model, bytes):
        return model, hashlib.sha256(model).hexdigest()
    return os.fspath(model), str(read_header(model).get("sha256"))


@lru_cache(maxsize=4)
def _loaded(model: str | bytes, digest: str) -> TableModel | TypedTable:
    if isinstance(model, bytes):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.safetensors")
            path.write_bytes(model)
            return _loaded.__wrapped__(str(path), digest)
    kind = read_header(model).get("kind")
    return load_typed_table(model) if kind == "typed" else load_table_model(model)


def _scores(frame: Any, model: str | bytes) -> Any:
    """The scores of a partition."""
    fitted = _loaded(*_key(model))
    if not len(frame):
        scores = np.zeros(0)
    elif isinstance(fitted, TypedTable):
        scores = fitted.log_prob(frame)
    else:
        values = frame[_names(fitted)].to_numpy(np.float64, na_value=np.nan)
        width = len(fitted.columns.names)
        condition = None if fitted.condition is None else values[:, width:]
        scores = fitted.log_prob(values[:, :width], condition)
    return pandas.Series(scores, frame.index, np.float64, "log_prob")


def _draws(model: str | bytes, n: int, seed: int, share: tuple[int, int]) -> Any:
    """The draws of a partition."""
    fitted = _loaded(*_key(model))
    if isinstance(fitted, TypedTable):
        return _framed(fitted, fitted.sample(n, seed, share=share))
    empty = np.zeros((0, len(fitted.columns.names)))
    return _framed(fitted, np.concatenate([empty, *fitted.sample_blocks(n, seed, share=share)]))


def _framed(fitted: TableModel | TypedTable, rows: Any) -> Any:
    """Draws as a frame; without rows for None."""
    if isinstance(fitted, TypedTable):
        frame: pl.DataFrame = fitted.sample(0, 0) if rows is None else rows
        return frame.to_pandas(use_pyarrow_extension_array=True)
    columns, whole = fitted.columns.names, fitted.columns.whole
    rows = np.zeros((0, len(columns))) if rows is None else rows
    kinds = {
        name: np.int64 if flag else np.float64 for name, flag in zip(columns, whole, strict=True)
    }
    return pandas.DataFrame(rows, columns=list(columns)).astype(kinds)
