"""All values that a cell of a column might have, with their probabilities, from within a compiled program."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.columns.marginal import Marginal, Place
from pushforward.columns.marginal_circular import CircularMarginal
from pushforward.columns.typed import TypedColumn
from pushforward.distributions.typed_row import floored
from pushforward.heads import AbstractHead, AbstractNumberHead, Cell, Logistics, Softmax

# Log-probabilities that differ by less are equal: they are of single precision.
_TIE = 1e-4
GRID, END, CELLS = 1024, 16.0, 512
"""Points of the scale z, how far out they go, and values up to which each is summed over by itself."""
DETAIL, NEAR = 256, 8.0
"""Points at which a density is looked at besides those of its head, and how far out they go."""


class Spread(NamedTuple):
    """All values that a cell might have, in pieces: labels, cells of numbers, and intervals of a continuum.

    Attributes:
        low, high: the least and the largest log-probability or log-density in each piece, `(k, n)`.
        weights: the probabilities of the pieces.
        places: where they stand in the order of values.
    """

    low: Array
    high: Array
    weights: Array
    places: Array

    def mean(self) -> Array:
        """The mean log-probability."""
        found: Array = (self.weights * (self.low + self.high) / 2).sum(0)
        return found

    def tail(self, log_prob: Array) -> Array:
        """The probability of values that are at most as probable; within an interval the log-density is linear."""
        share = (log_prob[None] + _TIE - self.low) / jnp.maximum(self.high - self.low, 1e-30)
        return jnp.clip((self.weights * jnp.clip(share, 0.0, 1.0)).sum(0), 0.0, 1.0)


class LabelScale(eqx.Module):
    """The labels of a column by code.

    Attributes:
        log_slope: the log of each label's share of its code's probability: 0 but for "other".
        log_marginal: of the label by its column alone.
        levels: the number of codes with a label of their own.
        ordered: whether the labels are numbers.
    """

    log_slope: Float[Array | np.ndarray, " size"]
    log_marginal: Float[Array | np.ndarray, " size"]
    levels: int = eqx.field(static=True)
    ordered: bool = eqx.field(static=True)

    def spread(self, head: AbstractHead, params: Array) -> "Spread":
        """The labels, "other" standing in the middle of their order, with the probability of its code."""
        assert isinstance(head, Softmax)
        slope, alone = (jnp.asarray(a)[:, None] for a in (self.log_slope, self.log_marginal))
        each = floored(head.log_probs(params) + slope, alone)
        codes = np.arange(len(self.log_slope))
        order = np.where(codes < self.levels, codes, self.levels // 2)
        places = jnp.broadcast_to(jnp.asarray(order, each.dtype)[:, None], each.shape)
        return Spread(each, each, jnp.exp(each - slope), places)


class NumberScale(eqx.Module):
    """The values of a column of numbers along its scale z: some cells one by one, a continuum between them.

    Attributes:
        low, width: of the cells, increasing; filled up with inf.
        z: points of the scale, increasing.
        log_size: the log of a cell's width there, or log dz/dx where the numbers are real.
        real: whether the numbers are real, and on no lattice.
        complete: whether the cells are all that there are.
        circular: whether z is an angle.
    """

    ordered = True

    low: Float[Array | np.ndarray, " k"]
    width: Float[Array | np.ndarray, " k"]
    z: Float[Array | np.ndarray, " m"]
    log_size: Float[Array | np.ndarray, " m"]
    real: bool = eqx.field(static=True)
    complete: bool = eqx.field(static=True)
    circular: bool = eqx.field(static=True)

    def spread(self, head: AbstractHead, params: Array) -> Spread:
        """The cells that are known one by one, and the intervals between points where the density has detail."""
        assert isinstance(head, AbstractNumberHead)
        low, width = (jnp.asarray(a)[:, None] for a in (self.low, self.width))
        known = jnp.isfinite(low)
        zero = jnp.zeros((len(low), params.shape[1]), params.dtype)
        cells = _cells(zero + jnp.where(known, low, 0.0), zero + width, zero)
        by_head = jax.vmap(lambda cell: head.log_prob(params, cell))(cells)
        mass = jnp.where(known, jnp.exp(by_head), 0.0)
        each = jnp.where(known, floored(by_head, _alone(cells, self.circular)), 0.0)
        middle = cells.z + cells.width / 2
        if self.complete:
            return Spread(each, each, mass, middle)
        # Where the head has detail, and where the scale has.
        first, last = (jnp.clip(jnp.asarray(self.z)[end], -NEAR, NEAR) for end in (0, -1))
        fixed = jnp.linspace(first, last, DETAIL)[:, None]
        fixed = jnp.broadcast_to(fixed, (DETAIL, params.shape[1]))
        z = jnp.sort(jnp.concatenate([head.points(params), fixed]), axis=0)
        points, size = self._placed(z)
        by_head = jax.vmap(lambda cell: head.log_prob(params, cell))(points)
        # The density on z, times what lies between two points and in no known cell.
        density = jnp.exp(by_head - size)
        rest = (density[1:] + density[:-1]) / 2 * self._lengths(z)
        rest *= jnp.maximum(1.0 - mass.sum(0), 0.0) / jnp.maximum(rest.sum(0), 1e-30)
        at = floored(by_head, _alone(points, self.circular))
        return Spread(
            jnp.concatenate([each, jnp.minimum(at[1:], at[:-1])]),
            jnp.concatenate([each, jnp.maximum(at[1:], at[:-1])]),
            jnp.concatenate([mass, rest]),
            jnp.concatenate([middle, (z[1:] + z[:-1]) / 2]),
        )

    def _lengths(self, ends: Array) -> Array:
        """The length of the scale between one point and the next, without the cells that are known one by one."""
        low, width = jnp.asarray(self.low), jnp.asarray(self.width)
        k = jnp.searchsorted(low, ends, side="right") - 1
        at = jnp.maximum(k, 0)
        inside = (k >= 0) & (ends < low[at] + width[at])
        # An end within a cell counts as the lower end of it.
        sums = jnp.concatenate([jnp.zeros(1, width.dtype), jnp.cumsum(width)])
        below = jnp.where(inside, low[at], ends) - sums[k + 1 - inside.astype(k.dtype)]
        return jnp.maximum(jnp.diff(below, axis=0), 0.0)

    def _placed(self, z: Array) -> tuple[Cell, Array]:
        """Points of z, or the cells around them, and the log of dz/dx, or of the cells' widths."""
        size = jnp.interp(z, jnp.asarray(self.z), jnp.asarray(self.log_size))
        if self.real:
            return _cells(z, jnp.zeros_like(z), size), size
        return _cells(z - jnp.exp(size) / 2, jnp.exp(size), jnp.zeros_like(z)), size


