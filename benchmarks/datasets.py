"""The real tables the density benchmark is scored on, read from the folder in PUSHFORWARD_DATA."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Rows to fit on and rows to be judged on, both float32."""

    train: np.ndarray
    test: np.ndarray


class Absent(Exception):
    """The data is not on this machine; the message says what is missing."""


def _file(name: str) -> Path:
    folder = os.environ.get("PUSHFORWARD_DATA")
    if not folder:
        raise Absent("PUSHFORWARD_DATA is not set to the folder with the data")
    path = Path(folder) / name
    if not path.is_file():
        raise Absent(f"{path} is absent")
    return path


def _gas30k() -> Split:
    arrays = np.load(_file("gas30k.npz"))
    return Split(np.concatenate([arrays["train"], arrays["valid"]]), arrays["test"])


def _miniboone7k() -> Split:
    arrays = np.load(_file("miniboone7k.npz"))
    return Split(arrays["train"], arrays["test"])


def _gw150914_posterior() -> Split:
    import polars as pl

    rows = pl.read_parquet(_file("gw150914_posterior.parquet")).to_numpy().astype(np.float64)
    order = np.random.default_rng(0).permutation(len(rows))
    cut = len(rows) * 4 // 5
    train, test = rows[order[:cut]], rows[order[cut:]]
    mean, std = train.mean(axis=0), train.std(axis=0)  # in float64: `tc` needs its last digits
    return Split((train - mean) / std, (test - mean) / std)


DATASETS: dict[str, Callable[[], Split]] = {
    "gas30k": _gas30k,
    "miniboone7k": _miniboone7k,
    "gw150914_posterior": _gw150914_posterior,
}


def load(name: str) -> Split:
    """The named data set, or `Absent` with the reason."""
    return Split(*(np.ascontiguousarray(part, np.float32) for part in DATASETS[name]()))
