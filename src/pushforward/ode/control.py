"""How long a step may be: error norms, the sizes of the next step and of the first."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.ode.methods import Method
from pushforward.ode.step import Slope, State, along_rows

SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
PLAIN = (0.0, 1.0, 0.0)
"""The coefficients of a control that knows the last error only."""
DAMPED = (0.2, 0.7, 0.0)
"""Those for stiff fields, where errors grow from step to step when a component wakes up."""


@dataclass(frozen=True)
class PerComponent:
    """Tolerances for each component: arrays that broadcast against those of the state, as static data."""

    leaves: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]

    @staticmethod
    def of(arrays: list[np.ndarray]) -> "PerComponent":
        """The record of arrays."""
        return PerComponent(tuple((a.shape, tuple(map(float, a.ravel()))) for a in arrays))

    def beside(self, leaves: list[Array]) -> list[Any]:
        """One for each array of a state; also where adjoint and parameters stand beside it, as the least one there."""
        own = [np.reshape(numbers, shape) for shape, numbers in self.leaves]
        found: list[Any] = []
        for i, leaf in enumerate(leaves):
            if i < 2 * len(own):
                value = own[i % len(own)]
                found.append(jnp.broadcast_to(jnp.asarray(value, leaf.dtype), leaf.shape))
            else:
                found.append(min(float(value.min()) for value in own))
        return found


Tolerance = float | PerComponent


@dataclass(frozen=True)
class Control:
    """What decides the steps: a number of equal ones, or an error per step below `atol + rtol |y|`.

    Arguments:
        tableau: the method.
        rtol, atol: tolerances for the error of one step, as a root mean square over the state (or per row).
        steps: a fixed number of equal steps; None for adaptive ones.
        per_row: whether each row has its own steps.
        max_steps: most tries of a step, accepted or not.
        pid: how the last errors decide the next step: coefficients of the change of the error, of the error, and of the
            change of the change.
        min_step, max_step: in units of time; a step of the least length is accepted whatever its error.
    """

    tableau: Method
    rtol: Tolerance
    atol: Tolerance
    steps: int | None
    per_row: bool
    max_steps: int
    pid: tuple[float, float, float] = PLAIN
    min_step: float | None = None
    max_step: float | None = None

    @property
    def most(self) -> int:
        """The most tries of a step that there can be."""
        return self.max_steps if self.steps is None else self.steps

    @property
    def by_component(self) -> bool:
        """Whether there are tolerances for each component."""
        return isinstance(self.rtol, PerComponent) or isinstance(self.atol, PerComponent)

    def tolerances(self, leaves: list[Array]) -> list[tuple[Any, Any]]:
        """`atol` and `rtol` for each array of a state."""

        def each(tolerance: Tolerance) -> list[Any]:
            if isinstance(tolerance, PerComponent):
                return tolerance.beside(leaves)
            return [tolerance] * len(leaves)

        return list(zip(each(self.atol), each(self.rtol), strict=True))

    def limits(self, a: Array, b: Array) -> tuple[Array | float, Array | float] | None:
        """The least and the largest step as fractions of an interval, or of those of the rows; None for none."""
        if self.min_step is None and self.max_step is None:
            return None
        length = jnp.abs(jax.lax.stop_gradient(b - a))
        length = length if self.per_row else length.max()
        safe = jnp.where(length > 0, length, 1.0)
        least = 0.0 if self.min_step is None else self.min_step / safe
        return least, 1.0 if self.max_step is None else self.max_step / safe


def rms(leaves: list[Array], per_row: bool) -> Array:
    """Root mean square of a state, over everything or per row."""

    def total(x: Array) -> Array:
        squares = jnp.square(x) if jnp.isrealobj(x) else jnp.square(x.real) + jnp.square(x.imag)
        return squares.reshape(len(x), math.prod(x.shape[1:])).sum(1) if per_row else squares.sum()

    size = sum(x.size // (x.shape[0] if per_row and x.shape[0] else 1) for x in leaves)
    return jnp.sqrt(sum(total(x) for x in leaves) / max(size, 1))


def error_ratio(error: State, before: State, after: State, control: Control) -> Array:
    """The estimated error relative to the tolerance: a step is accepted up to 1."""
    errors, *ends = map(jax.tree.leaves, (error, before, after))
    scaled = [
        e / (atol + rtol * jnp.maximum(jnp.abs(a), jnp.abs(b)))
        for e, a, b, (atol, rtol) in zip(errors, *ends, control.tolerances(errors), strict=True)
    ]
    return rms(scaled, control.per_row)


def next_size(
    h: Array, ratio: Array, order: int, pid: tuple[float, float, float], past: Array | None
) -> Array:
    """The largest step that would have met the tolerance, times a safety factor, at most `GROW` and at least `SHRINK`
    times the last.

        h' = h 0.9 e^(-(p + i + d) / k) e_1^((p + 2 d) / k) e_2^(-d / k)

    with e the error of this step, e_1 and e_2 those of the two accepted ones before, `past`; k the order.

    Source: Soderlind 2003, Digital filters in adaptive time-stepping.
    """
    if past is None:
        factor = SAFETY * jnp.maximum(ratio, 1e-10) ** (-1.0 / order)
    else:
        p, i, d = pid
        factor = SAFETY * jnp.maximum(ratio, 1e-10) ** (-(p + i + d) / order)
        factor = factor * past[0] ** ((p + 2 * d) / order) * past[1] ** (-d / order)
    return h * jnp.where(jnp.isfinite(ratio), jnp.clip(factor, SHRINK, GROW), SHRINK)


def counted(state: State, ignored: int) -> State:
    """The parts of a state that count towards the error: all but the last `ignored`."""
    return state[: len(state) - ignored] if ignored else state


def first_size(
    slope: Slope, y: State, control: Control, n: int | None, ignored: int
) -> tuple[State, Array]:
    """The slope at the start and the first step, from the sizes of state, slope and change of slope.

    Two calls of the field. Source: Hairer, Norsett & Wanner 1993, II.4.
    """
    order, per_row = control.tableau.order, control.per_row
    leaves = jax.tree.leaves(counted(y, ignored))
    scales = [
        atol + rtol * jnp.abs(leaf)
        for leaf, (atol, rtol) in zip(leaves, control.tolerances(leaves), strict=True)
    ]

    def size(state: State) -> Array:
        found = jax.tree.leaves(counted(state, ignored))
        return rms([v / s for v, s in zip(found, scales, strict=True)], per_row)

    start = jnp.zeros(() if n is None else (n,), scales[0].dtype)
    d0 = size(y)

    # A loop of two passes, so that the compiler meets the field once.
    def look(i: Array, seen: Any) -> Any:
        _, k, h0 = seen
        at = jax.tree.map(lambda y, k: y + along_rows(h0, y).astype(y.dtype) * k, y, k)
        found = slope(start + h0, at)
        d1 = size(found)
        small = (d0 < 1e-5) | (d1 < 1e-5)
        ahead = jnp.where(small, 1e-6, 0.01 * d0 / jnp.where(small, 1.0, d1))
        ahead = jnp.minimum(ahead, 1.0).astype(start.dtype)
        return k, found, jnp.where(i == 0, ahead, h0)

    nothing = jax.tree.map(jnp.zeros_like, y)
    k, after, h0 = jax.lax.fori_loop(0, 2, look, (nothing, nothing, start))
    d1, d2 = size(k), size(jax.tree.map(jnp.subtract, after, k)) / h0
    most = jnp.maximum(d1, d2)
    h1 = jnp.where(most <= 1e-15, jnp.maximum(1e-6, 1e-3 * h0), (0.01 / most) ** (1 / (order + 1)))
    # A slope of zero says nothing about what comes: the first step stays tiny, and the next ones grow.
    h = jnp.minimum(100 * h0, h1)
    return k, jnp.where(jnp.isfinite(h), jnp.clip(h, 1e-8, 1.0), 1e-3).astype(start.dtype)
