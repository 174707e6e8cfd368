"""One pass over a table larger than memory: a sample of its rows, and those that prove what a sample cannot."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt64

from pushforward.columns.values import refuse_merged
from pushforward.columns.whole import first_not_whole
from pushforward.data.stream import StreamFiles
from pushforward.errors import warn
from pushforward.training.lanes import PIECE, WINDOW

SAMPLE = 1 << 20
"""Rows of the sample."""
HASHED = 1 << 16
"""Rows whose numbers are hashed at once, as many as a cache holds."""
HELD_BYTES = 1 << 29
"""Bytes up to which all rows are held in memory once they are read: as many as are shuffled together of larger tables.
Where they are read from changes no number."""
UNEVEN = 0.1
"""Share of a column's variance, explained by the piece, from which on a table is said to lie in an order."""
FEWEST_PIECES = 32


def hashed(rows: Int[np.ndarray, " n"], seed: int) -> UInt64[np.ndarray, " n"]:
    """Uniform 64-bit numbers of row numbers, by splitmix64.

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
    """
    golden = 0x9E3779B97F4A7C15
    z = rows.astype(np.uint64) + np.uint64((golden * (2 * seed + 1)) % (1 << 64))
    z *= np.uint64(golden)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: np.ndarray = z ^ (z >> np.uint64(31))
    return found


def sampled(total: int, most: int, seed: int) -> Int[np.ndarray, " k"]:
    """The numbers of the rows with the least hashes, least first.

    A random sample that needs no state: parts of a table are sampled apart, and of their samples the least are those of
    the whole. Cost: some 10 ns a row; memory: a few times the sample's.

    Arguments:
        total: rows of the table.
        most: rows of the sample; all where there are no more.
        seed: another one gives another sample.

    ```python
    >>> sorted(sampled(6, 8, seed=0).tolist()), len(sampled(10**6, 100, seed=0))
    ([0, 1, 2, 3, 4, 5], 100)

    ```
    """
    # Hashes are uniform: hardly more than the sample lie below this bound, and as good as never fewer.
    share = (most + 10 * math.sqrt(most) + 100) / total
    while True:
        bound = np.uint64(min(int(share * 2.0**64), (1 << 64) - 1))
        found = []
        for start in range(0, total, HASHED):
            rows = np.arange(start, min(start + HASHED, total))
            keys = hashed(rows, seed)
            few = keys <= bound
            found.append((rows[few], keys[few]))
        rows, keys = (np.concatenate(parts) for parts in zip(*found, strict=True))
        if len(rows) >= min(most, total):
            least: np.ndarray = rows[np.argsort(keys, kind="stable")[:most]]
            return least
        share *= 2


