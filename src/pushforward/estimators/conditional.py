"""The density of targets given features, as a scikit-learn estimator."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from pushforward.architectures import Architecture
from pushforward.columns import AbstractColumn, Columns
from pushforward.columns.names import stand_in_names
from pushforward.dataframes import frame_kind
from pushforward.errors import InputError
from pushforward.estimators.frames import common_type, typed, types_of
from pushforward.estimators.nested import NestedParameters
from pushforward.estimators.shared import (
    OfTableModel,
    RandomSource,
    checked_count,
    checked_table,
    fit_options,
    names_in,
    readable,
    refuse_text,
    seed_from,
    warn_of_outside,
)
from pushforward.fitting.fit_table import fit_table
from pushforward.models.notes import names_of, notes_of, with_notes
from pushforward.models.table_model import TableModel
from pushforward.training import Training
from pushforward.trust.draws import warn_of_draws
from pushforward.words import quoted


class ConditionalFlowDensity(OfTableModel, NestedParameters):
    """A conditional normalizing flow as a scikit-learn estimator: the whole density p(y | X), not only its mean.

    For each row x of X the targets are the image `y = f(z; x)` of a simple base density, so that

        log p(y | x) = log p_base(z) + log |det dz/dy|,    z = f^-1(y; x)

    exactly. y may have one column or many (their joint density is modelled). Densities are in nats,
    in the units of y. There is no `predict`: the mean of p(y | x) has no closed form; average draws
    of `sample` where it is wanted.

    Arguments:
        architecture: "auto" (default), a name in `pushforward.architectures.ARCHITECTURES`, or an
            instance such as `NSF(layers=3)`. `GridSearchCV` searches over instances, and over fields such as
            `architecture__width` and `training__learning_rate`.
        columns: kinds of columns by name, where they are not to be guessed, such as `{"age": pf.columns.Whole(),
            "share": pf.columns.Bounded(0, 1), "wind": pf.columns.Angle(360)}`; features without names are
            `x0, x1, ...`, targets `y0, y1, ...`; features may be angles, and have no bounds. Default None: all are
            guessed.
        training: how to train; default `Training()`.
        max_epochs: passes over the data, in place of the one in `training`; default None.
        max_time: seconds, in place of those in `training`; default None. Under a time limit,
            results repeat only roughly.
        precision: bits of the arithmetic, 32 (default) or 64.
        holdout: "random" (default), or "last" where rows follow each other in time: which rows are held out.
        random_state: an int for a fit that repeats on one machine, a RandomState or Generator, or None (default)
            for NumPy's global state.
        verbose: whether to write a line for every epoch to stderr; default False.

    Attributes:
        model_: the fitted `TableModel`.
        n_features_in_: number of columns of X.
        feature_names_in_: their names, only where X was a frame with string names.
        target_names_: names of y's columns, a tuple; None where y had none.

    Raises `InputError`, a `ValueError`, for a column that is a copy of another or contradicts its declared kind, for
    missing or infinite cells, dates, text, or wrong parameters. Warns of columns that follow from others, such as a
    total beside its parts.

    Source: Winkler et al. 2019, "Learning likelihoods with conditional normalizing flows", arXiv
    1912.00042.

    ```python
    >>> import numpy as np
    >>> from pushforward.architectures import RealNVP
    >>> from pushforward.estimators import ConditionalFlowDensity
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2))
    >>> y = X[:, 0] + 0.1 * rng.normal(size=500)
    >>> density = ConditionalFlowDensity(RealNVP(layers=2, width=16), max_epochs=3, random_state=0)
    >>> density.fit(X, y).log_prob(X[:3], y[:3]).shape
    (3,)
    >>> density.sample(X[:3], 10, random_state=1).shape
    (3, 10)

    ```
    """

    def __init__(
        self,
        architecture: str | Architecture = "auto",
        *,
        columns: Mapping[str, AbstractColumn | str] | None = None,
        training: Training | None = None,
        max_epochs: int | None = None,
        max_time: float | None = None,
        precision: int = 32,
        holdout: str = "random",
        random_state: RandomSource = None,
        verbose: bool = False,
    ):
        self.architecture = architecture
        self.columns = columns
        self.training = training
        self.max_epochs = max_epochs
        self.max_time = max_time
        self.precision = precision
        self.holdout = holdout
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, *, groups: Any = None) -> Self:
        """Fit p(y | X).

        Arguments:
            X: `(n_samples, n_features)` numbers, finite: an array, or a pandas or Polars frame.
            y: `(n_samples,)` or `(n_samples, n_targets)`: an array, series or frame. Targets without names, or with
                a feature's, are called `y0, y1, ...` in a saved model.
            groups: `(n_samples,)` labels, such as persons: rows of one are held out together; default None.

        Returns the estimator. Raises `InputError` (see the class).
        """
        if y is None:
            # The words that scikit-learn's own validation uses.
            raise InputError(
                f"This {type(self).__name__} estimator requires y to be passed, "
                "but the target y is None."
            )
        condition = checked_table(self, X, reset=True)
        names = _names_of_targets(y)
        features = names_in(self) or stand_in_names(condition.shape[1])
        if set(names or ()) & set(features):
            names = None
        targets, ndim = _checked_targets(y, condition, names)
        model = fit_table(
            targets,
            condition,
            names=_stand_in_targets(targets.shape[1], features) if names is None else names,
            condition_names=features,
            called=("y", "X"),
            holdout=self.holdout,
            groups=groups,
            **fit_options(self),
        )
        self.model_ = with_notes(
            model,
            named=names_in(self) is not None,
            target_named=names is not None,
            target_ndim=ndim,
            target_type=common_type(types_of(y)),
        )
        self.target_names_ = names
        return self

    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """Log-density of each row's targets given its features, `(n_samples,)` float64.

        In nats, in the units of y. However far a row lies from the data, its log-density is finite, but for a value
        that its column cannot hold, beyond declared bounds or other than a constant: it is then `-inf`, with one
        warning.

        Arguments:
            X: `(n_samples, n_features)`; of a frame, the names must be the fitted ones, in the
                fitted order.
            y: `(n_samples,)` or `(n_samples, n_targets)`; of a frame, the same holds.

        Raises `ValueError` where columns differ from the fitted ones, numbers of rows differ or
        cells are not finite, `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        condition = checked_table(self, X, reset=False)
        names = _names_of_targets(y)
        if names is not None and self.target_names_ is not None and names != self.target_names_:
            raise InputError(
                f"y has the columns {quoted(names)}; fitted were {quoted(self.target_names_)}, "
                "in this order"
            )
        targets, _ = _checked_targets(y, condition, names, self.model_.columns)
        log_prob = self.model_.log_prob(targets, condition)
        warn_of_outside(self.model_, targets)
        return log_prob

    def score(self, X: Any, y: Any) -> float:
        """Mean log-density of y given X, nats per row; arguments and errors as in `log_prob`."""
        return float(self.log_prob(X, y).mean())

    def sample(
        self,
        X: Any,
        n_samples: int = 1,
        random_state: RandomSource = None,
    ) -> np.ndarray:
        """Draw targets for each row of X, in the units of y, integer columns as whole numbers.

        Arguments:
            X: `(n_rows, n_features)`, as for `log_prob`.
            n_samples: draws for each row; default 1.
            random_state: an int for draws that repeat, a RandomState or Generator, or None (default) for fresh
                draws.

        Returns an array `(n_rows, n_samples)` if fitted on a one-dimensional y, else
        `(n_rows, n_samples, n_targets)`, its last axis in the order of `target_names_`; of the type of a series or
        frame that was fitted, which for several columns is the one that holds all of theirs, else float64. Raises
        `InputError` for n_samples below 1, `ValueError` where the columns of X differ from the
        fitted ones, `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        warn_of_draws(self.model_)
        condition = checked_table(self, X, reset=False)
        n = checked_count(n_samples)
        draws = self.model_.sample(n, seed_from(random_state), condition)
        notes = notes_of(self.model_)
        draws = typed(draws, notes.get("target_type"))
        # A file of the command line does not say: one target then counts as one-dimensional.
        ndim = notes.get("target_ndim", min(draws.shape[1], 2))
        return draws.reshape(len(condition), n, *draws.shape[1:][: ndim - 1])

    @classmethod
    def from_model(cls, model: TableModel) -> Self:
        """A fitted estimator around a fitted conditional model.

        Arguments:
            model: a `TableModel` with a condition, such as `fit_table` returns.

        Raises `InputError` for a model without a condition.
        """
        if model.condition is None:
            raise InputError("this model has no condition: FlowDensity takes it")
        estimator = cls(model.architecture, precision=model.precision)
        estimator.model_ = model
        estimator.n_features_in_ = len(model.condition.names)
        estimator.target_names_, names = names_of(model)
        if names is not None:
            estimator.feature_names_in_ = np.array(names, dtype=object)
        return estimator


