"""Checks of values: finite numbers, and whole numbers that floats tell apart."""

from collections.abc import Sequence

import numpy as np

from pushforward.errors import CellError, InputError
from pushforward.words import plural

LARGEST_EXACT_INTEGER = 2.0**53
"""Beyond it float64 cannot represent every integer."""
LEAST_RANGE = 1e6
"""How many neighbouring floats a column of huge whole numbers must span to be accepted."""


def check_finite(
    values: np.ndarray, names: Sequence[str], where: str, first_row: int = 1, whole: bool = True
) -> None:
    """Raise `InputError` if values are missing, NaN or infinite, with their number and the place of the first.

    Arguments:
        values: rows `(m, d)`.
        names: the d column names.
        where: the file.
        first_row: the row number of `values[0]`, counting data rows from 1.
        whole: whether these are all rows of the file, so that the number of bad cells is exact.
    """
    # The sum of almost every clean table is finite, and needs no mask; it may overflow harmlessly.
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
    kind = CellError if np.isnan(cell) else InputError
    raise kind(
        f"{where}: {cells if whole else 'at least ' + cells} missing, NaN or infinite, the first "
        f"in row {first_row + row}, column '{names[column]}' ({what}); fill or drop such rows first"
    )


def refuse_merged(
    column: np.ndarray, name: str, where: str, seen: tuple[float, float] | None = None
) -> None:
    """Raise `InputError` for whole numbers so large and close together that 64-bit floats merge neighbours.

    Arguments:
        column: `(n,)` whole numbers as float64.
        name: of the column.
        where: the file.
        seen: the smallest and the largest value in training. Only values between them are checked, as others lie far
            off in any case. None takes those of the column.
    """
    low, high = seen or (column.min(initial=np.inf), column.max(initial=-np.inf))
    largest = np.abs(column[(column >= low) & (column <= high)]).max(initial=0.0)
    if largest > LARGEST_EXACT_INTEGER and high - low < LEAST_RANGE * np.spacing(largest):
        raise InputError(
            f"{where}: column '{name}' holds whole numbers up to {largest:.4g}, beyond 2**53, too close together for "
            "64-bit floats to tell apart; leave the column out, or subtract a constant first"
        )
