"""Progress on standard error: a bar on a terminal, a few lines elsewhere."""

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column


def on_terminal() -> bool:
    """Whether standard output is a terminal, and not closed."""
    return sys.stdout is not None and sys.stdout.isatty()


SECONDS_BETWEEN_LINES = 30.0
"""The time between lines while the remaining work is unknown."""
SECONDS_TO_FIRST_LINE = 4.0
"""The time to the first such line."""


class Meter:
    """A context manager that shows the progress of one piece of work.

    On a terminal it is a bar that disappears at the end, elsewhere a line at the start and for each tenth of the work.

    Arguments:
        label: what is being done.
        quiet: print nothing.
        bar: allow a bar; False if standard output is the same terminal.
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

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, text: str, fraction: float | None = None) -> None:
        """Show how far the work is: beside a bar, or in a line for each tenth, or now and then if it is unknown.

        Arguments:
            text: what to say about it.
            fraction: how much is done, from 0 to 1; default None, unknown.
        """
        if self._bar is not None:
            total = None if fraction is None else 1.0
            self._bar.update(self._task, total=total, completed=fraction, text=text)
            return
        now = time.monotonic()
        if fraction is None:
            if now - self._printed >= SECONDS_BETWEEN_LINES:
                self._printed = now
                say(f"{self._label}: {text}", self._quiet)
        elif int(fraction * 10) > self._tenth and fraction < 1:
            # At the end a summary follows.
            self._tenth, self._printed = int(fraction * 10), now
            say(f"{self._label} {fraction:.0%}: {text}", self._quiet)

    def stage(self, text: str) -> None:
        """Begin a new stage of the work: beside a bar, or in a line."""
        self._tenth, self._printed = -1, time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, total=None, completed=0, text=text)
        else:
            say(f"{self._label}: {text}", self._quiet)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            say(text, self._quiet)


def say(text: str, quiet: bool = False) -> None:
    """Print a line on standard error, unless quiet."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """A duration, human-readable.

    ```python
    >>> clock(75), clock(3725)
    ('1:15', '1:02:05')

    ```
    """
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
