"""Where the parameters of a simulator can lie, as kinds of columns."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from pushforward.columns import AbstractColumn, Bounded, Continuous, declared_column
from pushforward.columns.names import unknown_columns
from pushforward.errors import InputError

Support = str | AbstractColumn | Sequence[Any] | None
"""Of one parameter: "real", "positive", `(low, high)`, a column or its words, or None where it is to be guessed."""


def support_columns(
    support: Support | Mapping[str, Support], names: Sequence[str]
) -> dict[str, AbstractColumn]:
    """Kinds of columns by name, from the supports of parameters.

    Arguments:
        support: one for all parameters, one for each in a sequence, or some by name.
        names: of the parameters.

    Raises `InputError` for what is no support, a name that is no parameter, or another number of them.

    ```python
    >>> support_columns({"rate": "positive"}, ["rate", "shift"])["rate"].declaration
    'bounded:0,'
    >>> [column.high for column in support_columns((0, 1), ["a", "b"]).values()]
    [1.0, 1.0]

    ```
    """
    each: Mapping[str, Support]
    if isinstance(support, Mapping):
        if unknown := [str(name) for name in support if name not in names]:
            raise InputError(f"support: {unknown_columns(unknown, names, 'theta')}")
        each = support
    elif _is_one(support):
        each = dict.fromkeys(names, support)
    else:
        assert isinstance(support, Sequence | np.ndarray)
        if len(support) != len(names):
            raise InputError(
                f"support has {len(support)} entries, but theta has {len(names)} columns: one for each, one pair for "
                "all, or some by name is expected"
            )
        each = dict(zip(names, support, strict=True))
    columns = {name: _column(one, name) for name, one in each.items()}
    return {name: column for name, column in columns.items() if column is not None}


def _is_one(support: Any) -> bool:
    """Whether this is the support of a parameter, not of several."""
    if support is None or isinstance(support, str | AbstractColumn):
        return True
    if not isinstance(support, Sequence | np.ndarray):
        raise InputError(f"support={support!r}: {_EXPECTED} is expected")
    return len(support) == 2 and all(_is_end(end) for end in support)


_EXPECTED = "'positive', (low, high), 'real' or a column such as pushforward.columns.Angle()"


def _is_end(end: Any) -> bool:
    return end is None or (isinstance(end, Real) and not isinstance(end, bool))


def _column(support: Any, name: str) -> AbstractColumn | None:
    if support is None or isinstance(support, AbstractColumn):
        return support
    if isinstance(support, str):
        if support in ("real", "positive"):
            return Continuous() if support == "real" else Bounded(0.0)
        try:
            return declared_column(support)
        except InputError as error:
            raise InputError(f"support of '{name}': {error}; also real, positive") from None
    if not (isinstance(support, Sequence | np.ndarray) and _is_one(support)):
        raise InputError(f"support of '{name}' is {support!r}: {_EXPECTED} is expected")
    low, high = (None if e is None or not np.isfinite(e) else float(e) for e in support)
    if low is None and high is None:
        return Continuous()
    try:
        return Bounded(low, high)
    except InputError as error:
        raise InputError(f"support of '{name}': {error}") from None
