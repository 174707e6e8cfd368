"""What the density estimators share: checks of tables, names of columns, seeds, settings of a fit."""

import numbers
import sys
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from os import PathLike
from typing import Any, Self

import numpy as np
from sklearn import __version__ as sklearn_version
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.fixes import parse_version
from sklearn.utils.validation import check_is_fitted, validate_data

from pushforward.columns import Columns
from pushforward.columns.values import LARGEST_EXACT_INTEGER, refuse_merged
from pushforward.data.source import choose, not_numeric
from pushforward.dataframes import columns_of, dated, frame_kind, huge_numbers
from pushforward.distributions import Flow
from pushforward.errors import InputError, check_count, warn
from pushforward.models.table_file import save_table_model
from pushforward.models.table_model import TableModel
from pushforward.rows import unmasked
from pushforward.series.observations import is_several
from pushforward.training import Epoch, Step, Training

# Seconds between signs within an epoch.
SECONDS_BETWEEN = 30.0
# Lines that tell of a fit whose epochs are short.
LINES = 20
# The first version of scikit-learn that knows frames by Narwhals.
_NARWHALS = parse_version("1.9")


RandomSource = int | np.random.RandomState | np.random.Generator | None
"""What randomness comes from."""


class OfTableModel:
    """Methods of any estimator that holds a `TableModel`."""

    model_: TableModel

    def with_flow(self, change: Callable[[Flow], Flow]) -> Self:
        """A copy of the fitted estimator with a changed flow; see `TableModel.with_flow`.

        Arguments:
            change: from the flow to the new one.

        Raises `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        changed = copy(self)
        changed.model_ = self.model_.with_flow(change)
        return changed

    def save(self, path: str | PathLike[str], *, force: bool = True) -> None:
        """Write the fitted density to a safetensors file.

        `pushforward.load` and the command line read it. It holds the model, not the settings of the fit.

        Arguments:
            path: the file.
            force: whether an existing file may be replaced; default True.

        Raises `NotFittedError` before `fit`, `InputError` where the file cannot be written.
        """
        check_is_fitted(self)
        save_table_model(self.model_, path, force)


def checked_table(estimator: BaseEstimator, X: Any, *, reset: bool) -> np.ndarray:
    """X as rows `(n, d)` of float64, or of float32 where X is. With `reset` the columns are recorded, otherwise they
    must be the recorded ones. The receiver of the rows checks the cells.

    Raises `ValueError` naming a column of text.
    """
    model: TableModel | None = None if reset else estimator.model_
    X = readable(X, "X", None if model is None else model.condition or model.columns)
    try:
        # Cells are checked later, where the message can name row and column.
        values: np.ndarray = validate_data(
            estimator,
            with_names(X),
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=2 if reset else 1,
        )
    except (TypeError, ValueError):
        refuse_text(X, "X")
        raise
    return values


def warn_of_outside(model: TableModel, values: np.ndarray) -> None:
    """Warn of rows with density 0: a value in them is impossible for its column.

    Arguments:
        model: the density.
        values: `(n, d)` rows of its columns.
    """
    bad, what = model.columns.outside(values)
    if bad.any():
        warn(
            f"{bad.sum():,} of {len(values):,} rows are impossible (log-density -inf), the first in row "
            f"{bad.argmax() + 1}: {what}"
        )


class _Interchange:
    """A Polars frame that shows its names to scikit-learn before 1.9.

    Those versions look for the old interchange protocol, which Polars 2 has dropped. Without the names, swapped columns
    would be scored in each other's place.
    """

    def __init__(self, frame: Any):
        self.frame, self.shape = frame, frame.shape

    def __dataframe__(self) -> Self:
        return self

    def column_names(self) -> list[str]:
        return list(self.frame.columns)

    def num_rows(self) -> int:
        return len(self.frame)

    def num_columns(self) -> int:
        return len(self.frame.columns)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.frame.to_numpy(), dtype=dtype)


def with_names(table: Any) -> Any:
    """The table as scikit-learn of any version sees its names."""
    unseen = frame_kind(table) == "polars" and not hasattr(table, "__dataframe__")
    return _Interchange(table) if unseen and parse_version(sklearn_version) < _NARWHALS else table


def readable(table: Any, where: str, seen: Columns | None = None) -> Any:
    """The table, with masked entries of an array replaced by NaN.

    Arguments:
        table: a frame or an array.
        where: what to call it.
        seen: the fitted columns; None while fitting.

    Raises `InputError` for a lazy frame, columns of one name, dates and spans of time, and whole numbers that floats
    cannot tell apart.
    """
    if hasattr(table, "collect_schema") and hasattr(table, "collect"):
        raise InputError(f"{where}: a lazy frame has no rows yet; give {where}.collect()")
    if frame_kind(table) is None:
        table = unmasked(table)
    else:
        # As in a file: a name that stands twice is refused.
        choose([str(name) for name in table.columns], None, where)
    if (which := dated(table, where.lower())) is not None:
        raise InputError(
            f"{where}: {which} holds dates or spans of time; give them as numbers, such as days since a first one"
        )
    refuse_huge(table, where, where.lower(), seen)
    return table


def refuse_huge(table: Any, where: str, stem: str = "", seen: Columns | None = None) -> None:
    """Raises `InputError` for whole numbers that would become equal as floats.

    Arguments:
        table, where, seen: as of `readable`.
        stem: prefix of the names given to unnamed columns.
    """
    for i, (name, column) in enumerate(columns_of(table, stem)):
        cells = huge_numbers(column, LARGEST_EXACT_INTEGER)
        if cells is not None:
            ends = None
            if seen is not None and i < len(seen.names):
                ends = seen.kinds[i].lower, seen.kinds[i].upper
            refuse_merged(cells, name, where, ends)


def refuse_huge_series(times: Any, series: Any) -> None:
    """Raises `InputError` for times or values of which floats would merge neighbouring ones."""
    several = is_several(times)
    for what, given in (("times", times), ("values", series)):
        for i, part in enumerate(given if several and hasattr(given, "__len__") else [given]):
            refuse_huge(part, f"the {what} of series {i}" if several else f"the {what}")


def refuse_text(frame: Any, where: str) -> None:
    """Raise an `InputError` naming the columns of a frame that are not numeric, if any."""
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
        raise not_numeric(where, text, numeric, suggest=False)


def names_in(estimator: Any) -> tuple[str, ...] | None:
    """The names of the fitted columns, or None where the table had none."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else tuple(names)