@dataclass(frozen=True)
class Measured:
    """What one pass over a table has found.

    Attributes:
        files: the table.
        values: `(k, d)` a random sample of its rows, in the order of the table; then the witnesses.
        numbers: the row number of each.
        ranked: positions in `values` of the sample's rows, in random order.
        every: `(total, d)`, all rows, where they are few enough to be held.
    """

    files: StreamFiles
    values: Float[np.ndarray, "n d"]
    numbers: Int[np.ndarray, " n"]
    ranked: Int[np.ndarray, " k"]
    every: Float[np.ndarray, "total d"] | None

    def tables(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The rows of `values`, and those of the condition."""
        return self.parted(self.values)

    def parted(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The columns to model of rows, and those of the condition."""
        width = len(self.files.names)
        return rows[:, :width], rows[:, width:] if self.files.condition else None

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows by their numbers, from memory where they are held."""
        return self.files.read(start, stop) if self.every is None else self.every[start:stop]

    def place(self, row: int) -> str:
        """Where a row of `values` is in the table, in words."""
        return self.files.place(int(self.numbers[row]))

    def split(
        self, share: float, most: int, way: str
    ) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
        """Which rows are held out.

        Arguments:
            share: of the rows; with 0 none, and all judge.
            most: rows that judge.
            way: "random" or "last".

        Returns positions in `values` of the sample's training rows and of the judging ones, each in random order; the
        number of rows from the first on that training passes over; and the numbers of those among them that it leaves
        out, increasing.
        """
        none, total = np.zeros(0, np.int64), self.files.total
        if share == 0:
            return self.ranked, self.ranked[:most], total, none
        count = min(max(round(share * total), 1), total - 1)
        if way == "last":
            late = self.numbers[self.ranked] >= total - count
            return self.ranked[~late], self.ranked[late][:most], total - count, none
        held = self.ranked[: min(count, most, len(self.ranked) // 2)]
        return self.ranked[len(held) :], held, total, np.sort(self.numbers[held])


def measured(
    files: StreamFiles,
    seed: int,
    progress: Callable[[float], None] | None = None,
    most: int | None = None,
) -> Measured:
    """Pass over a table once, in memory that does not grow with it.

    The sample is rows, not marginals, so that whatever is measured of a table in memory is measured of it. What it
    cannot prove, other rows do that are added to it: those with the smallest and the largest number of each column, one
    that is no whole number where there is one, and those by which whole numbers have no common divisor that is larger.

    Arguments:
        files: the table.
        seed: of the sample.
        progress: called now and then with the share that has been read.
        most: rows of the sample; default `SAMPLE`.

    Raises `InputError`, naming file and row, for a cell that is missing or not finite. Warns where the rows lie in an
    order.
    """
    total, most = files.total, SAMPLE if most is None else most
    ranked = sampled(total, most, seed)
    by_number = np.argsort(ranked)
    rows, order = ranked[by_number], np.empty_like(ranked)
    order[by_number] = np.arange(len(ranked))
    values: np.ndarray = np.empty((len(rows), len(files.every)), files.dtype, order="F")
    every = None
    if total <= most:
        every = values
    elif total * len(files.every) * values.itemsize <= HELD_BYTES:
        every = np.empty((total, len(files.every)), files.dtype, order="F")
    witnesses = Witnesses(len(files.every))
    means = Means()
    for start, block in files.blocks():
        low, high = np.searchsorted(rows, (start, start + len(block)))
        values[low:high] = block[rows[low:high] - start]
        if every is not None and every is not values:
            every[start : start + len(block)] = block
        if total > most:
            witnesses.see(start, block)
            means.see(block)
        if progress is not None:
            progress((start + len(block)) / total)
    if total > most:
        means.warn_of_order(files, values)
        numbers = np.array(sorted(witnesses.rows), np.int64)
        places = np.minimum(np.searchsorted(rows, numbers), len(rows) - 1)
        numbers = numbers[rows[places] != numbers]
        if len(numbers):
            more = np.stack([witnesses.rows[number] for number in numbers.tolist()])
            values, rows = np.concatenate([values, more]), np.concatenate([rows, numbers])
    for j, name in enumerate(files.every):
        if files.integer[j]:
            refuse_merged(values[:, j].astype(np.float64, copy=False), name, files.where)
    return Measured(files, values, rows, order, every)


class Witnesses:
    """Rows that prove what a sample of a table cannot, by their number.

    Arguments:
        width: columns of the table.
    """

    def __init__(self, width: int) -> None:
        self._low = np.full(width, np.inf)
        self._high = np.full(width, -np.inf)
        self._whole = [True] * width
        self._first = [0] * width
        self._divisor = [0] * width
        self._rows: dict[tuple[str, int, int], tuple[int, np.ndarray]] = {}

    @property
    def rows(self) -> dict[int, np.ndarray]:
        """The rows by their numbers."""
        return dict(self._rows.values())

    def see(self, start: int, block: Float[np.ndarray, "n d"]) -> None:
        """Look at more rows.

        Arguments:
            start: the number of the first.
            block: rows, finite.
        """
        low, high = block.min(0), block.max(0)
        for j in np.flatnonzero(low < self._low).tolist():
            self._keep("low", j, start, block, int(block[:, j].argmin()))
        for j in np.flatnonzero(high > self._high).tolist():
            self._keep("high", j, start, block, int(block[:, j].argmax()))
        self._low, self._high = np.minimum(low, self._low), np.maximum(high, self._high)
        for j in np.flatnonzero(self._whole).tolist():
            column = block[:, j].astype(np.float64)
            odd = first_not_whole(column)
            if odd is not None:
                self._whole[j] = False
                self._keep("odd", j, start, block, odd)
            elif self._divisor[j] != 1:
                self._divide(j, start, block, column.astype(np.int64))

    def _divide(self, j: int, start: int, block: np.ndarray, column: np.ndarray) -> None:
        """Keep the rows by which the common divisor of differences becomes smaller."""
        if ("divisor", j, 0) not in self._rows:
            self._first[j] = int(column[0])
            self._keep("divisor", j, start, block, 0)
        apart = np.abs(column - self._first[j])
        while self._divisor[j] != 1:
            against = apart % self._divisor[j] if self._divisor[j] else apart
            row = int((against != 0).argmax())
            if against[row] == 0:
                break
            self._divisor[j] = int(np.gcd(self._divisor[j], apart[row]))
            self._keep("divisor", j, start, block, row, self._divisor[j])

    def _keep(
        self, what: str, j: int, start: int, block: np.ndarray, row: int, number: int = 0
    ) -> None:
        self._rows[what, j, number] = start + row, block[row].copy()


class Means:
    """Whether places of a table differ: the means of its pieces."""

    def __init__(self) -> None:
        self._count, self._first = 0, np.zeros(0)
        self._sum, self._square = np.zeros(0), np.zeros(0)

    def see(self, block: Float[np.ndarray, "n d"]) -> None:
        """Look at more rows; those that fill no piece are passed over."""
        pieces = len(block) // PIECE
        if not pieces:
            return
        some = block[: pieces * PIECE]
        # By columns, along which rows lie in memory.
        means = np.stack([c.reshape(pieces, -1).mean(1, dtype=np.float64) for c in some.T], 1)
        if not self._count:
            self._first = means[0]
            self._sum, self._square = np.zeros(means.shape[1]), np.zeros(means.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            self._sum += (means - self._first).sum(0)
            self._square += np.square(means - self._first).sum(0)
        self._count += pieces

    def share(self, values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
        """The share of each column's variance that the piece explains, beyond what it does by chance.

        Arguments:
            values: a sample of the rows.
        """
        with np.errstate(all="ignore"):
            between = self._square / self._count - np.square(self._sum / self._count)
            total = values.var(0, dtype=np.float64)
            share = between / total - 1 / PIECE
        found: np.ndarray = np.nan_to_num(share, nan=0.0, posinf=0.0, neginf=0.0)
        return found

    def warn_of_order(self, files: StreamFiles, values: np.ndarray) -> None:
        """Warn where one place of the table is unlike another."""
        if self._count < FEWEST_PIECES:
            return
        share = self.share(values)
        column = int(share.argmax())
        if share[column] >= UNEVEN:
            warn(
                f"{files.where}: rows lie in an order or in groups: where a row stands explains {share[column]:.0%} of "
                f"the variance of column '{files.every[column]}'. Batches are mixed from {WINDOW} places, which costs "
                "little against a full shuffle (less than 0.1 nats in a sorted table); to be sure, shuffle the table "
                "once on disk (ORDER BY random())"
            )
