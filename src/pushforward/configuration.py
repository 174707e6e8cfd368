"""Configurations: frozen records whose fields are given by name."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, TypeVar, dataclass_transform

from pushforward.errors import InputError

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def configuration(kind: type[T]) -> type[T]:
    """A class decorator: `@dataclass(frozen=True, kw_only=True)`, with one line for who gives values by position.

    `NSF(3, 5)` would read as features and context to one, as layers and width to another.

    ```python
    >>> @configuration
    ... class Size:
    ...     width: int = 8
    ...     depth: int = 2
    >>> Size(depth=3)
    Size(width=8, depth=3)
    >>> Size(4, 1)
    Traceback (most recent call last):
    ...
    pushforward.errors.InputError: Size takes keyword arguments only: Size(width=4, depth=1)

    ```
    """
    made = dataclass(frozen=True, kw_only=True)(kind)
    made.__init__ = _by_name(made.__init__)  # type: ignore[method-assign]
    return made


def _by_name(init: Callable[..., None]) -> Callable[..., None]:
    @wraps(init)
    def by_name(self: Any, /, *given: Any, **named: Any) -> None:
        if given:
            names = [field.name for field in fields(self)]
            meant = ", ".join(
                f"{name}={value!r}" for name, value in zip(names, given, strict=False)
            )
            kind = type(self).__name__
            raise InputError(f"{kind} takes keyword arguments only: {kind}({meant})")
        init(self, **named)

    return by_name
