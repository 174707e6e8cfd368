"""The joint density of a table of any kind of cells, as a scikit-learn estimator."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Self

import numpy as np
import polars as pl
from scipy.sparse import issparse
from sklearn.base import DensityMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from pushforward.architectures.typed import Typed
from pushforward.columns.base import AbstractColumn
from pushforward.columns.spelling import as_polars
from pushforward.dataframes import frame_kind
from pushforward.estimators.frames import as_pandas
from pushforward.estimators.nested import NestedParameters
from pushforward.estimators.shared import (
    RandomSource,
    StagePrinter,
    checked_count,
    print_epoch,
    seed_from,
    with_names,
)
from pushforward.fitting.fit_typed import fit_typed
from pushforward.models.exact import exact_log_prob
from pushforward.models.typed_file import load_typed_table, save_typed_table
from pushforward.training import Training


class TableDensity(DensityMixin, NestedParameters):
    """One joint density of a table as it comes: text, dates, whole and real numbers, with gaps.

        log p(x_U | x_B) = sum over the columns c in U of log p_c(x_c | columns of U before c, x_B)

    for any set B of given cells and any set U of others, in one pass. Labels, whole numbers and rounded decimals have
    probabilities, real numbers densities, in the table's own units. Of a row with gaps, what is there is scored.

    Arguments:
        architecture: a `Typed`; default None, by the number of rows. Then, up to 20,000 rows, a mixture of products
            takes part too, and the better of the two on held-out rows is kept: `model_.summary["raced"]`.
        columns: kinds of columns by name where they are not to be guessed, such as `{"code": "category"}`; default
            None. Kinds: category, ordinal:low,mid,high, boolean, whole, decimals, continuous, bounded:0,1 (either may
            be empty), circular:360, date:%d/%m/%Y, time, constant, identifier; or a column of `pushforward.columns`.
        ignore: names of columns to leave out; default none.
        training: how to train; default None, by the number of rows.
        random_state: an int for a fit that repeats on one machine, a RandomState or Generator, or None (default) for
            NumPy's global state.
        verbose: whether to write a line for every epoch to stderr; default False.

    Attributes:
        model_: the fitted `models.typed_table.TypedTable`.
        n_features_in_: the number of columns of the table.
        feature_names_in_: their names, where the table is a frame and all names are text.

    Raises `InputError`, a `ValueError`, for a table that cannot be modelled, with one line that names the column.

    Source: Germain et al. 2015, arXiv 1502.03509 (masked networks); Uria, Murray & Larochelle 2014, arXiv 1310.1757
    (training on random subsets).

    ```python
    >>> import polars as pl, pushforward as pf
    >>> from pushforward.architectures.typed import Typed
    >>> frame = pl.DataFrame({"city": ["Rome", "Oslo", None] * 40, "age": [31, 44, 27] * 40})
    >>> small = Typed(width=16, blocks=1, context=8, context_blocks=1)
    >>> density = pf.TableDensity(small, training=pf.Training(max_epochs=2), random_state=0).fit(frame)
    >>> density.sample(4, random_state=1).columns
    ['city', 'age']
    >>> density.log_prob(frame, given=["city"]).shape
    (120,)

    ```
    """

    def __init__(
        self,
        architecture: Typed | None = None,
        *,
        columns: Mapping[str, str | AbstractColumn] | None = None,
        ignore: Sequence[str] = (),
        training: Training | None = None,
        random_state: RandomSource = None,
        verbose: bool = False,
    ):
        self.architecture = architecture
        self.columns = columns
        self.ignore = ignore
        self.training = training
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the density to the rows of a table.

        Arguments:
            X: a pandas or Polars frame, a mapping of columns, or an array.
            y: ignored; here because scikit-learn's meta-estimators pass it.

        Returns the estimator. Raises `InputError` (see the class).
        """
        frame = self._table(X, reset=True)
        self.model_ = fit_typed(
            frame,
            declared=self.columns,
            ignore=tuple(self.ignore),
            architecture=self.architecture,
            training=self.training,
            seed=seed_from(self.random_state),
            report=print_epoch if self.verbose else None,
            progress=StagePrinter() if self.verbose else None,
        )
        self.frame_ = frame_kind(X)
        self.types_ = X.dtypes if self.frame_ == "pandas" else None
        if self.frame_ is None and isinstance(X, np.ndarray):
            self.types_ = X.dtype
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-probability of the present cells of each row, in nats; `(n,)` float64.

        Arguments:
            X: a table with the columns of the fit; others are ignored.

        Raises `InputError` for a column that is missing or a cell that its column cannot hold, `NotFittedError` before
        `fit`.
        """
        return self.log_prob(X)

    def log_prob(
        self,
        X: Any,
        given: Sequence[str] = (),
        *,
        targets: Sequence[str] | None = None,
        exact: int | None = None,
    ) -> np.ndarray:
        """Log-probability of some columns given others, in nats; `(n,)` float64.

        Arguments:
            X: a table.
            given: names of columns whose cells are given; default none.
            targets: names of the columns to score; default all others. The rest is left out of the row.
            exact: draws for each row by which the result is estimated from the joint distribution, so that marginals
                and conditionals of any columns agree; default None, in one pass. `models.exact.exact_log_prob` also
                returns standard errors.

        Raises as `score_samples` does, and for a name that is no column.
        """
        check_is_fitted(self)
        frame = self._table(X, reset=False)
        # A table of the columns in question alone will do.
        if exact is not None:
            estimates = exact_log_prob(
                self.model_, frame, given, targets=targets, draws=exact, absent=targets is not None
            )
            return estimates.log_prob
        return self.model_.log_prob(frame, given, targets=targets, absent=targets is not None)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`, nats per row; arguments and errors as there."""
        return float(self.score_samples(X).mean())

    def sample(
        self, n_samples: int = 1, random_state: RandomSource = None, *, given: Any = None
    ) -> Any:
        """Draw rows as the table had them: types, decimals, gaps.

        Arguments:
            n_samples: number of rows; with `given`, for each of its rows.
            random_state: as of the class.
            given: rows with some cells, each with its own; the others are drawn. Default None.

        Returns a frame of the library that `fit` saw with the types of its columns, an array where it saw one, a Polars
        frame otherwise. Raises `InputError` for cells that their
        columns cannot hold, `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        drawn = self.model_.sample(checked_count(n_samples), seed_from(random_state), given)
        return self._as_it_came(drawn)

    def impute(self, X: Any, random_state: RandomSource = None, *, draws: int = 1) -> Any:
        """The rows of a table with their missing cells drawn, given the cells that are there.

        Arguments:
            X: a table.
            random_state: as of the class.
            draws: completed rows for each row, side by side; default 1.

        Returns a frame as `sample` does.
        """
        return self.sample(draws, random_state, given=X)

    def save(self, path: str | PathLike[str], *, force: bool = True) -> None:
        """Write the fitted density to a safetensors file, which `pushforward.load` and the command line read.

        Arguments:
            path: the file.
            force: whether an existing file may be replaced; default True.

        Raises `NotFittedError` before `fit`, `InputError` where the file cannot be written.
        """
        check_is_fitted(self)
        save_typed_table(self.model_, path, force)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a density from a file; so does `pushforward.load`. Raises `InputError` as that does."""
        model = load_typed_table(path)
        estimator = cls(model.architecture if isinstance(model.architecture, Typed) else None)
        estimator.model_ = model
        estimator.n_features_in_ = len(model.columns.every)
        estimator.frame_ = estimator.types_ = None
        return estimator

    def _table(self, X: Any, *, reset: bool) -> pl.DataFrame:
        """X as a Polars frame. With `reset` its columns are recorded; otherwise an array must have as many, and a frame
        is read by its names, in any order."""
        # Some sparse matrices are mappings too.
        if frame_kind(X) is None and (not isinstance(X, Mapping) or issparse(X)):
            least = 3 if reset else 1
            X = validate_data(
                self, X, reset=reset, dtype=None, ensure_all_finite=False, ensure_min_samples=least
            )
            return as_polars(X)
        frame = as_polars(X)
        if reset:
            named = frame if isinstance(X, Mapping) else X
            validate_data(self, with_names(named), reset=True, skip_check_array=True)
        return frame

    def _as_it_came(self, frame: pl.DataFrame) -> Any:
        if self.frame_ == "pandas":
            return as_pandas(frame, self.types_)
        if self.types_ is None:
            return frame
        found: np.ndarray = frame.to_numpy()
        return found.astype(self.types_, copy=False)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags
