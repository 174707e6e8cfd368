"""How a fit is run, and what it tells while it runs."""

from dataclasses import dataclass

from pushforward.errors import InputError


@dataclass(frozen=True)
class Training:
    """The configuration of a fit.

    Arguments:
        batch: rows of a step; default 512 (never more than the training rows).
        max_epochs: passes over the data; None chooses `max_steps` steps' worth.
        max_steps: steps of a fit where `max_epochs` is None.
        max_time: seconds after which the fit ends, with the learning rate annealed towards that end; None for no
            limit. Runs under a time limit are not reproducible to the bit.
        learning_rate: the peak of the schedule (linear warm-up, then cosine to zero).
        warmup: share of the run spent warming up.
        weight_decay: decoupled weight decay (AdamW) on weights, not on biases.
        clip: largest norm of a gradient.
        average: decay of the averaged weights, which validation judges and the fit returns; 0 turns it off.
        validation: share of rows held out for early stopping and the choice of the best weights.
        patience: epochs without improvement after which the fit ends, as a share of all epochs.
        retries: how often a non-finite loss is rolled back with half the step before the fit gives up.
    """

    batch: int = 512
    max_epochs: int | None = None
    max_steps: int = 8000
    max_time: float | None = None
    learning_rate: float = 1e-3
    warmup: float = 0.02
    weight_decay: float = 1e-4
    clip: float = 5.0
    average: float = 0.995
    validation: float = 0.1
    patience: float = 0.2
    retries: int = 5

    def __post_init__(self):
        for name in ("batch", "max_steps", "learning_rate", "clip", "patience"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)}: must be positive")
        for name in ("warmup", "average", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: must be at least 0 and below 1")
        for name in ("max_epochs", "max_time"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name}={value}: must be positive")


@dataclass(frozen=True)
class Epoch:
    """What one epoch did: losses are means over rows, in nats for `negative_log_prob`."""

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    best_loss: float
    seconds: float
    note: str = ""
