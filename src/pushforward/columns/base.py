"""The interface of every kind of column."""

from abc import ABC, abstractmethod
from dataclasses import asdict, fields
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float


class AbstractColumn(ABC):
    """One column of a table: what its values are, and how they are converted to a model's units and back.

    Kinds are dataclasses. An instance with its defaults declares a kind; `fit` returns one of the same kind with units
    measured on data. All methods receive the values of this column alone, without missing ones.

    Attributes:
        kind: the name of the kind in files and on the command line.
        lower, upper: the smallest and the largest value seen.
        center: what is encoded as 0.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    kind: ClassVar[str]
    lower: float
    upper: float
    center: float

    @abstractmethod
    def objection(self, values: Float[np.ndarray, " n"]) -> tuple[int, str] | None:
        """The first row that contradicts this kind, counted from 0, and what is wrong with it, or None."""

    @abstractmethod
    def fit(self, values: Float[np.ndarray, " n"]) -> Self:
        """The same kind with its units measured on values without an objection. Cost: a sort of unsorted values."""

    @abstractmethod
    def encode(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Convert from the table's units to the model's."""

    @abstractmethod
    def decode(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Convert from the model's units to the table's; what no value maps to gives the nearest possible value."""

    @abstractmethod
    def log_det(self, values: Float[np.ndarray, " n"]) -> float | Float[np.ndarray, " n"]:
        """`log |du/dx|`, which turns a log-density of `u` into one of `x` when added. One number if it is the same in
        every row; `-inf` in rows that this kind cannot hold."""

    @property
    def noise(self) -> float:
        """The width, in the model's units, of the cell that noise fills in training; 0 for values without a cell."""
        return 0.0

    @property
    def median(self) -> float:
        """The median, in the table's units; default the center."""
        return self.center

    @property
    @abstractmethod
    def described(self) -> str:
        """The kind in words."""

    @property
    def declaration(self) -> str:
        """The kind without its units, in the words of `declared_column`."""
        declared = [field for field in fields(self) if not field.kw_only]
        values = [getattr(self, field.name) for field in declared]
        if values == [field.default for field in declared]:
            return self.kind
        return f"{self.kind}:{','.join('' if value is None else f'{value:g}' for value in values)}"

    def to_json(self) -> dict[str, Any]:
        """Plain data, which JSON keeps exactly; `column_from_json` is the inverse."""
        return {"kind": self.kind, **asdict(self)}
