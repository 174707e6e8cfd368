"""The one exception for a user's mistake."""


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
