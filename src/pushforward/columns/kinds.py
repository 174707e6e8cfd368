"""The registry of kinds, and columns from words and from plain data."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pushforward.columns.angle import Angle
from pushforward.columns.base import AbstractColumn
from pushforward.columns.bounded import Bounded
from pushforward.columns.constant import Constant
from pushforward.columns.continuous import Continuous
from pushforward.columns.whole import Whole
from pushforward.errors import InputError
from pushforward.words import finite_number

KINDS: dict[str, type[AbstractColumn]] = {
    kind.kind: kind for kind in (Continuous, Whole, Angle, Bounded, Constant)
}
"""From names to kinds."""
_WORDS = "continuous, whole, angle, angle:PERIOD, bounded:LOW,HIGH (either may be empty), constant"


def declared_column(text: str | AbstractColumn) -> AbstractColumn:
    """The column that a text declares: `whole`, `continuous`, `constant`, `angle`, `angle:360`, `bounded:0,1`,
    `bounded:0,` or `bounded:,1`. Returns a column unchanged.

    Raises `InputError` for an unknown kind, or numbers that the kind does not take.

    ```python
    >>> import pushforward as pf
    >>> column = pf.columns.declared_column("bounded:0,")
    >>> column.low, column.high
    (0.0, None)

    ```
    """
    if isinstance(text, AbstractColumn):
        return text
    word, colon, rest = str(text).partition(":")
    kind = KINDS.get(word.strip().lower())
    if kind is None:
        raise InputError(f"kind {text!r} of a column is unknown; known are {_WORDS}")
    numbers = [_number(part, text) for part in rest.split(",")] if colon else []
    try:
        return kind(*numbers)
    except TypeError:
        raise InputError(
            f"kind {text!r} of a column is not understood; known are {_WORDS}"
        ) from None


def _number(part: str, text: str) -> float | None:
    if not part.strip():
        return None
    number = finite_number(part)
    if number is None:
        raise InputError(f"kind {text!r} of a column: {part.strip()!r} is not a number")
    return number


def column_from_json(data: Any) -> AbstractColumn:
    """The inverse of `AbstractColumn.to_json`.

    Raises `InputError` for an unknown kind, a missing field or an impossible number.
    """
    try:
        kind = KINDS[data["kind"]]
        values = {field.name: data[field.name] for field in fields(kind)}
    except (KeyError, TypeError) as error:
        raise damaged(repr(error)) from None
    for field in fields(kind):
        value = values[field.name]
        if value is None and field.default is None:
            continue
        if type(value) not in (int, float) or not math.isfinite(value):
            raise damaged(f"{field.name} is {value!r}")
        if field.name == "scale" and not value > 0:
            raise damaged(f"scale is {value!r}")
        values[field.name] = float(value)
    try:
        return kind(**values)
    except InputError as error:
        raise damaged(str(error)) from None


def columns_from_lists(data: Mapping[str, Any]) -> list[AbstractColumn]:
    """The columns of an earlier file, which has a list for each unit instead of an object for each column.

    Raises `InputError` for a missing list, one of another length, or an impossible number.
    """
    keys = ("center", "scale", "grid", "offset", "lower", "upper")
    try:
        rows = list(zip(data["names"], *(map(float, data[key]) for key in keys), strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(repr(error)) from None
    found = []
    for _, center, scale, grid, offset, lower, upper in rows:
        ends = {"center": center, "lower": lower, "upper": upper}
        if data.get("angles", False) is True:
            found.append(Angle(**ends).to_json())
        elif grid == 0:
            found.append(Continuous(scale=scale, **ends).to_json())
        else:
            found.append(Whole(scale=scale, grid=grid, offset=offset, **ends).to_json())
    return [column_from_json(column) for column in found]


def damaged(why: str) -> InputError:
    """The error for columns of a file that cannot be read."""
    return InputError(f"the columns are damaged ({why})")
