"""Signals. The first Ctrl-C during a fit asks it to end with the best model so far, the second aborts it. Signals from
`kill`, `timeout` and job systems end the process once partial files are removed."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Self

MESSAGE = b"\nstopping with the best model so far; Ctrl-C again aborts\n"

ENDING = ("SIGTERM", "SIGHUP", "SIGXCPU")
"""The signals that ask a process to end: from `kill` and `timeout`, a closed terminal, a limit on its time."""
DEAF = 5.0
"""Seconds in which a second signal is ignored: `timeout` sends two at once, and nothing may interrupt the clean-up."""


class Terminated(BaseException):
    """The process was asked to end. Not an `Exception`, like `KeyboardInterrupt`, so that handlers of failures miss it.

    Attributes:
        code: the exit code, 128 + the signal's number.
    """

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


@contextmanager
def tidy_end() -> Iterator[None]:
    """Turn the signals that end a process into `Terminated`, so that `finally` blocks and context managers clean up.

    A signal whose handling the parent process has changed is left alone, such as one ignored under `nohup`.
    """
    heard = -DEAF

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        now = time.monotonic()
        if now - heard >= DEAF:
            heard = now
            raise Terminated("terminated", 128 + number)

    taken: list[signal.Signals] = []
    # Python lets only the main thread handle signals.
    if threading.current_thread() is threading.main_thread():
        known = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
        taken = [number for number in known if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in taken:
            signal.signal(number, end)
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


class PoliteInterrupt:
    """A context manager that turns the first SIGINT into a request to stop.

    Before `ready` is set, and from the second SIGINT on, it raises `KeyboardInterrupt` as Python does.

    Attributes:
        ready: whether there is something to save; set it when the first epoch is done.
        requested: whether the user asked to stop.
    """

    def __init__(self, quiet: bool) -> None:
        self.ready = self.requested = False
        self._quiet = quiet
        self._before: signal.Handlers | object = None

    def __enter__(self) -> Self:
        # Python lets only the main thread handle signals; elsewhere Ctrl-C stays as it is.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *details: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested or not self.ready:
            raise KeyboardInterrupt
        self.requested = True
        if not self._quiet:
            # The signal may have interrupted a print, which is not reentrant.
            os.write(2, MESSAGE)


def without_model(
    stop: KeyboardInterrupt | Terminated, interrupt: PoliteInterrupt, checkpoint: Path
) -> KeyboardInterrupt | Terminated:
    """What ended a fit, with a message that says that no model was written.

    Arguments:
        stop: what ended it.
        interrupt: of the fit, which knows whether an epoch was done.
        checkpoint: from which `--resume` goes on, if it was written.
    """
    kept = f"; --resume goes on from {checkpoint}" if checkpoint.exists() else ""
    when = "" if interrupt.ready else " before the first epoch was done"
    ended = f"{str(stop) or 'interrupted'}{when}: no model was written{kept}"
    return (
        Terminated(ended, stop.code) if isinstance(stop, Terminated) else KeyboardInterrupt(ended)
    )
