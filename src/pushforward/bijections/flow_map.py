"""The flow of an ordinary differential equation."""

import math
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, PerRow, replaced
from pushforward.bijections.few_steps import LOOKED_AT, tell_error
from pushforward.errors import InputError, check_count, warn
from pushforward.fields import AbstractField, PotentialField, divergence
from pushforward.fields.divergence import pushed
from pushforward.ode import Solver, solve
from pushforward.rows import Numbers, Shape, as_shape, broadcast_rows, broadcasting, sum_event

EXACT, EXACT_TRAINING, PROBES = 128, 8, 16
"""Coordinates up to which the divergence of a field without closed form is exact, in evaluation and in training; the
number of probes of an evaluation beyond."""


class FlowMap(AbstractBijection):
    """The flow of `dx/dt = f(t, x)` from time 0 (latent) to T (data).

        log |det dx/dz| = int_0^T tr(df/dx) dt

    Without a key (evaluation) every row takes its own steps, so that its density does not depend on the rows beside it,
    and the divergence is exact: in closed form if the field has one, else by d tangents up to `EXACT` coordinates;
    beyond, it is Hutchinson's estimate by `PROBES` fixed probes, the same for every row, and a warning says so. With a
    key (training) the batch shares its steps, fields without closed form draw a probe from 9 coordinates on, and the
    regularisers' penalty is subtracted from the log-det. A density by a fixed number of steps is compared on a few rows
    with that by twice as many steps; a warning says how far off it is.

    Cost: the field's, for each stage of each step, either way.

    Arguments:
        field: `AbstractField`, or any module or function `f(t, x)`, `f(t, x, condition)` on rows.
        event_shape: of an event, such as `d`, or `(h, w, c)` for images; default the field's.
        condition_shape: of a condition; default the field's, or None.
        time: T; default 1.
        trained_time: whether T is a parameter, which starts at `time`; default False.
        solver: how to solve; default `Solver()`.
        training_steps: a number of equal steps of the solver's method in training, in place of its own control;
            default None.
        probes: of the log-det in evaluation, which is exact up to as many coordinates; default None, exact up to
            `EXACT` coordinates and estimated by `PROBES` beyond.
        kinetic: weight of `int |f|^2 dt` in training; default 0 (RNODE's, OT-Flow's).
        jacobian: weight of `int |df/dx v|^2 dt`, v the probe, whose expectation is the Frobenius norm; default 0.
        hjb: weight of `int |d phi/dt - |grad phi|^2 / 2| dt`, for a `PotentialField`; default 0 (OT-Flow's).
        steer: in training T is drawn from `[T - steer, T + steer]`; default 0.

    Raises `InputError` for a time, weights or numbers out of range.

    Sources: Chen et al. 2018, arXiv 1806.07366; Grathwohl et al. 2019, arXiv 1810.01367 (FFJORD); Finlay et al. 2020,
    arXiv 2002.02798 (RNODE); Onken et al. 2021, arXiv 2006.00104 (OT-Flow); Ghosh et al. 2020, arXiv 2006.10711
    (STEER).

    ```python
    >>> import jax, pushforward as pf
    >>> from pushforward.fields import MLPField
    >>> flow = pf.bijections.FlowMap(MLPField(2, width=8, key=jax.random.key(0)))
    >>> z, log_det = flow.inverse(jax.numpy.ones((5, 2)))
    >>> z.shape, log_det.shape
    ((5, 2), (5,))

    ```
    """

    amortized = ("field",)
    field: Any
    log_time: Float[Array, ""] | None
    time: float = eqx.field(static=True)
    solver: Solver = eqx.field(static=True)
    training_steps: int | None = eqx.field(static=True)
    probes: int | None = eqx.field(static=True)
    kinetic: float = eqx.field(static=True)
    jacobian: float = eqx.field(static=True)
    hjb: float = eqx.field(static=True)
    steer: float = eqx.field(static=True)
    rows_only: bool = eqx.field(static=True)  # log-dets are left out, as 0
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        field: Any,
        *,
        event_shape: int | Shape | None = None,
        condition_shape: int | Shape | None = None,
        time: float = 1.0,
        trained_time: bool = False,
        solver: Solver | None = None,
        training_steps: int | None = None,
        probes: int | None = None,
        kinetic: float = 0.0,
        jacobian: float = 0.0,
        hjb: float = 0.0,
        steer: float = 0.0,
    ):
        if isinstance(field, AbstractField):
            event_shape, condition_shape = field.event_shape, field.condition_shape
        event_shape = as_shape(event_shape)
        condition_shape = as_shape(condition_shape, "condition")
        if not event_shape:
            raise InputError(
                f"event_shape={event_shape}: the shape of an event was expected, such as (d,)"
            )
        if not time > 0 or not 0 <= steer < time:
            raise InputError(f"time={time}, steer={steer}: 0 <= steer < time was expected")
        if kinetic < 0 or jacobian < 0 or hjb < 0:
            raise InputError(
                f"kinetic={kinetic}, jacobian={jacobian}, hjb={hjb}: weights of at least 0 were expected"
            )
        if hjb and not isinstance(field, PotentialField):
            raise InputError(
                f"hjb={hjb} needs a field with a potential: a PotentialField, or hjb=0"
            )
        if training_steps is not None:
            check_count("training_steps", training_steps)
        if probes is not None:
            check_count("probes", probes)
        self.training_steps, self.probes = training_steps, probes
        self.field, self.time, self.solver = field, float(time), solver or Solver()
        self.log_time = jnp.log(jnp.asarray(float(time))) if trained_time else None
        self.kinetic, self.jacobian, self.hjb, self.steer = kinetic, jacobian, hjb, steer
        self.event_shape, self.condition_shape = event_shape, condition_shape
        self.rows_only = False

    @property
    def exact(self) -> bool:
        return self._few() or self._closed(jnp.zeros((1, *self.event_shape)))

    @property
    def recomputable(self) -> bool:
        # So few steps there are not those back.
        return self.training_steps is None

    def with_field(self, field: Any) -> "FlowMap":
        """The same map of another field, solved and regularised alike."""
        options: dict[str, Any] = {name: getattr(self, name) for name in _OPTIONS}
        made = FlowMap(field, event_shape=self.event_shape, **options)
        return replaced(made, log_time=self.log_time, rows_only=self.rows_only)

    def without_log_det(self) -> "FlowMap":
        return replaced(self, rows_only=True)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return self._solved(z, condition, key, ahead=True)[:2]

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return self._solved(x, condition, key, ahead=False)[:2]

    def _solved(
        self, x: Array, condition: Condition, key: Key, *, ahead: bool
    ) -> tuple[Array, PerRow, Array]:
        if not len(x):
            return x, jnp.zeros(0, x.dtype), jnp.zeros((), int)
        end = self._end(x)
        nothing = jnp.zeros_like(end)
        if self.rows_only:
            interval = (nothing, end) if ahead else (end, nothing)
            x, calls = _moved(self._prepared(), x, condition, interval, self.solver)
            return x, jnp.zeros(len(x), x.dtype), calls
        noise = None
        if key is not None:
            steer_key, key = jax.random.split(key)
            if self.steer:
                end = end + self.steer * jax.random.uniform(steer_key, (), x.dtype, -1.0, 1.0)
        d = math.prod(self.event_shape)
        if key is not None and (self.jacobian or (d > EXACT_TRAINING and not self._closed(x))):
            noise = jax.random.rademacher(key, x.shape, x.dtype)
        elif key is None and not (self._few() or self._closed(x)):
            count, most = (PROBES, EXACT) if self.probes is None else (self.probes,) * 2
            warn(
                f"log-dets of {d} coordinates are estimates, by {count} fixed probes: beyond {most} only fields that "
                "know their divergence are exact (MLPField of one or two hidden layers)"
            )
            shape = (count, 1, *self.event_shape)
            noise = jax.random.rademacher(jax.random.key(0), shape, x.dtype)
            noise = jnp.broadcast_to(noise, (count, *x.shape))
        weights = (0.0,) * 3 if key is None else (self.kinetic, self.jacobian, self.hjb)
        moving = _Moving(self._prepared(), condition, noise, *weights)
        interval = (nothing, end) if ahead else (end, nothing)
        solver = self.solver
        if key is not None and self.training_steps is not None:
            solver = replace(solver, steps=self.training_steps)
        found = _integrated(moving, x, interval, solver, key is None)
        if key is None and not ahead and self.solver.steps is not None:
            few = (
                None if condition is None else condition[:LOOKED_AT],
                None if noise is None else noise[:, :LOOKED_AT],
            )
            finer = replace(self.solver, steps=2 * self.solver.steps)
            fine = _integrated(_Moving(self.field, *few), x[:LOOKED_AT], interval, finer, True)
            tell_error((found[0][:LOOKED_AT], found[1][:LOOKED_AT]), fine[:2], self.solver.steps)
        return found

    def evaluations(
        self, x: Numbers, condition: Numbers | None = None, *, ahead: bool = False
    ) -> Array:
        """How often `inverse` of these events calls the field, or `forward` if `ahead`.

        A call serves all events; those that need fewer steps wait for the others. Arguments, errors and cost as of
        `inverse`.

        ```python
        >>> import jax, pushforward as pf
        >>> field = pf.fields.MLPField(2, width=8, key=jax.random.key(0))
        >>> flow = pf.bijections.FlowMap(field, solver=pf.ode.Solver(method="rk4", steps=5))
        >>> int(flow.evaluations(jax.numpy.ones((5, 2)), ahead=True))
        20

        ```
        """
        rows, conditions, _ = broadcast_rows(
            x, self.event_shape, condition, self.condition_shape, "x", self
        )
        return self._solved(rows, conditions, None, ahead=ahead)[2]

    def push_score(
        self, z: Numbers, score: Numbers, condition: Numbers | None = None
    ) -> tuple[Array, Array]:
        """Push latent events and the score of their density to data, in one solve.

            ds/dt = -(df/dx)^T s - grad_x tr(df/dx)

        The result equals `Flow.grad_log_prob`, which differentiates the solve of the log-density; here nothing is
        stored. Cost: a solve with a vector-Jacobian product at each call of the field.

        Arguments:
            z: `(*batch, *event)`.
            score: the gradient of the latent log-density at z, `(*batch, *event)`; `-z` of a standard normal.
            condition: `(*batch, *condition)`, broadcast against the batch of z.

        Returns x and the score at x, `(*batch, *event)` each. Raises `InputError` where a shape does not fit,
        `SolveError` where the solve fails.

        ```python
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> field = pf.fields.MLPField(2, width=8, key=jax.random.key(0))
        >>> z = jnp.array([[1.0, -1.0]])
        >>> x, score = pf.bijections.FlowMap(field).push_score(z, -z)
        >>> score.shape
        (1, 2)

        ```
        """
        rows, conditions, batch = broadcast_rows(
            z, self.event_shape, condition, self.condition_shape, "z", self
        )
        scores = broadcast_rows(score, self.event_shape, None, None, "score", self)[0]
        if scores.shape != rows.shape:
            raise InputError(
                f"score has shape {np.shape(score)}: that of z was expected, {np.shape(z)}"
            )
        moving, options = _WithScore(self.field, conditions), self.solver.options(per_row=True)
        found = solve(moving, (rows, scores), 0.0, self._end(rows), **options)
        return tuple(part.reshape(*batch, *self.event_shape) for part in found.y1)

    def _few(self) -> bool:
        """Whether exact log-dets cost no more than what evaluation may spend."""
        return math.prod(self.event_shape) <= (EXACT if self.probes is None else self.probes)

    def _prepared(self) -> Any:
        return self.field.prepared() if isinstance(self.field, AbstractField) else self.field

    def _end(self, x: Array) -> Array:
        """T."""
        return jnp.asarray(self.time if self.log_time is None else jnp.exp(self.log_time), x.dtype)

    def _closed(self, x: Array) -> bool:
        """Whether the field knows its divergence."""
        if not isinstance(self.field, AbstractField):
            return False
        condition = None
        if self.condition_shape is not None:
            condition = jnp.zeros((len(x), *self.condition_shape), x.dtype)
        with broadcasting():
            found = eqx.filter_eval_shape(self.field.with_divergence, jnp.zeros(()), x, condition)
        return found[1] is not None


