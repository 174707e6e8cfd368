"""Multiple shooting: series cut into segments, each with a start of its own, fewer segments stage by stage."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from pushforward.ode import Solver
from pushforward.series.neural_ode import SeriesField, Units, trajectories
from pushforward.series.observations import Observations
from pushforward.training import Epoch, Training, fit

FEWEST = 2
"""Intervals of a segment, at least: one interval alone shows a speed, but no change of it."""

LITTLE = 16_384
"""Values in the pieces of a fit, up to which all its stages have one shape."""


class Segments(eqx.Module):
    """Pieces of series in standard units; where one ends the next begins, with the same observation.

    Attributes:
        times: `(m, h)`; padding repeats a piece's last time.
        values, seen: `(m, h, d)`.
        weights: `(m, h)` of the observations in the loss.
        following: `(m,)` the piece that goes on with the series; its own number where there is none.
    """

    times: Float[Array, "m h"]
    values: Float[Array, "m h d"]
    seen: Bool[Array, "m h d"]
    weights: Float[Array, "m h"]
    following: Int[Array, " m"]


@dataclass(frozen=True)
class Cuts:
    """Where pieces lie: the series `(m,)` of each, and the rows `(m, h)` of the series in it.

    Rows that only fill up repeat the one before; a piece of one row is empty.
    """

    owner: Int[np.ndarray, " m"]
    rows: Int[np.ndarray, "m h"]

    @property
    def used(self) -> Bool[np.ndarray, " m"]:
        """Which pieces are not empty."""
        return self.rows[:, -1] > self.rows[:, 0]


def sizes(observed: Observations, pieces: Sequence[int]) -> list[int]:
    """Intervals of a piece in each stage, by the pieces of the longest series; equal stages in a row are one."""
    whole = int(observed.lengths.max()) - 1
    each = [max(math.ceil(whole / number), min(FEWEST, whole)) for number in pieces]
    return [size for i, size in enumerate(each) if not i or size != each[i - 1]]


def cut(observed: Observations, size: int) -> Cuts:
    """Cut series into pieces of so many intervals; the last piece of a series may be shorter."""
    begins = [
        (i, first)
        for i, k in enumerate(observed.lengths)
        for first in range(0, max(k - 1, 1), size)
    ]
    owner, first = (np.array(column) for column in zip(*begins, strict=True))
    rows = np.minimum(first[:, None] + np.arange(size + 1), observed.lengths[owner, None] - 1)
    return Cuts(owner, rows)


def stages(observed: Observations, sizes: Sequence[int]) -> list[Cuts]:
    """The cuts of all stages.

    Where there is little data all stages get one shape, filled up with empty pieces: compiling a stage would take
    longer than what the filling costs.
    """
    cuts = [cut(observed, size) for size in sizes]
    m, h = (max(axis) for axis in zip(*(c.rows.shape for c in cuts), strict=True))
    if m * h * observed.values.shape[2] > LITTLE:
        return cuts
    return [_filled_up(c, m, h) for c in cuts]


def _filled_up(cuts: Cuts, m: int, h: int) -> Cuts:
    few = m - len(cuts.owner)
    rows = np.pad(cuts.rows, ((0, 0), (0, h - cuts.rows.shape[1])), mode="edge")
    return Cuts(np.pad(cuts.owner, (0, few)), np.pad(rows, ((0, few), (0, 0))))


def filled(observed: Observations) -> Float[np.ndarray, "n k d"]:
    """The values with what is missing interpolated in time; 0 for a column that its series never shows."""
    values = observed.values.copy()
    for t, y, here in zip(observed.times, values, observed.seen, strict=True):
        for column in np.flatnonzero(here.any(0)):
            at = here[:, column]
            y[:, column] = np.interp(t, t[at], y[at, column])
    return values


def segments(observed: Observations, cuts: Cuts, weights: Float[np.ndarray, "n k"]) -> Segments:
    """The pieces themselves, of observations in standard units."""
    owner, rows = cuts.owner[:, None], cuts.rows
    # What only fills up a piece repeats its last row.
    real = np.diff(rows, axis=1, prepend=-1) > 0
    real &= cuts.used[:, None]
    number = np.arange(len(rows))
    # The next piece of the series, or the first again or an empty one where there is none.
    goes_on = np.append((cuts.owner[1:] == cuts.owner[:-1]) & (rows[1:, 0] > 0), False)
    return Segments(
        jnp.asarray(observed.times[owner, rows]),
        jnp.asarray(observed.values[owner, rows]),
        jnp.asarray(observed.seen[owner, rows] & real[..., None]),
        jnp.asarray(weights[owner, rows]),
        jnp.asarray(np.where(goes_on, number + 1, number)),
    )


class Shooting(eqx.Module):
    """What is trained: a field, and where each piece starts.

    Attributes:
        field: in standard units.
        starts: `(m, d)`.
    """

    field: SeriesField
    starts: Float[Array, "m d"]


class ShootingLoss(eqx.Module):
    """Squared distance of trajectories from what was seen, and of the end of a piece from the start of the next.

        mean_ij w_ij (u_i(tau_ij) - u_ij)^2 + continuity mean_i (u_i(end) - start_(i + 1))^2

    Rows are numbers of pieces, so that the pieces lie on the device once. In validation the loss is that of the judge's
    trajectories, if there is a judge: other series, whose starts are not trained.

    Arguments:
        pieces: of the training series.
        judge: other series and their starts, or None.
        solver: of the trajectories.
        continuity: weight of the second term.
    """

    pieces: Segments
    judge: tuple[Segments, Array] | None
    solver: Solver = eqx.field(static=True)
    continuity: float

    def __call__(
        self, model: Shooting, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> Float[Array, " n"]:
        chosen = x[:, 0].astype(jnp.int32)
        pieces, starts = self.pieces, model.starts
        if key is None and self.judge is not None:
            pieces, starts = self.judge
        every = jnp.arange(len(starts))
        # Validation pads its rows to many more than there are pieces: each piece is followed once.
        if key is None and len(starts) < len(chosen):
            return self._of(model.field, pieces, starts, every, key is not None)[chosen]
        return self._of(model.field, pieces, starts, chosen, key is not None)

    def _of(
        self, field: SeriesField, pieces: Segments, starts: Array, chosen: Array, training: bool
    ) -> Float[Array, " n"]:
        m = len(pieces.seen)
        gaps = pieces.following != jnp.arange(m)
        taken = jax.tree.map(lambda a: a[chosen], pieces)
        followed = trajectories(field, starts[chosen], taken.times, self.solver)
        far = jnp.where(taken.seen, jnp.square(followed - taken.values), 0.0)
        loss = (taken.weights[..., None] * far).sum((1, 2)) * (m / pieces.seen.sum())
        if self.judge is not None and not training:
            return loss
        gap = jnp.square(followed[:, -1] - starts[taken.following]).mean(-1)
        share = self.continuity * m / jnp.maximum(gaps.sum(), 1)
        return loss + share * jnp.where(gaps[chosen], gap, 0.0)


@dataclass(frozen=True)
class Plan:
    """How series are fitted.

    Arguments:
        pieces: numbers of pieces, stage by stage.
        continuity: weight of the gaps between pieces.
        solver: of the trajectories.
        training: of each stage.
    """

    pieces: tuple[int, ...]
    continuity: float
    solver: Solver
    training: Training


@dataclass(frozen=True)
class Member:
    """A fitted field and its trajectories through the training series.

    Attributes:
        model: the field, and the starts of the last stage's pieces.
        cuts: where those pieces lie.
        begins: `(m,)` the times of the starts, in the data's units.
        history: the epochs of each stage.
        loss: that chose the weights.
        stopped: why the last stage ended, as of `training.Fitted`.
    """

    model: Shooting
    cuts: Cuts
    begins: Float[np.ndarray, " m"]
    history: tuple[tuple[Epoch, ...], ...]
    loss: float
    stopped: str


def fit_series(
    field: SeriesField,
    observed: Observations,
    judged: Observations | None,
    units: Units,
    plan: Plan,
    *,
    key: PRNGKeyArray,
    weights: Float[np.ndarray, "n k"] | None = None,
    report: Callable[[Epoch], bool | None] | None = None,
) -> Member:
    """Fit a field to series, from many short pieces to few long ones.

    Over a long horizon the loss of a field that is not yet right says little: trajectories end anywhere, and gradients
    explode or vanish. Over short pieces it is nearly a regression of slopes. Each stage starts its pieces where the
    trajectories of the stage before pass.

    Arguments:
        field: in standard units.
        observed: the series, in the data's units.
        judged: series to judge by, which choose the best weights: followed over pieces as long as the stage's, from
            their observations; None judges by the training loss.
        units: standard units.
        plan: how.
        key: of the fit.
        weights: `(n, k)` of the observations; default 1 each.
        report: called after every epoch.
    """
    ours = _in_units(observed, units)
    states = filled(ours)
    weights = np.ones(states.shape[:2]) if weights is None else weights
    intervals = sizes(observed, plan.pieces)
    found = stages(observed, intervals)
    theirs = None if judged is None else _in_units(judged, units)
    judges = found if theirs is None else stages(theirs, intervals)
    history = []
    for cuts, judging, stage_key in zip(
        found, judges, jax.random.split(key, len(found)), strict=True
    ):
        first = cuts.rows[:, 0]
        model = Shooting(field, jnp.asarray(states[cuts.owner, first]))
        pieces = segments(ours, cuts, weights)
        judge = None
        if theirs is not None:
            begins = filled(theirs)[judging.owner, judging.rows[:, 0]]
            judge = segments(theirs, judging, np.ones(theirs.times.shape)), jnp.asarray(begins)
        loss = ShootingLoss(pieces, judge, plan.solver, plan.continuity)
        numbers = np.arange(len(first), dtype=np.float32)[:, None]
        judged_numbers = np.arange(len(judging.owner), dtype=np.float32)[:, None]
        fitted = fit(
            model,
            # A fit takes two rows at least.
            np.concatenate([numbers, numbers]) if len(numbers) == 1 else numbers,
            key=stage_key,
            loss=loss,
            settings=plan.training,
            validation=(judged_numbers, None),
            report=report,
        )
        model, field = fitted.model, fitted.model.field
        passed = np.asarray(trajectories(field, model.starts, pieces.times, plan.solver))
        for i in np.flatnonzero(cuts.used):
            # The row at which two pieces meet belongs to the later one.
            states[cuts.owner[i], cuts.rows[i]] = passed[i]
        history.append(fitted.history)
    begins = observed.times[cuts.owner, cuts.rows[:, 0]]
    return Member(model, cuts, begins, tuple(history), fitted.best_loss, fitted.stopped)


def _in_units(observed: Observations, units: Units) -> Observations:
    return Observations(
        units.times(observed.times),
        np.where(observed.seen, units.values(observed.values), 0.0),
        observed.seen,
    )
