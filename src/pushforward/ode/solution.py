"""What a solve returns."""

from typing import NamedTuple

from jaxtyping import Array

from pushforward.ode.step import State


class Stats(NamedTuple):
    """What a solve cost.

    Attributes:
        evaluations: calls of the field, forwards; a call serves all rows.
        backward_evaluations: calls of the field and its derivative that the gradient takes; None where only the
            backward solve knows ("backsolve": see `ode.backsolve`).
        accepted, rejected: steps, of the batch or of each row.
    """

    evaluations: Array
    backward_evaluations: Array | None
    accepted: Array
    rejected: Array


class Solution(NamedTuple):
    """The solution of an initial-value problem.

    Attributes:
        y1: the state at `t1`.
        ys: the states at the times `at`, stacked on a leading axis; None without `at`.
        stats: calls of the field and steps.
        status: 0 where the end was reached, 1 for too many steps, 2 for steps too short, 3 for a field that is not
            finite. One number, or one per row with `control="per_row"`. Where it is not 0 the states are NaN.
    """

    y1: State
    ys: State | None
    stats: Stats
    status: Array
