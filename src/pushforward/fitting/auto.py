"""The default: which models to try for a table."""

import math
from dataclasses import dataclass

from pushforward.architectures import MAF, NSF, Architecture

RACE_STEPS = 128
"""Steps of each entrant of the race, on rows and for a schedule of their own."""
LARGE, WIDE = 200_000, 24
"""Rows and columns from which on affine layers are taken (`benchmarks/bsds300.py`: 2 minutes of 1,000,000 x 63)."""
RACE_ROWS = 4096
"""Held-out rows that judge it."""
LEAD = 0.015
"""Nats per column by which normal scores have to lead: after a short fit they lead by 0.009 where straight columns end
0.1 nats ahead (gw150914), and by 0.022 where they do end ahead (miniboone7k)."""
FEW = 20
"""Rows per column below which columns as they are keep their own ends: a tenth of new rows lie beyond the extremes of
some column, where straight margins are steep (breast cancer and wine lose 4 and 7 nats by them)."""
TIE = 0.003
"""Nats per column by which straight columns may lag: within 0.001 they end 0.04 nats ahead (gw150914); where bent heavy
columns are better they lead by 0.03 and more (miniboone7k, gas30k)."""


@dataclass(frozen=True)
class Entrant:
    """A model to try: an architecture, and how margins are taken to the model.

    Arguments:
        name: what reports call it; empty for the only one.
        architecture: the model.
        margins: a kind of `Margins.following`; `"none"`, margins that change nothing; None for logarithmic tails in
            their place.
        lead: nats per column by which it has to lead the entrants before it after the race.
    """

    name: str
    architecture: Architecture
    margins: str | None = None
    lead: float = 0.0


def dropout_for(rows: int, columns: int) -> float:
    """Share of hidden units to drop: half where rows are few for the columns, none from 1,350 rows per column on."""
    return round(min(max(0.4 * math.log10(1350 * columns / rows), 0.0), 0.5), 2)


def candidates(rows: int, columns: int) -> tuple[Entrant, ...]:
    """The models worth trying for a table; validation decides between them.

    Autoregressive splines with learned linear maps, in residual networks with dropout for the size of the table. They
    differ in what the columns are taken to first, so that one compiled program serves all. Of large and wide tables
    affine layers see five times as many rows in the same time, and are better for it.
    """
    dropout = dropout_for(rows, columns)
    deep = dropout < 0.3
    splines = NSF(
        layers=4 if deep else 3,
        width=128,
        depth=3 if deep else 2,
        bins=8 if dropout else 16,
        bound=5.0,
        residual=True,
        dropout=dropout,
    )
    if rows >= LARGE and columns >= WIDE:
        affine = MAF(layers=5, width=256, depth=2, linear=True, residual=True, near=True)
        return _ways("affine layers", affine, {"straight": 0.0, "heavy": LEAD, "scores": LEAD})
    plain = {"none": 0.0} if rows < FEW * columns else {"straight": -TIE}
    return _ways("splines", splines, {"heavy": 0.0, **plain, "scores": LEAD})


def _ways(name: str, model: Architecture, leads: dict[str, float]) -> tuple[Entrant, ...]:
    """A model over margins of several kinds; where there is no time for a race it is the first."""
    plain = " on columns as they are"
    said = {"heavy": "", "straight": plain, "none": plain, "scores": " on normal scores"}
    return tuple(
        Entrant(name + said[margins], model, margins, lead) for margins, lead in leads.items()
    )
