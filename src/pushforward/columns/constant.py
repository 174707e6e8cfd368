"""Columns that hold one value."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float

from pushforward.columns.base import AbstractColumn


@dataclass(frozen=True, kw_only=True)
class Constant(AbstractColumn):
    """One value in every row. It is not a coordinate of the model: draws repeat it, and the density has no factor for
    it. A row with another value has density 0.

    Arguments:
        value: the value, which `fit` takes from the data.

    ```python
    >>> import numpy as np, pushforward as pf
    >>> pf.columns.Constant().fit(np.array([2013.0, 2013.0])).log_det(np.array([2013.0, 2014.0]))
    array([  0., -inf])

    ```
    """

    value: float = 0.0
    kind: ClassVar[str] = "constant"

    @property
    def lower(self) -> float:  # type: ignore[override]
        """The value."""
        return self.value

    @property
    def upper(self) -> float:  # type: ignore[override]
        """The value."""
        return self.value

    def objection(self, values: Float[np.ndarray, " n"]) -> tuple[int, str] | None:
        others = values != values[0]
        if not others.any():
            return None
        row = int(others.argmax())
        return row, f"holds {values[row]:.6g}, not the {values[0]:.6g} of row 1"

    def fit(self, values: Float[np.ndarray, " n"]) -> Self:
        return replace(self, value=float(values[0]))

    def encode(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return np.zeros(len(values))

    def decode(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return np.full(len(u), self.value)

    def log_det(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return np.where(values == self.value, 0.0, -np.inf)

    @property
    def median(self) -> float:
        return self.value

    @property
    def described(self) -> str:
        return f"the constant {self.value:.6g}"
