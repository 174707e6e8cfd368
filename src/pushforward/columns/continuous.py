"""Columns of real numbers."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float

from pushforward.columns.base import AbstractColumn
from pushforward.columns.units import ascending, center_and_scale, ends, restored, standardised


@dataclass(frozen=True, kw_only=True)
class Continuous(AbstractColumn):
    """Real numbers, standardised by their median and spread: `u = (x - center) / scale`.

    Arguments:
        center, scale, lower, upper: the units, which `fit` measures; the defaults change nothing.

    ```python
    >>> import numpy as np, pushforward as pf
    >>> column = pf.columns.Continuous().fit(np.array([1.0, 2.0, 4.0]))
    >>> column.center, column.decode(column.encode(np.array([3.0]))).tolist()
    (2.0, [3.0])

    ```
    """

    center: float = 0.0
    scale: float = 1.0
    lower: float = -math.inf
    upper: float = math.inf
    kind: ClassVar[str] = "continuous"

    def objection(self, values: Float[np.ndarray, " n"]) -> None:
        return None

    def fit(self, values: Float[np.ndarray, " n"]) -> Self:
        ordered = ascending(values)
        center, scale = center_and_scale(ordered)
        return replace(self, center=center, scale=scale, **ends(ordered))

    def encode(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return standardised(values, self.center, self.scale)

    def decode(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return restored(u, self.center, self.scale)

    def log_det(self, values: Float[np.ndarray, " n"]) -> float:
        return -math.log(self.scale)

    @property
    def described(self) -> str:
        return "real numbers"
