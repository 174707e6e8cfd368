"""Rows of a typed table whose cells fulfil conditions, and how probable that is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl
from jaxtyping import Bool, Float, PRNGKeyArray

from pushforward.columns.spelling import as_polars
from pushforward.columns.where import Condition, conditions_of
from pushforward.draws import key_of
from pushforward.errors import InputError, check_count
from pushforward.models.typed_table import TypedTable

LEAST = 1e-12
"""A range of less probability is without mass: nothing can be drawn from it."""
PARTICLES, ROUNDS, AT_ONCE = 256, 16, 1 << 16
"""Draws for each row, at least; times as many again where weights are uneven; draws held at once."""


class Probability(NamedTuple):
    """An estimate of a probability as a mean of weights.

    Attributes:
        value: the mean, unbiased.
        error: its standard error.
        effective: `(sum w)^2 / sum w^2`, the number of equal weights that are worth as much.
    """

    value: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    effective: Float[np.ndarray, " n"]


def probability(
    model: TypedTable, where: str, given: Any = None, *, draws: int = 1024, seed: int = 0
) -> Probability:
    """How probable it is that a row fulfils conditions, given some of its cells.

        P(x in R | x_B) = E prod over c in R of P(x_c in R_c | columns before c, x_B)

    by progressive sampling: columns are drawn in the model's order, those with a condition from the part of their head
    that fulfils it, whose mass is a factor of the draw's weight. With one condition on the model's first column it is
    exact. It is the probability by the heads, without the share `FLOOR` of the marginals.

    Cost: `draws` rows drawn for each row, up to the last column with a condition.

    Arguments:
        model: the density.
        where: conditions, see `columns.where.conditions_of`.
        given: rows with some cells; default None, one row without any. A missing cell is one that is not known.
        draws: for each row; default 1,024.
        seed: of the draws.

    Raises `InputError` as `conditions_of` does, and for cells that their columns cannot hold.

    Yang et al. 2019 (Naru), arXiv 1905.04278.
    """
    check_count("draws", draws, 2)
    conditions = conditions_of(where, model.columns)
    values = _rows(model, given)
    n, wanted = len(next(iter(values.values()))), _needed(model, conditions, given is None)
    found = []
    for number, start in enumerate(range(0, n, max(1, AT_ONCE // draws))):
        some = {name: c[start : start + max(1, AT_ONCE // draws)] for name, c in values.items()}
        each = {name: np.repeat(column, draws, axis=0) for name, column in some.items()}
        key = jax.random.fold_in(key_of(seed), number)
        _, weights = model.walk(each, key, wanted, conditions)
        found.append(_estimate(weights.reshape(-1, draws)))
    return Probability(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def sample_where(
    model: TypedTable, n: int, seed: int, where: str, given: Any = None, *, text: bool = False
) -> tuple[pl.DataFrame, Probability]:
    """Rows as the table had them that fulfil conditions, and how probable that is; with `given`, n for each row.

    Rows are drawn as `probability` does, then chosen in proportion to their weights, by systematic resampling: where
    weights are uneven, a row may come more than once. Draws go on, up to 16 times n, until they are worth n.

    Arguments:
        model: the density.
        n: how many.
        seed: of the draws.
        where: conditions, see `columns.where.conditions_of`.
        given: rows with some cells; default None.
        text: whether cells are to be written as a delimited file had them; default False.

    Raises `InputError` as `probability` does, and for a range whose probability is less than `LEAST`.
    """
    check_count("n", n)
    conditions = conditions_of(where, model.columns)
    few = _rows(model, given)
    rows, gaps = len(next(iter(few.values()))), given is None
    if rows == 1 and n > AT_ONCE:
        # In parts, which are independent.
        parts = [min(AT_ONCE, n - start) for start in range(0, n, AT_ONCE)]
        jobs = [(few, count, 0) for count in parts]
    else:
        at_once = max(1, AT_ONCE // max(n, PARTICLES))
        jobs = [
            ({name: c[start : start + at_once] for name, c in few.items()}, n, start)
            for start in range(0, rows, at_once)
        ]
    drawn, found = [], []
    for number, (some, count, start) in enumerate(jobs):
        key = jax.random.fold_in(key_of(seed), number)
        values, estimate = _chosen(model, some, count, key, conditions, gaps)
        without = estimate.value < LEAST
        if without.any():
            which = "" if given is None else f" given row {start + int(without.argmax()) + 1}"
            raise InputError(
                f"{where!r} has a probability below {LEAST:g}{which}: nothing can be drawn from it"
            )
        drawn.append(values)
        found.append(estimate)
    whole = {name: np.concatenate([part[name] for part in drawn]) for name in few}
    estimate = Probability(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    if len(estimate.value) > rows:
        estimate = _pooled(estimate)
    return model.columns.write(whole, n * rows, text), estimate


def _wanted(
    model: TypedTable, conditions: Mapping[str, Condition], gaps: bool
) -> Bool[np.ndarray, " d"]:
    """Which of the model's columns are drawn where they are not given: gaps of columns with a condition always are."""
    bound = np.array([of.name in conditions for of, _ in model.columns.places])
    wanted: np.ndarray = model.columns.values | gaps | bound
    return wanted


