"""What the two estimators share: checked tables, names and frames, seeds, settings."""

import numbers
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from pushforward.data.source import check_finite, not_numeric, stand_in_names
from pushforward.errors import InputError
from pushforward.estimators.table_model import TableModel
from pushforward.training import Epoch, Training

# Where an estimator notes in its model's summary what a file could not otherwise tell.
NOTES = "estimator"


def checked_table(estimator: BaseEstimator, X: Any, *, reset: bool) -> np.ndarray:
    """X as finite float64 rows `(n, d)`, its columns learnt (`reset`) or compared with the fitted ones.

    Raises a `ValueError` that names the text column, or the first cell that is missing or infinite.
    """
    try:
        # Cells are checked below, where the message can name row and column. A density needs two
        rows. values = validate_data( estimator, X, reset=reset, dtype=np.float64,
        ensure_all_finite=False, ensure_min_samples=2 if reset else 1, ) except ValueError:
        refuse_text(X, "X") raise names = names_in(estimator) check_finite(values,
        stand_in_names(values.shape[1]) if names is None else names, "X") return values


def refuse_text(frame: Any, where: str) -> None:
    """Raise an `InputError` that names the columns of a frame that are not numeric, if there are any."""
    if frame_kind(frame) is None:
        return
    text, numeric = {}, []
    for name in frame.columns:
        try:
            np.asarray(frame[name], dtype=np.float64)
        except (TypeError, ValueError) as error:
            text[str(name)] = str(error)
        else:
            numeric.append(str(name))
    if text:
        raise not_numeric(where, text, numeric)


def names_in(estimator: Any) -> tuple[str, ...] | None:
    """The names of the fitted columns, or None where the table had none."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else tuple(names)


def frame_kind(table: Any) -> str | None:
    """ "pandas" or "polars" for their frames, else None."""
    # A frame's library is loaded already; an array must not make us load it.
    for kind in ("pandas", "polars"):
        library = sys.modules.get(kind)
        if library is not None and isinstance(table, library.DataFrame):
            return kind
    return None


def as_frame(values: np.ndarray, names: Sequence[str] | None, kind: str | None) -> Any:
    """Rows as a frame of that kind with those names; the array itself where either is None."""
    if kind is None or names is None:
        return values
    if kind == "pandas":
        import pandas

        return pandas.DataFrame(values, columns=list(names))
    import polars

    return polars.DataFrame(values, schema=list(names))


def seed_from(random_state: Any) -> int:
    """A seed by scikit-learn's rule: an int or RandomState repeats, None is drawn from NumPy's global state."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def checked_count(n_samples: Any) -> int:
    """A number of draws. Raises `InputError` for what is not a whole number of at least 1."""
    whole = isinstance(n_samples, numbers.Integral) and not isinstance(n_samples, bool)
    if not whole or n_samples < 1:
        raise InputError(f"n_samples={n_samples!r}: a whole number of at least 1 is needed")
    return int(n_samples)


def fit_options(estimator: Any) -> dict[str, Any]:
    """The keyword arguments of `fit_table` that an estimator's parameters stand for."""
    settings = estimator.training
    if not (settings is None or isinstance(settings, Training)):
        raise InputError(f"training={settings!r}: a pushforward.training.Training is expected")
    limits = {"max_epochs": estimator.max_epochs, "max_time": estimator.max_time}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    if limits:
        settings = replace(settings or Training(), **limits)
    if estimator.precision not in (32, 64):
        raise InputError(f"precision={estimator.precision!r}: 32 or 64 is expected")
    report: Callable[[Epoch], bool | None] | None = _print_epoch if estimator.verbose else None
    return {
        "architecture": estimator.architecture,
        "settings": settings,
        "precision": estimator.precision,
        "seed": seed_from(estimator.random_state),
        "report": report,
    }


def _print_epoch(epoch: Epoch) -> None:
    print(
        f"epoch {epoch.epoch}/{epoch.epochs}: loss {epoch.train_loss:.4f}, held out "
        f"{epoch.validation_loss:.4f} (best {epoch.best_loss:.4f}), {epoch.seconds:.1f} s {epoch.note}",
        file=sys.stderr,
    )


def with_notes(model: TableModel, **notes: Any) -> TableModel:
    """The model with an estimator's notes in its summary, so that they are saved with it."""
    return replace(model, summary={**model.summary, NOTES: notes})


def notes_of(model: TableModel) -> dict[str, Any]:
    """The notes of `with_notes`; empty for a model that no estimator fitted."""
    return dict(model.summary.get(NOTES, {}))


def real_names(
    names: Sequence[str], named: bool | None, letter: str = "x"
) -> tuple[str, ...] | None:
    """A model's column names, or None where they only stand in for names that the table did not have.

    Arguments:
        names: the names that the model holds.
        named: what the estimator noted; None where nobody did, then `x0, x1, ...` count as
            stand-ins.
        letter: the letter of the stand-ins.
    """
    if named is None:
        named = tuple(names) != tuple(f"{letter}{i}" for i in range(len(names)))
    return tuple(names) if named else None
