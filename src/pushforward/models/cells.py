"""Whole numbers: the density of a row is the mean over the cells that its whole numbers stand for."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from pushforward.columns import Columns

LogProb = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""Encoded rows `(n, d)` and their conditions, or None, to log-densities `(n,)`."""
FINE = 0.02
"""Cells narrower than this, in spreads of their column, are read at their middle: no density bends much within."""
# Gauss-Legendre nodes along each of so many columns; more columns share random points.
_NODES = {1: 8, 2: 5, 3: 3}
_POINTS = 32
_ROWS = 1 << 16


@dataclass(frozen=True)
class Cells:
    """Points in the cell about a row of whole numbers, and their weights.

    Attributes:
        offsets: `(m, d)`, in the model's units; 0 in all columns but those of wide cells.
        weights: `(m,)`, which sum to 1.
        exact: whether the points are Gauss's, for up to three such columns; else they are scrambled Sobol points, and
            the mean over them is an estimate.
    """

    offsets: Float[np.ndarray, "m d"]
    weights: Float[np.ndarray, " m"]
    exact: bool

    @staticmethod
    def of(columns: Columns, other: bool = False) -> "Cells | None":
        """Those of a table, or None where no column has wide cells. `other` gives others, to compare with."""
        wide = np.flatnonzero(columns.noise > FINE)
        if not len(wide):
            return None
        if len(wide) in _NODES:
            nodes, weights = np.polynomial.legendre.leggauss(_NODES[len(wide)] + 2 * other)
            points = np.array(list(product(nodes / 2, repeat=len(wide))))
            each = np.array([np.prod(w) for w in product(weights / 2, repeat=len(wide))])
        else:
            from scipy.stats import qmc

            points = qmc.Sobol(len(wide), seed=int(other)).random(_POINTS) - 0.5
            each = np.full(_POINTS, 1 / _POINTS)
        offsets = np.zeros((len(points), columns.width))
        offsets[:, wide] = points * columns.noise[wide]
        return Cells(offsets, each, len(wide) in _NODES)


def cell_log_prob(
    log_prob: LogProb,
    cells: Cells | None,
    columns: Columns,
    u: Float[np.ndarray, "n d"],
    c: Float[np.ndarray, " n *c"] | None,
) -> Float[np.ndarray, " n"]:
    """Log-densities of encoded rows, averaged over the cells of their whole numbers.

        log p(k) = log sum_j w_j p(k + offset_j)

    A value off its column's lattice is evaluated where it is. Cost: as many densities as there are points, 8, 25
    or 27 for one to three columns of whole numbers and 32 for more.
    """
    if cells is None:
        return log_prob(u, c)
    size, found = max(_ROWS // len(cells.weights), 1), []
    for start in range(0, len(u), size):
        some = u[start : start + size]
        whole = columns.on_lattice(some)[:, None]
        if not (whole & (cells.offsets != 0)).any():
            condition = None if c is None else c[start : start + size]
            found.append(log_prob(some, condition))
            continue
        moved = some[:, None] + cells.offsets * whole
        condition = None if c is None else np.repeat(c[start : start + size], len(cells.weights), 0)
        logs = log_prob(moved.reshape(-1, u.shape[1]), condition).reshape(len(some), -1)
        found.append(logsumexp(logs, axis=1, b=cells.weights))
    return np.concatenate([*found, np.zeros(0)])
