"""Deprecated: what was `Preprocessing` is `pushforward.columns.Columns`."""

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    if name != "Preprocessing":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pushforward.columns import Columns

    warnings.warn(
        "pushforward.data.preprocess.Preprocessing is now pushforward.columns.Columns",
        DeprecationWarning,
        stacklevel=2,
    )
    return Columns
