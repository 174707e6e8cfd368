"""The model of a table of typed columns."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.configuration import configuration
from pushforward.distributions.typed_layout import MANY_RANK, Cells, Layout, Roles
from pushforward.distributions.typed_row import TypedRow
from pushforward.draws import spawn
from pushforward.errors import InputError
from pushforward.networks.context_made import ContextMADE
from pushforward.networks.many_levels import ManyLevels

ORDERS = ("table", "reversed")


@configuration
class Typed:
    """A head for each column on one masked network with a fixed order of columns, and an encoder of what is given.

    Arguments:
        width, blocks: of the masked network.
        context, context_blocks: of the encoder of given cells.
        components: logistics of a column of numbers.
        dropout: share of hidden units zeroed while training.
        order: "table", the order of the columns, or "reversed".
    """

    width: int = 256
    blocks: int = 3
    context: int = 192
    context_blocks: int = 2
    components: int = 16
    dropout: float = 0.05
    order: str = "reversed"

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise InputError(f"order={self.order!r}: one of {', '.join(ORDERS)} is expected")

    def build(self, columns: Roles, start: dict[int, np.ndarray], *, key: PRNGKeyArray) -> TypedRow:
        """The model with fresh parameters.

        Arguments:
            columns: the heads of the columns, and how they are read; `ranks` is set here.
            start: initial outputs by column, such as the logarithms of labels' frequencies; for a column of many labels
                one row for each label of its parent, see `ManyLevels`.
            key: what the parameters are drawn from.
        """
        sources = np.array(columns.sources)
        last = np.isin(sources, sources[list(columns.many)])
        # Whether a cell is missing comes before its value, whatever the order of the table's columns; columns of many
        # labels come last.
        order = np.lexsort((sources if self.order == "table" else -sources, last))
        ranks = np.argsort(order)
        layout = Layout(columns)
        bias = np.zeros(len(layout.output_columns))
        for column in start.keys() - set(columns.many):
            at = layout.first_outputs[column]
            bias[at : at + len(start[column])] = start[column]
        network_key, *keys = spawn(key, 1 + len(columns.many))
        parents = columns.parents or (None,) * len(columns.many)
        layout = Layout(columns._replace(parents=parents, ranks=tuple(ranks.tolist())))
        many = []
        for column, parent, own in zip(columns.many, parents, keys, strict=True):
            levels = columns.heads[column].size
            rows = 1 if parent is None else columns.heads[parent].size + 1
            blank = np.full((rows, levels), -np.log(levels))
            many.append(ManyLevels(start.get(column, blank), MANY_RANK, own))
        network = ContextMADE(
            tuple(ranks[layout.feature_columns].tolist()),
            tuple(ranks[layout.output_columns].tolist()),
            width=self.width,
            blocks=self.blocks,
            context=self.context,
            context_blocks=self.context_blocks,
            dropout=self.dropout,
            start=bias,
            key=network_key,
        )
        return TypedRow(network, tuple(many), layout)


def random_contexts(model: TypedRow, batch: Cells, key: PRNGKeyArray | None) -> Float[Array, " n"]:
    """The loss of typed rows: the negative log-probability of random cells given others.

    Of a row with m present cells, in half of the rows none is given, else a random number below m; in 40 % of rows a
    random number of the rest is absent. In validation every row counts twice: with nothing given, and with a random
    half, drawn once and for all.

    Uria, Murray and Larochelle 2014, arXiv 1310.1757, for random subsets.
    """
    present = batch.present
    n = len(present)
    if key is None:
        half = present & jax.random.bernoulli(jax.random.key(0), 0.5, present.shape)
        twice = jax.tree.map(lambda array: jnp.concatenate([array, array]), batch)
        both = model.log_prob(twice, jnp.concatenate([present, present & ~half]), half).sum(1)
        return -(both[:n] + both[n:]) / 2
    keys = jax.random.split(key, 5)
    draws = jnp.where(present, jax.random.uniform(keys[0], present.shape), 2.0)
    place = jnp.argsort(jnp.argsort(draws, axis=1), axis=1)
    many = present.sum(1)

    def some(at: int, most: Array) -> Array:
        """A whole number from 0 to below `most`."""
        share = jax.random.uniform(keys[at], (n,))
        return jnp.floor(share * most.astype(share.dtype)).astype(many.dtype)

    # The rows of a batch are in random order: the first half of them have nothing given.
    given = jnp.where(jnp.arange(n) < n // 2, 0, some(1, many))
    absent = jnp.where(jax.random.uniform(keys[2], (n,)) < 0.4, some(3, many - given), 0)
    known = present & (place < given[:, None])
    targets = present & (place >= (given + absent)[:, None])
    return -model.log_prob(batch, targets, known[n // 2 :], keys[4]).sum(1)
