"""Text for messages: quoted names, counted nouns. And numbers from text."""

import math
import re
from collections.abc import Sequence

LINE_BREAK = re.compile(r"\s*\n\s*")


def quoted(names: Sequence[str], limit: int = 12) -> str:
    """Names for a message: each in quotes, at most `limit` of them.

    ```python
    >>> quoted(["a", "b", "c"], limit=2)
    "'a', 'b' and 1 more"

    ```
    """
    shown = ", ".join(f"'{LINE_BREAK.sub(' ', name)}'" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def plural(count: int, noun: str) -> str:
    """`count` and its noun, with an s where it is needed.

    ```python
    >>> plural(1, "row"), plural(2, "row")
    ('1 row', '2 rows')

    ```
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def counted(count: int, noun: str) -> str:
    """As `plural`, for numbers that may be large.

    ```python
    >>> counted(20_000, "row")
    '20,000 rows'

    ```
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def finite_number(text: str) -> float | None:
    """The finite number that a text spells; None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
