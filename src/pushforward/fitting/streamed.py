"""The training rows of a table larger than memory: windows of lanes, read while the steps before them run."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from pushforward.errors import InputError
from pushforward.training import Training
from pushforward.training.batches import Batch, RowSource
from pushforward.training.checkpoint import digest
from pushforward.training.lanes import LANES, Lanes, kept_share, largest_piece

EPOCH_STEPS = 1000
"""Steps of an epoch at most: a pass over a large table has several, or validation would come too seldom."""

Request = tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class Streamed:
    """A table that is passed over, as rows of a fit.

    Attributes:
        rows: passed over, from the first on.
        held: numbers of those that are left out, increasing.
        read: from row numbers `start, stop` to encoded rows.
        sample: encoded rows in random order, for what needs a sample.
        marks: what tells the table from others.
        seed: of the order.
    """

    rows: int
    held: np.ndarray
    read: Callable[[int, int], Batch]
    sample: RowSource
    marks: str
    seed: int

    @property
    def count(self) -> int:
        """Rows of the training."""
        return self.rows - len(self.held)

    def for_training(self, training: Training) -> tuple[RowSource, Training]:
        """The rows in their order, and the training with everything chosen for them.

        Raises `InputError` for a batch that is no multiple of the lanes.
        """
        chosen = training.for_rows(self.count)
        assert chosen.batch is not None
        assert chosen.max_steps is not None
        batch = chosen.batch
        if training.batch is None:
            batch = max(batch // LANES, 1) * LANES
        # What a run will use must not depend on the clock.
        usual = replace(training, max_time=None).for_rows(self.count).max_steps
        assert usual is not None
        budget = math.inf if training.max_epochs is not None else usual * batch
        width = sum(leaf.shape[1] for leaf in jax.tree.leaves(self.sample.take(np.arange(1))))
        keep = kept_share(self.rows, budget)
        lanes = self._lanes(batch, keep, largest_piece(width, keep), training.batch is None)
        parts = math.ceil(lanes.steps / EPOCH_STEPS)
        steps = lanes.steps // parts
        if training.max_epochs is not None:
            epochs = math.ceil(training.max_epochs * parts / lanes.keep)
        else:
            epochs = math.ceil(chosen.max_steps / steps)
        batches = LaneBatches(lanes, parts, steps, self.read, self.marks)
        settled = replace(
            training,
            batch=lanes.batch,
            max_epochs=epochs,
            max_steps=chosen.max_steps,
            weight_decay=chosen.weight_decay,
        ).for_rows(steps * lanes.batch)
        count = self.sample.count
        return RowSource(
            steps * lanes.batch, lambda numbers: self.sample.take(numbers % count), batches
        ), settled

    def _lanes(self, batch: int, keep: float, largest: int, smaller: bool) -> Lanes:
        """The lanes; where `smaller`, with a batch that a pass over few rows can fill."""
        while True:
            try:
                return Lanes(self.rows, batch, self.seed, self.held, keep, largest)
            except InputError:
                if not smaller or batch <= LANES:
                    raise
                batch = max(batch // 2 // LANES, 1) * LANES


class LaneBatches:
    """The batches of lanes, in epochs that are parts of a pass; one thread prepares the next ones.

    Arguments:
        lanes: the order.
        parts: epochs of a pass.
        steps: of an epoch.
        read: as of `Streamed`.
        marks: of the table.

    Attributes:
        waited: seconds for which steps waited for rows, beyond the first ones.
    """

    def __init__(
        self, lanes: Lanes, parts: int, steps: int, read: Callable[[int, int], Batch], marks: str
    ) -> None:
        self._lanes, self._parts, self._steps = lanes, parts, steps
        self._read, self._marks = read, marks
        self._windows: list[dict[tuple[int, int], tuple[Batch, np.ndarray]]] = [
            {} for _ in range(lanes.lanes)
        ]
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[Request, Future[PyTree]] | None = None
        self.waited = 0.0

    def rows(self, epoch: int, first: int, last: int, steps: int, low: int, high: int) -> PyTree:
        """As of `training.batches.Batches`."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1)
        request = epoch, first, last, steps, low, high
        began, ready = time.perf_counter(), None
        if self._next is not None and self._next[0] == request:
            ready = self._next[1]
        found = (ready or self._thread.submit(self._made, request)).result()
        if ready is not None:
            self.waited += time.perf_counter() - began
        after = (epoch, last) if last < self._steps else (epoch + 1, 0)
        then = *after, min(after[1] + steps, self._steps), steps, low, high
        self._next = then, self._thread.submit(self._made, then)
        return found

    def marks(self) -> str:
        """As of `training.batches.Batches`."""
        lanes = self._lanes
        order = (
            lanes.rows,
            lanes.batch,
            lanes.seed,
            lanes.keep,
            lanes.piece,
            lanes.lanes,
            lanes.window,
        )
        return digest(self._marks, order, np.asarray(lanes.held), self._parts)

    def close(self) -> None:
        """As of `training.batches.Batches`."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._thread, self._next = None, None
        for windows in self._windows:
            windows.clear()

    def _made(self, request: Request) -> PyTree:
        epoch, first, last, steps, low, high = request
        number, part = divmod(epoch, self._parts)
        begin = part * self._steps
        lanes = self._lanes
        own = lanes.batch // lanes.lanes
        # A host reads the lanes of its own devices only.
        served = range(low // own, -(-high // own))
        filled: Any = None
        for lane in served:
            places = list(lanes.places(number, lane, begin + first, begin + last))
            windows = self._windows[lane]
            # Before others are read, those that are done with are given up.
            for old in set(windows) - {(number, window) for window, _, _ in places}:
                del windows[old]
            done = 0
            for window, start, stop in places:
                rows, order = self._window(number, lane, window)
                at = np.arange(done, done + stop - start)
                if filled is None:
                    filled = jax.tree.map(
                        lambda a: np.zeros((steps, len(served), own, *a.shape[1:]), a.dtype), rows
                    )
                for whole, some in zip(jax.tree.leaves(filled), jax.tree.leaves(rows), strict=True):
                    whole[at // own, lane - served[0], at % own] = some[order[start:stop]]
                done += stop - start
        kept = slice(low - served[0] * own, high - served[0] * own)

        def flat(leaf: np.ndarray) -> np.ndarray:
            event = leaf.shape[3:]
            return leaf.reshape(steps, -1, *event)[:, kept].reshape(-1, *event)

        return jax.tree.map(flat, filled)

    def _window(self, number: int, lane: int, window: int) -> tuple[Batch, np.ndarray]:
        """A window's rows as they were read, and their order."""
        windows = self._windows[lane]
        if (number, window) not in windows:
            picks, order = self._lanes.read(number, lane, window)
            parts = []
            for pick in picks:
                read = self._read(pick.start, pick.stop)
                parts.append(jax.tree.map(lambda a, pick=pick: a[pick.rows], read))
            rows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
            windows[number, window] = rows, order
        return windows[number, window]
