"""Labels counted beside the labels of another column."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

BACK_OFF = 20.0
"""Counts that a label's own frequency is worth beside those of a pair."""
MOST_PAIRS = 1_000_000
"""Pairs of labels that are kept at most."""


def best_parent(
    codes: Int[np.ndarray, " n"],
    frequencies: Float[np.ndarray, " levels"],
    others: Mapping[int, tuple[Int[np.ndarray, " n"], int]],
    least: int,
) -> tuple[int | None, Float[np.ndarray, "parents levels"]]:
    """The column whose labels predict those of another best, and the log-probabilities of the labels beside its.

        p(k | l) = (n_kl + 20 p_k) / (n_l + 20)

    Columns are compared by the log-probability of each row by the counts of all others.

    Arguments:
        codes: of the labels; negative where a cell is missing.
        frequencies: of the labels, p_k.
        others: by number, the codes of a column, negative for missing cells, and how many there are.
        least: pairs that are seen less often are not counted.

    Returns the number of the best column, or None where none predicts anything, and log p(k | l), one row for each
    label l and one more, of log p_k, for rows where it is not known.
    """
    here = codes >= 0
    log_frequencies = np.log(frequencies)
    best, chosen = float(log_frequencies[codes[here]].sum()), None
    found: Float[np.ndarray, "parents levels"] = log_frequencies[None]
    for number, (labels, many) in others.items():
        if many * len(frequencies) > MOST_PAIRS:
            continue
        both = here & (labels >= 0)
        k, of = codes[both], labels[both]
        counts = np.zeros((many, len(frequencies)))
        np.add.at(counts, (of, k), 1.0)
        counts[counts < least] = 0.0
        totals = counts.sum(1)
        # Without the row itself, where it was counted.
        itself = (counts[of, k] > 0).astype(float)
        left_out = (counts[of, k] - itself + BACK_OFF * frequencies[k]) / (
            totals[of] - itself + BACK_OFF
        )
        nats = float(np.log(left_out).sum() + log_frequencies[codes[here & ~both]].sum())
        if nats > best:
            best, chosen = nats, number
            table = (counts + BACK_OFF * frequencies) / (totals[:, None] + BACK_OFF)
            found = np.concatenate([np.log(table), log_frequencies[None]])
    return chosen, found
