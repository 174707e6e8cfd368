"""Which rows are held out: drawn at random, the last ones, or whole groups."""

from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.draws import permutation
from pushforward.errors import InputError, check_choice
from pushforward.training.batches import MOST_HELD, holdout
from pushforward.words import plural

WAYS = ("random", "last")


def held_out(
    count: int,
    share: float,
    key: PRNGKeyArray,
    way: str = "random",
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the training rows and of the validation rows, each in random order.

    Of the last rows, and of whole groups, all are kept from training; at most `MOST_HELD` of them judge. Groups are
    drawn until their rows make up the share; one that would make up twice as much is passed over.

    Arguments:
        count: how many rows there are.
        share: of the rows, that is held out; with 0 both are all rows.
        key: source of the order.
        way: "random", or "last" for the last rows; default "random".
        groups: `(n,)` codes from `group_codes`, whose rows stay together; default None.

    Raises `InputError` for another way, for both, and for groups or last rows where nothing is held out.
    """
    check_choice("holdout", way, WAYS)
    if way == "random" and groups is None:
        return holdout(count, share, key)
    if way != "random" and groups is not None:
        raise InputError(f"holdout={way!r} and groups exclude each other: choose one")
    if share == 0:
        raise InputError("validation=0 holds nothing out, neither the last rows nor groups")
    order = permutation(key, count)
    if groups is None:
        held = np.zeros(count, bool)
        held[count - min(max(round(share * count), 1), count - 1) :] = True
    else:
        held = _drawn(groups, share * count, key)[groups]
    return order[~held[order]], order[held[order]][:MOST_HELD]


def _drawn(groups: np.ndarray, wanted: float, key: PRNGKeyArray) -> np.ndarray:
    """Which groups are held out, `(k,)`."""
    sizes = np.bincount(groups)
    held, rows = np.zeros(len(sizes), bool), 0
    for group in permutation(key, len(sizes)):
        if rows < wanted and rows + sizes[group] < 2 * wanted:
            held[group], rows = True, rows + sizes[group]
    if not held.any():
        held[sizes.argmin()] = True
    return held


def group_codes(groups: Any, count: int) -> np.ndarray:
    """The group of each row as a number from 0, of labels of any kind.

    Arguments:
        groups: `(n,)` labels: numbers, text or dates; an array, a list or a series of any library.
        count: how many rows there are.

    Raises `InputError` for another length, a missing label, or fewer than two groups.
    """
    labels = np.asarray(groups)
    called = name_of(groups)
    if labels.shape != (count,):
        raise InputError(
            f"{called}: {plural(count, 'label')}, one per row, expected; given shape {labels.shape}"
        )
    if labels.dtype.kind in "fcO":
        missing = labels != labels
        missing |= np.equal(labels, np.array(None)) if labels.dtype.kind == "O" else False
        if missing.any():
            raise InputError(
                f"{called}: row {int(missing.argmax()) + 1} has no label; fill it or drop the row"
            )
        if labels.dtype.kind == "O":
            labels = labels.astype(str)
    distinct, codes = np.unique(labels, return_inverse=True)
    if len(distinct) < 2:
        raise InputError(
            f"{called}: every row has the label {distinct[0]}; at least 2 groups are needed, to fit and to judge by"
        )
    found: np.ndarray = codes.reshape(-1)
    return found


def name_of(groups: Any) -> str:
    """What to call labels: the name of a series."""
    name = getattr(groups, "name", None)
    return f"groups by '{name}'" if isinstance(name, str) and name else "groups"
