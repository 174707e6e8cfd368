"""The gradient of what a solve saw on its way, step by step, the last one first."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.ode.interpolation import dot, powers, rate, value
from pushforward.ode.replay import plus, zeros
from pushforward.ode.step import State, select, taken
from pushforward.ode.watch import Seen, lane, lane_put


class Given(NamedTuple):
    """The gradients that are given: with respect to the state at the end, to what was saved at the marks, and to the
    polynomials of the steps."""

    y: State
    ys: Any = None
    polynomials: State = None

    def after(self, seen: Seen | None) -> State:
        """The gradient with respect to the state after the last step, which is no result of rows that met an event."""
        if seen is None or seen.event is None:
            return self.y
        return select(seen.event < 0, self.y, zeros(self.y))


class Reading(NamedTuple):
    """Where the reader stands: the next mark, backwards, and the gradient with respect to the marks."""

    at: Array
    marks: Array


def begin(seen: Seen | None, marks: Array | None) -> Reading | None:
    """Where the reader begins."""
    if seen is None or marks is None:
        return None
    return Reading(seen.next - 1, jnp.zeros_like(marks))


def read_back(
    run: Any,
    seen: Seen,
    given: Given,
    step: Array,
    h: Array,
    coefficients: State,
    total: Any,
    reading: Reading,
) -> tuple[Any, State, Array, Reading]:
    """The gradient with respect to a step's coefficients, of all that was seen in it.

    Arguments:
        run: the solve, an `adjoint.Run`.
        seen, given: what was seen, and the gradients with respect to it.
        step, h: the step's number and length.
        coefficients: its polynomial.
        total: the gradient with respect to what the run holds, so far.
        reading: where the reader stands.

    Returns `total`, the gradient, whether it is not 0, and where the reader stands then.
    """  # fmt: skip
    degree = len(jax.tree.leaves(coefficients)[0]) - 1
    found, some = zeros(coefficients), jnp.zeros((), bool)
    if given.polynomials is not None:
        found, some = taken(given.polynomials, step), jnp.ones((), bool)
    if seen.event is not None:
        assert seen.end_step is not None
        assert seen.end_fraction is not None
        here = (seen.event >= 0) & (seen.end_step == step)
        ended = select(here, given.y, zeros(given.y))
        found, some = plus(found, powers(ended, seen.end_fraction, degree)), some | here.any()
    marks, first = run.marks, run.watch.begin
    if not len(marks):
        return total, found, some, reading

    def due(at: Array) -> Array:
        return jnp.asarray(at >= first) & (lane(seen.steps, jnp.maximum(at, 0)) == step)

    def one(carry: Any) -> Any:
        total, found, reading = carry
        now, at = due(reading.at), jnp.maximum(reading.at, 0)
        u = lane(seen.fractions, at)
        of_state = jax.tree.map(lambda leaf: lane(leaf, at), given.ys)
        of_state = select(now, of_state, zeros(of_state))
        of_mark = jnp.zeros_like(u)
        if run.saves:

            def saved(held: Any, mark: Array, y: State) -> Any:
                return run.save_of(held)(mark, y)

            _, pull = jax.vjp(saved, run.held, lane(marks, at), value(coefficients, u))
            more, of_mark, of_state = pull(of_state)
            total = plus(total, more)
        found = plus(found, powers(of_state, u, degree))
        slope = dot(of_state, rate(coefficients, u), u.ndim)
        length = jnp.where(h > 0, h, 1.0)
        of_mark = of_mark + jnp.where(h > 0, slope / length, 0.0).astype(of_mark.dtype)
        by_marks = lane_put(reading.marks, at, of_mark, now)
        return total, found, Reading(reading.at - now.astype(jnp.int32), by_marks)

    some = some | due(reading.at).any()
    total, found, reading = jax.lax.while_loop(
        lambda carry: due(carry[2].at).any(), one, (total, found, reading)
    )
    return total, found, some, reading
