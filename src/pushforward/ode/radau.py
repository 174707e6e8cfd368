"""An implicit Runge-Kutta method for stiff fields, whose equations each row solves by Newton's iteration."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import InputError
from pushforward.ode.packing import Packing

State = Any
Field = Callable[[Array, Array], Array]
WIDEST = 2048
"""Entries of a system that a Jacobian is made of."""
HIGHEST = jax.lax.Precision.HIGHEST
PLACE = 0.85
"""Where in a step the polynomial is looked at."""
TRIES = 10
"""Iterations of Newton's."""

R = math.sqrt(6)
A = np.array(
    [
        [(88 - 7 * R) / 360, (296 - 169 * R) / 1800, (-2 + 3 * R) / 225],
        [(296 + 169 * R) / 1800, (88 + 7 * R) / 360, (-2 - 3 * R) / 225],
        [(16 - R) / 36, (16 + R) / 36, 1 / 9],
    ]
)
NODES = A.sum(1)
# The error's: the matrix's coefficient, a root of the method's stability function, and weights of the stages.
GAMMA = 3 + 3 ** (2 / 3) - 3 ** (1 / 3)
ERROR = np.array([-13 - 7 * R, -13 + 7 * R, -1]) / 3


@dataclass(frozen=True)
class Radau:
    """Radau IIA: the polynomial of degree 3 that fulfils the equation at three times of the step, the last its end.

        u_i = sum_j a_ij f(t + c_j h, y + h u_j),   y1 = y + h u_3

    Order 5, L-stable, stiffly accurate; between a step's ends it is the polynomial itself, of order 3. A step's error
    is estimated at its end and between two stages, where a component at rest may still be wrong. The equations are
    solved by Newton's iteration with the Jacobian at the step's start; where it fails the step is shortened. With
    `control="per_row"` each row has its own. Gradients are those of the equations' solution, by the implicit function
    theorem. Cost of a try: three calls of the field for each iteration (two to six) and three more, which are counted,
    a sweep of derivatives, as many as a system has components, and for `d` of them the factors of a matrix of 3 d rows.

    Arguments:
        rtol, atol: the tolerances of a step, of which the iteration leaves `min(0.03, sqrt(rtol))`; `solve` fills them
            in. Default 0: it goes on to rounding.

    Source: Hairer & Wanner 1996, Solving ordinary differential equations II, IV.8.

    ```python
    >>> from pushforward.ode import METHODS
    >>> METHODS["radau5"].order, METHODS["radau5"].implicit
    (5, True)

    ```
    """

    rtol: float = 0.0
    atol: float = 0.0

    order: ClassVar[int] = 5
    falls: ClassVar[int] = 4
    implicit: ClassVar[bool] = True
    reuses_last: ClassVar[bool] = False
    # Slopes: u_1, u_2, u_3 and the error's.
    a: ClassVar[tuple[tuple[float, ...], ...]] = ((), (), (), ())
    b: ClassVar[tuple[float, ...]] = (0.0, 0.0, 1.0, 0.0)
    error: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.0, 1.0)
    dense: ClassVar[tuple[tuple[float, ...], ...]] = (
        (13 / 3 + 7 * R / 3, -23 / 3 - 22 * R / 3, 10 / 3 + 5 * R),
        (13 / 3 - 7 * R / 3, -23 / 3 + 22 * R / 3, 10 / 3 - 5 * R),
        (1 / 3, -8 / 3, 10 / 3),
        (0.0, 0.0, 0.0),
    )

    def interpolating(self) -> "Radau":
        """The method itself: it has polynomials."""
        return self

    def within(self, rtol: float, atol: float) -> "Radau":
        """The method for tolerances of a step."""
        return replace(self, rtol=rtol, atol=atol)

    def slopes(
        self,
        slope: Callable[[Array, State], State],
        s: Array,
        h: Array,
        y: State,
        guess: State = None,
    ) -> tuple[State, Array]:
        """The stages `u_i` and the error's slope, stacked on a leading axis, and the calls of the field that it took.

        Arguments:
            slope: the derivative.
            s: where the step begins, or where each row's does.
            h: its length, or each row's, whose equations are then their own.
            y: the state there.
            guess: the stages, where they are known up to derivatives.
        """
        flat, pack, unpack = _flattened(slope, y, h.ndim == 1)
        v = pack(y)
        kind = v.dtype
        start = jnp.zeros((3, *v.shape), kind)
        if guess is not None:
            start = jax.lax.stop_gradient(jax.vmap(pack)(guess)[:3])
        jacobian = jax.lax.stop_gradient(_jacobian(lambda v: flat(s, v), v))
        u, turns = _stages(self, flat, s, h, v, jacobian, start)
        moved, rate = _ahead(h, v), flat(s, v) + jnp.tensordot(jnp.asarray(ERROR, kind), u, 1)
        matrix = GAMMA * jnp.eye(v.shape[-1], dtype=kind) - _ahead(h, jacobian) * jacobian
        factors = jax.scipy.linalg.lu_factor(matrix)
        error = _solved(factors, rate)
        # Once more, with the field there: the first one is too large where a stiff component has not come to rest.
        error = _solved(factors, rate - flat(s, v) + flat(s, v + moved * error))
        error = _larger(error, self._defect(flat, s, h, v, u, factors))
        error = jax.lax.stop_gradient(error)
        return unpack(jnp.concatenate([u, error[None]])), 3 * turns + 3

    def _defect(
        self, field: Field, s: Array, h: Array, v: Array, u: Array, factors: tuple[Array, Array]
    ) -> Array:
        """What the polynomial misses of the equation between two stages, as a slope. It is what a component at rest is
        wrong by there, which the error at the step's end does not see."""
        powers = np.arange(1, 4)
        table = np.array(self.dense[:3])
        value, rate = (
            jnp.tensordot(jnp.asarray(table @ weights, v.dtype), u, 1, precision=HIGHEST)
            for weights in (PLACE**powers, powers * PLACE ** (powers - 1))
        )
        return _solved(factors, rate - field(s + PLACE * h, v + _ahead(h, v) * value))