def scale_of(column: TypedColumn) -> LabelScale | NumberScale:
    """The scale of a column: of its labels where it has any, else of its numbers.

    On a lattice of at most `CELLS` values every value is summed over by itself; of others, repeated values are, the
    most frequent ones, and the rest is a continuum, whose scale is interpolated between `GRID` points.
    """
    f32 = np.float32
    if column.labels is not None:
        labels = column.labels
        slope = np.zeros(labels.size)
        slope[len(labels) :] = -np.log(labels.unseen)
        marginal = (labels.log_prob + slope).astype(f32)
        return LabelScale(slope.astype(f32), marginal, len(labels), column.numbers is not None)
    numbers = column.numbers
    assert numbers is not None
    circular = isinstance(numbers, CircularMarginal)
    end = np.pi * (1 - 1 / GRID) if circular else END
    values = np.unique(numbers.decode(np.linspace(-end, end, GRID)))
    complete = bool(numbers.step and (values[-1] - values[0]) / numbers.step < CELLS)
    if complete:
        count = round((values[-1] - values[0]) / numbers.step) + 1
        cells = values = values[0] + numbers.step * np.arange(count)
    else:
        often = np.sort(np.argsort(-numbers.masses, kind="stable")[:CELLS])
        cells = numbers.atoms[often]
    place = numbers.encode(cells)
    size = max(16, 1 << max(len(cells) - 1, 0).bit_length())
    low, width = np.full(size, np.inf), np.zeros(size)
    low[: len(cells)], width[: len(cells)] = _lower(place), np.abs(place.width)
    z, log_size = _sizes(numbers, values)
    return NumberScale(
        low.astype(f32),
        width.astype(f32),
        z.astype(f32),
        log_size.astype(f32),
        real=not numbers.step,
        complete=complete,
        circular=circular,
    )


def _sizes(
    numbers: Marginal | CircularMarginal, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points of the scale at equal distances, and how large a cell is there, or how steep the scale."""
    smooth = values[~numbers.is_atom(values)]
    place = numbers.encode(smooth if len(smooth) else values)
    sizes = np.log(np.abs(place.width)) if numbers.step else place.log_slope
    middle = place.z + place.width / 2
    z = np.linspace(middle[0], middle[-1], GRID)
    return z, np.interp(z, middle, sizes)


def _lower(place: Place) -> np.ndarray:
    """The lower edges of cells: a negative width reaches down from z."""
    edges: np.ndarray = place.z + np.minimum(place.width, 0)
    return edges


def _cells(z: Array, width: Array, log_slope: Array) -> Cell:
    return Cell(jnp.zeros(z.shape, jnp.int32), z, width, log_slope)


def _alone(cells: Cell, circular: bool) -> Array:
    """Log-probabilities by the column alone: on z it is the standard logistic distribution, on a circle uniform."""
    if circular:
        arc = jnp.where(cells.width > 0, cells.width, 1.0)
        uniform: Array = jnp.log(arc) + cells.log_slope - np.log(2 * np.pi)
        return uniform
    head = Logistics(1)
    none = jnp.zeros((head.size, cells.z.shape[1]), cells.z.dtype)
    found: Array = jax.vmap(lambda cell: head.log_prob(none, cell))(cells)
    return found
