"""How a fit is run, and what it reports while it runs."""

import math
from dataclasses import dataclass, fields, replace
from numbers import Real

import numpy as np

from pushforward.bijections.remat import check_remat
from pushforward.configuration import configuration
from pushforward.errors import InputError, check_count
from pushforward.training.devices import Devices

# Passes over the data, in batches of 256, between the fewest and the most steps of a fit.
PASSES, FEWEST, MOST = 100, 1800, 8000
LEARNING_RATE = 6e-3


@configuration
class Training:
    """The configuration of a fit. What is None is chosen by the number of training rows, see `for_rows`.

    Arguments:
        batch: rows of a step (never more than there are); default None.
        max_epochs: passes over the data; default None for as many as `max_steps` are.
        max_steps: steps of a fit where `max_epochs` is None; default None.
        max_time: seconds after which the fit ends, with the learning rate annealed towards that end; default None for
            no limit. Large tables are then passed over for as long as there is time. Runs under a time limit are not
            reproducible bit for bit.
        learning_rate: the peak of the schedule (linear warm-up, then cosine to zero); default None for 6e-3 or, in fits
            of tables, the architecture's own: flows of few parameters take larger ones.
        warmup: share of the run spent warming up; default 0.02.
        weight_decay: decoupled weight decay (AdamW) on weights, not on biases or scales; default None.
        clip: largest norm of a gradient; default 5.
        average: decay of the averaged weights, which are validated and returned; 0 turns it off; default None.
        validation: share of rows held out for early stopping and the choice of the best weights, at most 50,000;
            default 0.1.
        patience: epochs without improvement after which the fit ends, as a share of all epochs; default 0.25.
        stall: epochs without improvement, as a share of all epochs, after which the learning rate is annealed over
            another quarter of the steps taken so far and the fit ends: for fits whose best length is not known; default
            None, never.
        remat: where gradients get the activations of stacked layers from: `"none"` (default) keeps them; `"invertible"`
            recomputes them through the inverse, so that memory does not grow with the layers (see `bijections.Stack`).
        retries: how often a non-finite loss is rolled back with half the step before the fit gives up; default 5.
        devices: on which a fit runs, see `Devices`; default None, the first one of this process.

    Raises `InputError` for values out of range.

    ```python
    >>> from pushforward import Training
    >>> chosen = Training(max_epochs=20).for_rows(18_000)
    >>> chosen.batch, chosen.max_epochs, chosen.average
    (256, 20, 0.99)

    ```
    """

    batch: int | None = None
    max_epochs: int | None = None
    max_steps: int | None = None
    max_time: float | None = None
    learning_rate: float | None = None
    warmup: float = 0.02
    weight_decay: float | None = None
    clip: float = 5.0
    average: float | None = None
    validation: float = 0.1
    patience: float = 0.25
    stall: float | None = None
    remat: str = "none"
    retries: int = 5
    devices: Devices | None = None

    def __post_init__(self) -> None:
        # A compiled fit needs Python's numbers; a search over an array of settings passes NumPy's.
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, setting.name, value.item())
        for name in ("batch", "max_epochs", "max_steps", "retries"):
            value = getattr(self, name)
            if value is not None:
                check_count(name, value, 0 if name == "retries" else 1)
        for name in ("max_time", "learning_rate", "clip", "patience", "stall"):
            value = _number(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name}={value}: must be positive")
        for name in ("warmup", "average", "validation"):
            value = _number(self, name)
            if value is not None and not 0 <= value < 1:
                raise InputError(f"{name}={value}: must be at least 0 and below 1")
        check_remat(self.remat)
        if self.devices is not None and not isinstance(self.devices, Devices):
            raise InputError(f"devices={self.devices!r}: pf.Devices(n) was expected")
        decay = _number(self, "weight_decay")
        if decay is not None and not decay >= 0:
            raise InputError(f"weight_decay={decay}: must not be negative")

    def for_rows(self, rows: int) -> "Training":
        """The same configuration with everything chosen for a number of training rows.

        The steps grow with the rows (100 passes in batches of 256, between 1,800 and 8,000 steps; 12,000 for a million
        rows, and without an upper limit under a time limit), the batch more slowly (128 to 1,024). Weights are averaged
        over a twentieth of the run, at least 100 steps. Few rows get more weight decay.
        """
        few = rows < 5_000
        batch = 128 if few else 256 if rows < 50_000 else 512 if rows < 200_000 else 1024
        batch = min(self.batch or batch, rows)
        # A time limit is meant to be used up: only the passes end such a fit sooner.
        most = math.inf if self.max_time is not None else MOST * max(1.0, (rows / 200_000) ** 0.25)
        steps = self.max_steps or round(min(max(rows * PASSES / 256, FEWEST), most))
        of_epoch = max(rows // batch, 1)
        epochs = self.max_epochs or math.ceil(steps / of_epoch)
        decay = (0.1 if few else 0.03) if self.weight_decay is None else self.weight_decay
        averaged = max(100, epochs * of_epoch / 20)
        return replace(
            self,
            batch=batch,
            max_steps=steps,
            max_epochs=epochs,
            learning_rate=self.learning_rate or LEARNING_RATE,
            weight_decay=decay,
            average=1 - 1 / averaged if self.average is None else self.average,
        )


def _number(settings: Training, name: str) -> float | None:
    """A setting that is a finite number, or infinite where that means no limit."""
    value: float | None = getattr(settings, name)
    real = isinstance(value, Real) and not isinstance(value, bool)
    if value is not None and not (real and (math.isfinite(value) or name in ("max_time", "clip"))):
        raise InputError(f"{name}={value!r}: a finite number is needed")
    return value


@dataclass(frozen=True)
class Epoch:
    """What one epoch did. Losses are means over rows, in nats if the loss is a `likelihood`."""

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    best_loss: float
    seconds: float
    note: str = ""
    likelihood: bool = True


@dataclass(frozen=True)
class Step:
    """Where a fit stands within an epoch: `step` of `steps`, with the mean loss of the epoch so far. `stage` says what
    is fitted where there are several fits, such as the entrants of a race."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    seconds: float
    likelihood: bool = True
    stage: str = ""
