"""Old names: they work for one version, with a warning that says the new one."""

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a module some of whose names have changed: for an old name it returns what has the new one,
    with a `DeprecationWarning`; it raises `AttributeError` for all other names.

    Arguments:
        module: its name, `__name__`.
        names: from an old name to where it is now, `"package.module:Name"`, imported on first use.

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


def renamed_arguments(**names: str) -> Callable[[F], F]:
    """A decorator for a function some of whose keyword arguments have new names; `names` maps old ones to new ones.

    ```python
    >>> import warnings
    >>> @renamed_arguments(given="condition")
    ... def density(condition=None):
    ...     return condition
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     print(density(given=3), caught[0].message)
    3 density(given=) is now density(condition=); the old name goes with the next version

    ```
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def with_old_names(*arguments: Any, **named: Any) -> Any:
            for old in names.keys() & named.keys():
                what = function.__qualname__.removesuffix(".__init__")
                outdated(f"{what}({old}=)", f"{what}({names[old]}=)")
                named[names[old]] = named.pop(old)
            return function(*arguments, **named)

        return cast(F, with_old_names)

    return decorate


def outdated(old: str, new: str) -> None:
    """Warn that something old was used where something new is expected.

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
    # The line that used it: past this function and its caller.
    warnings.warn(text, DeprecationWarning, stacklevel=3)
