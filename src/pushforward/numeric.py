"""The numeric inverse of increasing scalar functions."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import ConvergenceError
from pushforward.rows import as_float, kept_whole

ScalarMap = Callable[[Array, Any], tuple[Array, Array]]
"""`(x, params) -> (value, log-slope)`, elementwise, increasing in x on all of R."""

STEPS = 600
"""Evaluations after which the search gives up: brackets grow to the end of float64's range in 342 of them."""
NEAR, GROWTH = 100.0, 8.0
"""Largest start, and the factor by which a bracket grows. From far out an exponential would overflow, and bisecting
back from 1e300 takes too long."""
NOISE, SLACK = 64.0, 1000.0
"""Residuals, in roundings of the terms that they are made of, at which a stalled search ends, and up to which a root is
certified."""
_State = tuple[Array, ...]


def increasing_root(function: ScalarMap, target: Array, params: Any) -> Array:
    """The `x` with `function(x, params)[0] = target`, to the type's last digits.

    A safeguarded Newton search on all entries at once: a bracket grows eightfold from about `target` until it holds the
    root; Newton steps refine it, or bisection where they leave it or make no headway. Entries stop one by one, so that
    none depends on its neighbours. Gradients, of any order, are those of the implicit function, never of the search:

        dx = (d target - d_params function) / slope

    Cost: 5 to 15 evaluations of the function near the identity.

    Arguments:
        function: from `(x, params)` to the value and the log-slope, both of x's shape; increasing and onto R.
        target: values to reach, of any shape.
        params: any pytree that the function reads; differentiated.

    An entry whose residual does not come down to rounding is NaN; outside of `jit` it raises `ConvergenceError`, which
    carries the residual.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.bijections import increasing_root
    >>> cubic = lambda x, a: (x + a * x**3, jnp.log1p(3 * a * x**2))
    >>> print(increasing_root(cubic, jnp.array([2.0, 30.0]), 1.0))
    [1. 3.]

    ```
    """
    target = as_float(target)
    with kept_whole():
        x, residual = _root(function, target, params)
    return certified(x, residual, target)


def certified(x: Array, residual: Array, target: Array) -> Array:
    """The result of a search, with NaN where it failed; outside of `jit` that raises `ConvergenceError`."""
    if not isinstance(x, jax.core.Tracer):
        lost = np.isnan(np.asarray(x)) & np.isfinite(np.asarray(target))
        if lost.any():
            worst = float(np.asarray(residual)[lost].max())
            raise ConvergenceError(
                f"the numeric inverse did not converge for {lost.sum()} of {lost.size} values: a residual "
                f"of {worst:.3g} is left; the map is too flat there, or its parameters diverged in training",
                worst,
            )
    return x


def solved(function: ScalarMap, target: Array, params: Any) -> tuple[Array, Array]:
    """The root and the inverse function's log-slope there, which a map without a closed inverse returns."""
    x = increasing_root(function, target, params)
    return x, -function(x, params)[1]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _root(function: ScalarMap, target: Array, params: Any) -> tuple[Array, Array]:
    """The root, NaN where it is not certified, and the residual."""
    eps, tiny = jnp.finfo(target.dtype).eps, jnp.finfo(target.dtype).tiny
    largest = jnp.finfo(target.dtype).max / SLACK
    known = jnp.isfinite(target)

    def step(state: _State) -> _State:
        i, x, low, high, reach, best, residual, allowed, waited, before, frozen = state
        value, log_slope = function(x, params)
        f, slope = value - target, jnp.exp(log_slope)
        low, high = jnp.where(f <= 0, x, low), jnp.where(f >= 0, x, high)
        better = jnp.abs(f) < residual
        best = jnp.where(better, x, best)
        residual = jnp.where(better, jnp.abs(f), residual)
        rounding = jnp.minimum(eps * (1 + jnp.abs(target) + jnp.abs(x) * slope), largest)
        allowed = jnp.where(better, rounding, allowed)
        waited = jnp.where(better, 0, waited + 1)
        exact = residual <= 2 * allowed
        stalled = (residual <= NOISE * allowed) & (waited >= 3)
        closed = high - low <= 2 * eps * jnp.abs(x) + tiny
        done = ~known | exact | stalled | closed

        newton = x - f / slope
        bracketed = jnp.isfinite(high - low)
        # Half way, also between bounds whose sum overflows.
        middle = 0.5 * low + 0.5 * high
        further = jnp.where(f < 0, x + reach, x - reach)
        inside = (newton > low) & (newton < high)
        # A Newton step that is not half as long as the last but one makes no headway: bisect.
        quick = jnp.abs(newton - x) < 0.5 * before[0]
        near = jnp.abs(newton - x) <= reach
        moved = jnp.where(
            bracketed,
            jnp.where(inside & quick, newton, middle),
            jnp.where(inside & near, newton, further),
        )
        reach = jnp.where(bracketed, reach, reach * GROWTH)
        before = jnp.stack([before[1], jnp.abs(moved - x)])

        new = (moved, low, high, reach, best, residual, allowed, waited, before)
        kept = [jnp.where(frozen, old, new) for old, new in zip(state[1:-1], new, strict=True)]
        return (i + 1, *kept, frozen | done)

    x = jnp.clip(jnp.where(known, target, 0.0), -NEAR, NEAR)
    nothing, infinite = jnp.zeros_like(x), jnp.full_like(x, jnp.inf)
    start: _State = (
        *(jnp.zeros((), jnp.int32), x, -infinite, infinite, 1 + 0.1 * jnp.abs(x)),
        *(x, infinite, nothing, jnp.zeros(x.shape, jnp.int32)),
        *(jnp.stack([infinite, infinite]), jnp.zeros(x.shape, bool)),
    )
    end = jax.lax.while_loop(lambda s: (s[0] < STEPS) & ~s[-1].all(), step, start)
    low, high, best, residual, allowed = (end[i] for i in (2, 3, 5, 6, 7))
    # Either the residual is rounding, or the function passes the target between neighbouring numbers.
    between = high - low <= 4 * eps * jnp.abs(best) + tiny
    reached = (residual <= SLACK * allowed) | between
    return jnp.where(known, jnp.where(reached, best, jnp.nan), target), residual


@_root.defjvp
def _root_jvp(function: ScalarMap, primals: Any, tangents: Any) -> tuple[Any, Any]:
    target, params = primals
    x, residual = _root(function, target, params)
    _, by_params = jax.jvp(lambda p: function(x, p)[0], (params,), (tangents[1],))
    x_dot = (tangents[0] - by_params) * jnp.exp(-function(x, params)[1])
    return (x, residual), (x_dot, jnp.zeros_like(residual))
