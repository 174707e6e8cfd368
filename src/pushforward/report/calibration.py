"""Whether cells lie where the model says: their ranks within their conditional distributions."""

from functools import partial
from statistics import NormalDist

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pushforward.distributions.product_mixture import ProductMixture
from pushforward.distributions.typed_layout import Cells
from pushforward.distributions.typed_row import TypedRow
from pushforward.heads import AbstractHead, Cell, Logistics, Softmax, WrappedCauchy
from pushforward.models.typed_table import TypedTable
from pushforward.report.findings import Values
from pushforward.report.html import Html, element
from pushforward.report.passes import leave_one_out, stacked
from pushforward.report.svg import Scale, axis, bar, number, picture
from pushforward.rows import broadcasting

BINS = 20
CHANCE = 0.05
"""Probability that some bar of a calibrated column leaves the band."""
_ROUNDING = 1e-4
FEWEST = 100
"""Cells below which ranks say nothing."""


def ranks(model: TypedTable, cells: Cells, seed: int) -> Float[np.ndarray, "n d"]:
    """Randomised probability integral transforms of each cell given all others of its row.

        u = P(X < x | others) + v P(X = x | others),   v ~ U(0, 1)

    uniform where the conditional is the true one. Labels are taken in the order of their levels, angles from the seam
    on. The share of the marginal that every conditional has, 1e-4, is left out. Cost: a pass of all rows for each
    column.

    Arguments:
        model: the density.
        cells: the rows.
        seed: of v.

    Returns u for each column of the model; NaN for cells that are missing, for columns of gaps and for heads whose
    distribution function is not known.
    """
    targets, given = leave_one_out(model)
    n, parts = len(cells.present), []
    for some in stacked(cells, targets, given):
        parts.append(np.asarray(_ends(model.model, *jax.tree.map(jnp.asarray, some)), np.float64))
    low, high = np.concatenate(parts, 1)[:, : n * len(targets)].reshape(2, len(targets), n)
    found = np.full((n, targets.shape[1]), np.nan)
    between = np.random.default_rng(seed).uniform(size=low.shape)
    place = low + between * (high - low)
    # A cell across the seam of a circle goes on at its beginning.
    found[:, model.columns.values] = np.where(place > 1 + _ROUNDING, place - 1, place).T
    return np.where(np.asarray(cells.present), np.clip(found, 0, 1), np.nan)


@eqx.filter_jit
def _ends(
    model: TypedRow | ProductMixture, cells: Cells, targets: Array, given: Array
) -> tuple[Array, Array]:
    """P(X < x) and P(X <= x) of the one target of each row."""
    low = high = jnp.zeros(targets.shape[0], cells.z.dtype)
    with broadcasting():
        for head, columns, own, of in model.conditionals(cells, targets, given):
            ends = jax.vmap(partial(_ends_of, head))(own, of)
            wanted = targets.T[np.array(columns)]
            below, up_to = (jnp.where(wanted, end, 0.0).sum(0) for end in ends)
            low, high = low + below, high + up_to
    return low, high


def _ends_of(head: AbstractHead, params: Array, cell: Cell) -> tuple[Array, Array]:
    if isinstance(head, Logistics | WrappedCauchy):
        edge = head.cdf(params, cell.z)
        mass = jnp.where(cell.width == 0, 0.0, jnp.exp(head.log_prob(params, cell)))
        # A cell of negative width lies below its edge.
        below = jnp.where(cell.width < 0, mass, 0.0)
        return edge - below, edge + mass - below
    if isinstance(head, Softmax):
        each, code = jax.nn.softmax(params, axis=0), jnp.arange(head.levels)[:, None]
        low = jnp.where(code < cell.code, each, 0.0).sum(0)
        return low, low + jnp.where(code == cell.code, each, 0.0).sum(0)
    unknown = jnp.full(cell.code.shape, jnp.nan, params.dtype)
    return unknown, unknown


def band(n: int) -> tuple[float, float]:
    """Counts of a bin of n uniform ranks, between which all bins lie with probability 1 - `CHANCE`, about."""
    far = NormalDist().inv_cdf(1 - CHANCE / BINS / 2)
    half = far * np.sqrt(n * (1 / BINS) * (1 - 1 / BINS))
    return max(n / BINS - half, 0.0), n / BINS + half


def outside(found: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " bins"]:
    """Which bins leave the band."""
    counts = np.histogram(found, BINS, (0, 1))[0]
    low, high = band(len(found))
    beyond: np.ndarray = (counts < low) | (counts > high)
    return beyond


def calibrated(column: Values) -> bool | None:
    """Whether all bars of a column lie within the band; None where that is not known."""
    if column.ranks is None or len(column.ranks) < FEWEST:
        return None
    return not outside(column.ranks).any()


def calibration_figure(column: Values, name: str) -> Html | None:
    """The histogram of the ranks of one column, with the band that chance allows; None where they are not known."""
    if column.ranks is None or len(column.ranks) < FEWEST:
        return None
    n = len(column.ranks)
    counts = np.histogram(column.ranks, BINS, (0, 1))[0]
    low, high = band(n)
    beyond = int(outside(column.ranks).sum())
    x = Scale(0, 1, 8, 312)
    y = Scale(0, max(float(counts.max()), high) * 1.05, 84, 4)
    bars = [
        bar(x(i / BINS) + 0.6, y(c), x(1 / BINS) - x(0) - 1.2, y(0) - y(c), "data")
        for i, c in enumerate(counts.tolist())
    ]
    strip = bar(8, y(high), 304, y(low) - y(high), "band")
    middle = element("line", x1=8, x2=312, y1=y(n / BINS), y2=y(n / BINS), class_="whisker")
    verdict = (
        f"all {BINS} bars lie in the band of chance"
        if beyond == 0
        else f"{beyond} of {BINS} bars leave the band of chance"
    )
    drawn = picture(
        name,
        f"Calibration of {column.name}",
        f"Histogram of {n} ranks in {BINS} bins: {verdict}. Counts: {', '.join(map(str, counts))}.",
        320,
        104,
        strip,
        bars,
        middle,
        axis(x, 84, number, (0.0, 0.5, 1.0)),
    )
    text = f"Calibration: ranks of {n:,} cells given the rest of their rows; {verdict}. {_shape(counts, low, high)}"
    return element("figure", drawn, element("figcaption", text.strip()))


def _shape(counts: np.ndarray, low: float, high: float) -> str:
    """What a shape that leaves the band means."""
    if (counts >= low).all() and (counts <= high).all():
        return ""
    ends, middle = counts[[0, 1, -2, -1]].mean(), counts[6:14].mean()
    left, right = counts[: BINS // 2].mean(), counts[BINS // 2 :].mean()
    if abs(left - right) > abs(ends - middle):
        return "Cells lie " + ("lower" if left > right else "higher") + " than the model expects."
    if ends > middle:
        return "The model is too sure of itself: too many cells at the ends."
    return "The model is less sure than it could be: too few cells at the ends."
