"""Which cells are missing together, in the table and in draws."""

from collections import Counter

import numpy as np
from jaxtyping import Bool

from pushforward.report.html import Html, element, table

PATTERNS = 12
"""Patterns that are shown."""
Pattern = tuple[tuple[str, ...], float, float]


def patterns(
    names: tuple[str, ...], rows: Bool[np.ndarray, "n d"], draws: Bool[np.ndarray, "m d"]
) -> tuple[Pattern, ...]:
    """The most frequent sets of missing columns, with their shares of rows and of draws.

    Arguments:
        names: of the columns.
        rows, draws: which of their cells are missing.
    """
    counted = [Counter(map(bytes, np.packbits(part, axis=1))) for part in (rows, draws)]
    of = {
        bytes(key): tuple(np.array(names)[mask].tolist())
        for part in (draws, rows)
        for key, mask in zip(np.packbits(part, axis=1), part, strict=True)
    }
    n, m = max(len(rows), 1), max(len(draws), 1)
    order = sorted(of, key=lambda key: (-counted[0][key], -counted[1][key], of[key]))
    return tuple((of[key], counted[0][key] / n, counted[1][key] / m) for key in order[:PATTERNS])


def gaps_table(found: tuple[Pattern, ...]) -> Html:
    """The patterns as a table, or a sentence where nothing is missing."""
    if all(not missing for missing, _, _ in found):
        return element(
            "p", "No cell is missing, neither in the rows that were looked at nor in draws."
        )
    rows = [
        (", ".join(missing) or "nothing", f"{of_rows:.2%}", f"{of_draws:.2%}")
        for missing, of_rows, of_draws in found
    ]
    caption = f"The {len(rows)} most frequent patterns of missing cells"
    return table(caption, ("missing", "share of rows", "share of draws"), rows, (1, 2))
