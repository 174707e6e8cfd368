"""The mixture of products as the model of a table of typed columns."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.configuration import configuration
from pushforward.distributions.product_mixture import Offsets, ProductMixture
from pushforward.distributions.typed_layout import Layout, Roles
from pushforward.errors import check_count


@configuration
class Products:
    """Components within which columns are independent; conditionals by all routes agree. For tables of few rows.

    Arguments:
        components: their number; default 8.
    """

    components: int = 8

    def __post_init__(self) -> None:
        check_count("components", self.components)

    def build(
        self, columns: Roles, start: dict[int, np.ndarray], *, key: PRNGKeyArray | None = None
    ) -> ProductMixture:
        """The mixture of equal components, each the product of the marginals.

        Arguments:
            columns: the heads of the columns; `ranks` is set here, the table's order: all orders have the same result.
            start: the logarithms of labels' frequencies by column; default all labels of a column alike.
            key: not used; here because networks are drawn from one.
        """
        layout = Layout(columns._replace(ranks=tuple(range(len(columns.heads)))))
        at, k = Offsets(layout), self.components
        labels = np.zeros(at.labels)
        for column in np.flatnonzero(~at.is_number).tolist():
            size = int(at.sizes[column])
            own = start.get(column, np.full(size, -np.log(size)))
            labels[at.label[column] : at.label[column] + size] = own
        dtype = jnp.zeros(()).dtype
        return ProductMixture(
            jnp.full(k, -np.log(k), dtype),
            jnp.asarray(np.tile(labels, (k, 1)), dtype),
            jnp.zeros((k, at.numbers), dtype),
            jnp.zeros((k, at.numbers), dtype),
            layout,
        )
