"""The network of a typed table against a mixture of products, on held-out rows."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from pushforward.architectures.products import Products
from pushforward.distributions.product_mixture import ProductMixture
from pushforward.distributions.typed_layout import Cells
from pushforward.fitting.products import FEW, STARTS, fit_products
from pushforward.heads import Logistics, Softmax
from pushforward.models.typed_table import TypedTable
from pushforward.training.batches import taken

ROWS, SEARCHED = 20_000, 2_000
"""Most rows of a table for which a mixture is fitted, and most rows in the search for its number of components."""
# Nats that more rows may still gain.
_HOPE = 1.0


def contested(network: TypedTable, cells: Cells, held: Cells, seed: int) -> TypedTable:
    """The network, or the mixture of products if held-out rows are more probable by it.

    Up to `FEW` rows the mixture also wins what is too close to call, within two standard errors: its conditionals agree
    exactly, and the network has chosen its moment to stop by these very rows. Both figures, and that of each column by
    itself, are added to the summary as "raced". Tables of more than `ROWS` rows, and those with angles or bounds, are
    left to the network. Of more than `SEARCHED` rows the mixture gets a part, and all of them only if it comes within a
    nat of the network.

    Arguments:
        network: the fitted network.
        cells: the training rows.
        held: others.
        seed: of the mixture's fit.
    """
    rows = len(cells.present)
    # Its products know neither circles nor the half-lines that end at a bound.
    plain = all(isinstance(h, (Softmax, Logistics)) for h in network.model.layout.columns.heads)
    if rows > ROWS or not plain or (np.asarray(cells.width) < 0).any():
        return network
    by_network = _nats(network, held)
    some = np.random.default_rng(seed).permutation(rows)[:SEARCHED]
    mixture = _table(network, fit_products(taken(cells, some), network.columns, seed=seed))
    by_mixture = _nats(mixture, held)
    if rows > SEARCHED and by_mixture.mean() > by_network.mean() - _HOPE:
        size = mixture.architecture.components
        for components in (size, 2 * size):
            model = fit_products(cells, network.columns, components=components, seed=seed)
            other = _table(network, model)
            nats = _nats(other, held)
            if nats.mean() > by_mixture.mean():
                mixture, by_mixture = other, nats
    better = by_mixture - by_network
    few = rows <= FEW and len(better) > 1
    close = 2 * better.std(ddof=1) / np.sqrt(len(better)) if few else 0.0
    alone = np.where(held.present & network.columns.values, held.log_marginal, 0.0).sum(1)
    raced = {
        network.described: float(by_network.mean()),
        mixture.described: float(by_mixture.mean()),
        "each column by itself": float(alone.mean()),
    }
    winner = mixture if better.mean() > -close else network
    return replace(winner, summary={**network.summary, "raced": raced})


def refitted(model: TypedTable, cells: Cells, seed: int) -> TypedTable:
    """A mixture of few rows fitted again, to all of them; any other model as it is.

    Arguments:
        model: the table's model, judged already.
        cells: all rows.
        seed: of the fit.
    """
    rows = len(cells.present)
    if not isinstance(model.architecture, Products) or rows > FEW:
        return model
    components = max(model.architecture.components // STARTS, 1)
    fitted = fit_products(cells, model.columns, components=components, starts=STARTS, seed=seed)
    return replace(model, model=fitted, summary={**model.summary, "refitted_to": rows})


def _table(network: TypedTable, model: ProductMixture) -> TypedTable:
    return replace(network, model=model, architecture=Products(components=model.components))


def _nats(model: TypedTable, held: Cells) -> Float[np.ndarray, " n"]:
    present = np.asarray(held.present) & model.columns.values
    nats: np.ndarray = model.log_prob_of(held, present, np.zeros_like(present)).sum(1)
    return nats
