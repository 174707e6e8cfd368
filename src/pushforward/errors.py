"""The exceptions: a user's mistake, a search that did not converge, a solve that did not reach its end. And the checks
of counts and names, which any part may need."""

import os
import sys
import warnings
from collections.abc import Collection
from numbers import Integral

_PACKAGE = os.path.dirname(__file__) + os.sep


class InputError(ValueError):
    """Input that cannot be used: says in one line what was given, what was expected and what to do.

    The command line prints it without a traceback and exits with code 2; in Python it is a ``ValueError``.

    ```python
    >>> raise InputError("--bins 0: at least 2 bins are needed")
    Traceback (most recent call last):
    ...
    pushforward.errors.InputError: --bins 0: at least 2 bins are needed

    ```
    """


class CellError(InputError):
    """A table of numbers was wanted, and some cell is missing, or is text or a date: a typed table can hold it."""


class InputWarning(UserWarning):
    """Input that can be used, but with a result that may not be what was meant; says what to do. The command line
    prints it in one line, once.

    ```python
    >>> issubclass(InputWarning, UserWarning)
    True

    ```
    """


def warn(message: str) -> None:
    """Warn of input by an `InputWarning` that points at the line which called this package, however deep it is noticed.

    ```python
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn("no rows")
    >>> caught[0].category.__name__
    'InputWarning'

    ```
    """
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, InputWarning, stacklevel=level)


class ConvergenceError(ArithmeticError):
    """A numeric inverse that did not reach its target.

    Attributes:
        residual: the largest |f(x) - target| left, NaN where the function itself is not finite.

    ```python
    >>> raise ConvergenceError("...", residual=0.5)
    Traceback (most recent call last):
    ...
    pushforward.errors.ConvergenceError: ...

    ```
    """

    def __init__(self, message: str, residual: float):
        super().__init__(message)
        self.residual = residual


class SolveError(ArithmeticError):
    """An initial-value problem whose solution could not be followed to the end.

    Attributes:
        time: where it stopped.
        step: the length of the step that was tried there.
        row: the row that stopped, where rows have their own steps; else None.

    ```python
    >>> raise SolveError("...", time=0.5, step=1e-9)
    Traceback (most recent call last):
    ...
    pushforward.errors.SolveError: ...

    ```
    """

    def __init__(self, message: str, time: float, step: float, row: int | None = None):
        super().__init__(message)
        self.time, self.step, self.row = time, step, row


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raises `InputError` for what is not a whole number of at least `least`.

    ```python
    >>> check_count("layers", 2.5)
    Traceback (most recent call last):
    ...
    pushforward.errors.InputError: layers=2.5: a whole number of at least 1 is needed

    ```
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least:  # type: ignore[operator]
        raise InputError(f"{name}={value!r}: a whole number of at least {least} is needed")


def check_choice(name: str, value: object, known: Collection[str]) -> None:
    """Raises `InputError` for what is not one of the known names.

    ```python
    >>> check_choice("path", "straight", ["linear", "vp"])
    Traceback (most recent call last):
    ...
    pushforward.errors.InputError: path='straight' is unknown; known: linear, vp

    ```
    """
    if value not in tuple(known):
        raise InputError(f"{name}={value!r} is unknown; known: {', '.join(known)}")
