"""Why a row is strange: each of its cells against what the others let one expect."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jaxtyping import Array, Float, Int

from pushforward.columns.spelling import as_polars
from pushforward.columns.typed import TypedColumn
from pushforward.distributions.product_mixture import ProductMixture
from pushforward.distributions.typed_layout import Cells
from pushforward.distributions.typed_row import TypedRow, floored
from pushforward.errors import check_count
from pushforward.heads import AbstractHead, Cell
from pushforward.models.scale import LabelScale, NumberScale, scale_of
from pushforward.models.typed_table import TypedTable
from pushforward.rows import broadcasting, padded
from pushforward.training.batches import taken

BLOCK = 1024
"""Rows of every call: each stands for all values that a cell might have. Fewer are filled up: each column has its own
program, which compiles longer than it runs."""
ENDS = (0.05, 0.95)
"""Where the interval of usual numbers begins and ends."""
_HALVINGS = 40


class Surprise(NamedTuple):
    """The cells of one column of n rows against the other cells of their rows.

    Attributes:
        surprise: `-log p(x_c | all other cells that are there)`, nats.
        expected: its mean under that conditional.
        tail: the probability of a value at most as probable.
        low, high: between which a number lies with probability 0.9, on its scale z; of labels the codes there.
        likeliest: the code of the most probable label.
        share: the probability of that label.
    """

    surprise: Float[Array | np.ndarray, " n"]
    expected: Float[Array | np.ndarray, " n"]
    tail: Float[Array | np.ndarray, " n"]
    low: Float[Array | np.ndarray, " n"]
    high: Float[Array | np.ndarray, " n"]
    likeliest: Int[Array | np.ndarray, " n"]
    share: Float[Array | np.ndarray, " n"]


def explained(
    model: TypedTable, table: Any, *, worst: int | None = None, cells: bool = False
) -> pl.DataFrame:
    """What is strange about each row, and which column is to blame.

    Of every cell that is there

        surprise = -log p(x_c | all others)    expected = E surprise, over x_c drawn from that conditional

    The column to blame is that of the largest difference; `excess` is the sum of all differences of a row, near 0 for
    rows like those of the fit. Over labels and few numbers the mean is an exact sum, over many it is a numerical
    integral, good to about .005 in probabilities. Of a column with repeated values, probabilities and densities are
    compared as they are. A constant column has a line only where it holds another value, which is infinitely
    surprising.

    Cost: a pass of the network for each cell, and its head at some hundred values.

    Arguments:
        model: the density.
        table: rows, a frame or a mapping of columns.
        worst: how many rows to return, those of the largest excess first; default all, in order.
        cells: whether a line is wanted for each cell that is there instead of one for each row; default False.

    Returns a frame: `row`, from 1; `log_prob` and `excess` of the row, nats; `column`, to blame, or of the cell;
    `value` as text; `surprise`, `expected`, nats; `tail`, the probability of a value at most as probable; `usual`, what
    was to be expected: the most probable label and its probability, or an interval of probability 0.9. A row
    without any cell has no column.

    Raises `InputError` for a table that lacks a column, or a cell that its column cannot hold.
    """
    if worst is not None:
        check_count("worst", worst)
    frame = as_polars(table)
    values = model.columns.read(frame)
    total = model.log_prob(frame)
    excess = np.zeros(len(frame))
    parts: list[pl.DataFrame] = []
    blamed = np.zeros(len(frame), bool)
    for name, astray in model.columns.strays(frame).items():
        # Of several in a row the first is to blame.
        rows = np.flatnonzero(astray if cells else astray & ~blamed)
        parts.append(_stray_lines(model, frame, name, rows, len(parts)))
        blamed |= astray
    excess[blamed] = np.inf
    scales = {i: scale_of(of) for i, (of, gap) in enumerate(model.columns.places) if not gap}
    for start in range(0, len(frame), BLOCK):
        some = {name: column[start : start + BLOCK] for name, column in values.items()}
        encoded = model.columns.encode(some)
        there = np.asarray(encoded.present) & model.columns.values
        found = dict(_surprises(model, encoded, there, scales))
        size = len(there)
        difference = np.full(there.shape, -np.inf)
        for i, one in found.items():
            difference[:, i] = np.where(there[:, i], one.surprise - one.expected, -np.inf)
        excess[start : start + size] += np.where(there, difference, 0.0).sum(1)
        if not cells:
            there &= difference.argmax(1)[:, None] == np.arange(there.shape[1])
            there &= ~blamed[start : start + size, None]
        for i, one in found.items():
            rows = np.flatnonzero(there[:, i])
            parts.append(_lines(model, i, some, rows, taken(one, rows), start))
    every = pl.DataFrame({"row": np.arange(1, len(frame) + 1), "log_prob": total, "excess": excess})
    place = (
        every["excess"].arg_sort(descending=True).arg_sort() if worst is not None else every["row"]
    )
    every = every.with_columns(place=place.cast(pl.Int64))
    if worst is not None:
        every = every.filter(pl.col("place") < worst)
    lines = every.join(pl.concat([_none(), *parts]), on="row", how="inner" if cells else "left")
    return lines.sort("place", "at").drop("place", "at")


def _none() -> pl.DataFrame:
    """No lines, with their types."""
    numbers = dict.fromkeys(("surprise", "expected", "tail"), pl.Float64)
    types = {
        "row": pl.Int64,
        "column": pl.String,
        "value": pl.String,
        **numbers,
        "usual": pl.String,
        "at": pl.Int64,
    }
    return pl.DataFrame(schema=types)


def _surprises(
    model: TypedTable,
    cells: Cells,
    there: np.ndarray,
    scales: dict[int, LabelScale | NumberScale],
) -> Iterator[tuple[int, Surprise]]:
    """Of each column of values, those rows that have a cell there; the others hold anything."""
    layout = model.model.layout
    blocked = jax.tree.map(lambda array: padded(array, BLOCK), cells)
    for i, scale in scales.items():
        if not there[:, i].any():
            continue
        others = there.copy()
        others[:, i] = False
        head, first = layout.columns.heads[i], jnp.asarray(layout.first_outputs[i])
        given = padded(others, BLOCK)
        many = i if i in layout.columns.many else None
        own = Cell(*(getattr(blocked, name)[:, i] for name in Cell._fields))
        found = _surprise(
            model.model, blocked, given, head, first, many, own, blocked.log_marginal[:, i], scale
        )
        yield i, Surprise(*(np.asarray(array)[: len(there)] for array in found))


@eqx.filter_jit
def _surprise(
    model: TypedRow | ProductMixture,
    cells: Cells,
    given: Array,
    head: AbstractHead,
    first: Array,
    many: int | None,
    own: Cell,
    own_marginal: Array,
    scale: LabelScale | NumberScale,
) -> Surprise:
    with broadcasting():
        params = model.parameters(cells, given, head, first, many)
        at = floored(head.log_prob(params, own), own_marginal)
        spread = scale.spread(head, params)
    weights, low = spread.weights, jnp.zeros_like(at)
    high = low
    if scale.ordered:
        low, high = (_quantile(spread.places, weights, share) for share in ENDS)
    levels = weights[: scale.levels] if isinstance(scale, LabelScale) else weights
    return Surprise(
        -at, -spread.mean(), spread.tail(at), low, high,
        levels.argmax(0), levels.max(0),
    )  # fmt: skip


def _quantile(places: Array, weights: Array, share: float) -> Array:
    """The least place up to which the weights make up a share, to one part in 2^40 of the range."""
    low, high = places.min(0) - 1.0, places.max(0)

    def halved(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        enough = jnp.where(places <= middle[None], weights, 0.0).sum(0) >= share * weights.sum(0)
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    found: Array = jax.lax.fori_loop(0, _HALVINGS, halved, (low, high))[1]
    return found


def _lines(
    model: TypedTable,
    i: int,
    values: dict[str, np.ndarray],
    rows: np.ndarray,
    own: Surprise,
    start: int,
) -> pl.DataFrame:
    """The lines of one column's cells in some rows of a block that begins at row `start`."""
    column = model.columns.places[i][0]
    seen = values[column.name][rows]
    return pl.DataFrame(
        {
            "row": pl.Series(start + rows + 1, dtype=pl.Int64),
            "column": pl.Series([column.name] * len(rows), dtype=pl.String),
            "value": column.spelling.write(seen, "value", text=True).cast(pl.String),
            "surprise": own.surprise.astype(float),
            "expected": own.expected.astype(float),
            "tail": own.tail.astype(float),
            "usual": pl.Series(_usual(model, i, column, own), dtype=pl.String),
            "at": pl.Series([i] * len(rows), dtype=pl.Int64),
        }
    )


