"""Four ways to differentiate a solve, which differ in the memory they take.

`advance` solves over one interval `(a, b)`, whatever the adjoint. The integration variable is the fraction `s` of the
interval that has passed, so that the gradients with respect to both ends come from the field like any other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.ode.control import Control
from pushforward.ode.loop import Walk, walk
from pushforward.ode.replay import plus, replayed, zeros
from pushforward.ode.step import Slope, State, along_rows, increment, moved, select, stages


@dataclass(frozen=True)
class RecomputeSteps:
    """Keep the states before some of the steps; going backwards, take each step again and differentiate it.

    The gradient is the discrete solution's, to rounding. Memory: `slots` states, however many steps there are. Up to
    `slots` steps every state is kept; beyond that each step is computed once more.
    """

    slots: int = 64


@dataclass(frozen=True)
class Direct:
    """Differentiate through the stored steps: derivatives of any order, in forward mode too.

    Memory and, with adaptive steps, time grow with `max_steps`.
    """


@dataclass(frozen=True)
class Backsolve:
    """The adjoint sensitivity method: solve state, adjoint and parameter integral backwards in time together.

    Memory does not grow with the number of steps. The gradient has its own error, about the tolerance, and more where
    the equation contracts: what contracts forwards explodes backwards.

    Arguments:
        seminorm: leave the parameter integral out of the error estimate (Kidger et al. 2021, arXiv 2009.09457), which
            saves steps; default True.

    Source: Chen et al. 2018, arXiv 1806.07366; Pontryagin et al. 1962.
    """

    seminorm: bool = True


@dataclass(frozen=True)
class Reversible:
    """Step a pair of states in turn, which can be undone exactly: gradients to rounding, in constant memory.

    The method keeps its order, and a step costs twice as much. Going backwards, states are recomputed up to rounding.

    Arguments:
        coupling: of the two states, within (0, 1): nearer to 1 it loses fewer digits, nearer to 0 it damps more;
            default 0.999.

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
Held = tuple[Any, tuple[Array, Array]]
"""The field's arrays and the interval's ends, which gradients are taken with respect to, beside the state."""


def advance(
    adjoint: Adjoint, field: Field, times: tuple[Array, Array], y: State, control: Control, h: Array
) -> Advanced:
    """Solve over one interval, differentiable in the way of `adjoint`."""
    arrays, rest = eqx.partition(field, eqx.is_inexact_array)
    held = (arrays, times)
    if isinstance(adjoint, Direct):
        return _direct(held, rest, y, control, h)
    found: Advanced = _solved((held, y), rest, adjoint, control, h)
    return found


def _slope(held: Held, rest: Any) -> Slope:
    """The derivative with respect to the fraction of the interval."""
    arrays, (a, b) = held
    field = eqx.combine(arrays, rest)

    def slope(s: Array, y: State) -> State:
        length = b - a
        moves = field(along_rows(a + s * length, jax.tree.leaves(y)[0]), y)
        # A field of another precision, or of whole numbers, does not change the state's type.
        with jax.numpy_dtype_promotion("standard"):
            return jax.tree.map(lambda k, y: (along_rows(length, k) * k).astype(y.dtype), moves, y)

    return slope


def _advanced(at: Walk) -> Advanced:
    return Advanced(at.y, at.h, at.calls, at.accepted, at.rejected, at.status, at.s)


def _walked(
    held: Held, rest: Any, y: State, adjoint: Adjoint, control: Control, h: Array, keep: bool
) -> Walk:
    """The steps of an interval, with what the gradient needs of them if it is to `keep` that."""
    coupling = adjoint.coupling if isinstance(adjoint, Reversible) else None
    slots = _slots(adjoint, control) if keep else 0
    times = keep and coupling is not None
    slope = _slope(held, rest)
    return walk(slope, y, control, h, coupling=coupling, slots=slots, keep_times=times)


def _slots(adjoint: Adjoint, control: Control) -> int:
    if not isinstance(adjoint, RecomputeSteps):
        return 0
    # An even number, so that every second state is half of them.
    return min(adjoint.slots + adjoint.slots % 2, max(control.most, 2))


@eqx.filter_custom_vjp
def _solved(
    inputs: tuple[Held, State], rest: Any, adjoint: Adjoint, control: Control, h: Array
) -> Advanced:
    held, y = inputs
    return _advanced(_walked(held, rest, y, adjoint, control, h, False))


@_solved.def_fwd  # type: ignore[untyped-decorator]
def _solved_forward(
    perturbed: Any,
    inputs: tuple[Held, State],
    rest: Any,
    adjoint: Adjoint,
    control: Control,
    h: Array,
) -> tuple[Advanced, Walk]:
    held, y = inputs
    at = _walked(held, rest, y, adjoint, control, h, True)
    return _advanced(at), at


