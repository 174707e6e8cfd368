"""Linear relations of columns: found in a sample of rows, confirmed by all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dtrtri

CELLS = 2**20
"""Cells in a block of rows."""
ROUNDING = 64 * float(np.finfo(np.float64).eps)
ROUNDING_32 = 2 * float(np.finfo(np.float32).eps)
"""Relative rounding of columns that hold single precision: sums of a few terms."""
DECIMALS = 9
CLOSE, CLOSE_DECIMALS = 0.02, 0.1
"""The largest rounding of floats and of decimals, in spreads of a column, at which a relation can be seen."""


def blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of a table in blocks, in double precision."""
    size = max(CELLS // max(values.shape[1], 1), 1)
    for start in range(0, len(values), size):
        yield values[start : start + size].astype(np.float64, copy=False)


def extremes(values: np.ndarray) -> np.ndarray:
    """The indices of the rows with the smallest and the largest value of each column."""
    every = np.arange(values.shape[1])
    rows, start = np.zeros((2, values.shape[1]), int), 0
    for block in blocks(values):
        for i, (found, better) in enumerate(
            ((block.argmin(0), np.less), (block.argmax(0), np.greater))
        ):
            new = better(block[found, every], values[rows[i], every])
            rows[i, new] = start + found[new]
        start += len(block)
    return np.unique(rows)


class Units(NamedTuple):
    """Names and units of a table's columns: median and spread, smallest and largest value, and whether they are whole
    numbers, which fill their cells."""

    names: Sequence[str]
    center: np.ndarray
    scale: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    whole: np.ndarray


@dataclass(frozen=True)
class Relation:
    """`shift + sum_k weight_k u_k = 0` for standardised columns, up to rounding.

    Arguments:
        columns: those involved; the last one follows from the others.
        weights: scaled so that the largest has size 1.
        shift: a number.
        relative, absolute: the rounding of each column, as a fraction of its values and in its units.
        center, scale: of each column.
        exact: whether the rounding of floats explains the residuals, without that of decimals.
    """

    columns: tuple[int, ...]
    weights: np.ndarray
    shift: float
    relative: np.ndarray
    absolute: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    exact: bool

    def slack(self, x: np.ndarray) -> np.ndarray:
        """The largest residual that rounding explains in each row `(m, k)` of these columns."""
        size = np.abs(self.weights)
        # One more spread for the rounding of the weights and the shift.
        values = (np.abs(x) + np.abs(self.center)) / self.scale + 1
        found: np.ndarray = values @ (self.relative * size) + self.absolute / self.scale @ size
        return found

    def off(self, x: np.ndarray) -> np.ndarray:
        """The residual of each row."""
        found: np.ndarray = np.abs((x - self.center) / self.scale @ self.weights + self.shift)
        return found


def against(relation: Relation, values: np.ndarray) -> np.ndarray:
    """The indices of the rows that contradict a relation most, at most one per block."""
    rows, start = [], 0
    for block in blocks(values):
        x = block[:, list(relation.columns)]
        excess = relation.off(x) - relation.slack(x)
        if excess.max() > 0:
            rows.append(start + int(excess.argmax()))
        start += len(block)
    return np.array(rows, int)


class Sample:
    """Rows of the columns that are left, each scaled to at most 1 so that outliers do not dominate.

    Arguments:
        units: of all columns.
        x: `(m, d)` rows.
        left: the columns to compare.
    """

    def __init__(self, units: Units, x: np.ndarray, left: Sequence[int]) -> None:
        self.left, self.x = np.array(left), x[:, left]
        self.center, self.scale = units.center[left], units.scale[left]
        u = (self.x - self.center) / self.scale
        self.row = 1 / np.maximum(np.abs(u).max(1), 1.0)
        self.lattice = units.whole[left]
        self.relative, self.absolute = _rounding(self.x, self.lattice)
        scaled = np.column_stack([self.row, u * self.row[:, None]])
        self.size = np.sqrt(np.square(scaled).sum(0))
        self.scaled = scaled / self.size
        self.missed, self.sizes = self._compared()

    def first(self) -> Relation | int | None:
        """The relation of the first column that follows from those before it; None if there is none.

        The number of the column instead, if its spread is rounding only, so that its relation says nothing.
        """
        floats = ((np.abs(self.x) + np.abs(self.center)) / self.scale + 1) * self.relative
        floats, decimals = (
            np.sqrt(np.square(self.row[:, None] * rounding).sum(0))
            for rounding in (floats, self.absolute / self.scale)
        )
        for j in range(len(self.left)):
            # As few rows as columns say nothing.
            if j + 3 > len(self.x):
                return None
            missed, size = self.missed[j], self.sizes[: j + 1, j]
            slack = size @ floats[: j + 1]
            order = np.argsort(-size[:-1])
            # Few rows of whole numbers agree by chance, and then the residuals of others pass for rounding.
            enough = len(self.x) > 3 * (j + 3)
            exact = missed <= slack and (enough or not self.lattice[: j + 1].all())
            if exact and (found := self._shortest(j, order, exact=True)):
                return found
            blurred = enough and missed <= slack + size @ decimals[: j + 1]
            if blurred and (found := self._shortest(j, order, exact=False)):
                return found
            if missed * self.size[j + 1] < 1e-12:
                return int(self.left[j])
        return None

    def _compared(self) -> tuple[np.ndarray, np.ndarray]:
        """The residual of each column given those before it, and, in the columns of a matrix, the sizes of the weights.

        Both are in the triangle of a QR decomposition and its inverse. After the first column without a residual, the
        weights have no meaning.
        """
        triangle = np.asarray(np.linalg.qr(self.scaled, mode="r"))
        triangle = triangle[:, : len(triangle)]
        ends = np.abs(np.diag(triangle)).copy()
        np.fill_diagonal(triangle, np.where(ends > 0, np.diag(triangle), np.finfo(float).tiny))
        with np.errstate(all="ignore"):
            inverse, _ = dtrtri(triangle)
            sizes = np.abs(inverse[1:, 1:]) * np.maximum(ends[1:], np.finfo(float).tiny)
        return ends[1:], sizes / self.size[1 : len(triangle), None]

    def _shortest(self, j: int, order: np.ndarray, *, exact: bool) -> Relation | None:
        """The relation of column `j` with the fewest others, in the given order."""
        least, most = 1, len(order)
        best = self._relation(j, order, exact)
        while best is not None and least < most:
            count = (least + most) // 2
            found = self._relation(j, order[:count], exact)
            if found is None:
                least = count + 1
            else:
                best, most = found, count
        return best

    def _relation(self, j: int, others: np.ndarray, exact: bool) -> Relation | None:
        """The best relation of column `j` with others, if rounding explains the residual of every row."""
        terms = np.concatenate([[0], others + 1])
        fit = np.linalg.lstsq(self.scaled[:, terms], self.scaled[:, j + 1], rcond=None)[0]
        weights = np.append(-fit / self.size[terms], 1 / self.size[j + 1])
        weights /= np.abs(weights[1:]).max()
        columns = np.append(others, j)
        relation = Relation(
            tuple(int(i) for i in self.left[columns]),
            weights[1:],
            float(weights[0]),
            self.relative[columns],
            self.absolute[columns] * (not exact),
            self.center[columns],
            self.scale[columns],
            exact,
        )
        x = self.x[:, columns]
        off, slack = relation.off(x), relation.slack(x)
        if exact:
            told = float(np.median(slack)) <= CLOSE
        else:
            # Errors are uniform within half a digit, so that their mean square is known.
            size = relation.weights / relation.scale * relation.absolute / 0.75
            rounding = float(np.sqrt(np.square(size).sum() / 12))
            told = float(np.sqrt(np.square(off).mean())) <= 1.1 * rounding <= CLOSE_DECIMALS
        return relation if told and (off <= slack).all() else None


def _rounding(x: np.ndarray, lattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rounding of columns, as a fraction of the values and in their units; whole numbers fill their cells and have
    none."""
    with np.errstate(over="ignore"):
        single = ~lattice & (x.astype(np.float32) == x).all(0)
    relative = np.where(single, ROUNDING_32, ROUNDING)
    absolute, open_ = np.zeros(x.shape[1]), ~lattice
    for digits in range(DECIMALS + 1):
        fits = np.flatnonzero(open_)
        # A few rows rule out most columns.
        for part in (x[:32], x):
            with np.errstate(over="ignore", invalid="ignore"):
                moved = part[:, fits] * 10.0**digits
                rest = np.abs(np.rint(moved) - moved) - np.abs(moved) * relative[fits]
            fits = fits[(rest <= 0).all(0)]
        # Half of the last digit, and half as much again for the error of a fit to a sample.
        absolute[fits] = 0.75 * 10.0**-digits
        open_[fits] = False
    return relative, absolute
