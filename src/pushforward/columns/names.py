"""Names for the columns of a table without names, and the message for names that a table lacks."""

import difflib
from collections.abc import Sequence

from pushforward.words import quoted


def stand_in_names(width: int) -> tuple[str, ...]:
    """The names `x0, x1, ...` for the columns of a table without names."""
    return tuple(f"x{i}" for i in range(width))


def unknown_columns(unknown: Sequence[str], available: Sequence[str], where: str) -> str:
    """The message for columns that a table lacks, with those it has and the likeliest one that was meant."""
    noun = "column" if len(unknown) == 1 else "columns"
    folded = {name.lower(): name for name in available}
    close = difflib.get_close_matches(unknown[0].lower(), list(folded), n=1)
    hint = f" (did you mean '{folded[close[0]]}'?)" if close else ""
    return f"{where}: no {noun} {quoted(unknown)}{hint}; it holds {quoted(available)}"
