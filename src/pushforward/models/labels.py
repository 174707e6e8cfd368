"""Conditions that are labels: a warning for labels that training never saw."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from pushforward.errors import warn

MOST = 20
"""Most distinct whole numbers in a condition's column that counts as labels."""


def labels_of(given: Float[np.ndarray, " n *c"], names: Sequence[str]) -> dict[str, list[float]]:
    """The labels in each column of a condition that holds only a few whole numbers."""
    found = {}
    for name, column in zip(names, given.T, strict=True):
        values = np.unique(column)
        if len(values) <= MOST and (values == np.rint(values)).all():
            found[name] = values.tolist()
    return found


def warn_of_new_labels(
    labels: Mapping[str, Sequence[float]], given: Float[np.ndarray, " n *c"], names: Sequence[str]
) -> None:
    """One warning per column with a label that no training row had."""
    for name, column in zip(names, given.T, strict=True):
        new = np.setdiff1d(column, labels.get(name, column))
        if len(new):
            known = ", ".join(f"{value:g}" for value in labels[name])
            warn(
                f"condition {name!r} holds {new[0]:g}, of which training had no row (it had {known}): densities and "
                "samples under it are guesses"
            )
