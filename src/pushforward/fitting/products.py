"""Mixtures of products by expectation-maximisation."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix
from scipy.special import logsumexp

from pushforward.architectures.products import Products
from pushforward.columns.typed_columns import TypedColumns
from pushforward.distributions.product_mixture import Offsets, ProductMixture
from pushforward.distributions.typed_layout import Cells, Layout
from pushforward.distributions.typed_row import FLOOR

SIZES = (1, 2, 4, 8, 16, 32)
"""Numbers of components that are tried."""
FEW = 500
"""Rows up to which the number of components is chosen by cross-validation and EM has several starts; above, a fifth of
the rows judges."""
FOLDS, STARTS = 5, 4
STEPS, GAIN = 100, 1e-3
"""Most steps of EM; it ends where a step gains fewer nats per row."""
PRIOR = 1.0
"""Rows of the marginal that each column of each component counts besides its own."""
# The same for the weights, and the bounds of inverse scales.
_WEIGHT, _LEAST, _MOST = 0.5, np.exp(-4.0), np.exp(5.0)
# Where the marginal's rows of a number lie on the scale z: at quantiles of the logistic distribution.
_NINE = (np.arange(9) + 0.5) / 9
_PRIOR_Z = np.log(_NINE / (1 - _NINE))[:, None, None]
# Rows that a start looks at.
_NEAREST = 1 << 11
# Cells times components that are handled at once.
_AT_ONCE = 1 << 15


class Parameters(NamedTuple):
    """A mixture of products in double precision.

    Attributes:
        log_weights: `(k,)`.
        labels: probabilities of the labels of all columns, side by side, `(k, labels)`.
        means, rates: of the numbers on the scale z, and inverse scales; `(numbers, k)`.
    """

    log_weights: np.ndarray
    labels: np.ndarray
    means: np.ndarray
    rates: np.ndarray


class Sums(NamedTuple):
    """What a step of EM needs of the rows: sums over them, weighted by how much a cell belongs to a component."""

    weights: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray


@dataclass(frozen=True)
class Rows:
    """Encoded rows as EM sees them.

    Attributes:
        labels: which labels the rows hold, one column for each label of each column, `(n, labels)`.
        places: lower edges, widths and presence of the numbers, and their log-probabilities by the marginal, `(n,
            numbers)` each.
        constant: the part of each row's log-probability that depends on no parameter, `(n,)`.
        frequencies: of the labels, `(labels,)`.
        starts: where the labels of each column begin.
    """

    labels: csr_matrix
    places: tuple[np.ndarray, ...]
    constant: np.ndarray
    frequencies: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(
        cls, cells: Cells, columns: TypedColumns, seen: Bool[np.ndarray, "n d"] | None = None
    ) -> "Rows":
        """Rows of a table.

        Arguments:
            cells: the rows.
            columns: the table's.
            seen: the cells that count; default all that are present.
        """
        at = Offsets(Layout(columns.layout(1)))
        seen = np.asarray(cells.present) if seen is None else seen
        n, is_number = len(seen), at.is_number
        code, z, width, slope, alone = (np.asarray(a, np.float64) for a in cells[:5])
        row, column = np.nonzero(seen & ~is_number)
        where = at.label[column] + code[row, column].astype(int)
        labels = csr_matrix((np.ones(len(row)), (row, where)), (n, at.labels))
        alone = alone - slope
        logs = columns.log_frequencies()
        own = [logs[int(column)] for column in np.flatnonzero(~is_number)]
        frequencies = np.exp(np.concatenate([np.zeros(0), *own]))
        places = (z[:, is_number], width[:, is_number], seen[:, is_number], alone[:, is_number])
        return cls(
            labels, places, np.where(seen, slope, 0.0).sum(1), frequencies, at.label[~is_number]
        )

    def __len__(self) -> int:
        return len(self.constant)

    def some(self, which: np.ndarray | slice) -> "Rows":
        """Some of the rows."""
        places = tuple(a[which] for a in self.places)
        return replace(
            self, labels=self.labels[which], places=places, constant=self.constant[which]
        )

    def blocks(self, components: int) -> Iterator["Rows"]:
        """All rows, some at a time."""
        size = max(_AT_ONCE // (components * (self.places[0].shape[1] + 1)), 64)
        if size >= len(self):
            yield self
            return
        for start in range(0, len(self), size):
            yield self.some(slice(start, start + size))


def marginal(rows: Rows, components: int) -> Parameters:
    """Equal components, each the product of the marginals."""
    numbers = rows.places[0].shape[1]
    return Parameters(
        np.full(components, -np.log(components)),
        np.tile(rows.frequencies, (components, 1)),
        np.zeros((numbers, components)),
        np.ones((numbers, components)),
    )


def log_prob(rows: Rows, p: Parameters) -> Float[np.ndarray, " n"]:
    """The log-probability of each row in nats."""
    k = len(p.log_weights)
    parts = [logsumexp(_joint(some, p)[0], axis=1) + some.constant for some in rows.blocks(k)]
    return np.concatenate(parts)


def steps(rows: Rows, p: Parameters) -> Iterator[tuple[float, Parameters]]:
    """Expectation-maximisation: the objective and the parameters, one better than the last.

    The objective is the log-probability of the rows per row, plus that of `PRIOR` rows of the marginals in each
    component. A label's probabilities have their maximum in closed form. A logistic's log-density, and its
    log-probability of a cell, is bounded from below by squares and a logarithm of the inverse scale, and touched at the
    present values; the bound's maximum has a closed form too, and cannot lower the objective.

    Cost: some 20 operations for each cell of a number and each component, one for each label.

    Dempster, Laird and Rubin 1977; the bound of log cosh is that of Jaakkola and Jordan 2000.
    """
    k = len(p.log_weights)
    while True:
        total, sums = 0.0, None
        for some in rows.blocks(k):
            joint, numbers = _joint(some, p)
            each = logsumexp(joint, axis=1)
            total += float((each + some.constant).sum())
            own = _sums(some, p, np.exp(joint - each[:, None]), numbers)
            sums = own if sums is None else Sums(*(a + b for a, b in zip(sums, own, strict=True)))
        assert sums is not None
        yield (total + _prior(rows, p)) / len(rows), p
        p = _maximum(rows, p, sums)


def fitted(rows: Rows, components: int, random: np.random.Generator, starts: int = 1) -> Parameters:
    """The average of the mixtures that EM finds from several starts, a mixture again.

    On few rows the average is better than the best of them: that one is the most fitted to its rows (wine, 142 rows, 4
    starts: .6 nats of held-out rows). Of one component it is the marginals themselves.
    """
    if components == 1:
        return marginal(rows, 1)
    found = [_run(rows, components, random) for _ in range(starts)]
    log_weights, labels, means, rates = zip(*found, strict=True)
    return Parameters(
        np.concatenate(log_weights) - np.log(starts),
        np.concatenate(labels),
        np.concatenate(means, axis=1),
        np.concatenate(rates, axis=1),
    )


def _run(rows: Rows, components: int, random: np.random.Generator) -> Parameters:
    first, last = _start(rows, components, random), -np.inf
    for objective, p in itertools.islice(steps(rows, first), STEPS):
        if objective < last + GAIN:
            return p
        last = objective
    return p


def _joint(rows: Rows, p: Parameters) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Log-probabilities of each row with each component, `(n, k)`, and how much of each number's probability is not the
    floor's, with the coefficients of `_bounds`."""
    labels = np.log((1 - FLOOR) * p.labels + FLOOR * rows.frequencies)
    found = p.log_weights + rows.labels @ labels.T
    z, width, seen, alone = (a[:, :, None] for a in rows.places)
    own, bounds = _bounds(z, width, p)
    head = (1 - FLOOR) * np.exp(own - alone)
    total = head + FLOOR
    found += ((np.log(total) + alone) * seen).sum(1)
    return found, (head / total * seen, *bounds)


