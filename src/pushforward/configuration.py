"""Configurations: frozen records with keyword arguments only."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, TypeVar, dataclass_transform

from pushforward.errors import InputError

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def configuration(kind: type[T]) -> type[T]:
    """A class decorator: `@dataclass(frozen=True, kw_only=True)`, with a helpful error for values by position.

    `NSF(3, 5)` could be read as features and context, or as layers and width.

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
            pairs = zip(fields(self), given, strict=False)
            meant = ", ".join(f"{field.name}={value!r}" for field, value in pairs)
            kind = type(self).__name__
            raise InputError(f"{kind} takes keyword arguments only: {kind}({meant})")
        init(self, **named)

    return by_name
