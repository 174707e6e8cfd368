"""The two exceptions: a user's mistake, and a search that did not converge."""


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
