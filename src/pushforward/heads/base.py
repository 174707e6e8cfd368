"""The interface of every head."""

from abc import ABC, abstractmethod
from typing import NamedTuple

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
