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
        given: those of the condition, or None.
    """

    columns: Columns
    given: Columns | None

    def __call__(
        self, values: Float[np.ndarray, "n d"], given: Float[np.ndarray, "n c"] | None
    ) -> tuple[Float[np.ndarray, "n width"], Float[np.ndarray, "n features"] | None]:
        """Both in the model's units, float64.

        Raises `InputError` for another number of columns or of rows, or where a condition is missing or not taken.
        """
        u, c = self.columns.encode(values), self.condition(given)
        if c is not None and len(c) != len(u):
            raise self.rows_differ(len(u), len(c))
        return u, c

    def condition(
        self, given: Float[np.ndarray, "n c"] | None
    ) -> Float[np.ndarray, "n features"] | None:
        """The rows of a condition alone, as the model's networks see them."""
        if self.given is None:
            if given is not None:
                raise InputError("a condition was given, but this model has none")
            return None
        if given is None:
            names = ", ".join(self.given.names)
            raise InputError(f"this model is conditional: it needs the columns {names}")
        return self.given.features(given)

    def rows_differ(self, rows: int, conditions: int) -> InputError:
        """The error for rows and conditions of different numbers."""
        names = "" if self.given is None else f" ({', '.join(self.given.names)})"
        return InputError(f"{rows} rows, but {conditions} rows of the condition{names}")
