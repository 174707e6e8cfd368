"""The interface of every head."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray


class Cell(NamedTuple):
    """The values of one column in n rows, as heads see them.

    Attributes:
        code: the number of the label, for columns of labels.
        z: the point on the marginal's scale, or the lower edge of the value's cell (`columns.Marginal`), the upper one
            where the width is negative.
        width: of the cell on that scale, negative for a cell that lies below z; 0 for a point.
        log_slope: log dz/dx of a point, -inf where a value is impossible; 0 for a cell.
    """

    code: Int[Array, " n"]
    z: Float[Array, " n"]
    width: Float[Array, " n"]
    log_slope: Float[Array, " n"]


class Cut(NamedTuple):
    """The part of a column that draws are confined to, the same for all rows.

    Attributes:
        shares: of each code, how much of its mass lies in that part: 1 or 0, for all other labels anything between.
        low, high: the ends of k intervals on the scale z, which do not overlap; they may be infinite.
        width: of the intervals, taken in double precision.
    """

    shares: Float[Array | np.ndarray, " levels"]
    low: Float[Array | np.ndarray, " k"]
    high: Float[Array | np.ndarray, " k"]
    width: Float[Array | np.ndarray, " k"]


class AbstractHead(ABC):
    """The distribution of one cell given `size` parameters per row.

    A head is a frozen dataclass without arrays; columns with equal heads share one batched program.
    """

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of parameters per row."""

    @abstractmethod
    def log_prob(self, params: Float[Array, "size n"], cell: Cell) -> Float[Array, " n"]:
        """Log-probability of each cell in nats, or log-density of each point."""

    @abstractmethod
    def sample(self, params: Float[Array, "size n"], key: PRNGKeyArray) -> Cell:
        """One draw per row: a code, or a point on the scale z."""

    @abstractmethod
    def sample_within(
        self, params: Float[Array, "size n"], cut: Cut, key: PRNGKeyArray
    ) -> tuple[Cell, Float[Array, " n"]]:
        """One draw per row from a part of the column, and the log of the mass that lies there, -inf without any."""


class AbstractNumberHead(AbstractHead):
    """The distribution of a number on its marginal's scale z."""

    @abstractmethod
    def points(self, params: Float[Array, "size n"]) -> Float[Array, "k n"]:
        """Places on the scale, increasing, that are dense where the density has detail: the trapezoid rule over them is
        near an integral."""
