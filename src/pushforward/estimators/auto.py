"""The default: which models to try for a table."""

import math
from dataclasses import dataclass

from pushforward.architectures import NSF, Architecture

RACE_STEPS = 128
"""Steps of each entrant of the race, on rows and for a schedule of their own."""
RACE_ROWS = 4096
"""Held-out rows that judge it."""


@dataclass(frozen=True)
class Entrant:
    """A model to try: an architecture, and how margins are taken to the model.

    Arguments:
        name: what reports call it.
        architecture: the model.
        margins: `"scores"`, every column to normal scores; `"heavy"`, the heavy-tailed ones only; `"straight"`, as
            encoded; None, as encoded and with logarithmic tails.
    """

    name: str
    architecture: Architecture
    margins: str | None = None


def dropout_for(rows: int, columns: int) -> float:
    """Share of hidden units to drop: half where rows are few for the columns, none from 1,350 rows a column on."""
    return round(min(max(0.4 * math.log10(1350 * columns / rows), 0.0), 0.5), 2)


def candidates(rows: int, columns: int) -> tuple[Entrant, ...]:
    """The models worth trying for a table; validation decides between them.

    Autoregressive splines with learned linear maps, in residual networks with dropout for the size of the table. They
    differ in what the columns are taken to first, so that one compiled program serves all.
    """
    dropout = dropout_for(rows, columns)
    deep = dropout < 0.3
    model = NSF(
        layers=4 if deep else 3,
        width=128,
        depth=3 if deep else 2,
        bins=8 if dropout else 16,
        bound=5.0,
        residual=True,
        dropout=dropout,
    )
    return (
        Entrant("splines", model, "heavy"),
        Entrant("splines on normal scores", model, "scores"),
    )