def _bounds(
    z: np.ndarray, width: np.ndarray, p: Parameters
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Log-probabilities of numbers in each component, `(n, numbers, k)`, and the coefficients of the bounds there.

        log (F(b) - F(a)) = log 2 sinh((b - a) / 2) - log 2 cosh(a / 2) - log 2 cosh(b / 2)

    for a cell, and `log rate - 2 log 2 cosh(a / 2)` for a point. Coefficients: of the square of a, of the square of b,
    and of the rate.
    """
    low, e, bend_low = _cosh((z - p.means) * p.rates)
    if not width.any():
        own = np.log(p.rates) - 2 * (low + np.log(e))
        return own, (bend_low, bend_low, np.zeros((1, 1, 1)))
    high, g, bend_high = _cosh((z + width - p.means) * p.rates)
    is_cell = width > 0
    x = np.where(is_cell, width, 1.0) * p.rates
    # 1 - exp(-x), in half the time of expm1.
    rest = np.where(x < 1e-5, x, 1 - np.exp(-x))
    own = np.log(np.where(is_cell, rest, p.rates) / (e * g)) - low - high
    own += (width / 2) * p.rates
    pull = np.where(is_cell, np.maximum(width / 2 * (2 - rest) / rest - 1 / p.rates, 0.0), 0.0)
    return own, (bend_low, bend_high, pull)


def _cosh(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two parts of log 2 cosh(x / 2), `a + log b`, and its derivative with respect to the square of x."""
    size = np.abs(x)
    e = np.exp(-size)
    near = np.maximum(size, 1e-4)
    bend = (1 - np.where(size > 1e-4, e, np.exp(-1e-4))) / (4 * (1 + e) * near)
    return size / 2, 1 + e, bend


def _sums(rows: Rows, p: Parameters, own: np.ndarray, numbers: tuple[np.ndarray, ...]) -> Sums:
    """Sums over rows that belong to components by `own`, `(n, k)`."""
    head = (1 - FLOOR) * p.labels
    share = head / (head + FLOOR * rows.frequencies)
    z, width = (a[:, :, None] for a in rows.places[:2])
    in_head, low, high, pull = numbers
    moments = _moments(own[:, None, :] * in_head, low, high, pull, z, width, p)
    return Sums(own.sum(0), (rows.labels.T @ own).T * share, moments)


def _moments(
    weight: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    pull: np.ndarray,
    z: np.ndarray,
    width: np.ndarray,
    p: Parameters,
) -> np.ndarray:
    """Weighted sums of 1, of the coefficients of squares, of first and second moments about the mean, of the rate's."""
    a = z - p.means
    low, high = weight * low, weight * high
    at_low, at_high = low * a, high * (a + width)
    parts = (
        weight,
        low + high,
        at_low + at_high,
        at_low * a + at_high * (a + width),
        weight * pull,
    )
    return np.stack([part.sum(0) for part in parts])


def _maximum(rows: Rows, p: Parameters, sums: Sums) -> Parameters:
    """The parameters of the next step."""
    weights = sums.weights + _WEIGHT
    labels = sums.labels + PRIOR * rows.frequencies
    if len(rows.starts):
        totals = np.add.reduceat(labels, rows.starts, axis=1)
        sizes = np.diff(np.append(rows.starts, labels.shape[1]))
        labels = labels / np.repeat(totals, sizes, axis=1)
    bend = _cosh((_PRIOR_Z - p.means) * p.rates)[2]
    zero = np.zeros((1, 1, 1))
    prior = np.full(bend.shape, PRIOR / len(_PRIOR_Z))
    of_prior = _moments(prior, bend, bend, zero, _PRIOR_Z, zero, p)
    count, both, first, second, pull = sums.numbers + of_prior
    move = first / both
    spread = np.maximum(second - first * move, 1e-300)
    # The maximum of count log t + pull t - spread t^2.
    rates = (pull + np.sqrt(pull**2 + 8 * spread * count)) / (4 * spread)
    return Parameters(
        np.log(weights / weights.sum()),
        labels,
        p.means + move,
        np.clip(rates, _LEAST, _MOST),
    )


def _prior(rows: Rows, p: Parameters) -> float:
    """The logarithm of the prior, but for a constant."""
    low, e, _ = _cosh((_PRIOR_Z - p.means) * p.rates)
    numbers = (np.log(p.rates) - 2 * (low + np.log(e))).mean(0).sum()
    labels = (rows.frequencies * np.log(p.labels)).sum()
    return float(PRIOR * (numbers + labels) + _WEIGHT * p.log_weights.sum())


def _start(rows: Rows, components: int, random: np.random.Generator) -> Parameters:
    """One step from the marginals, each row assigned to the nearest of some that lie far apart (k-means++)."""
    rows = rows.some(np.sort(random.choice(len(rows), min(len(rows), _NEAREST), False)))
    z, width, seen, _ = rows.places
    middle = np.where(seen, np.clip(z + width / 2, -6, 6) / 2, 0.0)
    x = np.concatenate([middle, rows.labels.toarray() / np.sqrt(2)], axis=1)
    size = (x**2).sum(1)
    centres = [int(random.integers(len(x)))]
    distance = np.full((len(x), components), np.inf)
    for i in range(components):
        at = centres[-1]
        distance[:, i] = np.maximum(size - 2 * x @ x[at] + size[at], 0.0)
        near = distance[:, : i + 1].min(1)
        chance = near / near.sum() if near.sum() > 0 else np.full(len(x), 1 / len(x))
        centres.append(int(random.choice(len(x), p=chance)))
    own = np.eye(components)[distance.argmin(1)]
    p = marginal(rows, components)
    return _maximum(rows, p, _sums(rows, p, own, _joint(rows, p)[1]))


def chosen_size(
    rows: Rows, judged: Rows, random: np.random.Generator
) -> tuple[int, dict[int, float]]:
    """The number of components that scores best on rows held out, and the mean log-probabilities.

    Arguments:
        rows: to fit to.
        judged: the same rows, with the cells that count when judged.
        random: where the splits and starts come from.
    """
    n = len(rows)
    folds = np.array_split(random.permutation(n), FOLDS)
    if n > FEW:
        folds = folds[:1]
    found: dict[int, float] = {}
    for size in SIZES:
        if size > max(n // 8, 1):
            break
        scores = []
        for fold in folds:
            train = np.ones(n, bool)
            train[fold] = False
            p = fitted(rows.some(np.flatnonzero(train)), size, random)
            scores.append(log_prob(judged.some(fold), p))
        found[size] = float(np.concatenate(scores).mean())
        if size > 2 and found[size] < found[size // 2]:
            break
    return max(found, key=lambda size: found[size]), found


def fit_products(
    cells: Cells,
    columns: TypedColumns,
    *,
    components: int | None = None,
    starts: int | None = None,
    seed: int = 0,
) -> ProductMixture:
    """A mixture of products for the rows of a table.

    Arguments:
        cells: the rows.
        columns: the table's.
        components: of each start of EM; default None, the best of `SIZES` on rows held out.
        starts: of EM, whose mixtures are averaged; default None, by the number of rows.
        seed: of starts and splits.
    """
    random = np.random.default_rng(seed)
    rows = Rows.of(cells, columns)
    if components is None:
        values = np.asarray(cells.present) & columns.values
        components, _ = chosen_size(rows, Rows.of(cells, columns, values), random)
    p = fitted(rows, components, random, starts or (STARTS if len(rows) <= FEW else 1))
    built = Products(components=len(p.log_weights)).build(
        columns.layout(len(p.log_weights)), columns.log_frequencies()
    )
    dtype = built.means.dtype
    return ProductMixture(
        log_weights=jnp.asarray(p.log_weights, dtype),
        log_labels=jnp.asarray(np.log(p.labels), dtype),
        means=jnp.asarray(p.means.T, dtype),
        log_scales=jnp.asarray(-np.log(p.rates).T, dtype),
        layout=built.layout,
    )
