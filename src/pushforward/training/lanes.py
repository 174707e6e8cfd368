"""The order in which a table larger than memory is passed over: a function of its number of rows and a seed."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from pushforward.errors import InputError
from pushforward.words import plural

LANES = 8
"""Lanes that share the rows, whatever the number of devices and hosts."""
PIECE, LARGEST_PIECE = 8192, 1 << 16
"""Rows of a piece, the unit of reading, and the most of one that is thinned. A slice costs as much as the pages that it
touches, 20,000 rows or, as Polars writes them, a row group."""
WINDOW_BYTES = 1 << 29
"""Bytes of all windows, in single precision."""
WINDOW = 256
"""Pieces that are shuffled together, over all lanes: rows of so many places of the table meet in a batch."""
LEAST_KEPT = 1 / 16
"""The least share of a piece that is used in a pass. Reading a row costs a small part of a step on it."""
# What random numbers are drawn for: keys of one seed must differ.
_PIECES, _ROWS, _SHARES = 1, 2, 3


class Pick(NamedTuple):
    """Rows of one piece.

    Attributes:
        start, stop: the piece, as row numbers of the table.
        rows: which of its rows are used, counted from `start`; increasing.
    """

    start: int
    stop: int
    rows: Int[np.ndarray, " k"]


class Window(NamedTuple):
    """Pieces that one lane shuffles together.

    Attributes:
        picks: what is read.
        order: the order in which the picked rows, one pick after the other, are handed out.
    """

    picks: list[Pick]
    order: Int[np.ndarray, " m"]

    def numbers(self) -> Int[np.ndarray, " m"]:
        """Row numbers of the table, in the order in which they are handed out."""
        every = np.concatenate([pick.start + pick.rows for pick in self.picks])
        found: np.ndarray = every[self.order]
        return found


@dataclass(frozen=True, eq=False)
class Lanes:
    """The order of a table's rows in passes over it, one batch after the other.

    The table is cut into pieces of equal size. In each pass they are permuted and dealt to the lanes in turn; a lane
    reads some of its pieces, a window, shuffles their rows, and hands out its share of every batch. What its last
    window leaves over when the pass ends is dropped, so that lanes stay equal. Everything follows from (seed, pass,
    step), so that any number of devices and hosts, each serving some lanes, sees the same batches, and a fit resumes at
    any step.

    Arguments:
        rows: of the table that are passed over, from the first on.
        batch: rows of a step, a multiple of `lanes`.
        seed: of the order.
        held: numbers of rows that are left out, increasing; default none.
        keep: share of each piece that is used in a pass, drawn anew each time; default 1.
        largest: rows of a piece, where there are enough for a window; default 8,192.
        lanes: how many; default 8.
        window: pieces shuffled together, over all lanes; default 256.

    Raises `InputError` for a batch that is no multiple of the lanes, or larger than the rows of a pass.

    Source: the lanes are the canonical nodes of MosaicML's StreamingDataset.

    ```python
    >>> lanes = Lanes(1000, batch=16, seed=0)
    >>> lanes.steps, lanes.numbers(0, 0, 2).shape
    (62, (2, 16))

    ```
    """

    rows: int
    batch: int
    seed: int
    held: Int[np.ndarray, " h"] | Sequence[int] = ()
    keep: float = 1.0
    largest: int = PIECE
    lanes: int = LANES
    window: int = WINDOW

    def __post_init__(self) -> None:
        if self.batch < 1 or self.batch % self.lanes:
            raise InputError(
                f"batch={self.batch}: of a table that is streamed, a multiple of {self.lanes} is expected"
            )
        if self.steps < 1:
            raise InputError(
                f"batch={self.batch}: is more than a pass over {plural(self.rows, 'row')} can fill; take a smaller one"
            )

    @cached_property
    def piece(self) -> int:
        """Rows of a piece: `largest`, halved until the table fills a window."""
        size = self.largest
        while size > 1 and self.rows < size * self.window:
            size //= 2
        return size

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.arange(0, self.rows, self.piece)

    @cached_property
    def _held(self) -> np.ndarray:
        return np.asarray(self.held, np.int64)

    @cached_property
    def _counts(self) -> np.ndarray:
        """Rows used of each piece in a pass."""
        ends = np.append(self._starts, self.rows)
        usable = np.diff(ends) - np.diff(np.searchsorted(self._held, ends))
        return np.ceil(self.keep * usable).astype(np.int64)

    @cached_property
    def steps(self) -> int:
        """Steps of a pass: as many as every lane can serve, however the pieces are dealt."""
        least = np.sort(self._counts)[: len(self._counts) // self.lanes].sum()
        return int(least) // (self.batch // self.lanes)

    def windows(self, number: int, lane: int) -> list[Int[np.ndarray, " k"]]:
        """The pieces of each window of a lane in a pass."""
        own = self._dealt(number)[lane :: self.lanes]
        size = max(self.window // self.lanes, 1)
        return [own[i : i + size] for i in range(0, len(own), size)]

    def read(self, number: int, lane: int, window: int) -> Window:
        """What a lane reads for one of its windows in a pass, and the order in which it hands it out."""
        picks = [self._pick(number, int(piece)) for piece in self.windows(number, lane)[window]]
        random = np.random.default_rng([self.seed, number, _ROWS, lane, window])
        return Window(picks, random.permutation(sum(len(pick.rows) for pick in picks)))

    def places(
        self, number: int, lane: int, first: int, last: int
    ) -> Iterator[tuple[int, int, int]]:
        """Where the rows of the steps `first .. last` of a lane are: windows, and from where to where in their
        order."""
        own = self.batch // self.lanes
        begin, end = first * own, last * own
        start = 0
        for i, pieces in enumerate(self.windows(number, lane)):
            stop = start + int(self._counts[pieces].sum())
            if begin < stop and start < end:
                yield i, max(begin, start) - start, min(end, stop) - start
            start = stop

    def numbers(
        self, number: int, first: int, last: int, lanes: Iterable[int] | None = None
    ) -> Int[np.ndarray, "steps rows"]:
        """Row numbers of the steps `first .. last` of a pass, for a host that serves some of the lanes.

        Arguments:
            number: of the pass, from 0.
            first, last: steps.
            lanes: those that are served, whose rows come one after the other; default all.
        """
        served = range(self.lanes) if lanes is None else lanes
        rows = [self._of_lane(number, first, last, lane) for lane in served]
        return np.concatenate([own.reshape(last - first, -1) for own in rows], axis=1)

    def _of_lane(self, number: int, first: int, last: int, lane: int) -> np.ndarray:
        found = [
            self.read(number, lane, window).numbers()[start:stop]
            for window, start, stop in self.places(number, lane, first, last)
        ]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _dealt(self, number: int) -> np.ndarray:
        return _permuted(self.seed, number, len(self._starts))

    def _pick(self, number: int, piece: int) -> Pick:
        start = int(self._starts[piece])
        stop = min(start + self.piece, self.rows)
        low, high = np.searchsorted(self._held, (start, stop))
        rows = np.arange(stop - start)
        if high > low:
            rows = np.delete(rows, self._held[low:high] - start)
        count = int(self._counts[piece])
        if count < len(rows):
            random = np.random.default_rng([self.seed, number, _SHARES, piece])
            rows = rows[np.sort(random.choice(len(rows), count, replace=False, shuffle=False))]
        return Pick(start, stop, rows)


@lru_cache(maxsize=4)
def _permuted(seed: int, number: int, pieces: int) -> np.ndarray:
    return np.random.default_rng([seed, number, _PIECES]).permutation(pieces)


def kept_share(rows: int, budget: float) -> float:
    """The share of each piece to use in a pass.

    A run that ends before its first pass would not see all places of the table, so it uses a part of each piece
    instead.

    Arguments:
        rows: of the table.
        budget: rows that the run will use.

    ```python
    >>> kept_share(10**6, 12e6), kept_share(10**8, 25e6), kept_share(10**12, 1e8)
    (1.0, 0.25, 0.0625)

    ```
    """
    # Powers of two, so that little changes for a few rows more.
    share = max(min(budget / rows, 1.0), LEAST_KEPT)
    return float(2.0 ** math.floor(math.log2(share)))


def largest_piece(width: int, keep: float) -> int:
    """Rows of the largest piece of which a window fits into `WINDOW_BYTES`.

    Arguments:
        width: numbers of a row as the model sees it.
        keep: share of a piece that is used.

    ```python
    >>> largest_piece(8, 1.0), largest_piece(63, 1.0), largest_piece(63, 0.25)
    (65536, 8192, 32768)

    ```
    """
    fits = WINDOW_BYTES / (WINDOW * 4 * width * keep)
    return min(max(1 << max(int(fits), 1).bit_length() - 1, 1), LARGEST_PIECE)