_OPTIONS = (
    *("time", "solver", "training_steps", "probes"),
    *("kinetic", "jacobian", "hjb", "steer"),
)


class _Moving(eqx.Module):
    """The field of rows, their log-dets and the regularisers' integral."""

    field: Any
    condition: Condition
    noise: Array | None
    kinetic: float = eqx.field(static=True, default=0.0)
    jacobian: float = eqx.field(static=True, default=0.0)
    hjb: float = eqx.field(static=True, default=0.0)

    @property
    def penalises(self) -> bool:
        """Whether the regularisers' integral is part of the state."""
        return bool(self.kinetic or self.jacobian or self.hjb)

    def __call__(self, t: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        # Here, because a solve's backward pass calls the field after its caller has returned.
        with broadcasting():
            return self._moves(t, *state)

    def _moves(self, t: Array, x: Array, *_: Array) -> tuple[Array, ...]:
        if self.jacobian and self.noise is not None:
            arguments = () if self.condition is None else (self.condition,)
            value, moved = pushed(lambda x: self.field(t, x, *arguments), x, self.noise)
            trace = sum_event(moved * self.noise)
            penalty = self.jacobian * sum_event(jnp.square(moved))
        else:
            value, trace = divergence(self.field, t, x, self.noise, condition=self.condition)
            penalty = jnp.zeros(len(x), x.dtype)
        if not self.penalises:
            return value, trace
        if self.hjb:
            residual = self.field.hjb_residual(t, x, self.condition)
            penalty = penalty + self.hjb * jnp.abs(residual)
        return value, trace, penalty + self.kinetic * sum_event(jnp.square(value))


class _WithScore(eqx.Module):
    """The field of rows and the score of their density."""

    field: Any
    condition: Condition

    def __call__(self, t: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, score = state
        with broadcasting():
            (value, trace), pull = jax.vjp(
                lambda x: divergence(self.field, t, x, condition=self.condition), x
            )
        (turned,) = pull((score, jnp.ones_like(trace)))
        return value, -turned


@eqx.filter_jit
def _integrated(
    moving: _Moving, x: Array, interval: tuple[Array, Array], solver: Solver, per_row: bool
) -> tuple[Array, Array, Array]:
    parts = 2 if moving.penalises else 1
    state = (x, *(jnp.zeros(len(x), x.dtype) for _ in range(parts)))
    solution = solve(moving, state, *interval, **solver.options(per_row))
    value, log_det, *penalty = solution.y1
    log_det = log_det - sum((jnp.abs(p) for p in penalty), jnp.zeros((), x.dtype))
    return value, log_det, solution.stats.evaluations


@eqx.filter_jit
def _moved(
    field: Any, x: Array, condition: Condition, interval: tuple[Array, Array], solver: Solver
) -> tuple[Array, Array]:
    """Rows alone, without their log-dets and what these cost; calls of the field."""
    arguments = () if condition is None else (condition,)
    options = solver.options(per_row=True)
    solution = solve(lambda t, x: field(t, x, *arguments), x, *interval, **options)
    return solution.y1, solution.stats.evaluations
