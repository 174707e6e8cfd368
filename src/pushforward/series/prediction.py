"""Trajectories of a fitted field: from given states, and along the series that it was fitted to."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pushforward.errors import SolveError
from pushforward.ode import Solver
from pushforward.series.neural_ode import LearnedField, SeriesField, Units, trajectories
from pushforward.series.observations import Observations
from pushforward.series.shooting import Member


def followed(
    field: SeriesField, starts: np.ndarray, times: np.ndarray, solver: Solver, units: Units
) -> Float[np.ndarray, "n k d"]:
    """Trajectories in the data's units, each row by itself.

    Arguments:
        field: in standard units.
        starts: `(n, d)`, the states at the first times.
        times: `(n, k)`, in order, in either direction; repeated times repeat the state.
        solver: how to solve.
        units: standard units.

    Raises `InputError` for times too far off to be told apart; `SolveError`, with the time in the data's units, where a
    trajectory cannot be followed.
    """
    units.check_times(times, timed=field.timed, learned=isinstance(field, LearnedField))
    n, k = times.shape
    # Each shape compiles anew: rows and times are padded to few sizes.
    more = ((0, _round(n) - n), (0, _round(k) - k))
    u = jnp.asarray(np.pad(units.values(starts), (more[0], (0, 0)), mode="edge"))
    # Differences in float64: far from 0 they would be lost in the model's precision.
    tau = jnp.asarray(np.pad((times - times[:, :1]) / units.length, more, mode="edge"))
    begins = jnp.asarray(np.pad(units.times(times[:, 0]), more[0], mode="edge"))
    try:
        path = trajectories(field, u, tau, solver, per_row=True, begins=begins)
        return units.restored(path[:n, :k])
    except SolveError as error:
        time = times[min(error.row or 0, n - 1), 0] + units.length * error.time
        raise SolveError(
            f"the trajectory cannot be followed beyond time {time:.6g}: the fitted equation blows up or is stiff "
            "there; ask for earlier times, or raise max_steps or the tolerances of the solver",
            time,
            units.length * error.step,
        ) from error


def along(
    member: Member, asked: list[np.ndarray], solver: Solver, units: Units
) -> list[Float[np.ndarray, "k d"]]:
    """A member's trajectories along the training series, at the times `asked` of each, increasing.

    Each time is reached from the start of its piece; times after a series from its last piece, times before it
    backwards from its first.
    """
    starts = units.restored(member.model.starts)
    runs: list[tuple[int, np.ndarray, int, np.ndarray]] = []
    for i, times in enumerate(asked):
        pieces = np.flatnonzero((member.cuts.owner == i) & member.cuts.used)
        begins = member.begins[pieces]
        piece = np.maximum(np.searchsorted(begins, times, side="right") - 1, 0)
        for j in np.unique(piece):
            own, after = piece == j, times >= begins[j]
            for places in (np.flatnonzero(own & after), np.flatnonzero(own & ~after)[::-1]):
                if len(places):
                    runs.append((i, places, pieces[j], np.append(begins[j], times[places])))
    longest = max(len(times) for *_, times in runs)
    grid = np.stack([np.pad(times, (0, longest - len(times)), mode="edge") for *_, times in runs])
    begin = starts[[piece for _, _, piece, _ in runs]]
    found = followed(member.model.field, begin, grid, solver, units)
    out = [np.empty((len(times), starts.shape[1])) for times in asked]
    for (i, places, _, times), path in zip(runs, found, strict=True):
        out[i][places] = path[1 : len(times)]
    return out


def rates(
    field: SeriesField, units: Units, t: Array, y: Float[Array, "*rows d"]
) -> Float[Array, "*rows d"]:
    """`dy/dt` in the data's units, at a time, or times `(n, 1)`."""
    center, scale = (jnp.asarray(part, y.dtype)[None] for part in (units.center, units.scale))
    u = (y.reshape(-1, y.shape[-1]) - center) / scale
    moved = field((jnp.asarray(t, y.dtype) - units.origin) / units.length, u)
    return (moved * scale / units.length).reshape(y.shape)


def left(
    every: list[list[Float[np.ndarray, "k d"]]], observed: Observations
) -> Float[np.ndarray, " d"]:
    """Root mean square of what the members' mean leaves of the observations, per column."""
    far = np.zeros_like(observed.values)
    for i, of_series in enumerate(zip(*every, strict=True)):
        far[i, : observed.lengths[i]] = np.mean(of_series, 0)
    far = np.where(observed.seen, far - observed.values, 0.0)
    return np.asarray(np.sqrt(np.square(far).sum((0, 1)) / observed.seen.sum((0, 1))))


def explained(
    predicted: Float[np.ndarray, "n k d"],
    values: Float[np.ndarray, "n k d"],
    counted: Bool[np.ndarray, "n k d"],
) -> float:
    """R^2 of predictions over the cells that are counted, the mean over columns.

    A column without spread is scored as scikit-learn does: 1 where it is met exactly, else 0.
    """
    mean = np.where(counted, values, 0.0).sum((0, 1)) / counted.sum((0, 1))
    left = np.where(counted, predicted - values, 0.0)
    whole = np.where(counted, values - mean, 0.0)
    rest, spread = np.square(left).sum((0, 1)), np.square(whole).sum((0, 1))
    flat = spread == 0
    return float(np.where(flat, rest == 0, 1 - rest / np.where(flat, 1.0, spread)).mean())


def _round(size: int) -> int:
    """The next power of two, at least 8."""
    return max(8, 1 << (size - 1).bit_length())