def check_system(size: int) -> None:
    """Raises `InputError` for a system whose Jacobian would be too large."""
    if size > WIDEST:
        raise InputError(
            f"the state has {size} entries, and an implicit method solves with their {size} x {size} Jacobian: "
            "take control='per_row' where rows are equations by themselves, or an explicit method"
        )


class _Newton(NamedTuple):
    """Where the iteration stands, of each row: the last change relative to what is left of the tolerance."""

    u: Array
    change: Array
    done: Array
    failed: Array
    turns: Array


def _stages(
    method: Radau, field: Field, s: Array, h: Array, v: Array, jacobian: Array, start: Array
) -> tuple[Array, Array]:
    """The stages and the number of iterations. NaN for a row whose iteration fails."""
    kind, rows, size = v.dtype, h.ndim, v.shape[-1]
    ahead, nodes, table = _ahead(h, v), jnp.asarray(NODES, s.dtype), jnp.asarray(A, kind)
    times = s[None] + nodes.reshape(3, *[1] * s.ndim) * h[None] if s.ndim else s + nodes * h

    def residual(u: Array) -> Array:
        slopes = jax.vmap(field)(times, v[None] + (ahead[None] if rows else ahead) * u)
        return u - jnp.tensordot(table, slopes, 1, precision=HIGHEST)

    least = 10 * jnp.finfo(kind).eps
    sizes = jnp.abs(v)
    scale = min(0.03, math.sqrt(method.rtol)) * (method.atol + method.rtol * sizes)
    scale = scale + least * (sizes + 0.01 * sizes.max(-1, keepdims=True, initial=0.0))
    scale = scale + jnp.finfo(kind).tiny

    def newton(residual: Callable[[Array], Array], u: Array) -> tuple[Array, Array]:
        matrix = jnp.einsum("ij,...pq->...ipjq", table, jacobian)
        matrix = matrix.reshape(*jacobian.shape[:-2], 3 * size, 3 * size)
        factors = jax.scipy.linalg.lu_factor(
            jnp.broadcast_to(jnp.eye(3 * size, dtype=kind), matrix.shape)
            - _ahead(h, matrix) * matrix
        )

        def turn(at: _Newton) -> _Newton:
            move = -_apart(_solved(factors, _together(residual(at.u))))
            relative = (ahead[None] if rows else ahead) * move / scale[None]
            change = jnp.sqrt(jnp.square(relative).mean((0, -1) if rows else None))
            rate = change / at.change
            left = change * rate / jnp.where(rate < 1, 1 - rate, 1.0)
            going = ~(at.done | at.failed)
            # The first change says nothing about the next one.
            known = jnp.isfinite(at.change)
            done = going & ((change <= 1) | (known & (rate < 1) & (left <= 1)))
            failed = going & ~done & ~(rate < 1)
            u = jnp.where(going[None, :, None] if rows else going, at.u + move, at.u)
            return _Newton(u, change, at.done | done, at.failed | failed, at.turns + 1)

        no = jnp.zeros(h.shape, bool)
        first = _Newton(u, jnp.full(h.shape, jnp.inf, kind), no, no, jnp.zeros((), jnp.int32))
        end = jax.lax.while_loop(
            lambda at: (~(at.done | at.failed)).any() & (at.turns < TRIES), turn, first
        )
        done = end.done[None, :, None] if rows else end.done
        # As a real number: a whole one would need a tangent of its own type.
        return jnp.where(done, end.u, jnp.nan), end.turns.astype(kind)

    def tangent(linear: Callable[[Array], Array], right: Array) -> Array:
        unit = jnp.eye(3 * size, dtype=kind).reshape(3 * size, 3, *[1] * rows, size)
        columns = jax.vmap(linear)(jnp.broadcast_to(unit, (3 * size, *right.shape)))
        matrix = jnp.moveaxis(jax.vmap(_together)(columns), 0, -1)
        return _apart(_solved(jax.scipy.linalg.lu_factor(matrix), _together(right)))

    u, turns = jax.lax.custom_root(residual, start, newton, tangent, has_aux=True)
    return u, jax.lax.stop_gradient(turns).astype(jnp.int32)