def _stray_lines(
    model: TypedTable, frame: pl.DataFrame, name: str, rows: np.ndarray, number: int
) -> pl.DataFrame:
    """The lines of the cells of a constant column that hold another value, the column being that of this number."""
    column = next(column for column in model.columns.every if column.name == name)
    cells = next(series for series in frame.get_columns() if series.name.strip() == name)
    usual, held = (
        column.spelling.write(values, "", text=True).cast(pl.String)
        for values in (column.spelling.filled(column.constant, 1), column.read(cells)[rows])
    )
    lines = pl.DataFrame({"row": rows + 1, "value": held}).with_columns(
        column=pl.lit(name),
        surprise=pl.lit(np.inf),
        expected=pl.lit(0.0),
        tail=pl.lit(0.0),
        usual=pl.lit(usual[0]),
        at=pl.lit(len(model.columns.places) + number),
    )
    return lines.select(_none().columns).cast(_none().schema)


def _usual(model: TypedTable, i: int, column: TypedColumn, own: Surprise) -> list[str]:
    """What was to be expected, as text."""

    def written(code: np.ndarray, z: np.ndarray) -> list[str]:
        found = model.columns.decode(i, code, z)
        return column.spelling.write(found, "", text=True).to_list()

    if column.numbers is None:
        shares = [f"{share:.3g}" for share in own.share.tolist()]
        likeliest = written(np.asarray(own.likeliest), np.asarray(own.low))
        return [f"{label} ({share})" for label, share in zip(likeliest, shares, strict=True)]
    both = (np.asarray(end) for end in (own.low, own.high))
    ends = (written(np.rint(end).astype(int), end) for end in both)
    return [f"{low} to {high}" for low, high in zip(*ends, strict=True)]
