"""A table made ready for fits, and the fits of single models to it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.architectures import Architecture, Facts, Mixture
from pushforward.bijections import initialised
from pushforward.columns import Columns
from pushforward.distributions import Flow
from pushforward.fitting import em
from pushforward.fitting.auto import Entrant
from pushforward.fitting.streamed import Streamed
from pushforward.models.elements import Elements
from pushforward.models.table_flow import table_flow, with_margins
from pushforward.models.table_model import log_prob_rows
from pushforward.training import Checkpoint, Epoch, Fitted, RowSource, Step, Training, fit
from pushforward.training.batches import Batch, jittered
from pushforward.training.loss import Loss, negative_log_prob

FIRST_ROWS = 4096
"""Rows of the data pass that sets data-dependent layers (Glow's actnorm)."""
MARGIN_ROWS = 1 << 17
"""Rows at most on which margins are measured."""


def loss_of(architecture: Architecture) -> Loss:
    """What a fit of an architecture minimises: a loss of its own, or the negative log-density."""
    return Facts.of(architecture).loss or negative_log_prob


class Teller:
    """Passes on the progress of a fit: losses in nats in the table's units, and the stage of the work."""

    def __init__(
        self,
        report: Callable[[Epoch], bool | None] | None,
        progress: Callable[[Step], bool | None] | None,
        log_det: float,
        began: float,
    ):
        self._report, self._progress, self._log_det = report, progress, log_det
        self._began, self._stage = began, ""

    def of_steps(self) -> "Teller":
        """The same without reports of epochs, for short fits on the way to the final one."""
        return Teller(None, self._progress, self._log_det, self._began)

    def stage(self, name: str) -> None:
        """Begin a stage of the work."""
        self._stage = name
        if self._progress is not None:
            self._progress(Step(0, 0, 0, 0, float("nan"), self.seconds(), False, name))

    def epoch(self, epoch: Epoch) -> bool | None:
        losses = ("train_loss", "validation_loss", "best_loss") if epoch.likelihood else ()
        if self._report is None:
            return None
        return self._report(
            replace(epoch, **{name: getattr(epoch, name) - self._log_det for name in losses})
        )

    def step(self, step: Step) -> bool | None:
        if self._progress is None:
            return None
        loss = step.loss - self._log_det if step.likelihood else step.loss
        return self._progress(replace(step, loss=loss, stage=self._stage))

    def seconds(self) -> float:
        """Since the work began."""
        return time.perf_counter() - self._began


@dataclass(frozen=True)
class Prepared:
    """A table made ready for fits.

    Attributes:
        train: the rows to train on, encoded as they are taken, in random order; a sample of them where there is a
            stream.
        judge: the encoded rows to judge by.
        columns, condition: the modelled columns and those of the condition.
        build_key, fit_key: keys of the initial weights, and of the order of rows and all noise.
        seed: of EM.
        stream: the rows of the fit in full, where they are more than fit the memory; default None.
    """

    train: RowSource
    judge: Batch
    columns: Columns
    condition: Columns | None
    build_key: PRNGKeyArray
    fit_key: PRNGKeyArray
    seed: int
    stream: Streamed | None = None

    @property
    def count(self) -> int:
        """The number of rows to train on."""
        return self.train.count if self.stream is None else self.stream.count

    @property
    def width(self) -> int:
        """Number of coordinates that a model sees, including the condition's."""
        return self.columns.width + (0 if self.condition is None else self.condition.features_width)

    @property
    def jitter(self) -> np.ndarray | None:
        return self.columns.noise if self.columns.noise.any() else None

    def built(self, entrant: Entrant) -> Flow:
        """An entrant's flow with fresh parameters."""
        return table_flow(
            entrant.architecture,
            self.columns.width,
            None if self.condition is None else (self.condition.features_width,),
            self.build_key,
            entrant.margins is not None,
            self.columns.angles,
            self.condition if isinstance(self.condition, Elements) else None,
        )

    def start(self, entrant: Entrant) -> Flow:
        """An entrant's flow before its fit, with its data-dependent layers set."""
        flow = self.built(entrant)
        if entrant.margins not in (None, "none"):
            flow = with_margins(flow, self.some(MARGIN_ROWS)[0], entrant.margins)
        first = self.some(FIRST_ROWS)
        flow = Flow(flow.base, initialised(flow.bijection, *first))
        if isinstance(entrant.architecture, Mixture):
            x, c = self.some(em.ROWS)
            z = np.asarray(flow.bijection.inverse(x, c)[0], np.float64)
            flow = em.starting_from(
                flow, em.fitted_mixture(z, entrant.architecture.components, self.seed)
            )
        return flow

    def fit(
        self,
        entrant: Entrant,
        training: Training,
        tell: Teller,
        stage: str = "",
        checkpoint: Checkpoint | None = None,
    ) -> Fitted[Flow]:
        """Fit an entrant to the rows; `stage` precedes its name in reports."""
        tell.stage(f"{stage}{entrant.name}")
        own = Facts.of(entrant.architecture).learning_rate
        training = training if training.learning_rate else replace(training, learning_rate=own)
        train = self.train
        if self.stream is not None:
            train, training = self.stream.for_training(training)
        return fit(
            self.start(entrant),
            train,
            key=self.fit_key,
            loss=loss_of(entrant.architecture),
            training=training,
            validation=self.judge,
            jitter=self.jitter,
            report=tell.epoch,
            progress=tell.step,
            checkpoint=checkpoint,
        )

    def judged(self, flow: Flow) -> np.ndarray:
        """Log-densities of the judging rows, in the model's units; whole numbers get one draw of noise."""
        x, c = jittered(self.judge, self.jitter)
        return log_prob_rows(flow, x, c, 64 if x.dtype == np.float64 else 32)

    def some(self, most: int) -> Batch:
        """The first training rows, which are a random sample, with noise added to whole numbers."""
        some = self.train.take(np.arange(min(self.train.count, most)))
        return jittered(some, self.jitter)
