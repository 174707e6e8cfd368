"""Whether a solve that failed did so because its field is stiff."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import InputError
from pushforward.ode.adjoints import RecomputeSteps
from pushforward.ode.control import DAMPED, Control
from pushforward.ode.loop import NOT_FINITE, REACHED, TOO_MANY
from pushforward.ode.radau import Radau, jacobian_of
from pushforward.ode.step import State, along_rows
from pushforward.ode.whole import Found, solve_through

LARGEST = 256
"""Entries of a system that is looked at."""
BOUND = 1.5
"""Explicit methods are stable up to some 2 to 6 times the inverse of the fastest rate."""
LOOSE = 1e-3


def stiffness(
    field: Any, y0: State, ends: tuple[Array, Array], found: Found, control: Control, row: int
) -> str | None:
    """What to say of a stiff field whose solve by an explicit method failed; None if it is not stiff, or if that is
    not known. A loose solve by an implicit method leads to where the other one stopped, and the Jacobian there says.

    Arguments:
        field, y0, ends, control: of the solve, outside of `jit`.
        found: what it led to.
        row: the one that failed, with `control="per_row"`.
    """
    leaves = jax.tree.leaves(y0)
    size = sum(math.prod(leaf.shape[int(control.per_row) :]) for leaf in leaves)
    known = not any(isinstance(v, jax.core.Tracer) for v in (*leaves, *ends))
    if control.tableau.implicit or not known or size > LARGEST or jnp.iscomplexobj(leaves[0]):
        return None
    status = int(np.ravel(found.status)[row])
    t0, t1 = ends
    if control.steps is None and status == TOO_MANY:
        step, time = abs(float(np.ravel(found.size)[row])), found.time
    elif control.steps is not None and status == NOT_FINITE:
        step, time = float(np.abs(t1 - t0).max()) / control.steps, t0
    else:
        return None
    try:
        y = y0
        if time is not t0:
            loose = Control(
                Radau(LOOSE, LOOSE), LOOSE, LOOSE, None, control.per_row, control.max_steps, DAMPED
            )
            there = solve_through(field, y0, (t0, time), None, loose, RecomputeSteps())
            if int(np.ravel(there.status)[row]) != REACHED:
                return None
            y = there.y1
        rate, turn = _fastest(field, time, y, control.per_row, row)
    except InputError:
        # The field has no derivatives in forward mode, so that nothing can be said of it.
        return None
    rate = rate * (1.0 if np.ravel(t1 - t0)[row if np.size(t1 - t0) > 1 else 0] > 0 else -1.0)
    if not (rate < 0 and abs(rate) >= abs(turn) and step * abs(rate) > BOUND):
        return None
    return (
        f"the field is stiff (a component decays at a rate of {abs(rate):.3g}, so that an explicit method needs steps "
        f"of about {2 / abs(rate):.3g}): take method='radau5'"
    )


def _fastest(field: Any, time: Array, y: State, per_row: bool, row: int) -> tuple[float, float]:
    """The eigenvalue of the Jacobian that is largest, of a row or the whole state."""
    t = jnp.asarray(time)
    if per_row and not t.ndim:
        t = jnp.broadcast_to(t, jax.tree.leaves(y)[0].shape[:1])
    at = along_rows(t, jax.tree.leaves(y)[0])
    found = np.asarray(eqx.filter_jit(jacobian_of)(lambda y: field(at, y), y, per_row), np.float64)
    values = np.linalg.eigvals(found[row] if per_row else found)
    largest = values[np.abs(values).argmax()]
    return float(largest.real), float(largest.imag)
