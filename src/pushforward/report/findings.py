"""What a page says: everything that was measured, apart from how it is shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

ROWS = 4096
"""Rows of the table that are looked at, at most: as many as one call of a compiled program takes."""
DRAWS = 2048
"""Draws, at most, and no more than rows."""


@dataclass(frozen=True)
class Values:
    """One column in the rows that are looked at, and in draws.

    Attributes:
        name: of the column.
        kind, reason, measure: what it is, why, and what the model's figure for a cell is.
        step: distance of neighbouring values on a lattice, 0 for real numbers.
        levels: the labels in their order, for columns that are shown as labels; else None.
        rows, draws: values of cells that are present; numbers, dates as numbers, or labels.
        missing, missing_draws: shares of missing cells.
        write: a value as the table has it.
        alone, given_rest: mean log-probability of a cell by its column alone and given all other cells, with the
            standard errors; None where it is not known.
        ranks: where the cells lie in their conditional distribution, in [0, 1], uniform in a calibrated model; None
            where that is not known.
    """

    name: str
    kind: str
    reason: str
    measure: str
    rows: np.ndarray
    draws: np.ndarray
    write: Callable[[Any], str]
    step: float = 0.0
    levels: tuple[Any, ...] | None = None
    missing: float = 0.0
    missing_draws: float = 0.0
    alone: tuple[float, float] | None = None
    given_rest: tuple[float, float] | None = None
    ranks: Float[np.ndarray, " n"] | None = None


@dataclass(frozen=True)
class LeftOut:
    """A column that is not modelled."""

    name: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Dependence:
    """Mutual information of pairs of columns, in nats.

    Attributes:
        names: the columns.
        nats, errors: `(d, d)`, symmetric, NaN where it is not known; standard errors.
        rows: rows of each estimate, at most.
        all: whether these are all columns.
    """

    names: tuple[str, ...]
    nats: Float[np.ndarray, "d d"]
    errors: Float[np.ndarray, "d d"]
    rows: int
    all: bool


@dataclass(frozen=True)
class Strange:
    """A row of little probability.

    Attributes:
        number: of the row in the table, from 1.
        log_prob: of the row, in nats.
        column: the one to blame.
        excess: by how many nats its cell surprises more than the others of its row let one expect; None for a row of
            numbers of which only the distance from the median is known.
        cells: name, value as written, and surprise in nats or None.
    """

    number: int
    log_prob: float
    column: str
    excess: float | None
    cells: tuple[tuple[str, str, float | None], ...]


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows.

    Attributes:
        density: the model as p(columns) or p(columns | condition).
        about: what the model is, as names and values.
        summary: what the training did.
        trust: what was measured when the model was fitted.
        trust_lines: that in words, warnings begin with "warning: ".
        total, used: rows of the table, and those looked at.
        columns: the modelled ones.
        left_out: the others.
        log_prob: of the rows that are looked at, and `draws_log_prob` of draws.
        unit: of these figures.
        figure: what they are called.
        dependence: of pairs of columns, None where the model cannot say.
        gaps: patterns of missing cells with the shares of rows and of draws; None for a model without gaps.
        strangest: rows, the strangest first.
        unknown: what the page leaves out, and why.
    """

    density: str
    about: Mapping[str, str]
    summary: Mapping[str, Any]
    trust: Mapping[str, Any]
    trust_lines: Sequence[str]
    total: int
    used: int
    columns: tuple[Values, ...]
    log_prob: Float[np.ndarray, " n"]
    draws_log_prob: Float[np.ndarray, " m"]
    unit: str
    figure: str = "log-probability"
    left_out: tuple[LeftOut, ...] = ()
    dependence: Dependence | None = None
    gaps: tuple[tuple[tuple[str, ...], float, float], ...] | None = None
    strangest: tuple[Strange, ...] = ()
    unknown: tuple[str, ...] = field(default=())


def some_rows(total: int, seed: int, most: int = ROWS) -> np.ndarray:
    """Numbers of rows from 0, at random and in order; all where there are not more than `most`."""
    if total <= most:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, most, replace=False))


def spread(n: int, most: int) -> np.ndarray:
    """Numbers from 0 to n - 1 at equal distances, at most so many."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))


def mean_and_error(values: np.ndarray) -> tuple[float, float] | None:
    """The mean of finite figures and its standard error; None for fewer than two."""
    if len(values) < 2:
        return None
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