def _needed(
    model: TypedTable, conditions: Mapping[str, Condition], gaps: bool
) -> Bool[np.ndarray, " d"]:
    """Those of them up to the last with a condition."""
    bound = np.array([of.name in conditions for of, _ in model.columns.places])
    ranks = np.array(model.model.layout.columns.ranks)
    needed: np.ndarray = _wanted(model, conditions, gaps) & (ranks <= ranks[bound].max())
    return needed


def _chosen(
    model: TypedTable,
    few: Mapping[str, np.ndarray],
    n: int,
    key: PRNGKeyArray,
    conditions: Mapping[str, Condition],
    gaps: bool,
) -> tuple[dict[str, np.ndarray], Probability]:
    """n weighted draws for each row, chosen by their weights."""
    rows, per = len(next(iter(few.values()))), max(n, PARTICLES)
    each = {name: np.repeat(column, per, axis=0) for name, column in few.items()}
    wanted = _wanted(model, conditions, gaps)
    drawn: list[dict[str, np.ndarray]] = []
    log_weights = np.zeros((rows, 0))
    for number in range(ROUNDS):
        values, weights = model.walk(each, jax.random.fold_in(key, number), wanted, conditions)
        drawn.append(values)
        log_weights = np.concatenate([log_weights, weights.reshape(rows, per)], axis=1)
        estimate = _estimate(log_weights)
        if (estimate.effective >= n).all() or (estimate.value < LEAST).any():
            break
    total = log_weights.shape[1]
    with np.errstate(invalid="ignore"):
        weights = np.nan_to_num(np.exp(log_weights - log_weights.max(1, keepdims=True)))
    sums = np.cumsum(weights, axis=1)
    # Rows side by side: the sums of row r run from r to r + 1.
    ends = sums / np.maximum(sums[:, -1:], 1e-300) + np.arange(rows)[:, None]
    start = np.asarray(jax.random.uniform(jax.random.fold_in(key, ROUNDS), (rows, 1)), np.float64)
    points = (np.arange(n) + start) / n + np.arange(rows)[:, None]
    at = np.searchsorted(ends.ravel(), points.ravel(), side="right")
    at = np.minimum(at, np.repeat(np.arange(1, rows + 1) * total - 1, n))
    found = {}
    for name in few:
        whole = [values[name].reshape(rows, per) for values in drawn]
        found[name] = np.concatenate(whole, axis=1).ravel()[at]
    return found, estimate


def _estimate(log_weights: Float[np.ndarray, "rows m"]) -> Probability:
    top = log_weights.max(1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    weights, scale = np.exp(log_weights - top), np.exp(top[:, 0])
    m = weights.shape[1]
    squares = (weights**2).sum(1)
    return Probability(
        scale * weights.mean(1),
        scale * weights.std(1, ddof=1) / np.sqrt(m),
        weights.sum(1) ** 2 / np.where(squares > 0, squares, 1.0),
    )


def _pooled(parts: Probability) -> Probability:
    """Of estimates of one probability, as good as each other."""
    error = np.sqrt((parts.error**2).sum(keepdims=True)) / len(parts.error)
    return Probability(parts.value.mean(keepdims=True), error, parts.effective.sum(keepdims=True))


def _rows(model: TypedTable, given: Any) -> dict[str, np.ndarray]:
    frame = pl.DataFrame({"": np.zeros(1)}) if given is None else as_polars(given)
    return model.columns.read(frame, absent=True)
