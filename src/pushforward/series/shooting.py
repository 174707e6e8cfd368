"""Multiple shooting: series cut into pieces, each with its own start, and fewer of them in each stage."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.draws import spawn
from pushforward.errors import InputError, check_count
from pushforward.ode import Solver
from pushforward.series.neural_ode import SeriesField, Units, trajectories
from pushforward.series.observations import Observations
from pushforward.series.pieces import Cuts, Segments, filled, segments, sizes, stages
from pushforward.training import Epoch, Training, fit


class Shooting(eqx.Module):
    """What is trained, in standard units: a field, and where each piece starts, `(m, d)`."""

    field: SeriesField
    starts: Float[Array, "m d"]


class Pieces(NamedTuple):
    """Rows of a fit: `m` pieces, each with its weights in the loss.

    Attributes:
        segments: the pieces.
        start: `(m,)` their numbers among the trained starts; or `(m, d)` the states that they start from.
        share: `(m,)` weight of a piece's squared distances: pieces over observations, so that the mean over pieces is
            one over observations.
        gap: `(m,)` weight of the squared distance to the start of the next piece; 0 where there is none.
    """

    segments: Segments
    start: Any
    share: Any
    gap: Any

    @staticmethod
    def of(segments: Segments, start: Any, continuity: float) -> "Pieces":
        """These pieces; `continuity` is the weight of the mean gap."""
        m = len(segments.seen)
        follows = np.asarray(segments.following) != np.arange(m)
        share = np.float32(m) / np.float32(np.asarray(segments.seen).sum())
        gap = np.float32(continuity * m) / np.float32(max(follows.sum(), 1))
        return Pieces(segments, start, np.full(m, share), np.where(follows, gap, np.float32(0.0)))


class ShootingLoss(eqx.Module):
    """Squared distance of trajectories from the observations, and of the end of a piece from the start of the next.

        mean_ij w_ij (u_i(tau_ij) - u_ij)^2 + continuity mean_i (u_i(end) - start_(i + 1))^2

    Pieces of validation series, whose starts are given and not trained, have the first term only. Starts are trained if
    they are `free`.
    """

    solver: Solver = eqx.field(static=True)
    free: bool = eqx.field(static=True)

    def __call__(
        self, model: Shooting, batch: Pieces, key: PRNGKeyArray | None
    ) -> Float[Array, " n"]:
        pieces, start = batch.segments, batch.start
        trained = jnp.issubdtype(start.dtype, jnp.integer)
        starts = model.starts if self.free else jax.lax.stop_gradient(model.starts)
        begin = starts[start] if trained else start
        followed = trajectories(model.field, begin, pieces.times, self.solver, begins=pieces.begins)
        far = jnp.where(pieces.seen, jnp.square(followed - pieces.values), 0.0)
        loss: Array = (pieces.weights[..., None] * far).sum((1, 2)) * batch.share
        if trained:
            gaps = jnp.square(followed[:, -1] - starts[pieces.following]).mean(-1)
            loss = loss + batch.gap * gaps
        return loss


@dataclass(frozen=True)
class Plan:
    """How series are fitted.

    Arguments:
        pieces: numbers of pieces, stage by stage.
        continuity: weight of the gaps between pieces.
        starts: "fitted": the starts of pieces are trained; "observed": pieces start at the observed values.
        solver: of the trajectories.
        training: of each stage.

    Raises `InputError` for invalid settings.
    """

    pieces: tuple[int, ...]
    continuity: float
    starts: str
    solver: Solver
    training: Training

    def __post_init__(self) -> None:
        if not isinstance(self.pieces, (tuple, list)) or not self.pieces:
            raise InputError(f"segments={self.pieces!r}: numbers such as (16, 4, 1) were expected")
        for number in self.pieces:
            check_count("segments", number)
        if not self.continuity >= 0:
            raise InputError(f"continuity={self.continuity!r}: must not be negative")
        if self.starts not in ("fitted", "observed"):
            raise InputError(f"starts={self.starts!r}: 'fitted' or 'observed' is expected")
        for name, kind in (("solver", Solver), ("training", Training)):
            given = getattr(self, name)
            if not isinstance(given, kind):
                raise InputError(f"{name}={given!r}: a pushforward {kind.__name__} is expected")


@dataclass(frozen=True)
class Member:
    """A fitted field and its trajectories through the training series.

    Attributes:
        model: the field, and the starts of the last stage's pieces.
        cuts: where those pieces lie.
        begins: `(m,)` the times of the starts, in the data's units.
        history: the epochs of each stage.
        loss: the one that chose the weights.
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
    report: Callable[[int, Epoch], bool | None] | None = None,
) -> Member:
    """Fit a field to series, from many short pieces to few long ones.

    Over a long horizon the loss of a field that is not yet right says little: trajectories end anywhere, and gradients
    explode or vanish. Over short pieces it is nearly a regression of slopes. Each stage starts its pieces on the
    trajectories of the stage before.

    Arguments:
        field: in standard units.
        observed: the series, in the data's units.
        judged: validation series, which choose the best weights, in pieces as long as the stage's that start from their
            observations; None validates by the training loss.
        units: standard units.
        plan: how.
        key: of the fit.
        weights: `(n, k)` of the observations; default 1 each.
        report: called with the stage, counted from 0, and each of its epochs; return True to end the stage.
    """
    ours = _in_units(observed, units)
    states = filled(ours)
    weights = np.ones(states.shape[:2]) if weights is None else weights
    intervals = sizes(observed, plan.pieces)
    found = stages(observed, intervals)
    theirs = None if judged is None else _in_units(judged, units)
    judges = found if theirs is None else stages(theirs, intervals)
    history = []
    # Decay would pull every equation towards one that stands still.
    training = replace(plan.training, weight_decay=plan.training.weight_decay or 0.0)
    keys = spawn(key, len(found))
    for stage, (cuts, judging, stage_key) in enumerate(zip(found, judges, keys, strict=True)):
        first = cuts.rows[:, 0]
        model = Shooting(field, jnp.asarray(states[cuts.owner, first]))
        pieces = segments(ours, cuts, weights)
        numbers = np.arange(len(first), dtype=np.int32)
        judge = trained = Pieces.of(pieces, numbers, plan.continuity)
        if theirs is not None:
            begins = filled(theirs)[judging.owner, judging.rows[:, 0]]
            others = segments(theirs, judging, np.ones(theirs.times.shape))
            judge = Pieces.of(others, begins, 0.0)
        fitted = fit(
            model,
            trained,
            key=stage_key,
            loss=ShootingLoss(plan.solver, plan.starts == "fitted"),
            training=training,
            validation=judge,
            report=None if report is None else partial(report, stage),
        )
        model, field = fitted.model, fitted.model.field
        history.append(fitted.history)
        if plan.starts == "observed":
            continue
        starts, times, begins = model.starts, pieces.times, pieces.begins
        passed = np.asarray(trajectories(field, starts, times, plan.solver, begins=begins))
        for i in np.flatnonzero(cuts.used):
            # A row at which two pieces meet is set by the later one.
            states[cuts.owner[i], cuts.rows[i]] = passed[i]
    begins = observed.times[cuts.owner, cuts.rows[:, 0]]
    return Member(model, cuts, begins, tuple(history), fitted.best_loss, fitted.stopped)


def _in_units(observed: Observations, units: Units) -> Observations:
    values = np.where(observed.seen, units.values(observed.values), 0.0)
    return Observations(units.times(observed.times), values, observed.seen)
