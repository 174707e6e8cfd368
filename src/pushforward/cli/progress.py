"""How far the work is, on standard error: a bar on a terminal, a few lines elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column


def on_terminal() -> bool:
    """Whether standard output is a terminal; where it is closed there is none."""
    return sys.stdout is not None and sys.stdout.isatty()


SECONDS_BETWEEN_LINES = 30.0
"""Where nobody knows how much is left, a line comes this often."""
SECONDS_TO_FIRST_LINE = 4.0
"""And the first of a piece of work that takes longer comes after so long."""


class Meter:
    """The progress of one piece of work.

    Use it as a context manager. On a terminal it is a bar that disappears at the end, elsewhere a
    line at the start and for each tenth of the work, with `quiet` nothing.

    Arguments:
        label: what is being done.
        quiet: print nothing.
        bar: allow a bar; False where standard output is the same terminal.
    """

    def __init__(self, label: str, quiet: bool, bar: bool = True) -> None:
        self._label, self._quiet = label, quiet
        self._bar: Progress | None = None
        if sys.stderr.isatty() and bar and not quiet:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[text]}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(label, total=None, text="")
        self._tenth = -1
        self._printed = time.monotonic() + SECONDS_TO_FIRST_LINE - SECONDS_BETWEEN_LINES

    def __enter__(self) -> "Meter":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, share: float | None, text: str) -> None:
        """Show how far the work is.

        Arguments:
            share: the part that is done, from 0 to 1; None where it is not known.
            text: what to say beside it.
        """
        if self._quiet:
            return
        if self._bar is not None:
            if share is None:
                self._bar.update(self._task, text=text)
            else:
                self._bar.update(self._task, total=1.0, completed=share, text=text)
            return
        now = time.monotonic()
        if share is None:
            if now - self._printed >= SECONDS_BETWEEN_LINES:
                self._printed = now
                say(f"{self._label}: {text}")
        elif int(share * 10) > self._tenth and share < 1:
            # The summary that follows says that all is done.
            self._tenth, self._printed = int(share * 10), now
            say(f"{self._label} {share:.0%}: {text}")

    def stage(self, text: str) -> None:
        """A new stage of the work begins: a line where there is no bar, beside it where there is one."""
        if self._quiet:
            return
        self._tenth, self._printed = -1, time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, total=None, completed=0, text=text)
        else:
            say(f"{self._label}: {text}")

    def still(self, text: str) -> None:
        """The work goes on: shown beside a bar, and as a line where none has come for a while."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.update(self._task, text=text)
        elif time.monotonic() - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            say(f"{self._label}: {text}")

    def note(self, text: str) -> None:
        """Print a line that stays."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            say(text)


def say(text: str, quiet: bool = False) -> None:
    """Print a line on standard error, unless quiet."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """A duration for people.

    ```python
    >>> clock(75), clock(3725)
    ('1:15', '1:02:05')

    ```
    """
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