def _stand_in_targets(width: int, taken: Sequence[str] = ()) -> tuple[str, ...]:
    stem = "y"
    while {f"{stem}{i}" for i in range(width)} & set(taken):
        stem += "_"
    return tuple(f"{stem}{i}" for i in range(width))


def _names_of_targets(y: Any) -> tuple[str, ...] | None:
    """The names of a frame's columns or a series, where they are strings; else None."""
    if frame_kind(y) is not None:
        names = tuple(y.columns)
    else:
        # Only series of pandas and Polars; an unnamed one has None or "".
        names = (getattr(y, "name", None),)
    return names if all(isinstance(name, str) and name for name in names) else None


def _checked_targets(
    y: Any,
    condition: np.ndarray,
    names: tuple[str, ...] | None,
    seen: Columns | None = None,
) -> tuple[np.ndarray, int]:
    """y as float64 rows `(n, d)` beside the rows of X, and its number of axes."""
    y = readable(y, "y", seen)
    try:
        values = check_array(
            y, dtype=np.float64, ensure_2d=False, ensure_all_finite=False, input_name="y"
        )
    except (TypeError, ValueError) as error:
        refuse_text(y, "y")
        raise InputError(f"y: {error}") from None
    check_consistent_length(condition, values)
    return values.reshape(len(values), -1), values.ndim
