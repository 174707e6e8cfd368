"""Ctrl-C during a fit: the first asks it to end with the best model so far, the second aborts."""

import os
import signal
import threading
from types import FrameType, TracebackType

MESSAGE = b"\nstopping after this epoch with the best model so far; Ctrl-C again aborts\n"


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
