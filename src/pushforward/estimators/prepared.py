"""A table made ready for fits, and the fits of single models to it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.architectures import Architecture, Facts, Mixture
from pushforward.architectures.parts import softened
from pushforward.bijections import Chain, Margins, SoftTails, initialised
from pushforward.data.preprocess import Preprocessing
from pushforward.distributions import Flow
from pushforward.estimators import em
from pushforward.estimators.auto import Entrant
from pushforward.estimators.table_model import log_prob_rows
from pushforward.rows import Shape
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


def table_flow(
    architecture: Architecture,
    d: int,
    condition: Shape | None,
    key: jax.Array,
    margins: bool = False,
) -> Flow:
    """The architecture's flow for encoded rows: far outliers are compressed before the model sees them (angles have
    none).

    Arguments:
        architecture, d, condition, key: what to build.
        margins: whether `Margins` stand behind it, the tails beyond them are a root and the base is soft, so that
            draws stay where data are; False for logarithmic tails.
    """
    flow = architecture.build((d,), condition, key=key)
    if Facts.of(architecture).angles:
        return Flow(flow.base, flow.bijection)
    if not margins:
        return Flow(flow.base, Chain([flow.bijection, SoftTails(d)]))
    outer = [SoftTails(d, root=True), Margins(d)]
    return Flow(softened(flow.base), Chain([flow.bijection, *outer]))


def has_margins(flow: Flow) -> bool:
    """Whether a table's flow was built with margins."""
    return any(isinstance(part, Margins) for part in flow.bijection.parts()[-1:])


@dataclass(frozen=True)
class Encoder:
    """Takes rows of a table, in the model's units and precision: what `RowSource` calls."""

    values: np.ndarray
    columns: Preprocessing
    given: np.ndarray | None
    given_columns: Preprocessing | None
    precision: int

    def __call__(self, rows: np.ndarray) -> Batch:
        dtype = np.float64 if self.precision == 64 else np.float32
        x = self.columns.encode(self.values[rows]).astype(dtype)
        if self.given is None or self.given_columns is None:
            return Batch(x)
        return Batch(x, self.given_columns.encode(self.given[rows]).astype(dtype))


class Teller:
    """What a fit tells, in nats of the table's units, and where it stands in the whole work."""

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
        """The same without its epochs, for fits that only lead to the one that counts."""
        return Teller(None, self._progress, self._log_det, self._began)

    def stage(self, name: str) -> None:
        """A new stage of the work begins."""
        self._stage = name
        if self._progress is not None:
            self._progress(Step(0, 0, 0, 0, float("nan"), self._seconds(), False, name))

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

    def _seconds(self) -> float:
        return time.perf_counter() - self._began


@dataclass(frozen=True)
class Prepared:
    """A table made ready for fits.

    Attributes:
        train: the rows to train on, encoded as they are taken, in random order.
        judge: the encoded rows to judge by.
        columns, given_columns: pre-processing of the modelled columns and of the condition's.
        build_key, fit_key: what weights are drawn from, and the order of rows and all noise.
        seed: the same for EM.
    """

    train: RowSource
    judge: Batch
    columns: Preprocessing
    given_columns: Preprocessing | None
    build_key: PRNGKeyArray
    fit_key: PRNGKeyArray
    seed: int

    @property
    def width(self) -> int:
        """Columns of the table, the condition's among them."""
        given = 0 if self.given_columns is None else len(self.given_columns.names)
        return len(self.columns.names) + given

    @property
    def jitter(self) -> np.ndarray | None:
        return self.columns.jitter if any(self.columns.lattice) else None

    def built(self, entrant: Entrant) -> Flow:
        """An entrant's flow with fresh parameters."""
        condition = None if self.given_columns is None else (len(self.given_columns.names),)
        return table_flow(
            entrant.architecture,
            len(self.columns.names),
            condition,
            self.build_key,
            entrant.margins is not None,
        )

    def start(self, entrant: Entrant) -> Flow:
        """An entrant's flow before its fit, with everything set that is measured on data."""
        flow, margins = self.built(entrant), entrant.margins
        if margins not in (None, "none"):
            x = self.some(MARGIN_ROWS)[0]
            *maps, last = flow.bijection.parts()
            assert isinstance(last, Margins)
            following = last.following(x, margins)
            flow = Flow(flow.base, Chain([*maps, following]))
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
        """Fit an entrant to the rows; `stage` is said before its name."""
        tell.stage(f"{stage}{entrant.name}")
        own = Facts.of(entrant.architecture).learning_rate
        return fit(
            self.start(entrant),
            self.train,
            key=self.fit_key,
            loss=loss_of(entrant.architecture),
            training=training if training.learning_rate else replace(training, learning_rate=own),
            validation=self.judge,
            jitter=self.jitter,
            report=tell.epoch,
            progress=tell.step,
            checkpoint=checkpoint,
        )

    def judged(self, flow: Flow) -> np.ndarray:
        """Log-densities of the rows to judge by, in the model's units; whole numbers with one draw of noise."""
        x, c = jittered(self.judge, self.jitter)
        return log_prob_rows(flow, x, c, 64 if x.dtype == np.float64 else 32)

    def some(self, most: int) -> Batch:
        """The first of the training rows, whole numbers with noise: a random sample, as their order is random."""
        some = self.train.take(np.arange(min(self.train.count, most)))
        return jittered(some, self.jitter)
