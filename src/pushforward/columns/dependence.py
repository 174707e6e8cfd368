"""Columns that follow from each other: tables that have no density, or one of rounding only."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pushforward.columns.relations import ROUNDING, Sample, Units, against, blocks, extremes
from pushforward.errors import InputError, InputWarning
from pushforward.words import quoted

SAMPLE = 4096
"""Rows on which dependences are looked for; all rows have to confirm what is found."""
TURNS = 50
"""How often rows that contradict are added to the sample."""


@dataclass(frozen=True)
class Dependence:
    """A linear relation of columns that holds in every row.

    Args:
        columns: those involved.
        exact: whether it holds up to the rounding of floats, not only of decimals.
    """

    columns: tuple[int, ...]
    exact: bool


def check_dependence(units: Units, values: np.ndarray) -> None:
    """Looks for columns of a table that follow from others: copies are refused, of other relations there is a warning.

    A singular density has no nats; a flow fits it all the same, ever more narrowly. Whole numbers fill their cells
    while fitting, so that the density of parts and a total that are counts is proper. Memory: a sample of the rows and
    blocks.

    Args:
        units: of the columns.
        values: ``(n, d)``, finite, no column constant.

    Raises:
        InputError: two columns are the same up to shift and scale.
    """
    _refuse_copies(units, values)
    for found in dependences(units, values):
        names = [units.names[i] for i in found.columns]
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
        # Seen from an estimator's fit.
        warnings.warn(f"columns {which} are {what}; drop one of them", InputWarning, stacklevel=6)


def dependences(units: Units, values: np.ndarray) -> Iterator[Dependence]:
    """The linear relations of a table's columns, each with the columns that it takes.

    Each column is compared with those before it that are independent: in terms of these its coefficients are unique. Of
    columns beyond the number of rows nothing can be told: so few rows lie in a plane whatever they are.

    Args:
        units: of the columns.
        values: ``(n, d)``, finite, no column constant.
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
        yield Dependence(tuple(sorted(found.columns)), found.exact)


def _copies(one: str, other: str) -> InputError:
    return InputError(
        f"columns '{one}' and '{other}' are the same up to shift and scale: the density is "
        "singular; drop one of them"
    )


def _refuse_copies(units: Units, values: np.ndarray) -> None:
    """Two columns that are one up to shift and scale have no joint density, however few the rows."""
    n, width = values.shape
    some = values[np.unique(np.linspace(0, n - 1, min(n, 2048)).astype(int))].astype(np.float64)
    alike: dict[bytes, list[int]] = {}
    for j in range(width):
        # Adding 0 makes -0 and 0 the same bytes.
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
    # Center and scale follow shift and scale, so copies agree in model units up to sign.
    # Correlation on some rows, squashed against outliers, finds candidates; a line through all
    # rows decides.
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
