"""The joint density of a table of any kind of cells, as a scikit-learn estimator."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Self

import numpy as np
import polars as pl
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from pushforward.architectures.typed import Typed
from pushforward.columns.spelling import as_polars
from pushforward.dataframes import frame_kind
from pushforward.estimators.nested import NestedParameters
from pushforward.estimators.shared import (
    RandomSource,
    StagePrinter,
    checked_count,
    print_epoch,
    seed_from,
)
from pushforward.fitting.fit_typed import fit_typed
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
            None. Kinds: category, ordinal:low,mid,high, whole, decimals, continuous, angle:360, identifier.
        ignore: names of columns to leave out; default none.
        training: how to train; default None, by the number of rows.
        random_state: an int for a fit that repeats on one machine, a RandomState or Generator, or None (default) for
            NumPy's global state.
        verbose: whether to write a line for every epoch to stderr; default False.

    Attributes:
        model_: the fitted `models.typed_table.TypedTable`.
        n_features_in_: the number of columns of the table.

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
        columns: Mapping[str, str] | None = None,
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
        frame = as_polars(X)
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
        self.n_features_in_ = len(frame.columns)
        self.frame_ = frame_kind(X)
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
        self, X: Any, given: Sequence[str] = (), *, targets: Sequence[str] | None = None
    ) -> np.ndarray:
        """Log-probability of some columns given others, in nats; `(n,)` float64.

        Arguments:
            X: a table.
            given: names of columns whose cells are given; default none.
            targets: names of the columns to score; default all others. The rest is left out of the row.

        Raises as `score_samples` does, and for a name that is no column.
        """
        check_is_fitted(self)
        # A table of the columns in question alone will do.
        return self.model_.log_prob(X, given, targets=targets, absent=targets is not None)

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

        Returns a frame of the library that `fit` saw, Polars for others. Raises `InputError` for cells that their
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
        estimator.frame_ = None
        return estimator

    def _as_it_came(self, frame: pl.DataFrame) -> Any:
        if self.frame_ != "pandas":
            return frame
        import pandas as pd

        return pd.DataFrame({series.name: series.to_list() for series in frame.get_columns()})