@_solved.def_bwd  # type: ignore[untyped-decorator]
def _solved_backward(
    at: Walk,
    cotangent: Advanced,
    perturbed: Any,
    inputs: tuple[Held, State],
    rest: Any,
    adjoint: Adjoint,
    control: Control,
    h: Array,
) -> tuple[Held, State]:
    held, y = inputs

    def filled(g: Array | None, leaf: Array) -> Array:
        return jnp.zeros_like(leaf) if g is None else g

    given = jax.tree.map(filled, cotangent.y, y, is_leaf=lambda g: g is None)
    if isinstance(adjoint, Backsolve):
        return backsolved(adjoint, held, rest, control, at.y, given)[0]
    if isinstance(adjoint, Reversible):
        return _reversed(adjoint, held, rest, control, at, given)
    slots = _slots(adjoint, control)
    return replayed(partial(_slope, rest=rest), held, y, control, at.record, slots, given)


def _reversed(
    adjoint: Reversible, held: Held, rest: Any, control: Control, at: Walk, given: State
) -> tuple[Held, State]:
    """Step by step backwards, each state from the next."""
    mix, record = adjoint.coupling, at.record

    def added(s: Array, h: Array, held: Held, y: State) -> State:
        return increment(_slope(held, rest), control.tableau, s, h, y)

    def one(i: Array, carry: Any) -> Any:
        y1, z1, y_bar, z_bar, total = carry
        n = record.taken - 1 - i
        s, h = record.starts[n], record.sizes[n]
        here = h != 0
        # z1 = z0 - F(s + h, -h, y1)
        change, pull = jax.vjp(partial(added, s + h, -h), held, y1)
        z0 = plus(z1, change)
        of_held, of_y = pull(jax.tree.map(jnp.negative, z_bar))
        total, y_bar_1 = plus(total, of_held), plus(y_bar, of_y)
        # y1 = mix y0 + (1 - mix) z0 + F(s, h, z0)
        change, pull = jax.vjp(partial(added, s, h), held, z0)
        y0 = jax.tree.map(lambda y, z, c: (y - (1 - mix) * z - c) / mix, y1, z0, change)
        of_held, of_z = pull(y_bar_1)
        total = plus(total, of_held)
        z_bar_0 = jax.tree.map(lambda a, b, c: a + b + (1 - mix) * c, z_bar, of_z, y_bar_1)
        y_bar_0 = jax.tree.map(lambda g: mix * g, y_bar_1)
        # A row without a step stays as it is: the pair is not mixed for it either.
        pairs = ((y0, y1), (z0, z1), (y_bar_0, y_bar), (z_bar_0, z_bar))
        return (*(select(here, new, old) for new, old in pairs), total)

    start = (at.y, at.twin, given, zeros(given), zeros(held))
    _, _, y_bar, z_bar, total = jax.lax.fori_loop(0, record.taken, one, start)
    return total, plus(y_bar, z_bar)


def backsolved(
    adjoint: Backsolve, held: Held, rest: Any, control: Control, end: State, given: State
) -> tuple[tuple[Held, State], Walk]:
    """State, adjoint and the integrals of parameters and times, from 1 to 0."""

    def slope(r: Array, state: Any) -> Any:
        y, adjoint_state, _ = state
        move, pull = jax.vjp(lambda held, y: _slope(held, rest)(1.0 - r, y), held, y)
        of_held, of_y = pull(adjoint_state)
        return jax.tree.map(jnp.negative, move), of_y, of_held

    control = replace(control, per_row=False)
    ignored = 1 if adjoint.seminorm else 0
    at = walk(slope, (end, given, zeros(held)), control, jnp.asarray(jnp.nan), ignored=ignored)
    _, y_bar, total = at.y
    lost = at.status > 0
    total, y_bar = jax.tree.map(lambda g: jnp.where(lost, jnp.nan, g), (total, y_bar))
    return (total, y_bar), at


def _direct(held: Held, rest: Any, y: State, control: Control, h: Array) -> Advanced:
    """The steps as a scan: adaptive ones are found without gradients first, then taken."""
    slope = _slope(held, rest)
    fixed, y_fixed, h_fixed = jax.lax.stop_gradient((held, y, h))
    found = walk(_slope(fixed, rest), y_fixed, control, h_fixed, keep_times=True)
    record = jax.lax.stop_gradient(found.record)

    def one(carry: Any, at: Any) -> Any:
        y, k = carry
        s, h = at
        slopes = stages(slope, control.tableau, s, h, y, k)
        here = h != 0
        k = None if k is None else select(here, slopes[-1], k)
        return (select(here, moved(y, h, slopes, control.tableau.b), y), k), None

    k = slope(jnp.zeros_like(found.s), y) if control.tableau.reuses_last else None
    used = jnp.arange(record.starts.shape[0], dtype=jnp.int32) < record.taken
    used = used.reshape(-1, *[1] * (record.starts.ndim - 1))
    sizes = jnp.where(used, record.sizes, 0.0)
    (y, _), _ = jax.lax.scan(one, (y, k), (record.starts, sizes))
    return _advanced(found)._replace(y=y)
