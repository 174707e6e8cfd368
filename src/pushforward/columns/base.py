"""The interface of every kind of column."""

from abc import ABC, abstractmethod
from dataclasses import asdict, fields
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float


class AbstractColumn(ABC):
    """One column of a table: what its values are, and how they are taken to a model's units and back.

    An instance with its defaults declares a kind; `fit` returns one of the same kind with units measured on data. All
    methods take the values of this column alone, in the table's units, without missing ones.

    Attributes:
        kind: the word for it in files and on the command line.
        lower, upper: the smallest and the largest value seen.
    """

    kind: ClassVar[str]
    lower: float
    upper: float

    @abstractmethod
    def objection(self, values: Float[np.ndarray, " n"]) -> tuple[int, str] | None:
        """The first row that contradicts this kind, counted from 0, and what is wrong with it; None if all rows fit."""

    @abstractmethod
    def fit(self, values: Float[np.ndarray, " n"]) -> Self:
        """The same kind with its units measured on values to which it has no objection. Cost: a sort, unless they are
        sorted."""

    @abstractmethod
    def encode(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """From the table's units to the model's."""

    @abstractmethod
    def decode(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """From the model's units to the table's; what a model puts where no value can be comes to the nearest one."""

    @abstractmethod
    def log_det(self, values: Float[np.ndarray, " n"]) -> float | Float[np.ndarray, " n"]:
        """`log |du/dx|`: a log-density of `u` plus this is one of `x`. One number where it is the same in every row;
        `-inf` in rows that this kind cannot hold."""

    @property
    @abstractmethod
    def noise(self) -> float:
        """The width in the model's units of the cell that a value stands for, which noise fills while fitting; 0 for a
        value that stands for itself."""

    @property
    @abstractmethod
    def median(self) -> float:
        """The value in the middle, in the table's units."""

    @property
    @abstractmethod
    def described(self) -> str:
        """The kind in words."""

    @property
    def declaration(self) -> str:
        """The kind as `declared_column` takes it, without its units."""
        declared = [field for field in fields(self) if not field.kw_only]  # type: ignore[arg-type]
        values = [getattr(self, field.name) for field in declared]
        if values == [field.default for field in declared]:
            return self.kind
        return f"{self.kind}:{','.join('' if value is None else f'{value:g}' for value in values)}"

    def to_json(self) -> dict[str, Any]:
        """Plain data, which JSON keeps exactly; `column_from_json` is the inverse."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]
