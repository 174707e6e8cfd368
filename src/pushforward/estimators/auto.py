"""The default: which models to try for a table, and a short race between them."""

import math

from pushforward.architectures import MAF, NSF, Architecture

# Steps of the race. On the three tables of `benchmarks/nats.py` the order after 100 steps is the order at the end.
RACE_STEPS = 100


def dropout_for(rows: int, columns: int) -> float:
    """Share of hidden units to drop: half where rows are few for the columns, none from 1,350 rows a column on."""
    return round(min(max(0.4 * math.log10(1350 * columns / rows), 0.0), 0.5), 2)


def candidates(rows: int, columns: int) -> tuple[Architecture, ...]:
    """The models worth trying for a table; validation decides between them.

    Splines win where rows are many, affine layers where they are few. Both are autoregressive, mix the columns by
    learned linear maps and have residual networks with dropout for the size of the table.
    """
    dropout = dropout_for(rows, columns)
    bins = 8 if dropout else 16
    return (
        NSF(layers=4, width=128, depth=3, bins=bins, bound=5.0, residual=True, dropout=dropout),
        MAF(layers=3, width=256, depth=2, linear=True, residual=True, dropout=dropout),
    )
