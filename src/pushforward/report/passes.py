"""Log-probabilities of chosen cells given chosen others, for several choices in a few calls of one program."""

from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Bool, Float

from pushforward.distributions.typed_layout import Cells
from pushforward.models.typed_table import BLOCK, TypedTable


def log_prob_by_choice(
    model: TypedTable,
    cells: Cells,
    targets: Bool[np.ndarray, "k d"],
    given: Bool[np.ndarray, "k d"],
) -> Float[np.ndarray, "k n"]:
    """log p(x_U | x_B) of each row for k pairs of sets (U, B) of the model's columns.

    Cells that are missing are neither scored nor given. Cost: k passes of all rows.

    Arguments:
        model: the density.
        cells: the rows.
        targets, given: the sets.
    """
    found = [
        model.log_prob_of(some, of_targets, of_given).sum(1)
        for some, of_targets, of_given in stacked(cells, targets, given)
    ]
    n = len(cells.present)
    return np.concatenate(found)[: n * len(targets)].reshape(len(targets), n)


def log_prob_given_rest(model: TypedTable, cells: Cells) -> Float[np.ndarray, "n k"]:
    """log p(x_c | all other present cells of the row) for each column of values, in nats; NaN for missing cells.

    Cost: a pass of all rows for each column.
    """
    found = log_prob_by_choice(model, cells, *leave_one_out(model)).T
    present = np.asarray(cells.present)[:, model.columns.values]
    return np.where(present, found, np.nan)


def leave_one_out(model: TypedTable) -> tuple[Bool[np.ndarray, "k d"], Bool[np.ndarray, "k d"]]:
    """The choices "each column of values, given all others"."""
    values = model.columns.values
    targets = np.eye(len(values), dtype=bool)[values]
    return targets, values & ~targets


def stacked(
    cells: Cells, targets: Bool[np.ndarray, "k d"], given: Bool[np.ndarray, "k d"]
) -> Iterator[tuple[Cells, np.ndarray, np.ndarray]]:
    """All rows for the first choice, then for the second and so on, in blocks of one size, whatever the table's: one
    program is compiled for all that the page asks. The last block is filled up with its last row."""
    present = np.asarray(cells.present)
    n = len(present)
    for start in range(0, n * len(targets), BLOCK):
        at = np.minimum(np.arange(start, start + BLOCK), n * len(targets) - 1)
        choice, row = at // n, at % n
        some = jax.tree.map(lambda array, row=row: np.asarray(array)[row], cells)
        yield some, targets[choice] & present[row], given[choice] & present[row]