def seed_from(random_state: RandomSource) -> int:
    """A seed, by scikit-learn's rule: None draws it from NumPy's global state. A Generator is accepted too.

    An int is the seed itself, so that it means the same as `--seed` on the command line. Raises `InputError` for
    anything else.
    """
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(np.iinfo(np.int32).max))
    try:
        state = check_random_state(random_state)
    except (TypeError, ValueError):
        given = " ".join(repr(random_state).split())
        raise InputError(
            f"random_state={given[:80]}: a whole number from 0 to 2**32 - 1, a RandomState or Generator of NumPy, "
            "or None is expected"
        ) from None
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(state.randint(np.iinfo(np.int32).max))


def checked_count(n_samples: Any) -> int:
    """A number of draws. Raises `InputError` unless it is a whole number of at least 1."""
    check_count("n_samples", n_samples)
    return int(n_samples)


def fit_options(estimator: Any) -> dict[str, Any]:
    """The keyword arguments of `fit_table` that an estimator's parameters stand for."""
    architecture = estimator.architecture
    usable = isinstance(architecture, str) or hasattr(architecture, "build")
    if not usable or isinstance(architecture, type):
        raise InputError(
            f"architecture={architecture!r}: 'auto', a name or an instance such as NSF() is expected"
        )
    if not (estimator.columns is None or isinstance(estimator.columns, Mapping)):
        raise InputError(
            f"columns={estimator.columns!r}: kinds by name are expected, such as {{'age': pushforward.columns.Whole()}}"
        )
    settings = estimator.training
    if not (settings is None or isinstance(settings, Training)):
        raise InputError(f"training={settings!r}: a pushforward.training.Training is expected")
    limits = {"max_epochs": estimator.max_epochs, "max_time": estimator.max_time}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    if limits:
        settings = replace(settings or Training(), **limits)
    if estimator.precision not in (32, 64):
        raise InputError(f"precision={estimator.precision!r}: 32 or 64 is expected")
    report: Callable[[Epoch], bool | None] | None = print_epoch if estimator.verbose else None
    return {
        "architecture": architecture,
        "columns": estimator.columns,
        "training": settings,
        "precision": estimator.precision,
        "seed": seed_from(estimator.random_state),
        "report": report,
        "progress": StagePrinter() if estimator.verbose else None,
    }


class StagePrinter:
    """Prints each stage of a fit to stderr, and a line every half minute within an epoch."""

    def __init__(self) -> None:
        self._stage, self._printed = "", time.monotonic()

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        if step.stage != self._stage:
            self._stage, self._printed = step.stage, now
            print(step.stage, file=sys.stderr)
        elif step.step and now - self._printed >= SECONDS_BETWEEN:
            self._printed = now
            where = f"epoch {step.epoch}/{step.epochs}, step {step.step:,} of {step.steps:,}"
            print(f"{where}: loss {step.loss:.4f}, {step.seconds:.0f} s", file=sys.stderr)


def print_epoch(epoch: Epoch, where: str = "") -> None:
    """Print one line about an epoch to stderr."""
    losses = f"loss {epoch.train_loss:.4f}, held out {epoch.validation_loss:.4f}"
    done = f"{where}epoch {epoch.epoch}/{epoch.epochs}: {losses} (best {epoch.best_loss:.4f})"
    print(f"{done}, {epoch.seconds:.1f} s {epoch.note}".rstrip(), file=sys.stderr)


def print_some(epoch: Epoch, where: str) -> None:
    """Print at most `LINES` epochs of a fit, the last among them."""
    if epoch.epoch % -(-epoch.epochs // LINES) == 0 or epoch.epoch == epoch.epochs:
        print_epoch(epoch, where)
