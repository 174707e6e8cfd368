"""Drawing the cells of rows, one of the model's columns after the other."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray

from pushforward.distributions.product_mixture import ProductMixture
from pushforward.distributions.typed_layout import Cells, Seen, Spot
from pushforward.distributions.typed_row import TypedRow
from pushforward.heads import AbstractHead, Cell, Cut, Softmax
from pushforward.rows import broadcasting, padded
from pushforward.training.batches import taken


class Steps:
    """A block of rows of which some cells are given: each of the model's columns is drawn given these and the columns
    before it, which are revealed one by one.

    Arguments:
        model: the distribution.
        cells: the rows.
        given: which of their cells are given.
        size: rows of one call of a compiled program, at least as many.
    """

    def __init__(
        self,
        model: TypedRow | ProductMixture,
        cells: Cells,
        given: Bool[np.ndarray, "n d"],
        size: int,
    ):
        self._model, self._size = model, size
        # Where nothing is given all rows have one context.
        some = (cells, given) if given.any() else taken((cells, given), slice(1))
        some, shown = blocked(some, size if given.any() else 1)
        self._known = _start(model, some, shown, size)

    def order(self, wanted: Bool[np.ndarray, " d"]) -> list[int]:
        """The columns in the model's order, up to the last that is wanted."""
        order = np.argsort(self._model.layout.columns.ranks)
        last = np.flatnonzero(wanted[order]).max(initial=-1)
        found: list[int] = order[: last + 1].tolist()
        return found

    def draw(
        self,
        column: int,
        cells: Cells,
        there: Bool[Array | np.ndarray, "n d"],
        key: PRNGKeyArray,
        cut: Cut | None = None,
        *,
        other: bool = False,
    ) -> tuple[Cell, Array | None]:
        """A draw of one column for all rows, all before it being revealed; with a cut also the log of the mass there.

        Arguments:
            column: the model's.
            cells: the rows.
            there: which of their cells are given, or drawn so far.
            key: of the draw.
            cut: the part of the column to draw from; default None, all of it.
            other: whether labels without a level of their own are drawn too; default False.
        """
        layout = self._model.layout
        head = layout.columns.heads[column]
        if other and isinstance(head, Softmax):
            head = replace(head, open=False)
        if column in layout.columns.many:
            some, seen = blocked((cells, there), self._size)
            return _sample_many(self._model, self._known, head, column, some, seen, cut, key)
        first = jnp.asarray(layout.first_outputs[column])
        return _sample(self._model, self._known, head, first, cut, key)

    def reveal(self, column: int, own: Seen, rows: Bool[np.ndarray, " n"]) -> None:
        """Make a column known, in the rows that are not to be without it: also one that is not drawn, as the next one
        needs its units.

        Arguments:
            column: the model's.
            own: its cells as later columns read them.
            rows: which rows have it.
        """
        spot = self._model.layout.spot(column)
        self._known = _reveal(self._model, self._known, spot, *blocked((own, rows), self._size))


def blocked(rows: Any, size: int) -> Any:
    """Rows of any arrays on the device, padded to `size`."""
    return jax.tree.map(lambda array: padded(array, size), rows)


@eqx.filter_jit
def _start(model: TypedRow | ProductMixture, cells: Cells, given: Array, rows: int) -> Any:
    with broadcasting():
        return model.start(cells, given, rows)


@eqx.filter_jit
def _sample(
    model: TypedRow | ProductMixture,
    known: Any,
    head: AbstractHead,
    first: Array,
    cut: Cut | None,
    key: PRNGKeyArray,
) -> tuple[Cell, Array | None]:
    with broadcasting():
        return _drawn(head, model.outputs(known, head, first), cut, key)


@eqx.filter_jit
def _sample_many(
    model: TypedRow | ProductMixture,
    known: Any,
    head: AbstractHead,
    column: int,
    cells: Cells,
    seen: Array,
    cut: Cut | None,
    key: PRNGKeyArray,
) -> tuple[Cell, Array | None]:
    with broadcasting():
        return _drawn(head, model.outputs_of_many(known, column, cells, seen), cut, key)


def _drawn(
    head: AbstractHead, params: Array, cut: Cut | None, key: PRNGKeyArray
) -> tuple[Cell, Array | None]:
    """A draw, or one from a part of the column with the log of the mass there."""
    return (head.sample(params, key), None) if cut is None else head.sample_within(params, cut, key)


# What was known is given up: its arrays are changed in place.
@eqx.filter_jit(donate="all-except-first")
def _reveal(
    model: TypedRow | ProductMixture, known: Any, spot: Spot, own: Seen, seen: Array
) -> Any:
    with broadcasting():
        return model.reveal(known, spot, own, seen)
