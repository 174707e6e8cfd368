"""The model of a table of typed columns."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.configuration import configuration
from pushforward.distributions.typed_row import Cells, Layout, Roles, TypedRow
from pushforward.errors import InputError
from pushforward.networks.context_made import ContextMADE

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
            start: initial outputs by column, such as the logarithms of labels' frequencies.
            key: what the parameters are drawn from.
        """
        sources = np.array(columns.sources)
        # Whether a cell is missing comes before its value, whatever the order of the table's columns.
        order = np.argsort(sources if self.order == "table" else -sources, kind="stable")
        ranks = np.argsort(order)
        layout = Layout(columns._replace(ranks=tuple(ranks.tolist())))
        bias = np.zeros(len(layout.output_columns))
        for column, values in start.items():
            at = layout.first_outputs[column]
            bias[at : at + len(values)] = values
        network = ContextMADE(
            tuple(ranks[layout.feature_columns].tolist()),
            tuple(ranks[layout.output_columns].tolist()),
            width=self.width,
            blocks=self.blocks,
            context=self.context,
            context_blocks=self.context_blocks,
            dropout=self.dropout,
            start=bias,
            key=key,
        )
        return TypedRow(network, layout)


def random_contexts(model: TypedRow, batch: Cells, key: PRNGKeyArray | None) -> Float[Array, " n"]:
    """The loss of typed rows: the negative log-probability of random cells given others.

    Of a row with m present cells, in half of the rows none is given, else a random number below m; in 40 % of rows a
    random number of the rest is absent. In validation every row counts twice: with nothing given, and with a random
    half, drawn once and for all.

    Uria, Murray and Larochelle 2014, arXiv 1310.1757, for random subsets.
    """
    present = batch.present
    if key is None:
        half = present & jax.random.bernoulli(jax.random.key(0), 0.5, present.shape)
        joint = model.log_prob(batch, present, jnp.zeros_like(present))
        return -(joint + model.log_prob(batch, present & ~half, half)).sum(1) / 2
    keys = jax.random.split(key, 6)
    n = len(present)
    draws = jnp.where(present, jax.random.uniform(keys[0], present.shape), 2.0)
    place = jnp.argsort(jnp.argsort(draws, axis=1), axis=1)
    many = present.sum(1)

    def some(at: int, most: Array, share: float) -> Array:
        """A whole number from 0 to below `most`, in that share of the rows; else 0."""
        number = jnp.floor(jax.random.uniform(keys[at], (n,)) * most).astype(many.dtype)
        return jnp.where(jax.random.uniform(keys[at + 1], (n,)) < share, number, 0)

    given = some(1, many, 0.5)
    absent = some(3, many - given, 0.4)
    first = present & (place < given[:, None])
    targets = present & (place >= (given + absent)[:, None])
    return -model.log_prob(batch, targets, first, keys[5]).sum(1)
