"""From rows of a table to rows of a model, for fitting, scoring and the trust report."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pushforward.columns import Columns
from pushforward.errors import InputError


@dataclass(frozen=True)
class Encoder:
    """Encodes rows of the modelled columns beside rows of the condition.

    Attributes:
        columns: the modelled columns.
        condition: those of the condition, or None.
    """

    columns: Columns
    condition: Columns | None

    def __call__(
        self, values: Float[np.ndarray, "n d"], condition: Float[np.ndarray, " n *c"] | None
    ) -> tuple[Float[np.ndarray, "n width"], Float[np.ndarray, " n *features"] | None]:
        """Both in the model's units, float64.

        Raises `InputError` for another number of columns or of rows, or where a condition is missing or not taken.
        """
        u, c = self.columns.encode(values), self.features(condition)
        if c is not None and len(c) != len(u):
            raise self.rows_differ(len(u), len(c))
        return u, c

    def features(
        self, condition: Float[np.ndarray, " n *c"] | None
    ) -> Float[np.ndarray, " n *features"] | None:
        """The rows of a condition alone, as the model's networks see them."""
        if self.condition is None:
            if condition is not None:
                raise InputError("a condition was given, but this model has none")
            return None
        if condition is None:
            names = ", ".join(self.condition.names)
            raise InputError(f"this model is conditional: it needs the columns {names}")
        return self.condition.features(condition)

    def rows_differ(self, rows: int, conditions: int) -> InputError:
        """The error for rows and conditions of different numbers."""
        names = "" if self.condition is None else f" ({', '.join(self.condition.names)})"
        return InputError(f"{rows} rows, but {conditions} rows of the condition{names}")
