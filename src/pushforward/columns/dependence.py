"""Columns that follow from each other: tables without a density, or with one of rounding errors only."""

from collections.abc import Iterator

import numpy as np

from pushforward.columns.relations import (
    ROUNDING,
    Relation,
    Sample,
    Units,
    against,
    blocks,
    extremes,
)
from pushforward.errors import InputError, warn
from pushforward.words import quoted

SAMPLE = 4096
"""Rows in which relations are sought; all rows must confirm what is found."""
TURNS = 50
"""How often rows that contradict a relation are added to the sample."""


def check_dependence(units: Units, values: np.ndarray) -> None:
    """Raise `InputError` if two columns are the same up to shift and scale; warn of other linear relations.

    A singular distribution has no density, yet a flow fits it, ever more narrowly. Whole numbers fill their cells in
    training, so that counts and their total have a proper density. Memory: a sample of the rows and one block.

    Arguments:
        units: of the columns.
        values: `(n, d)`, finite, no column constant.
    """
    _refuse_copies(units, values)
    for found in dependences(units, values):
        names = [units.names[i] for i in sorted(found.columns)]
        if all(units.whole[i] for i in found.columns):
            what = (
                "linearly dependent whole numbers, such as parts and their total: a flow learns that only up to the "
                "cells that it fills"
            )
        elif not found.exact:
            what = (
                "linearly dependent but for the rounding of their decimals, which is all that a density across them "
                "can show"
            )
        elif len(names) == 2:
            raise _copies(*names)
        else:
            what = "linearly dependent: the density is singular, and its nats have no meaning"
        which = quoted(names, len(names))
        # The caller of an estimator's fit.
        warn(f"columns {which} are {what}; drop one of them")


def dependences(units: Units, values: np.ndarray) -> Iterator[Relation]:
    """The linear relations of a table's columns.

    Each column is compared with the independent ones before it, in terms of which its coefficients are unique. Nothing
    can be said of columns beyond the number of rows: so few rows always lie in a plane.

    Arguments:
        units: of the columns.
        values: `(n, d)`, finite, no column constant.
    """
    n, d = values.shape
    spaced = np.linspace(0, n - 1, min(n, SAMPLE + 2 * d)).astype(int)
    rows = np.union1d(spaced, extremes(values))
    left, turns = list(range(d)), TURNS
    while turns:
        found = Sample(units, values[rows].astype(np.float64), left).first()
        if found is None:
            return
        if isinstance(found, int):
            left.remove(found)
            continue
        contrary = against(found, values)
        if len(contrary):
            rows, turns = np.union1d(rows, contrary), turns - 1
            continue
        left.remove(found.columns[-1])
        yield found


def _copies(one: str, other: str) -> InputError:
    return InputError(
        f"columns '{one}' and '{other}' are the same up to shift and scale: the density is "
        "singular; drop one of them"
    )


def _refuse_copies(units: Units, values: np.ndarray) -> None:
    """Raise `InputError` if two columns are the same up to shift and scale, which have no joint density."""
    n, width = values.shape
    some = values[np.unique(np.linspace(0, n - 1, min(n, 2048)).astype(int))].astype(np.float64)
    alike: dict[bytes, list[int]] = {}
    for j in range(width):
        # Adding 0 gives -0 the bytes of 0.
        seen = alike.setdefault((some[:, j] + 0.0).tobytes(), [])
        for i in seen:
            if all(np.array_equal(block[:, i], block[:, j]) for block in blocks(values)):
                raise InputError(
                    f"columns '{units.names[i]}' and '{units.names[j]}' are equal: the density is "
                    "singular; drop one of them"
                )
        seen.append(j)
    if n < 3 or width < 2:
        # Any two columns of two rows lie on a line.
        return
    # Standardised copies agree up to sign. The correlation of some rows, robust by the arctangent, finds candidates; a
    # line through all rows decides.
    center, scale = units.center, units.scale
    some = np.arctan((some - center) / scale)
    some = some - some.mean(axis=0)
    length = np.sqrt(np.square(some).sum(axis=0))
    close = np.abs(some.T @ some) >= (1 - 1e-6) * np.outer(length, length)
    # Rounding of the values themselves, in model units.
    rounding = ROUNDING * np.maximum(-units.lower, units.upper) / scale
    for i, j in np.argwhere(np.triu(close, 1)):
        a, b = int(values[:, i].argmin()), int(values[:, i].argmax())
        first, last = ((values[row][[i, j]] - center[[i, j]]) / scale[[i, j]] for row in (a, b))
        slope = (last[1] - first[1]) / (last[0] - first[0])
        off = 0.0
        for block in blocks(values):
            u = (block[:, [i, j]] - center[[i, j]]) / scale[[i, j]]
            off = max(off, np.abs(u[:, 1] - first[1] - slope * (u[:, 0] - first[0])).max())
            if off > rounding[i] + rounding[j]:
                break
        else:
            raise _copies(units.names[i], units.names[j])