def _ahead(h: Array, like: Array) -> Array:
    """A number, or each row's with as many axes as `like`."""
    return h.reshape(-1, *[1] * (like.ndim - 1)) if h.ndim else h


def _larger(a: Array, b: Array) -> Array:
    return jnp.where(jnp.abs(a) > jnp.abs(b), a, b)


def _together(stages: Array) -> Array:
    """Stages on the leading axis as one vector, or each row's."""
    last = jnp.moveaxis(stages, 0, -2)
    return last.reshape(*last.shape[:-2], 3 * last.shape[-1])


def _apart(vector: Array) -> Array:
    """The stages again."""
    return jnp.moveaxis(vector.reshape(*vector.shape[:-1], 3, vector.shape[-1] // 3), -2, 0)


def _solved(factors: tuple[Array, Array], right: Array) -> Array:
    found: Array = jax.scipy.linalg.lu_solve(factors, right[..., None])[..., 0]
    return found


def _flattened(
    slope: Callable[[Array, State], State], y: State, rows: bool
) -> tuple[Field, Callable[[State], Array], Callable[[Array], State]]:
    """A derivative as one of vectors, or of each row's, and the way of a state to a vector and back."""
    leaves, structure = jax.tree.flatten(y)
    kind = jnp.result_type(*leaves)
    packing = Packing(tuple(leaf.shape for leaf in leaves), structure, rows)

    def pack(state: State) -> Array:
        return packing.pack(jax.tree.map(lambda leaf: leaf.astype(kind), state))

    def unpack(flat: Array) -> State:
        found = packing.unpack(flat)
        return jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), found, y)

    return lambda s, v: pack(slope(s, unpack(v))), pack, unpack


def jacobian_of(function: Callable[[State], State], y: State, rows: bool) -> Array:
    """The derivatives of a function of a state, `(entries, entries)`; with `rows` of each row by itself.

    Arguments:
        function: returns what has the state's structure and shapes.
        y: the state.
        rows: whether the leading axis is one of rows that do not meet.
    """
    flat, pack, _ = _flattened(lambda s, y: function(y), y, rows)
    v = pack(y)
    return _jacobian(lambda v: flat(jnp.zeros((), v.dtype), v), v)


def _jacobian(field: Callable[[Array], Array], v: Array) -> Array:
    """The derivatives of a system, or of each row's, `(..., out, in)`, by one sweep."""
    size = v.shape[-1]
    unit = jnp.eye(size, dtype=v.dtype).reshape(size, *[1] * (v.ndim - 1), size)
    try:
        _, push = jax.linearize(field, v)
        found = jax.vmap(push)(jnp.broadcast_to(unit, (size, *v.shape)))
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        raise InputError(
            "an implicit method needs the field's derivatives in forward mode, and the field has a custom_vjp: take an "
            "explicit method"
        ) from None
    return jnp.moveaxis(found, 0, -1)
