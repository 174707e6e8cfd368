"""Names that have moved: the old ones work for one version, and warn."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a module some of whose names have moved.

    Arguments:
        module: the `__name__` of the module.
        names: from each old name to its new place, `"module:Name"`.
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, new = names[name].split(":")
        warnings.warn(
            f"{module}.{name} is {home}.{new} now; the old name goes in the next version",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(import_module(home), new)

    return __getattr__
