"""A fit while it runs: its epochs of segments, their validation, and what follows from that."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from pushforward.bijections import has_statistics, with_remat
from pushforward.draws import permutation
from pushforward.errors import InputError
from pushforward.training.batches import Batch, RowSource, blocks_for, count_of
from pushforward.training.checkpoint import CheckpointFile
from pushforward.training.devices import layout_of
from pushforward.training.hosts import agreed, agreed_numbers, hosts_of, leads
from pushforward.training.loss import Loss, is_scalar, negative_log_prob
from pushforward.training.settings import Epoch, Step, Training
from pushforward.training.step import Pace, State, losses, measured, run, segment_steps

Ending = Literal["finished", "early", "time", "interrupted", "diverged"]
MEASURED = 4096
"""Rows on which the statistics of batch-norm layers are measured before every validation."""


@dataclass
class Progress:
    """Where a fit stands between two segments, all of which goes into a checkpoint. `annealed` is the number of steps
    after which the last annealing began."""

    epoch: int = 0
    step: int = 0
    total: float = 0.0
    note: str = ""
    best_loss: float = math.inf
    since_best: int = 0
    scale: float = 1.0
    retries: int = 0
    seconds: float = 0.0
    annealed: int | None = None
    stopped: Ending | Literal[""] = ""
    history: list[Epoch] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(stored: dict[str, Any]) -> "Progress":
        return Progress(**{**stored, "history": [Epoch(**e) for e in stored["history"]]})


class Run:
    """What stays the same while a fit runs, and the work of an epoch.

    Attributes:
        params, static: the model's trained arrays, and the rest of it.
        training: with everything chosen.
        file: the checkpoint, if there is one.
        steps: of an epoch.
        began: when the fit began, on the clock of `time.perf_counter`.
    """

    def __init__(
        self,
        model: PyTree,
        source: RowSource,
        judge: PyTree,
        key: PRNGKeyArray,
        loss: Loss,
        training: Training,
        jitter: Any,
        progress: Callable[[Step], bool | None] | None,
        file: CheckpointFile | None,
    ):
        self.began, training = time.perf_counter(), training.for_rows(source.count)
        assert training.batch is not None
        assert training.max_epochs is not None
        if training.remat != "none":
            model = with_remat(model, training.remat)
        self.params, self.static = eqx.partition(model, eqx.is_inexact_array)
        self.steps, self.training, self.file = source.count // training.batch, training, file
        self._source, self._key, self._loss = source, key, loss
        on_device = eqx.filter(jitter, lambda leaf: isinstance(leaf, np.ndarray))
        self._jitter = eqx.combine(jax.tree.map(jnp.asarray, on_device), jitter)
        self._batch, self._epochs, self._progress = training.batch, training.max_epochs, progress
        # What the host decides is not part of the program: fits that differ in their length share one.
        of_host: Any = dict.fromkeys(
            ("max_time", "max_steps", "max_epochs", "average", "stall", "devices")
        )
        self._compiled = replace(training, **of_host)
        self._patience = max(1, math.ceil(training.patience * self._epochs))
        self._stall = math.inf
        if training.stall is not None:
            self._stall = max(1, math.ceil(training.stall * self._epochs))
        one = source.take(np.arange(1))
        self._segment = segment_steps(self.steps, self._batch, one, self.params)
        self._scalar = is_scalar(loss)
        self._blocks = [None] if judge is None else blocks_for(judge, whole=self._scalar)
        self._judged = 1 if judge is None else count_of(judge)
        # Rows are validated without noise; what a loss draws itself, always with the same.
        self._judge_key = jax.random.fold_in(key, 1 << 31) if judge is None else None
        self._few: PyTree = None
        self.layout = layout_of(training.devices, model, loss, training.batch)
        self._clock = 0.0 if hosts_of(training.devices) > 1 else None
        if has_statistics(model):
            self._few = source.take(np.arange(min(source.count, MEASURED)))
        if self._few is not None and not isinstance(self._few, Batch):
            raise InputError(
                "a model with batch norm is fitted by fit(model, x, condition): its statistics are measured on x"
            )
        if (layout := self.layout) is not None:
            constants = self.static, self._jitter, self._loss, self._few
            self.static, self._jitter, self._loss, self._few = layout.everywhere(constants)
            self._blocks = [layout.block(block, whole=self._scalar) for block in self._blocks]

    def seconds(self) -> float:
        """Since the fit began; on several hosts by the clock of the first, when they last agreed."""
        return time.perf_counter() - self.began if self._clock is None else self._clock

    def agreed(self, *said: float) -> list[float]:
        """What the first host says, with which its clock goes: hosts must not decide differently."""
        if self._clock is None:
            return list(said)
        now = time.perf_counter() - self.began
        *found, self._clock = agreed_numbers(self.training.devices, *said, now)
        return found

    def asks(self, call: Callable[[Any], bool | None] | None, given: Any) -> bool:
        """Whether who hears of the fit, on the first host, asks to stop it."""
        return bool(self.agreed(self._heard(call, given))[0])

    def _heard(self, call: Callable[[Any], bool | None] | None, given: Any) -> bool:
        return call is not None and leads(self.training.devices) and bool(call(given))

    def epoch(self, state: State, best: PyTree, at: Progress) -> tuple[State, bool]:
        """Go on to the end of an epoch, or until time is up or `progress` asks to stop; True if it did."""
        key, layout = jax.random.fold_in(self._key, at.epoch), self.layout
        if layout is not None:
            key = layout.everywhere(key)
        order = np.zeros(0, int)
        if self._source.batches is None:
            order = permutation(self._key, self._source.count, at.epoch)
        training, batch = self.training, self._batch
        asked = late = False
        while at.step < self.steps and at.retries <= training.retries and not (asked or late):
            last = min(at.step + self._segment, self.steps)
            # All segments have one size; what lies beyond the last step is never read.
            taken = self._taken(order, at, last)
            span, pace = jnp.asarray([at.step, last]), self._pace(at)
            if layout is None:
                rows = jax.device_put(taken(0, batch))
            else:
                rows = layout.rows(taken, self._segment, batch)
                span, pace = layout.everywhere((layout.span(at.step, last), pace))
            trial, mean = run(
                state, self.static, rows, span, pace, self._jitter, key, self._loss,
                self._compiled, batch, layout,
            )  # fmt: skip
            if not math.isfinite(float(mean)):
                at.retries, at.scale = at.retries + 1, at.scale / 2
                at.note = f"non-finite loss: went back, step size x {at.scale:g}"
                continue
            state, at.total, at.step = trial, at.total + float(mean) * (last - at.step), last
            heard = self._heard(self._progress, self._step(at))
            due = self.file is not None and self.file.due()
            asked, due = map(bool, self.agreed(heard, due))
            late = training.max_time is not None and self.seconds() > training.max_time
            if due:
                self.write(state, best, at)
        return state, asked

    def _taken(self, order: np.ndarray, at: Progress, last: int) -> Callable[[int, int], PyTree]:
        """The rows of a segment that stand at some places of its batches."""
        batch, own = self._batch, self._source.batches
        if own is not None:
            return partial(own.rows, at.epoch, at.step, last, self._segment)
        numbers = np.resize(order[at.step * batch : last * batch], (self._segment, batch))
        return lambda first, end: self._source.take(numbers[:, first:end].ravel())

    def validation(self, params: PyTree) -> tuple[PyTree, float]:
        """The weights with measured statistics of batch norm, and their mean loss over the validation rows."""
        if self._few is not None:
            params = measured(params, self.static, self._few)
        values, weights = [], []
        each = None if self.layout is None else self.layout.each()
        for block in self._blocks:
            found = losses(
                params, self.static, block, self._loss, self._judge_key, self.layout, each
            )
            values.append(np.atleast_1d(np.asarray(found, np.float64)))
            weights.append(count_of(block) if self._scalar and block is not None else 1)
        every = np.concatenate(values)
        if self._scalar:
            value = np.average(every, weights=weights)
        else:
            value = (every[: self._judged] if self._judge_key is None else every).mean()
        return params, self.agreed(float(value))[0]

    def record(self, at: Progress, value: float) -> Epoch:
        """What the epoch did."""
        return Epoch(
            epoch=at.epoch + 1,
            epochs=self._last_epoch(at),
            train_loss=at.total / at.step,
            validation_loss=value,
            best_loss=at.best_loss,
            seconds=self.seconds(),
            note=at.note,
            likelihood=self._loss is negative_log_prob,
        )

    def verdict(self, at: Progress, record: Epoch, asked: bool) -> Ending | Literal[""]:
        """Why the fit ends after this epoch, or nothing."""
        limit = self.training.max_time
        if asked:
            return "interrupted"
        done = at.epoch * self.steps
        if at.annealed is None and at.since_best >= self._stall:
            at.annealed = done
        if at.epoch == self._epochs or (at.annealed is not None and done >= self._end(at.annealed)):
            return "finished"
        if limit is not None and record.seconds > limit:
            return "time"
        return "early" if at.since_best >= self._patience else ""

    def write(self, state: State, best: PyTree, at: Progress) -> None:
        """Write the checkpoint."""
        assert self.file is not None
        at.seconds = self.seconds()
        self.file.write(self.fetched((state, best)), at.to_json())

    def placed(self, state: PyTree) -> PyTree:
        """A state of the fit, laid on its devices."""
        if self.layout is None:
            return state
        state = jax.tree.map(jnp.asarray, agreed(self.training.devices, state))
        return self.layout.weights(state)

    def fetched(self, state: PyTree) -> PyTree:
        """A state of the fit on one device."""
        return state if self.layout is None else self.layout.fetched(state)

    def _step(self, at: Progress) -> Step:
        return Step(
            epoch=at.epoch + 1,
            epochs=self._last_epoch(at),
            step=at.step,
            steps=self.steps,
            loss=at.total / at.step,
            seconds=self.seconds(),
            likelihood=self._loss is negative_log_prob,
        )

    def _last_epoch(self, at: Progress) -> int:
        return self._epochs if at.annealed is None else self._end(at.annealed) // self.steps

    def _end(self, annealed: int) -> int:
        """The number of steps at the end of an annealing that began after so many, in whole epochs."""
        epochs = max(1, math.ceil(annealed / self.steps / 4))
        return min(annealed + epochs * self.steps, self._epochs * self.steps)

    def _pace(self, at: Progress) -> Pace:
        """By steps, or by the clock where that ends first."""
        limit, done = self.training.max_time, at.epoch * self.steps + at.step
        per_step = 1 / (self._epochs * self.steps)
        progress = done * per_step
        if at.annealed is not None:
            # From where the schedule stood when the fit stalled to its end.
            began = at.annealed * per_step
            per_step = (1 - began) / (self._end(at.annealed) - at.annealed)
            progress = began + (done - at.annealed) * per_step
        if limit is not None and (elapsed := self.seconds() / limit) > progress:
            progress, per_step = elapsed, elapsed / max(done, 1)
        found = progress, per_step, at.scale, self.training.average or 0.0
        return Pace(*(jnp.asarray(value, jnp.float32) for value in found))
