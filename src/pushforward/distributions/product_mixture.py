"""A mixture of products over the typed cells of a row."""

from collections.abc import Iterator
from functools import cached_property

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward.distributions.typed_layout import Cells, Layout, Seen, Spot
from pushforward.distributions.typed_row import floored
from pushforward.heads import AbstractHead, Cell, Logistics


class Offsets:
    """Where the parameters of each column stand in a mixture of products.

    Arguments:
        layout: its heads are `Logistics` for columns of numbers, and have a parameter for each label for all others.
    """

    def __init__(self, layout: Layout):
        heads = layout.columns.heads
        self.is_number = np.array([isinstance(head, Logistics) for head in heads])
        self.sizes = np.where(self.is_number, 0, [head.size for head in heads])
        self.label = np.cumsum(self.sizes) - self.sizes
        self.number = np.cumsum(self.is_number) - self.is_number
        self.first = np.array([layout.first_outputs[column] for column in range(len(heads))])

    @property
    def labels(self) -> int:
        """The number of labels of all columns."""
        return int(self.sizes.sum())

    @property
    def numbers(self) -> int:
        """The number of columns of numbers."""
        return int(self.is_number.sum())


class ProductMixture(eqx.Module):
    """The distribution of some cells of a row given others, of which all conditionals agree.

        p(x_U | x_B) = sum_k w_k(x_B) prod over c in U of p_kc(x_c),    w_k(x_B) = w_k p_k(x_B) / sum_j w_j p_j(x_B)

    Within a component the columns are independent: a label has a probability of its own in each, a number is logistic
    on the scale z of its marginal. As in `TypedRow`, each factor is `1 - FLOOR` of that and `FLOOR` of the column's
    marginal. Cells that are neither given nor targets are integrated out exactly, so that all routes to a conditional
    have the same result. One component is the product of the marginals, if it is fitted to them.

    Cost: some 30 operations for each component and cell, one look-up for a label; drawing about the same.

    McLachlan and Peel 2000, Finite Mixture Models; latent class analysis for labels.

    Arguments:
        log_weights: of the components.
        log_labels: log-probabilities of the labels of each column, columns side by side.
        means, log_scales: of the numbers, on the scale z.
        layout: the columns; heads of numbers are `Logistics` of as many components.
    """

    log_weights: Float[Array, " k"]
    log_labels: Float[Array, "k labels"]
    means: Float[Array, "k numbers"]
    log_scales: Float[Array, "k numbers"]
    layout: Layout = eqx.field(static=True)

    @property
    def components(self) -> int:
        """The number of products."""
        return self.log_weights.shape[-1]

    def log_prob(
        self,
        cells: Cells,
        targets: Bool[Array | np.ndarray, "n d"],
        given: Bool[Array | np.ndarray, "known d"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "n d"]:
        """Log-probability of each target given what is given and the targets before it; 0 for other cells.

        Arguments:
            cells: the rows.
            targets: the cells to score, of those that are present.
            given: the cells that are known, none of them a target; of the last rows. In the rows before them nothing
                is known.
            key: not used; `TypedRow` has dropout.
        """
        given = jnp.pad(jnp.asarray(given), ((len(targets) - len(given), 0), (0, 0)))
        order = np.argsort(self.layout.columns.ranks)

        def step(known: Array, column: Array) -> tuple[Array, Array]:
            found = known + self._by_component(_column(cells, column), column)
            total = jax.nn.logsumexp(found, axis=0)
            is_target = jnp.asarray(targets)[:, column]
            return jnp.where(is_target, found - total, known), jnp.where(is_target, total, 0.0)

        _, parts = jax.lax.scan(step, self.start(cells, given, len(given)), jnp.asarray(order))
        return parts[np.asarray(self.layout.columns.ranks)].T

    def conditionals(
        self,
        cells: Cells,
        targets: Bool[Array | np.ndarray, "n d"],
        given: Bool[Array | np.ndarray, "known d"],
        key: PRNGKeyArray | None = None,
    ) -> Iterator[tuple[AbstractHead, tuple[int, ...], Float[Array, "1 size n"], Cell]]:
        """The distributions that `log_prob` evaluates, a column at a time; as of `TypedRow.conditionals`."""
        given = jnp.pad(jnp.asarray(given), ((len(targets) - len(given), 0), (0, 0)))
        known = self.start(cells, given, len(given))
        for column in np.argsort(self.layout.columns.ranks).tolist():
            head, own = self.layout.columns.heads[column], _column(cells, jnp.asarray(column))
            first = jnp.asarray(self.layout.first_outputs[column])
            cell = Cell(*(jnp.asarray(array)[None] for array in own[:4]))
            yield head, (column,), self.outputs(known, head, first)[None], cell
            each = jnp.where(
                jnp.asarray(targets)[:, column], self._by_component(own, jnp.asarray(column)), 0.0
            )
            known = jax.nn.log_softmax(known + each, axis=0)

    def start(
        self, cells: Cells, given: Bool[Array | np.ndarray, "n d"], rows: int
    ) -> Float[Array, "k rows"]:
        """What is known before the first draw: the log-probability of each component given the given cells.
        Arguments as of `TypedRow.start`."""

        def step(known: Array, column: Array) -> tuple[Array, None]:
            each = self._by_component(_column(cells, column), column)
            return known + jnp.where(jnp.asarray(given)[:, column], each, 0.0), None

        weights = jnp.broadcast_to(self.log_weights[:, None], (self.components, len(given)))
        known, _ = jax.lax.scan(step, weights, jnp.arange(np.shape(given)[1]))
        return jnp.broadcast_to(jax.nn.log_softmax(known, axis=0), (self.components, rows))

    def outputs_of_many(
        self,
        known: Float[Array, "k n"],
        column: int,
        cells: Cells,
        seen: Bool[Array | np.ndarray, "n d"],
    ) -> Float[Array, "size n"]:
        """`outputs` of a column of many labels, which are labels like all others here; arguments as of `TypedRow`."""
        first = jnp.asarray(self.layout.first_outputs[column])
        return self.outputs(known, self.layout.columns.heads[column], first)

    def parameters(
        self,
        cells: Cells,
        given: Bool[Array | np.ndarray, "n d"],
        head: AbstractHead,
        first: Array,
        many: int | None = None,
    ) -> Float[Array, "size n"]:
        """The parameters of one column's head given the given cells and nothing else; arguments as of `TypedRow`."""
        return self.outputs(self.start(cells, given, len(given)), head, first)

    def reveal(
        self,
        known: Float[Array, "k n"],
        spot: Spot,
        own: Seen,
        seen: Bool[Array | np.ndarray, " n"],
    ) -> Float[Array, "k n"]:
        """What is known with one more column, in the rows where it is seen; arguments as of `TypedRow.reveal`."""
        each = self._by_component(own, spot.column)
        return jax.nn.log_softmax(known + jnp.where(seen, each, 0.0), axis=0)

    def outputs(
        self, known: Float[Array, "k n"], head: AbstractHead, first: Array
    ) -> Float[Array, "size n"]:
        """The parameters of a column's head, given what is known: the mixture of its components is a head too.

        Arguments:
            known: what is known.
            head: the column's.
            first: the number of its first output, see `Layout.first_outputs`.
        """
        column = jnp.argmax(jnp.asarray(self._at.first) == first)
        if isinstance(head, Logistics):
            at = jnp.asarray(self._at.number)[column]
            return head.params(known, self.means[:, at], self.log_scales[:, at])
        at = jnp.asarray(self._at.label)[column]
        own = jax.lax.dynamic_slice_in_dim(self.log_labels, at, head.size, axis=1)
        return jnp.log(jnp.maximum(jnp.exp(own).T @ jnp.exp(known), 1e-37))

    @cached_property
    def _at(self) -> Offsets:
        return Offsets(self.layout)

    def _by_component(self, cells: Seen, column: Array) -> Float[Array, "k n"]:
        """The log-probability of each cell of a column in each component."""
        at = self._at
        cell = Cell(*map(jnp.asarray, cells[:4]))

        def label(cell: Cell) -> Array:
            place = jnp.asarray(at.label)[column] + cell.code
            return jnp.take(self.log_labels, place, axis=1) + cell.log_slope

        def number(cell: Cell) -> Array:
            i = jnp.asarray(at.number)[column]
            one, zero = Logistics(1), jnp.zeros((1, 1), self.means.dtype)
            return jax.vmap(lambda mean, scale: one.log_prob(one.params(zero, mean, scale), cell))(
                self.means[:, i], self.log_scales[:, i]
            )

        if at.numbers == 0:
            own = label(cell)
        elif at.labels == 0:
            own = number(cell)
        else:
            own = jax.lax.cond(jnp.asarray(at.is_number)[column], number, label, cell)
        return floored(own, cells.log_marginal)


def _column(cells: Cells, column: Array) -> Seen:
    """One column of the cells."""
    n = len(cells.code)
    code, z, width, log_slope, log_marginal, scaled = (
        jnp.asarray(array)[:, column] for array in cells[:6]
    )
    return Seen(code, z, width, log_slope, log_marginal, scaled, jnp.zeros((n, 0)))
