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
from pushforward.columns.marginal import LEAST
from pushforward.columns.spelling import as_polars
from pushforward.dataframes import frame_kind
from pushforward.errors import check_choice, check_count, warn
from pushforward.estimators.frames import as_it_came
from pushforward.estimators.nested import NestedParameters
from pushforward.estimators.shared import (
    RandomSource,
    StagePrinter,
    checked_count,
    print_epoch,
    seed_from,
    with_names,
)
from pushforward.estimators.table_marginal import TableMarginal
from pushforward.fitting.fit_typed import fit_typed
from pushforward.models.exact import exact_log_prob
from pushforward.models.explanation import explained
from pushforward.models.imputation import DRAWS, imputed, imputed_intervals
from pushforward.models.typed_file import load_typed_table, save_typed_table
from pushforward.models.unfamiliar import improbable, improbable_line, unseen_cells
from pushforward.models.where import Probability, probability, sample_where
from pushforward.training import Training

GAPS = ("modelled", "ignored")


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
        gaps: "modelled" (default), so that draws have gaps where the table has, or "ignored".
        min_count: how often a label, or a repeated number, must be seen to be kept by itself; default 5. Rarer labels
            are one level together, which is never drawn.
        training: how to train; default None, by the number of rows.
        holdout: "random" (default), or "last" where rows follow each other in time: which rows are held out.
        random_state: an int for a fit that repeats on one machine, a RandomState or Generator, or None (default).
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
        gaps: str = "modelled",
        min_count: int = LEAST,
        training: Training | None = None,
        holdout: str = "random",
        random_state: RandomSource = None,
        verbose: bool = False,
    ):
        self.architecture = architecture
        self.columns = columns
        self.ignore = ignore
        self.gaps = gaps
        self.min_count = min_count
        self.training = training
        self.holdout = holdout
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> Self:
        """Fit the density to the rows of a table.

        Arguments:
            X: a pandas or Polars frame, a mapping of columns, or an array.
            y: ignored; here because scikit-learn's meta-estimators pass it.
            groups: `(n_samples,)` labels, such as persons: rows of one are held out together; default None.

        Returns the estimator. Raises `InputError` (see the class).
        """
        check_choice("gaps", self.gaps, GAPS)
        check_count("min_count", self.min_count)
        frame = self._table(X, reset=True)
        self.model_ = fit_typed(
            frame,
            declared=self.columns,
            ignore=tuple(self.ignore),
            gaps=self.gaps == "modelled",
            least=self.min_count,
            architecture=self.architecture,
            training=self.training,
            seed=seed_from(self.random_state),
            holdout=self.holdout,
            groups=groups,
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
        `fit`. Warns of labels that the fit did not see, which have the probability of all such labels, shared, and of
        rows that are impossible, -inf: with a value beyond bounds, or another than that of a constant column.
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
        absent = targets is not None
        if exact is not None:
            estimates = exact_log_prob(
                self.model_, frame, given, targets=targets, draws=exact, absent=absent
            )
            return estimates.log_prob
        _warn(unseen_cells(self.model_.columns, frame, absent=absent)[1])
        return self.model_.log_prob(frame, given, targets=targets, absent=absent)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`, nats per row; arguments and errors as there."""
        return float(self.score_samples(X).mean())

    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomSource = None,
        *,
        given: Any = None,
        where: str | None = None,
    ) -> Any:
        """Draw rows as the table had them: types, decimals, gaps.

        Arguments:
            n_samples: number of rows; with `given`, for each of its rows.
            random_state: as of the class.
            given: rows with some cells, each with its own; the others are drawn. Default None.
            where: conditions that all rows fulfil, such as `"dep_delay > 60 and origin in JFK,LGA"`; default None. A
                column's name, one of `>`, `>=`, `<`, `<=`, `=` and a value, spelled as in the table; `in` and several;
                or `is missing`. Nothing is rejected: rows are chosen by weights, see `probability`, and where these
                are uneven some may come more than once.

        Returns a frame of the library that `fit` saw with the types of its columns, an array where it saw one, a Polars
        frame otherwise. Raises `InputError` for cells that their columns cannot hold, for conditions that cannot be
        read or have a probability below 1e-12, `NotFittedError` before `fit`. Warns of rows that the model holds for
        all but impossible.
        """
        check_is_fitted(self)
        n, seed = checked_count(n_samples), seed_from(random_state)
        if given is not None:
            given = as_polars(given)
            _warn(improbable_line(improbable(self.model_, given, absent=True)))
        if where is None:
            return self._as_it_came(self.model_.sample(n, seed, given))
        return self._as_it_came(sample_where(self.model_, n, seed, where, given)[0])

    def probability(
        self, where: str, random_state: RandomSource = None, *, given: Any = None, draws: int = 1024
    ) -> Probability:
        """The probability that a row fulfils conditions, given some of its cells.

            P(x in R | x_B) = E prod over c in R of P(x_c in R_c | columns before c, x_B)

        estimated without bias by drawing the columns in the model's order, those with a condition from the part of
        their range that fulfils it (progressive sampling). Cost: `draws` rows for each row.

        Arguments:
            where: the conditions, as of `sample`.
            random_state: as of the class.
            given: rows with some cells, each with its own; default None, one row without any.
            draws: for each row; default 1,024.

        Returns `(value, error, effective)`, each `(n,)`: the probability, its standard error, and how many draws of
        equal weight are worth as much. Raises as `sample` does.

        Source: Yang et al. 2019 (Naru), arXiv 1905.04278.

        ```python
        >>> import polars as pl, pushforward as pf
        >>> from pushforward.architectures.typed import Typed
        >>> frame = pl.DataFrame({"city": ["Rome", "Oslo"] * 60, "age": [31, 44, 27] * 40})
        >>> small = Typed(width=16, blocks=1, context=8, context_blocks=1)
        >>> density = pf.TableDensity(small, training=pf.Training(max_epochs=2), random_state=0).fit(frame)
        >>> bool(0 < density.probability("age > 30 and city = Rome", 0).value[0] < 1)
        True

        ```
        """
        check_is_fitted(self)
        return probability(self.model_, where, given, draws=draws, seed=seed_from(random_state))

    def impute(
        self,
        X: Any,
        random_state: RandomSource = None,
        *,
        draws: int | None = None,
        intervals: bool = False,
    ) -> Any:
        """The rows of a table with their missing cells filled, given the cells that are there.

        One draw keeps the spread and the dependence of the table: compute with several, and the differences of the
        results are what the gaps leave open (Rubin 1987). With `intervals` each gap gets its likeliest value instead,
        and how sure that is.

        Arguments:
            X: a table with the columns of the fit; others are passed on.
            random_state: as of the class.
            draws: completed tables, one below the other and numbered by a first column `draw`; default 1, without
                that column. With `intervals`, the draws behind each point; default 100.
            intervals: whether missing numbers become medians and missing labels the most probable ones, and columns
                with gaps are followed by `NAME_lower` and `NAME_upper`, between which the number lies with probability
                0.9, or `NAME_probability`, that of the label; default False.

        Returns a frame as X is, Polars for arrays. Raises `InputError` for a column that is missing or a cell that its
        column cannot hold, `NotFittedError` before `fit`.

        ```python
        >>> import polars as pl, pushforward as pf
        >>> from pushforward.architectures.typed import Typed
        >>> frame = pl.DataFrame({"city": ["Rome", "Oslo", None] * 40, "age": [31, 44, 27] * 40})
        >>> small = Typed(width=16, blocks=1, context=8, context_blocks=1)
        >>> density = pf.TableDensity(small, training=pf.Training(max_epochs=2), random_state=0).fit(frame)
        >>> density.impute(frame, 0)["city"].null_count()
        0
        >>> density.impute(frame, 0, intervals=True).columns
        ['city', 'city_probability', 'age']

        ```
        """
        check_is_fitted(self)
        seed = seed_from(random_state)
        if intervals:
            filled = imputed_intervals(self.model_, X, seed, DRAWS if draws is None else draws)
        else:
            filled = imputed(self.model_, X, seed, 1 if draws is None else draws)
        kind = frame_kind(X)
        return as_it_came(filled, kind, *((X.dtypes, X.index) if kind == "pandas" else ()))

    def explain(self, X: Any, *, worst: int | None = None, cells: bool = False) -> Any:
        """What is strange about each row, and which column is to blame.

            surprise = -log p(x_c | all other cells)    expected = its mean under that conditional

        The column to blame is that of the largest difference. Cost: a pass for each cell.

        Arguments:
            X: a table.
            worst: rows to return, the strangest first; default all, in order.
            cells: whether a line is wanted for each cell that is there instead of one for each row; default False.

        Returns a frame of the library that `fit` saw: `row`, from 1; `log_prob` of the row; `excess`, the sum of the
        differences of its cells; then of the column to blame `column`, `value`, `surprise`, `expected` (nats), `tail`,
        the probability of a value at most as probable, and `usual`: the most probable label and its probability, or
        where numbers lie with probability 0.9. Raises as `score_samples` does.
        """
        check_is_fitted(self)
        return as_it_came(explained(self.model_, X, worst=worst, cells=cells), self.frame_)

    def marginal(self, columns: Sequence[str]) -> TableMarginal:
        """The density of some columns, the others absent: an object with `score_samples(X)` and `sample(n)`.

        Arguments:
            columns: their names.

        Raises `InputError` for a name that is no column, and for none; `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        names = (columns,) if isinstance(columns, str) else tuple(columns)
        return TableMarginal(self.model_, names, self.frame_)

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
            return as_it_came(frame, self.frame_, self.types_)
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


def _warn(line: str | None) -> None:
    """Warn of something where there is anything to say."""
    if line is not None:
        warn(line)
