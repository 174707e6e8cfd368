"""Four ways to differentiate a solve, which differ in the memory they take.

Every way has the same signature, `advance(adjoint, field, times, y, control, h) -> Advanced`, on one interval; `times`
is `(a, b)`. The integration variable is the fraction `s` of the interval, so that gradients to both ends come from the
field like any other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.ode.control import Control
from pushforward.ode.loop import Record, Walk, walk
from pushforward.ode.replay import plus, replayed, zeros
from pushforward.ode.step import Slope, State, along_rows, increment, moved, stages, where


@dataclass(frozen=True)
class RecomputeSteps:
    """Keep states at some of the accepted steps; take each step again backwards and differentiate it.

    The gradient is the discrete solution's, to rounding. Memory: `slots` states, however many steps; up to `slots`
    steps every state is kept, beyond that a step is computed once more.
    """

    slots: int = 64


@dataclass(frozen=True)
class Direct:
    """Differentiate through the steps as they are, everything stored: any order of derivative, forward mode too.

    Memory and, with adaptive steps, time grow with `max_steps`.
    """


@dataclass(frozen=True)
class Backsolve:
    """The adjoint sensitivity method: solve state, adjoint and parameter integral backwards in time together.

    Memory does not grow with the steps. The gradient has an error of its own, of about the tolerance and more where the
    equation forgets: what contracts forwards explodes backwards (a docs page shows it).

    Arguments:
        seminorm: leave the parameter integral out of the step's error (Kidger et al. 2021, arXiv 2009.09457), which
            saves steps; default True.

    Source: Chen et al. 2018, arXiv 1806.07366; Pontryagin et al. 1962.
    """

    seminorm: bool = True


@dataclass(frozen=True)
class Reversible:
    """A pair of states stepped in turns, which can be stepped back exactly: gradients to rounding at constant memory.

    The method keeps its order; a step costs twice as much. States are recomputed backwards, at rounding's error.

    Arguments:
        coupling: of the two states, within (0, 1); closer to 1 loses fewer digits, further away damps more; default
            0.999.

    Source: McCallum & Foster 2024, arXiv 2410.11648.
    """

    coupling: float = 0.999


Adjoint = RecomputeSteps | Direct | Backsolve | Reversible
ADJOINTS: dict[str, Adjoint] = {
    "checkpoint": RecomputeSteps(),
    "direct": Direct(),
    "backsolve": Backsolve(),
    "reversible": Reversible(),
}


class Advanced(NamedTuple):
    """The end of an interval and how it was reached."""

    y: State
    h: Array
    calls: Array
    accepted: Array
    rejected: Array
    status: Array
    reached: Array


Field = Callable[[Array, State], State]
Inputs = tuple[Any, tuple[Array, Array], State]
"""What gradients are for: the field's arrays, the interval's ends, the state."""


def advance(
    adjoint: Adjoint, field: Field, times: tuple[Array, Array], y: State, control: Control, h: Array
) -> Advanced:
    """Solve over one interval, differentiable in the way of `adjoint`."""
    arrays, rest = eqx.partition(field, eqx.is_inexact_array)
    if isinstance(adjoint, Direct):
        return _direct(arrays, rest, times, y, control, h)
    found: Advanced = _solved((arrays, times, y), rest, adjoint, control, h)
    return found


def _slope(arrays: Any, rest: Any, times: tuple[Array, Array]) -> Slope:
    """The derivative by the fraction of the interval."""
    field, (a, b) = eqx.combine(arrays, rest), times

    def slope(s: Array, y: State) -> State:
        length = b - a
        moves = field(along_rows(a + s * length, jax.tree.leaves(y)[0]), y)
        # A field of another precision, or of whole numbers, does not change what the state is.
        return jax.tree.map(
            lambda k, leaf: (along_rows(length, k) * k).astype(leaf.dtype), moves, y
        )

    return slope


def _coupling(adjoint: Adjoint) -> float | None:
    return adjoint.coupling if isinstance(adjoint, Reversible) else None


def _advanced(at: Walk) -> Advanced:
    return Advanced(at.y, at.h, at.calls, at.accepted, at.rejected, at.status, at.s)


@eqx.filter_custom_vjp
def _solved(inputs: Inputs, rest: Any, adjoint: Adjoint, control: Control, h: Array) -> Advanced:
    arrays, times, y = inputs
    return _advanced(walk(_slope(arrays, rest, times), y, control, h, coupling=_coupling(adjoint)))


@_solved.def_fwd  # type: ignore[untyped-decorator]
def _solved_forward(
    perturbed: Any, inputs: Inputs, rest: Any, adjoint: Adjoint, control: Control, h: Array
) -> tuple[Advanced, Any]:
    arrays, times, y = inputs
    slope = _slope(arrays, rest, times)
    if isinstance(adjoint, Backsolve):
        at = walk(slope, y, control, h)
        return _advanced(at), (at.y, None, None)
    if isinstance(adjoint, Reversible):
        at = walk(slope, y, control, h, coupling=adjoint.coupling, keep_times=True)
        return _advanced(at), (at.y, at.twin, at.record)
    at = walk(slope, y, control, h, slots=_slots(adjoint, control))
    return _advanced(at), (None, None, at.record)


def _slots(adjoint: Adjoint, control: Control) -> int:
    if not isinstance(adjoint, RecomputeSteps):
        return 0
    # An even number, so that every second state is half of them.
    most = control.max_steps if control.steps is None else control.steps
    return min(adjoint.slots + adjoint.slots % 2, max(most, 2))


@_solved.def_bwd  # type: ignore[untyped-decorator]
def _solved_backward(
    residuals: Any,
    cotangent: Advanced,
    perturbed: Any,
    inputs: Inputs,
    rest: Any,
    adjoint: Adjoint,
    control: Control,
    h: Array,
) -> Inputs:
    end, twin, record = residuals
    given = jax.tree.map(
        lambda g, leaf: jnp.zeros_like(leaf) if g is None else g,
        cotangent.y,
        inputs[2],
        is_leaf=lambda g: g is None,
    )
    if isinstance(adjoint, Backsolve):
        return backsolved(adjoint, inputs, rest, control, end, given)[0]
    if isinstance(adjoint, Reversible):
        return _reversed(adjoint, inputs, rest, control, record, end, twin, given)
    arrays, times, y = inputs

    def slope_of(held: Any) -> Slope:
        return _slope(held[0], rest, held[1])

    total, cotangent = replayed(
        slope_of, (arrays, times), y, control, record, _slots(adjoint, control), given
    )
    return (*total, cotangent)


def _reversed(
    adjoint: Reversible,
    inputs: Inputs,
    rest: Any,
    control: Control,
    record: Record,
    end: State,
    twin: State,
    given: State,
) -> Inputs:
    """Step by step backwards, each state from the next."""
    arrays, times, _ = inputs
    mix, tableau = adjoint.coupling, control.tableau

    def grown(arrays: Any, times: Any, y: State, s: Array, h: Array) -> State:
        return increment(_slope(arrays, rest, times), tableau, s, h, y)

    def one(i: Array, carry: Any) -> Any:
        y1, z1, y_bar, z_bar, total = carry
        n = record.taken - 1 - i
        s, h = record.starts[n], record.sizes[n]
        here = h != 0
        # z1 = z0 - F(s + h, -h, y1)
        change, pull = jax.vjp(
            lambda arrays, times, y: grown(arrays, times, y, s + h, -h), arrays, times, y1
        )
        z0 = plus(z1, change)
        *others, of_y = pull(jax.tree.map(jnp.negative, z_bar))
        total, y_bar_1 = plus(total, tuple(others)), plus(y_bar, of_y)
        # y1 = mix y0 + (1 - mix) z0 + F(s, h, z0)
        change, pull = jax.vjp(
            lambda arrays, times, z: grown(arrays, times, z, s, h), arrays, times, z0
        )
        y0 = jax.tree.map(lambda y, z, c: (y - (1 - mix) * z - c) / mix, y1, z0, change)
        *others, of_z = pull(y_bar_1)
        total = plus(total, tuple(others))
        z_bar_0 = jax.tree.map(lambda a, b, c: a + b + (1 - mix) * c, z_bar, of_z, y_bar_1)
        y_bar_0 = jax.tree.map(lambda g: mix * g, y_bar_1)
        # A row without a step stays as it is: the pair is not mixed for it either.
        pairs = ((y0, y1), (z0, z1), (y_bar_0, y_bar), (z_bar_0, z_bar))
        return (*(where(here, new, old) for new, old in pairs), total)

    start = (end, twin, given, zeros(given), zeros((arrays, times)))
    _, _, y_bar, z_bar, total = jax.lax.fori_loop(0, record.taken, one, start)
    return (*total, plus(y_bar, z_bar))


def backsolved(
    adjoint: Backsolve, inputs: Inputs, rest: Any, control: Control, end: State, given: State
) -> tuple[Inputs, Walk]:
    """State, adjoint and the integrals of parameters and times, from 1 to 0."""
    arrays, times, _ = inputs
    integrals = zeros((arrays, times))

    def slope(r: Array, state: Any) -> Any:
        y, adjoint_state, _ = state
        move, pull = jax.vjp(
            lambda arrays, times, y: _slope(arrays, rest, times)(1.0 - r, y), arrays, times, y
        )
        *others, of_y = pull(adjoint_state)
        return jax.tree.map(jnp.negative, move), of_y, tuple(others)

    control = replace(control, per_row=False)
    ignored = 1 if adjoint.seminorm else 0
    at = walk(slope, (end, given, integrals), control, jnp.asarray(jnp.nan), ignored=ignored)
    _, y_bar, total = at.y
    lost = jax.tree.map(lambda g: jnp.where(at.status > 0, jnp.nan, g), (total, y_bar))
    return (*lost[0], lost[1]), at


def _direct(
    arrays: Any, rest: Any, times: tuple[Array, Array], y: State, control: Control, h: Array
) -> Advanced:
    """The steps as a scan: adaptive ones are found without gradients first, then taken."""
    slope = _slope(arrays, rest, times)
    held = jax.lax.stop_gradient((arrays, times, y, h))
    found = walk(_slope(held[0], rest, held[1]), held[2], control, held[3], keep_times=True)
    record = jax.lax.stop_gradient(found.record)

    def one(carry: Any, at: Any) -> Any:
        y, k = carry
        s, h = at
        slopes = stages(slope, control.tableau, s, h, y, k)
        after = moved(y, h, slopes, control.tableau.b)
        here = h != 0
        k = None if k is None else where(here, slopes[-1], k)
        return (where(here, after, y), k), None

    k = slope(jnp.zeros_like(found.s), y) if control.tableau.reuses_last else None
    used = jnp.arange(record.starts.shape[0]) < record.taken
    used = used.reshape(-1, *[1] * (record.starts.ndim - 1))
    sizes = jnp.where(used, record.sizes, 0.0)
    (y, _), _ = jax.lax.scan(one, (y, k), (record.starts, sizes))
    return _advanced(found)._replace(y=y)
