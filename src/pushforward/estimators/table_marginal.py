"""Some columns of a typed table alone."""

from typing import Any

import numpy as np
import polars as pl

from pushforward.columns.names import unknown_columns
from pushforward.columns.spelling import as_polars
from pushforward.draws import key_of
from pushforward.errors import InputError
from pushforward.estimators.frames import as_it_came
from pushforward.estimators.shared import RandomSource, checked_count, seed_from
from pushforward.models.typed_table import TypedTable


class TableMarginal:
    """The density of some columns of a `TableDensity`, all others being absent from the rows.

    A distribution of its own: it agrees with the joint density's integral as far as the network has learnt it, exactly
    where the columns left out come last in the model's order.

    Arguments:
        model: the fitted density.
        names: the columns.
        kind: the library of frames for draws.
    """

    def __init__(self, model: TypedTable, names: tuple[str, ...], kind: str | None):
        if not names:
            raise InputError("a marginal needs at least one column")
        if unknown := [name for name in names if name not in model.columns.names]:
            raise InputError(unknown_columns(unknown, model.columns.names, "the model"))
        self._model, self.names, self._kind = model, names, kind

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-probability of the present cells of these columns, in nats; `(n,)` float64.

        Arguments:
            X: a table with these columns; others are ignored.

        Raises `InputError` for a column that is missing or a cell that its column cannot hold.
        """
        frame = as_polars(X)
        if lacking := [name for name in self.names if name not in frame.columns]:
            raise InputError(unknown_columns(lacking, frame.columns, "the table"))
        return self._model.log_prob(frame, targets=self.names, absent=True)

    def sample(self, n_samples: int = 1, random_state: RandomSource = None) -> Any:
        """Draw cells of these columns, as the table had them.

        Arguments:
            n_samples: number of rows.
            random_state: as of `TableDensity`.

        Returns a frame of the library that `fit` saw, Polars for others.
        """
        n, columns = checked_count(n_samples), self._model.columns
        blank = columns.read(pl.DataFrame({"": np.zeros(n)}), absent=True)
        key = key_of(seed_from(random_state))
        wanted = np.array([of.name in self.names for of, _ in columns.places])
        drawn, _ = self._model.walk(blank, key, wanted)
        return as_it_came(columns.write(drawn, n).select(self.names), self._kind)
