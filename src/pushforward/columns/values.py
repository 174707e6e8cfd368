"""Checks of values: finite numbers, and whole numbers that floats tell apart."""

from collections.abc import Sequence

import numpy as np

from pushforward.errors import InputError
from pushforward.words import plural

LARGEST_EXACT_INTEGER = 2.0**53
"""Beyond it float64 no longer tells neighbouring integers apart."""
LEAST_RANGE = 1e6
"""How many neighbouring floats a column of huge whole numbers must span, to be told apart."""


def check_finite(
    values: np.ndarray, names: Sequence[str], where: str, first_row: int = 1, whole: bool = True
) -> None:
    """Refuse missing values, NaN and infinity.

    Args:
        values: rows ``(m, d)``.
        names: the d column names.
        where: the file.
        first_row: the row number of ``values[0]``, counting data rows from 1.
        whole: whether these are all the rows, so that the count of bad cells is the file's.

    Raises:
        InputError: says how many cells are bad and where the first one is.
    """
    # The sum is finite for almost every clean table and costs no mask; it may overflow harmlessly.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return
    bad = ~np.isfinite(values)
    count = int(bad.sum())
    if count == 0:
        return
    row, column = (int(i) for i in np.argwhere(bad)[0])
    cell = values[row, column]
    what = "missing" if np.isnan(cell) else f"{cell}"
    cells = plural(count, "cell")
    raise InputError(
        f"{where}: {cells if whole else 'at least ' + cells} missing, NaN or infinite, the first "
        f"in row {first_row + row}, column '{names[column]}' ({what}); fill or drop such rows first"
    )


def refuse_merged(
    column: np.ndarray, name: str, where: str, seen: tuple[float, float] | None = None
) -> None:
    """Refuse whole numbers so large that 64-bit floats hold neighbouring ones as the same.

    Args:
        column: ``(n,)`` whole numbers as float64.
        name: of the column.
        where: the file.
        seen: the least and the greatest value of the training rows, which say how close is too close; others than
            between them lie far off in any case. None takes those of the column.

    Raises:
        InputError: the numbers lie too close together.
    """
    low, high = seen or (column.min(initial=np.inf), column.max(initial=-np.inf))
    largest = np.abs(column[(column >= low) & (column <= high)]).max(initial=0.0)
    if largest > LARGEST_EXACT_INTEGER and high - low < LEAST_RANGE * np.spacing(largest):
        raise InputError(
            f"{where}: column '{name}' holds whole numbers up to {largest:.4g}, beyond 2**53, too close together for "
            "64-bit floats to tell apart; leave the column out, or subtract a constant first"
        )
