"""Names that were: they work for one version, and say what they are called now."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a module some of whose names have changed.

    Arguments:
        module: its name, `__name__`.
        names: from an old name to where it is now, `"package.module:Name"`, imported when first asked for.

    The function returns what has the new name, with a `DeprecationWarning`, and raises `AttributeError` for all other
    names.

    ```python
    >>> import warnings
    >>> find = renamed("here", {"Old": "pushforward.errors:InputError"})
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     print(find("Old").__name__, "|", caught[0].message)
    InputError | here.Old is now pushforward.errors.InputError; the old name goes with the next version

    ```
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, new = names[name].partition(":")
        outdated(f"{module}.{name}", f"{home}.{new}")
        return getattr(import_module(home), new)

    return find


def outdated(old: str, new: str) -> None:
    """Warn that something old was used, in place of which something new is to be.

    ```python
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     outdated("f(old=)", "f(new=)")
    >>> print(caught[0].category.__name__)
    DeprecationWarning

    ```
    """
    text = f"{old} is now {new}; the old name goes with the next version"
    # To the line that used it: past this function and the one that noticed.
    warnings.warn(text, DeprecationWarning, stacklevel=3)
