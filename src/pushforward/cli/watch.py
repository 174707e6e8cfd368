"""What a fit reports while it runs, and whether it should stop."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.cli.interrupts import PoliteInterrupt, Terminated, without_model
from pushforward.cli.progress import Meter, clock

if TYPE_CHECKING:
    from pushforward.training import Epoch, Step


ENDINGS = {
    "finished": "done",
    "early": "stopped early, as validation no longer improved,",
    "time": "stopped by --max-time",
    "interrupted": "stopped by Ctrl-C with the best model so far",
    "diverged": "stopped with the best model so far, as the loss kept being infinite,",
}
"""The ways in which a fit ends, in words."""


@contextmanager
def watched(
    size: str,
    max_time: float | None,
    checkpoint: Path,
    quiet: bool,
    *,
    large: bool = False,
    unit: str = "loss",
) -> Iterator["Watch"]:
    """For a fit and the writing of its model: shows both, and lets the first Ctrl-C end the fit with the best model so
    far. The checkpoint goes when the model is there.

    Arguments:
        size: what is fitted, in words.
        max_time: seconds of the fit, or None.
        checkpoint: of the fit.
        quiet: whether to show nothing.
        large: whether much is done before the first program is compiled; default False.
        unit: what a loss that is no likelihood is called; default "loss".

    Raises `KeyboardInterrupt` or `Terminated` with a message that says what was kept, where no model was written.
    """
    with Meter("fitting", quiet) as meter, PoliteInterrupt(quiet) as interrupt:
        if large:
            meter.stage(size)
        else:
            meter.update(f"{size}, compiling")
        try:
            yield Watch(meter, interrupt, max_time, unit)
        except (KeyboardInterrupt, Terminated) as stop:
            raise without_model(stop, interrupt, checkpoint) from None
    checkpoint.unlink(missing_ok=True)


class Watch:
    """Shows stages, epochs and steps on a meter, and returns whether the user asked to stop."""

    def __init__(
        self,
        meter: Meter,
        interrupt: PoliteInterrupt,
        max_time: float | None,
        unit: str = "loss",
    ) -> None:
        """`unit` is what a loss that is no likelihood is called."""
        self._meter, self._interrupt, self._max_time = meter, interrupt, max_time
        self._unit = unit
        self._began = time.perf_counter()
        self._first: tuple[int, float] | None = None
        self._stage = ""
        self.epochs = "0 epochs"

    def step(self, step: "Step") -> bool:
        """Called by `fit` within epochs and when a new stage of the work begins."""
        if step.stage != self._stage:
            self._stage, self._first = step.stage, None
            self._meter.stage(step.stage)
        if step.step:
            self._interrupt.ready = True
            unit, loss = ("nats", -step.loss) if step.likelihood else (self._unit, step.loss)
            of = f"epoch {step.epoch}/{step.epochs}, step {step.step:,} of {step.steps:,}"
            self._meter.update(f"{of}, {unit} {loss:.3f}, {clock(step.seconds)}")
        return self._interrupt.requested

    def __call__(self, epoch: "Epoch") -> bool:
        now = time.perf_counter()
        self._interrupt.ready = True
        self.epochs = "1 epoch" if epoch.epoch == 1 else f"{epoch.epoch} epochs"
        left = None
        if self._first is None:
            # The first epoch includes compiling, and says nothing about the pace.
            self._first = epoch.epoch, now
        else:
            done, elapsed = epoch.epoch - self._first[0], now - self._first[1]
            left = elapsed / done * (epoch.epochs - epoch.epoch)
        fraction = epoch.epoch / epoch.epochs
        if self._max_time is not None:
            fraction = max(fraction, min(1.0, epoch.seconds / self._max_time))
            until = max(0.0, self._max_time - epoch.seconds)
            left = until if left is None else min(left, until)
        if epoch.note:
            self._meter.note(f"epoch {epoch.epoch}: {epoch.note}")
        # A likelihood is maximised, any other loss minimised.
        unit, sign = ("nats", -1.0) if epoch.likelihood else (self._unit, 1.0)
        text = (
            f"epoch {epoch.epoch}/{epoch.epochs}  {unit}: train {sign * epoch.train_loss:.3f}, "
            f"valid {sign * epoch.validation_loss:.3f}, best {sign * epoch.best_loss:.3f}"
        )
        self._meter.update(text + ("" if left is None else f"  {clock(left)} left"), fraction)
        return self._interrupt.requested

    def writing(self) -> None:
        """The fit is done, and its model is written."""
        self._meter.update("writing the model", 1.0)

    def ending(self, stopped: str, output: Path) -> str:
        """How the fit ended, in words.

        Arguments:
            stopped: as `Fitted` says it.
            output: where the model is.
        """
        how = ENDINGS.get(stopped, stopped)
        return f"{how} after {self.epochs}, {clock(time.perf_counter() - self._began)}: {output}"
