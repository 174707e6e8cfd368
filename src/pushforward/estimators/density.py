"""The density of a table's rows, as a scikit-learn estimator."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from pushforward.architectures import Architecture
from pushforward.columns import AbstractColumn
from pushforward.dataframes import frame_kind
from pushforward.errors import InputError
from pushforward.estimators.frames import as_frame, types_of
from pushforward.estimators.nested import NestedParameters
from pushforward.estimators.shared import (
    OfTableModel,
    RandomSource,
    checked_count,
    checked_table,
    fit_options,
    names_in,
    seed_from,
    warn_of_outside,
)
from pushforward.fitting.fit_table import fit_table
from pushforward.models.notes import names_of, notes_of, with_notes
from pushforward.models.table_model import TableModel
from pushforward.training import Training
from pushforward.trust.draws import warn_of_draws


class FlowDensity(OfTableModel, DensityMixin, NestedParameters):
    """A normalizing flow as a scikit-learn density estimator.

    The rows are taken to be the image `x = f(z)` of a simple base density, so that

        log p(x) = log p_base(z) + log |det dz/dx|,    z = f^-1(x)

    exactly. Columns are standardised, integer columns are dequantized while fitting and rounded
    back in samples; densities are in nats, in the data's own units (per unit of every column). The
    usual conveniences are inside: a validation split, early stopping, the best weights.

    Arguments:
        architecture: "auto" (default), a name in `pushforward.architectures.ARCHITECTURES`, or an
            instance such as `NSF(layers=3)`. `GridSearchCV` searches over instances, and over fields such as
            `architecture__width` and `training__learning_rate`.
        columns: kinds of columns by name, where they are not to be guessed, such as `{"age": pf.columns.Whole(),
            "share": pf.columns.Bounded(0, 1), "wind": pf.columns.Angle(360)}`; a table without names has the columns
            `x0, x1, ...`. Default None: all are guessed.
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
        n_features_in_: number of columns.
        feature_names_in_: their names, only where X was a frame with string names.

    Raises `InputError`, a `ValueError`, for a column that is a copy of another or contradicts its declared kind, for
    missing or infinite cells, dates, text, or wrong parameters. Warns of columns that follow from others, such as a
    total beside its parts.

    Source: Papamakarios et al. 2021, "Normalizing flows for probabilistic modeling and inference",
    arXiv 1912.02762.

    ```python
    >>> import numpy as np
    >>> from pushforward.architectures import RealNVP
    >>> from pushforward.estimators import FlowDensity
    >>> X = np.random.default_rng(0).normal([0, 100], [1, 20], (500, 2))
    >>> density = FlowDensity(RealNVP(layers=2, width=16), max_epochs=3, random_state=0).fit(X)
    >>> density.score_samples(X[:3]).shape
    (3,)
    >>> density.sample(5, random_state=1).shape
    (5, 2)

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

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> Self:
        """Fit the density to the rows of X.

        Arguments:
            X: `(n_samples, n_features)` numbers, finite: an array, or a pandas or Polars frame.
            y: ignored; here because scikit-learn's meta-estimators pass it.
            groups: `(n_samples,)` labels, such as persons: rows of one are held out together; default None.

        Returns the estimator. Raises `InputError` (see the class).
        """
        values = checked_table(self, X, reset=True)
        names = names_in(self)
        model = fit_table(
            values,
            names=names,
            called=("X", "X"),
            holdout=self.holdout,
            groups=groups,
            **fit_options(self),
        )
        kind = frame_kind(X)
        types = None if kind is None else types_of(X)
        self.model_ = with_notes(model, frame=kind, types=types, named=names is not None)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density of each row in nats, in the data's own units; `(n_samples,)` float64.

        However far a row lies from the data, its log-density is finite, but for a value that its column cannot hold,
        beyond declared bounds or other than a constant: it is then `-inf`, with one warning.

        Arguments:
            X: `(n_samples, n_features)`; of a frame, the names must be the fitted ones, in the
                fitted order.

        Raises `ValueError` where columns differ from the fitted ones or cells are not finite,
        `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        values = checked_table(self, X, reset=False)
        log_prob = self.model_.log_prob(values)
        warn_of_outside(self.model_, values)
        return log_prob

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-density of the rows of X, nats per row.

        The mean, so that sets of different size compare; `KernelDensity.score` is the sum.

        Arguments:
            X: `(n_samples, n_features)`, as for `score_samples`.
            y: ignored.

        Raises as `score_samples` does.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: RandomSource = None) -> Any:
        """Draw rows in the data's own units, integer columns as whole numbers.

        Arguments:
            n_samples: number of rows; default 1.
            random_state: an int for draws that repeat (a longer sample begins with a shorter one's
                rows), a RandomState or Generator, or None (default) for fresh draws.

        Returns `(n_samples, n_features)`: a pandas or Polars frame with the fitted names and types
        if fitted on such a frame, else an array. Raises `InputError` for n_samples below 1, `NotFittedError`
        before `fit`.
        """
        check_is_fitted(self)
        warn_of_draws(self.model_)
        draws = self.model_.sample(checked_count(n_samples), seed_from(random_state))
        notes = notes_of(self.model_)
        return as_frame(draws, names_in(self), notes.get("frame"), notes.get("types"))

    @classmethod
    def from_model(cls, model: TableModel) -> Self:
        """A fitted estimator around a fitted unconditional model.

        Arguments:
            model: a `TableModel` without condition, such as `fit_table` returns.

        Raises `InputError` for a model with a condition.
        """
        if model.condition is not None:
            raise InputError("this model has a condition: ConditionalFlowDensity takes it")
        estimator = cls(model.architecture, precision=model.precision)
        estimator.model_ = model
        estimator.n_features_in_ = len(model.columns.names)
        names, _ = names_of(model)
        if names is not None:
            estimator.feature_names_in_ = np.array(names, dtype=object)
        return estimator
