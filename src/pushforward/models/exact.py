"""Marginals and conditionals of a typed table that all follow from its joint distribution, by importance sampling."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from pushforward.columns.spelling import as_polars
from pushforward.columns.typed_columns import TypedColumns
from pushforward.distributions.typed_layout import Cells
from pushforward.distributions.typed_row import FLOOR
from pushforward.draws import key_of
from pushforward.errors import check_count, warn
from pushforward.heads import Cell
from pushforward.models.steps import Steps
from pushforward.models.typed_table import BLOCK, GROWTH, TypedTable
from pushforward.rows import block_size
from pushforward.training.batches import taken

FEW = 5.0
"""Effective draws below which neither an estimate nor its error can be relied on."""


class Estimates(NamedTuple):
    """Log-probabilities of rows, estimated from draws.

    Attributes:
        log_prob: in nats.
        error: their standard errors; 0 where nothing had to be drawn.
        effective_draws: how many equally weighted draws they are worth, of those that were made.
    """

    log_prob: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    effective_draws: Float[np.ndarray, " n"]

    def split(self, parts: int) -> "list[Estimates]":
        """The rows in equal parts."""
        return [
            Estimates(*arrays)
            for arrays in zip(*(np.split(array, parts) for array in self), strict=True)
        ]


def exact_log_prob(
    model: TypedTable,
    table: Any,
    given: Sequence[str] = (),
    *,
    targets: Sequence[str] | None = None,
    draws: int = 64,
    seed: int = 0,
    absent: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Estimates:
    """Log-probability of each row as it follows from the joint distribution of all cells.

        p(x_B) = mean over x_M ~ p(x_M | x_B) of p(x_B, x_M) / p(x_M | x_B)
        log p(x_U | x_B) = log p(x_U, x_B) - log p(x_B)

    M are the other cells of the row. `TypedTable.log_prob` scores any targets given any cells in one pass, but what it
    gives for different sets of cells agrees only as far as the network has learnt it. These estimates agree with one
    another within their errors, whichever columns they are asked for.

    The draws have the very distribution that `log_prob` scores, labels and numbers without a level of their own and
    the share `FLOOR` of the marginals included, so that the mean is without bias for p. Its logarithm is low by about
    half the square of its error. Cells that the model orders behind all of B need no draws.

    Cost: `draws` draws of M per row, and twice as many rows to score; twice that where cells are given.

    Arguments:
        model: the density.
        table: rows, a frame or a mapping of columns.
        given: names of columns whose cells are given; default none.
        targets: names of columns to score; default all others.
        draws: per row, at least 2; default 64.
        seed: of the draws.
        absent: whether the table may lack columns; default False.
        progress: receives the number of rows that are done, a block at a time; default None.

    Errors are those of the logarithm of a mean, by the delta method; they are too small where draws are few, and rows
    with under `FEW` effective draws are warned of. Raises `InputError` as `TypedTable.log_prob` does, and for fewer
    than 2 draws.

    ```python
    >>> import polars as pl, pushforward as pf
    >>> from pushforward.architectures.typed import Typed
    >>> from pushforward.models.exact import exact_log_prob
    >>> frame = pl.DataFrame({"city": ["Rome", "Oslo", "Rome"] * 40, "age": [31, 44, 27, 31] * 30})
    >>> small = Typed(width=16, blocks=1, context=8, context_blocks=1)
    >>> density = pf.TableDensity(small, training=pf.Training(max_epochs=2), random_state=0).fit(frame)
    >>> found = exact_log_prob(density.model_, frame[:3], ["city"], draws=16)
    >>> found.log_prob.shape, bool((found.effective_draws <= 16.001).all())
    ((3,), True)

    ```
    """
    check_count("draws", draws, 2)
    check_count("seed", seed, 0)
    rng = np.random.default_rng(seed)
    parts = [Estimates(*np.zeros((3, 0)))]
    done = 0
    for block in model.asked(table, given, targets=targets, absent=absent):
        # A block of a table is many of draws.
        step = max(1, BLOCK // draws)
        for start in range(0, len(block[1]), step):
            some = taken(block, slice(start, start + step))
            parts.append(exact_log_prob_of(model, *some, draws=draws, rng=rng))
            done += len(parts[-1].log_prob)
            if progress is not None:
                progress(done)
    found = Estimates(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    if targets is None:
        constants = model.columns.log_prob_of_constants(as_polars(table))
        found = found._replace(log_prob=found.log_prob + constants)
    if (few := int((found.effective_draws < FEW).sum())) > 0:
        warn(
            f"{few:,} of {done:,} rows have fewer than {FEW:g} effective draws of {draws}: their log-probabilities "
            "are likely too low and their errors too small; take more draws"
        )
    return found


def exact_log_prob_of(
    model: TypedTable,
    cells: Cells,
    targets: Bool[np.ndarray, "n d"],
    given: Bool[np.ndarray, "n d"],
    *,
    draws: int,
    rng: np.random.Generator,
) -> Estimates:
    """`exact_log_prob` of encoded cells, any targets and any given cells in each row.

    Arguments:
        model: the density.
        cells: the rows.
        targets, given: which cells, of those that are present and hold values.
        draws: as there.
        rng: of the draws.
    """
    shown = np.concatenate([targets | given, given])
    twice = taken(cells, np.tile(np.arange(len(given)), 2))
    direct = model.log_prob_of(twice, shown, np.zeros_like(shown)).sum(1)
    both, alone = marginal_of(model, twice, shown, direct, draws=draws, rng=rng).split(2)
    impossible = np.isneginf(both.log_prob)
    return Estimates(
        np.where(impossible, -np.inf, both.log_prob - np.where(impossible, 0.0, alone.log_prob)),
        np.hypot(both.error, alone.error),
        np.minimum(both.effective_draws, alone.effective_draws),
    )


def marginal_of(
    model: TypedTable,
    cells: Cells,
    shown: Bool[np.ndarray, "n d"],
    direct: Float[np.ndarray, " n"],
    *,
    draws: int,
    rng: np.random.Generator,
    size: int | None = None,
) -> Estimates:
    """Log-probability of the cells that are shown, whatever the others are.

    Arguments:
        model: the density.
        cells: the rows.
        shown: which cells, of those that are present and hold values.
        direct: their log-probability in one pass, which is exact where the model orders no other cell before them.
        draws, rng: as of `exact_log_prob_of`.
        size: rows of one call of a compiled program, a power of two; default by their number.
    """
    ranks = np.array(model.model.layout.columns.ranks)
    last = np.where(shown, ranks, -1).max(1)
    # What the order puts behind all that is shown sums to 1, drawn or not.
    hidden = model.columns.values & ~shown & (ranks < last[:, None])
    n, many = len(shown), np.flatnonzero(hidden.any(1))
    found = Estimates(direct.copy(), np.zeros(n), np.full(n, float(draws)))
    total = len(many) * draws
    log_weights = np.zeros(total)
    size = size or block_size(total, BLOCK, GROWTH)
    for start in range(0, total, size):
        # The last block is filled up by repeating draws of the first rows, which are not counted.
        rows = many[np.arange(start, start + size) % total // draws]
        some, seen, wanted = taken((cells, shown, hidden), rows)
        filled = _filled(model, some, wanted, seen, rng)
        joint = model.log_prob_of(filled, seen | wanted, np.zeros_like(seen)).sum(1)
        proposal = model.log_prob_of(filled, wanted, seen).sum(1)
        log_weights[start : start + size] = (joint - proposal)[: total - start]
    for array, values in zip(found, _log_mean(log_weights.reshape(-1, draws)), strict=True):
        array[many] = values
    return found


def _log_mean(log_weights: Float[np.ndarray, "n k"]) -> Estimates:
    """The logarithm of the mean weight of each row."""
    draws = log_weights.shape[1]
    top = log_weights.max(1, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0.0)
    weights = np.exp(log_weights - top[:, None])
    mean = weights.mean(1)
    with np.errstate(divide="ignore"):
        log_prob = top + np.log(mean)
    safe = np.where(mean > 0, mean, 1.0)
    error = weights.std(1, ddof=1) / np.sqrt(draws) / safe
    effective = draws * mean**2 / np.where(mean > 0, (weights**2).mean(1), 1.0)
    return Estimates(log_prob, error, effective)


def _filled(
    model: TypedTable,
    cells: Cells,
    wanted: Bool[np.ndarray, "n d"],
    seen: Bool[np.ndarray, "n d"],
    rng: np.random.Generator,
) -> Cells:
    """The cells with those that are wanted drawn given those that are seen, each factor of the draw as it is scored."""
    layout, columns = model.model.layout, model.columns
    key = key_of(int(rng.integers(2**63)))
    filled = Cells(*map(np.array, cells))
    fresh = Cells(*map(np.empty_like, cells))
    steps = Steps(model.model, cells, seen, len(seen))
    for column in steps.order(np.asarray(wanted.any(0))):
        rows, own = wanted[:, column], np.zeros_like(wanted)
        if rows.any():
            own_key = jax.random.fold_in(key, column)
            drawn, _ = steps.draw(column, filled, seen | wanted, own_key, other=True)
            columns.put(fresh, column, _values(columns, column, drawn, rng))
            own[:, column] = rows
            of_extra = rows[:, None] & (np.array(columns.extras, int) == column)
            masks = (*(own,) * (len(filled) - 1), of_extra)
            for array, new, at in zip(filled, fresh, masks, strict=True):
                array[at] = new[at]
        # Also where nothing is drawn: the units of the next column have to be known.
        steps.reveal(column, layout.seen(filled, column), rows)
    return filled


def _values(
    columns: TypedColumns, i: int, drawn: Cell, rng: np.random.Generator
) -> Float[np.ndarray, " n"] | np.ndarray:
    """Values of the model's column i from draws of its head, a share `FLOOR` of them replaced by draws of its marginal.
    Where "other" is drawn, a value of those that have no level of their own."""
    column, code, z = columns.places[i][0], np.array(drawn.code), np.array(drawn.z, np.float64)
    n = len(code)
    anew = rng.uniform(size=n) < FLOOR
    labels, numbers = column.labels, column.numbers
    if labels is None:
        values = columns.decode(i, code, z)
        assert numbers is not None
        if anew.any():
            values[anew] = numbers.quantile(rng.uniform(size=int(anew.sum())))
        return values
    code[anew] = rng.choice(labels.size, int(anew.sum()), p=np.exp(labels.log_prob))
    values = columns.decode(i, code, z)
    other = code == len(labels)
    if other.any():
        values[other] = (
            # Which of the other labels makes no difference: networks see none of them.
            max(labels.levels, key=len) + "*"
            if numbers is None
            else numbers.unseen(rng.uniform(size=int(other.sum())))
        )
    return values
