"""Whether a table's rows lie in an order: rows held out at random then have neighbours among those of the training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

_PAIRS = 20_000
# Neighbours correlate by at least so much, and by so many standard errors of independent rows.
_LEAST, _ERRORS = 0.1, 5.0


def order_report(values: Float[np.ndarray, "n d"], names: Sequence[str]) -> dict[str, Any]:
    """The column in which neighbouring rows are most alike.

    Arguments:
        values: `(n, d)` rows in the order of the table.
        names: the columns.

    Returns `{"column": name, "correlation": r}`, the rank correlation of a row with the next one, or `{}` where rows
    are as good as shuffled. Cost: ranks of 20,000 pairs of rows.
    """
    pairs = np.unique(np.linspace(0, len(values) - 2, min(len(values) - 1, _PAIRS)).astype(int))
    if len(pairs) < 10:
        return {}
    these, next_ones = (_ranks(values[rows]) for rows in (pairs, pairs + 1))
    correlations = (these * next_ones).mean(0)
    column = int(np.abs(correlations).argmax())
    r = float(correlations[column])
    if abs(r) < max(_LEAST, _ERRORS / np.sqrt(len(pairs))):
        return {}
    return {"column": names[column], "correlation": r}


def format_order(order: dict[str, Any], holdout: dict[str, Any] | None = None) -> list[str]:
    """What follows from it, as lines of the trust report.

    Arguments:
        order: what `order_report` returned.
        holdout: what `holdout_report` returned; default None, for rows held out at random. Where whole groups or the
            last rows were, nothing follows.
    """
    if not order or (holdout or {}).get("way", "random") != "random":
        return []
    return [
        f"rows lie in an order or in groups: neighbours correlate by {order['correlation']:.2f} in column "
        f"'{order['column']}'. Held-out rows were drawn at random among them, so the figures above are for new rows "
        "between these, not for rows of another time or group: fit with --holdout last, or --holdout-by a column that "
        "says the group"
    ]


def _ranks(columns: np.ndarray) -> np.ndarray:
    """Standardised ranks; equal values share a rank."""
    ranks = np.empty(columns.shape)
    for i, column in enumerate(columns.T):
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        ranks[:, i] = (np.cumsum(counts) - counts / 2)[place.reshape(-1)]
    spread = ranks.std(0)
    standard: np.ndarray = (ranks - ranks.mean(0)) / np.where(spread > 0, spread, 1.0)
    return standard
