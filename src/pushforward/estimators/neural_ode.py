"""Differential equations fitted to series, as a scikit-learn estimator."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from sklearn.utils.validation import check_is_fitted

from pushforward.draws import spawn
from pushforward.errors import InputError, check_count, warn
from pushforward.estimators.nested import NestedParameters
from pushforward.estimators.shared import RandomSource, print_some, refuse_huge_series, seed_from
from pushforward.models.series_file import SeriesModel, load_equation, save_equation
from pushforward.ode import METHODS, Solver
from pushforward.series.neural_ode import KnownField, LearnedField, SeriesField, Units
from pushforward.series.observations import (
    check_enough,
    checked_state,
    checked_times,
    gap_between,
    is_several,
    pack,
)
from pushforward.series.pieces import filled
from pushforward.series.prediction import along, explained, followed, left, rates
from pushforward.series.shooting import Member, Plan, fit_series
from pushforward.training import Epoch, Training

# What a file keeps: settings, and attributes, which end in an underscore. How the model was trained is not in it.
SETTINGS = ("width", "depth", "autonomous", "segments", "continuity", "starts", "ensemble")
KEPT = ("units", "several", "range", "longest", "noise", "begins", "members")


class NeuralODERegressor(NestedParameters):
    """A differential equation fitted to series at irregular times, with gaps.

        dy/dt = f(y),    or f(t, y),    or a known f(t, y, params) with unknown parameters

    Series are fitted by multiple shooting: cut into short pieces, each with a start of its own, and then into fewer
    and longer ones, so that a fit does not stall where whole trajectories would. The distance is the mean square over
    what was observed, in units of each column's standard deviation.

    Cost: of a step, the solve of all pieces of a batch and its gradient; the longest piece sets the time. Several
    members are fitted one after the other.

    Arguments:
        field: "mlp" (default) learns the right-hand side; or a function `f(t, y, params)` of a time, a state `(d,)`
            and parameters, in JAX's operations, that gives the d rates of change.
        params: of a function: where the search for its parameters begins, a pytree of numbers and arrays.
        jumps: times at which the equation jumps, such as those of switches, in order, on the clock of all series; a
            perceptron then receives which of them have passed. Default None.
        width, depth: of the perceptron; default 32 and 2.
        autonomous: whether the perceptron leaves time out, but for the jumps; default True.
        segments: numbers of pieces that the longest series is cut into, stage by stage; default `(16, 4, 1)`. With
            `(1,)` whole trajectories are fitted from the start; for chaotic series the last number is above 1.
        continuity: weight of the squared gaps between pieces; default 1.
        starts: "fitted" (default) finds where pieces start, which noise and gaps ask for; "observed" starts where the
            values were, interpolated where they are missing: the task of forecasts from a state that is given.
        ensemble: number of members; default 1. Members differ in their initial weights and in random weights of the
            observations (the Bayesian bootstrap); the spread of their trajectories is the uncertainty.
        solver: an `ode.Solver`; default tolerances of 1e-4. A number of steps is meant between two observations;
            predictions, whose times may be far apart, are solved to its tolerances in any case.
        training: how to train, of each stage; default `Training(max_steps=700)`.
        random_state: an int for a fit that repeats on one machine, a RandomState or Generator, or None (default)
            for NumPy's global state.
        verbose: whether to write lines on a stage's progress to stderr, at most twenty; default False.

    Attributes:
        members_: the fitted members, each with its `history`, an epoch's `Epoch` for each stage.
        params_: of a function: the members' mean parameters.
        member_params_: of a function: each member's parameters.
        noise_: `(d,)` root mean square of what the members' mean leaves of the observations, in the data's units.
        range_: first and last time of training.
        units_: centre and scale of the columns, and the unit of time.
        n_features_in_: number of columns.

    Raises `InputError`, a `ValueError`, for empty input, series of one observation, times that are not finite, repeat
    or go back, times that a field of time could not tell apart in the model's precision, infinite values, different
    numbers of columns, a column that was never observed, invalid parameters. Warns of times beyond those of
    training, and where a field of time sees series that do not overlap. Where time does not enter, series may lie any
    time apart.

    Sources: Chen et al. 2018, arXiv 1806.07366; Bock and Plitt 1984 (multiple shooting); Turan and Jäschke 2022, arXiv
    2109.06786 (the same for neural equations); Rubin 1981 (the Bayesian bootstrap).

    ```python
    >>> import numpy as np
    >>> from pushforward.estimators import NeuralODERegressor
    >>> times = np.array([0.0, 0.3, 1.0, 1.8, 2.5, 4.0])
    >>> series = np.exp(-0.5 * times)[:, None]
    >>> model = NeuralODERegressor(
    ...     lambda t, y, rate: -rate * y, params=1.0, segments=(1,), random_state=0
    ... ).fit(times, series)
    >>> round(float(model.params_), 2), model.predict([1.0, 2.0]).round(2).tolist()
    (0.5, [[0.61], [0.37]])

    ```
    """

    _defaults = (Training(max_steps=700), Solver(rtol=1e-4, atol=1e-4))

    def __init__(
        self,
        field: str | Callable[[Array, Array, Any], Any] = "mlp",
        *,
        params: Any = None,
        jumps: Sequence[float] | None = None,
        width: int = 32,
        depth: int = 2,
        autonomous: bool = True,
        segments: tuple[int, ...] = (16, 4, 1),
        continuity: float = 1.0,
        starts: str = "fitted",
        ensemble: int = 1,
        solver: Solver | None = None,
        training: Training | None = None,
        random_state: RandomSource = None,
        verbose: bool = False,
    ):
        self.field = field
        self.params = params
        self.jumps = jumps
        self.width = width
        self.depth = depth
        self.autonomous = autonomous
        self.segments = segments
        self.continuity = continuity
        self.starts = starts
        self.ensemble = ensemble
        self.solver = solver
        self.training = training
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, times: Any, series: Any, *, validation: tuple[Any, Any] | None = None) -> Self:
        """Fit the equation to one series or several.

        Arguments:
            times: `(k,)` of one series, or a list of such for several.
            series: `(k, d)`, or a list of such; NaN where nothing was observed.
            validation: times and series to judge by, which choose the best weights and when to stop: followed from
                their observations over pieces as long as those of the stage; default None judges by the training loss.

        Returns the estimator. Raises `InputError` (see the class).
        """
        plan = self._plan()
        for raw in ((times, series), (None, None) if validation is None else validation):
            refuse_huge_series(*raw)
        observed = pack(times, series)
        check_enough(observed)
        columns = observed.values.shape[2]
        judged = None if validation is None else pack(*validation, columns)
        self.units_ = Units.of(observed)
        plan = replace(plan, solver=self.units_.solver(plan.solver))
        self.several_ = is_several(times)
        self.n_features_in_ = columns
        self.range_ = float(observed.times.min()), float(observed.times.max())
        timed = self._field(jax.random.key(0)).timed
        for given in (observed, judged):
            if given is not None:
                self.units_.check_times(given.times, timed=timed, learned=not callable(self.field))
        gap = gap_between(observed) if timed else None
        if gap is not None:
            warn(
                f"series do not overlap in time: {gap}; a field that depends on time learns nothing of the time "
                "between"
            )
        self.longest_ = float(np.ptp(observed.times, axis=1).max())
        rng = np.random.default_rng(seed := seed_from(self.random_state))
        members = []
        for i, key in enumerate(spawn(jax.random.key(seed), self.ensemble)):
            field_key, fit_key = spawn(key, 2)
            weights = np.ones(observed.times.shape)
            if self.ensemble > 1:
                weights = rng.exponential(size=weights.shape)
            member = fit_series(
                *(self._field(field_key), observed, judged, self.units_, plan),
                key=fit_key,
                weights=weights,
                report=partial(self._tell, i) if self.verbose else None,
            )
            if member.stopped == "diverged":
                warn(
                    "the fit diverged and kept its best weights: take a lower learning_rate or more segments"
                )
            members.append(member)
        self.begins_ = observed.times[:, 0]
        self._keep(members)
        every = self._along([t[:k] for t, k in zip(observed.times, observed.lengths, strict=True)])
        self.noise_ = left(every, observed)
        return self

    def predict(self, times: Any, initial: Any = None, *, return_std: bool = False) -> Any:
        """Values at any times: of the training series, or from a state that is given.

        Within a training series the trajectory is the fitted one; beyond its end it goes on from there.

        Arguments:
            times: `(k,)`, increasing; for several training series also a list with the times of each.
            initial: the state `(d,)` at the first time, or `(n, d)` of several; default None follows the training
                series.
            return_std: whether to return the members' standard deviation too; default False.

        Returns `(k, d)`; `(n, k, d)` for n states; a list of arrays for several training series. With `return_std` a
        pair of such. Raises `InputError` for times out of order or shapes that do not fit, `SolveError` where a
        trajectory cannot be followed, `NotFittedError` before `fit`. Warns of extrapolation.
        """
        check_is_fitted(self)
        if initial is not None:
            paths = self.simulate(initial, times, members=True)
            return (paths.mean(0), paths.std(0)) if return_std else paths.mean(0)
        n = len(self.begins_)
        if is_several(times):
            if len(times) != n:
                raise InputError(f"{len(times)} arrays of times, but {n} training series: one each")
            asked = [checked_times(t, f" of series {i}") for i, t in enumerate(times)]
        else:
            asked = [checked_times(times)] * n
        self._flag(min(t[0] for t in asked), max(t[-1] for t in asked))
        every = self._along(asked)
        means = [np.mean(paths, 0) for paths in zip(*every, strict=True)]
        stds = [np.std(paths, 0) for paths in zip(*every, strict=True)]
        if not self.several_:
            return (means[0], stds[0]) if return_std else means[0]
        return (means, stds) if return_std else means

    def simulate(self, initial: Any, times: Any, *, members: bool = False) -> np.ndarray:
        """The trajectory from any state.

        Arguments:
            initial: `(d,)`, the state at the first time; or `(n, d)`, several.
            times: `(k,)`, increasing.
            members: whether to return each member's trajectory in place of their mean; default False.

        Returns `(k, d)`, or `(n, k, d)` for n states; with `members` a leading axis of members. Raises as `predict`
        does, and for a state that is not finite.
        """
        check_is_fitted(self)
        t = checked_times(times)
        state = checked_state(initial, self.n_features_in_)
        starts = np.atleast_2d(state)
        if self.members_[0].model.field.timed:
            self._flag(t[0], t[-1])
        elif np.ptp(t) > self.longest_ * (1 + 1e-6):
            warn(
                f"a trajectory over {np.ptp(t):.6g} is longer than the longest of training, over "
                f"{self.longest_:.6g}: this is extrapolation"
            )
        grid = np.broadcast_to(t, (len(starts), len(t)))
        every = self._followed(starts, grid)
        every = every if members else every.mean(0)
        return every if state.ndim == 2 else every[..., 0, :, :]

    def rates(self, t: Array, y: Array, member: int = 0) -> Array:
        """The fitted `dy/dt = f(t, y)` in the data's units: a field for `ode.solve` and its events.

        Arguments:
            t, y: the time, a number or `(n, 1)`, and the state, `(d,)` or `(n, d)`.
            member: which member's; default 0, the first.

        Where it jumps, give `ode.solve` the `jumps` too. Raises `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        return rates(self.members_[member].model.field, self.units_, t, y)

    def score(self, times: Any, series: Any) -> float:
        """R^2 of forecasts of whole series from their first observations, the mean over columns; 1 is best.

        Arguments:
            times, series: as of `fit`. What the first row lacks is taken from the next observation of its column.

        Raises as `fit` and `predict` do.
        """
        check_is_fitted(self)
        observed = pack(times, series, self.n_features_in_)
        check_enough(observed)
        later = observed.seen.copy()
        later[:, 0] = False
        if not later.any((0, 1)).all():
            raise InputError(
                f"column {int(np.argmin(later.any((0, 1))))} has no observation after the first row"
            )
        starts = filled(observed)[:, 0]
        with_gaps = np.maximum.accumulate(observed.times, axis=1)
        return explained(self._followed(starts, with_gaps).mean(0), observed.values, later)

    def save(self, path: str | PathLike[str], *, force: bool = True) -> None:
        """Write the fitted equation to a safetensors file: the model, not how it was trained.

        A function that was given is not in the file, its parameters are.

        Arguments:
            path: the file.
            force: whether an existing file may be replaced; default True.

        Raises `NotFittedError` before `fit`, `InputError` where the file cannot be written.
        """
        check_is_fitted(self)
        model = SeriesModel(
            settings={name: getattr(self, name) for name in SETTINGS}
            | ({} if self.jumps is None else {"jumps": [float(t) for t in self.jumps]}),
            solver=self.solver,
            function=self.field if callable(self.field) else None,
            params=self.params,
            **{name: getattr(self, f"{name}_") for name in KEPT},
        )
        save_equation(model, path, force)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        field: Callable[[Array, Array, Any], Any] | None = None,
        params: Any = None,
    ) -> "NeuralODERegressor":
        """Read a fitted equation; a learned one is also read by `pushforward.load`.

        Arguments:
            path: the file.
            field: the function that was fitted; default None, for a learned equation.
            params: of a function: parameters of the form that it was fitted with; their values do not matter.

        Raises `InputError` for a file that is missing, damaged, of another kind or newer than this version, and for a
        function where the file does not fit one.
        """
        model = load_equation(path, field, params)
        estimator = cls(field or "mlp", params=params, solver=model.solver, **model.settings)
        for name in KEPT:
            setattr(estimator, f"{name}_", getattr(model, name))
        estimator.n_features_in_ = len(model.noise)
        estimator._keep(model.members)
        return estimator

    def _keep(self, members: list[Member]) -> None:
        """Take the fitted members, and from them the parameters of a function."""
        self.members_ = members
        known = [m.model.field for m in members if isinstance(m.model.field, KnownField)]
        if known:
            self.member_params_ = [field.params for field in known]
            self.params_ = jax.tree.map(lambda *p: jnp.stack(p).mean(0), *self.member_params_)

    def _tell(self, member: int, stage: int, epoch: Epoch) -> None:
        where = f"member {member + 1}/{self.ensemble}, " if self.ensemble > 1 else ""
        print_some(epoch, f"{where}stage {stage + 1}/{len(self.segments)}, ")

    def _plan(self) -> Plan:
        """The settings, checked."""
        for name in ("width", "depth", "ensemble"):
            check_count(name, getattr(self, name))
        records = map(self._filled, ("solver", "training"), (self.solver, self.training))
        return Plan(self.segments, self.continuity, self.starts, *records)

    def _solver(self) -> Solver:
        """To predict with: by tolerances, see the class."""
        solver = self.units_.solver(self._plan().solver)
        if solver.steps is None:
            return solver
        estimates = METHODS[solver.method].error is not None
        return replace(solver, steps=None, method=solver.method if estimates else "dopri5")

    def _field(self, key: Array) -> SeriesField:
        if callable(self.field):
            return KnownField(self.field, self.params, self.units_, self.jumps)
        if self.field != "mlp":
            raise InputError(
                f"field={self.field!r}: 'mlp' or a function f(t, y, params) is expected"
            )
        if self.params is not None:
            raise InputError("params are those of a function: give one, or leave them out")
        jumps = self.units_.jumps(self.jumps, self.range_)
        sizes = (self.n_features_in_, self.width, self.depth, self.autonomous)
        return LearnedField(*sizes, jumps, key=key)

    def _along(self, asked: list[np.ndarray]) -> list[list[np.ndarray]]:
        """Each member's trajectories through the training series."""
        solver = self._solver()
        return [along(member, asked, solver, self.units_) for member in self.members_]

    def _followed(self, starts: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Each member's trajectories from other states, `(members, n, k, d)`."""
        solver, units = self._solver(), self.units_
        fields = (member.model.field for member in self.members_)
        return np.stack([followed(field, starts, times, solver, units) for field in fields])

    def _flag(self, first: float, last: float) -> None:
        """Warn of times that training did not see."""
        begin, end = self.range_
        if first < begin or last > end:
            warn(
                f"times go from {first:.6g} to {last:.6g}, beyond the training range from {begin:.6g} to {end:.6g}: "
                "this is extrapolation"
            )
