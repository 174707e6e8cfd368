"""A typed table beside the flow that won the race."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl

from pushforward.columns.typed_columns import TypedColumns
from pushforward.fitting.auto import RACE_STEPS
from pushforward.fitting.fit_typed import fit_typed
from pushforward.models.table_model import TableModel
from pushforward.models.typed_table import TypedTable
from pushforward.training import Epoch, Step, Training

FEWEST_ROWS = 500
"""Rows from which on a typed table is tried beside a flow: below, both are no better than a mixture."""
NAME = "typed"
GUESSED = 10_000
"""Rows that tell whether values repeat."""


def counted_column(frame: pl.DataFrame) -> str | None:
    """The first column whose cells have probabilities, so that a flow's density is not comparable; None without one.

    Such are whole numbers, decimals on a grid and repeated values.

    Arguments:
        frame: a table of numbers without gaps.
    """
    few = frame if len(frame) <= GUESSED else frame.sample(GUESSED, seed=0)
    columns = TypedColumns.fit(few, gaps=False).modelled
    return next((column.name for column in columns if column.measure != "density"), None)


def typed_rival(
    frame: pl.DataFrame,
    flow: TableModel,
    *,
    training: Training,
    seed: int,
    report: Callable[[Epoch], bool | None] | None = None,
    progress: Callable[[Step], bool | None] | None = None,
    holdout: str = "random",
    groups: Any = None,
) -> TypedTable | None:
    """A typed table where it models held-out rows better than a flow, or None.

    It runs as long as the entrants of the flow's race did. Where it leads them all it is fitted in full, and the
    held-out log-densities of the two decide. What was found goes into the summary of the flow.

    Arguments:
        frame: real numbers without gaps, all columns of the flow.
        flow: the winner of a race.
        training, seed, report, progress, holdout, groups: as of `fit_typed`; held out is what was for the flow.
    """
    race = flow.summary["race"]
    short = replace(training, max_steps=RACE_STEPS, max_epochs=None, stall=1.0, patience=1.0)
    how: dict[str, Any] = {"seed": seed, "holdout": holdout, "groups": groups}
    tried = fit_typed(frame, gaps=False, training=short, progress=progress, measures=False, **how)
    best = max(race["validation_nats"].values())
    race["validation_nats"][NAME] = tried.trust["nats"]
    if not tried.trust["nats"] > best:
        return None
    whole = fit_typed(frame, gaps=False, training=training, report=report, progress=progress, **how)
    race["at_the_end"][NAME] = whole.trust["nats"]
    return whole if whole.trust["nats"] > flow.trust["nats"] else None
