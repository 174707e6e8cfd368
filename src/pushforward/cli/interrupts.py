"""Signals. Ctrl-C during a fit: the first asks it to end with the best model so far, the second aborts. Those that
end a process, from `kill`, `timeout` and job systems: what is half-written is removed first."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

MESSAGE = b"\nstopping with the best model so far; Ctrl-C again aborts\n"

ENDING = ("SIGTERM", "SIGHUP", "SIGXCPU")
"""The signals that ask a process to end: by `kill` and `timeout`, a closed terminal, a limit on its time."""
DEAF = 5.0
"""Seconds in which a second signal is not heard: `timeout` sends two at once, and cleaning up is to go through."""


class Terminated(BaseException):
    """The process was asked to end; like `KeyboardInterrupt` no `Exception`, so that nobody takes it for a failure.

    Attributes:
        code: the exit code, 128 + the signal's number.
    """

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


@contextmanager
def tidy_end() -> Iterator[None]:
    """Turn the signals that end a process into `Terminated`, so that everybody cleans up on the way out.

    What the caller of the process has them do instead, such as nothing under `nohup`, is left as it is.
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
    """Turns the first SIGINT into a request, once there is something to save.

    Use it as a context manager. Before `ready` is set, and for every SIGINT after the first, it
    raises `KeyboardInterrupt` as Python does.

    Attributes:
        ready: whether a request can be met; set it when the first epoch is done.
        requested: whether the user asked to stop.
    """

    def __init__(self, quiet: bool) -> None:
        self.ready = self.requested = False
        self._quiet = quiet
        self._before: signal.Handlers | object = None

    def __enter__(self) -> "PoliteInterrupt":
        # Python lets only the main thread handle signals; elsewhere Ctrl-C stays as it is.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested or not self.ready:
            raise KeyboardInterrupt
        self.requested = True
        if not self._quiet:
            # The signal may have come in the middle of a print, which must not be entered twice.
            os.write(2, MESSAGE)
