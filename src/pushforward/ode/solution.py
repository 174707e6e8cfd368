"""What a solve returns."""

from typing import Any, NamedTuple

from jaxtyping import Array

from pushforward.errors import InputError
from pushforward.ode.step import State
from pushforward.rows import Numbers


class Stats(NamedTuple):
    """What a solve cost.

    Attributes:
        evaluations: calls of the field, forwards; a call serves all rows. -1 for a diffrax solver under `jit` and
            transformations, which does not say.
        backward_evaluations: calls of the field and its derivative that the gradient takes; None where only the
            backward solve knows ("backsolve": see `ode.backsolve`).
        accepted, rejected: steps, of the batch or of each row.
    """

    evaluations: Array
    backward_evaluations: Array | None
    accepted: Array
    rejected: Array


class Happened(NamedTuple):
    """The events of a solve in their order, on a leading axis that has room for all that may happen."""

    times: Array | None
    states: State
    numbers: Array | None


class Solution(NamedTuple):
    """The solution of an initial-value problem. With `dense=True` it can be called: `solution(t)`.

    Attributes:
        y1: the state at `t1`, or at the event that ended the solve.
        ys: the states at the times `at`, or what was to be saved of them, stacked on a leading axis; None without `at`.
            NaN beyond an event that ended the solve.
        stats: calls of the field and steps.
        status: 0 where the end was reached, 1 for too many steps, 2 for steps too short, 3 for a field that is not
            finite, 4 for too many events. One number, or one per row with `control="per_row"`. Where it is not 0 the
            states are NaN.
        event_times: the times of the events in their order, `(most, *rows)` with the sum of their `most`; NaN where
            there were fewer. None without `events`.
        event_states: the states there, before an event's `then`.
        event_numbers: which of the events it was; -1 for none.
        path: what `solution(t)` calls; None without `dense=True`.
    """

    y1: State
    ys: State | None
    stats: Stats
    status: Array
    event_times: Array | None = None
    event_states: State | None = None
    event_numbers: Array | None = None
    path: Any = None

    def __call__(self, t: Numbers) -> State:
        """The states at times between the solve's ends, of any shape `(*times)`, stacked: `(*times, ...)`.

        Differentiable with respect to `t` too. At a jump it is the state before. NaN beyond an event that ended the
        solve. Cost: a look at all steps' ends for each time. Raises `InputError` for a solve without `dense=True` and,
        outside of `jit`, times beyond its ends.

        Arguments:
            t: the times.

        ```python
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> solution = pf.ode.solve(lambda t, y: -y, jnp.ones(1), 0.0, 1.0, dense=True)
        >>> solution([0.5, 1.0]).shape, round(float(solution(0.5)[0]), 2)
        ((2, 1), 0.61)
        >>> round(float(jax.grad(lambda t: solution(t).sum())(0.5)), 2)
        -0.61

        ```
        """
        if self.path is None:
            raise InputError("a solution can be called after solve(..., dense=True)")
        return self.path(t)
