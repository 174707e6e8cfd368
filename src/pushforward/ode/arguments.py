"""The arguments of `solve`: names are looked up, invalid settings are refused."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Number
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import InputError, check_choice, check_count, warn
from pushforward.ode.adjoint import Adjoint
from pushforward.ode.adjoints import ADJOINTS
from pushforward.ode.control import DAMPED, PLAIN, Control, PerComponent, Tolerance
from pushforward.ode.events import Event, check_events, check_then
from pushforward.ode.methods import METHODS, Method
from pushforward.ode.radau import check_system
from pushforward.ode.step import State, along_rows
from pushforward.rows import Numbers, as_float


def method_of(method: Any) -> Any:
    """The method of a name, or the method itself."""
    if isinstance(method, str):
        if method not in METHODS:
            known = ", ".join(METHODS)
            raise InputError(f"method={method!r} is unknown; known: {known}, or a diffrax solver")
        return METHODS[method]
    if isinstance(method, Method):
        return method
    by_diffrax = not isinstance(method, type) and type(method).__module__.startswith("diffrax")
    if by_diffrax and hasattr(method, "term_structure"):
        return method
    raise InputError(f"method={method!r}: a name, Tableau or diffrax solver object was expected")


def adjoint_of(adjoint: str | Adjoint) -> Adjoint:
    """The adjoint of a name, or the adjoint itself."""
    if isinstance(adjoint, str):
        check_choice("adjoint", adjoint, ADJOINTS)
        return ADJOINTS[adjoint]
    if not isinstance(adjoint, Adjoint):
        raise InputError(f"adjoint={adjoint!r}: a name or one of the records in ode was expected")
    return adjoint


def check(control: Control, name: str, tableau: Any, leaves: list[Array], dtype: Any) -> None:
    """Raises `InputError` for invalid settings."""
    check_choice("control", name, ("shared", "per_row"))
    if control.steps is not None:
        check_count("steps", control.steps)
    else:
        rtol, atol = least_of(control.rtol), least_of(control.atol)
        if not rtol >= 0 or not atol >= 0 or rtol + atol <= 0:
            raise InputError(
                f"rtol={rtol}, atol={atol}: tolerances must be positive (one of them may be 0)"
            )
        least = 10 * float(jnp.finfo(dtype).eps)
        if rtol < least:
            warn(
                f"rtol={rtol:g} is below the precision of {dtype}: about {least:.1g} is achievable"
            )
        if isinstance(tableau, Method) and tableau.error is None:
            raise InputError(
                "this method has no error estimate: give steps=N, or take one of "
                + ", ".join(k for k, v in METHODS.items() if v.error is not None)
            )
    check_count("max_steps", control.max_steps)
    if control.per_row:
        sizes = {leaf.shape[:1] for leaf in leaves}
        if len(sizes) > 1 or () in sizes:
            shapes = ", ".join(str(leaf.shape) for leaf in leaves)
            raise InputError(
                f"control='per_row' needs one leading axis of rows in all of the state; its shapes are {shapes}"
            )


def check_implicit(control: Control, leaves: list[Array], adjoint: Adjoint) -> None:
    """Raises `InputError` for what an implicit method cannot solve."""
    if any(map(jnp.iscomplexobj, leaves)):
        raise InputError("a complex state needs an explicit method, or its parts as real numbers")
    if not adjoint.implicit:
        raise InputError(
            f"{adjoint} solves backwards in time, where a stiff field explodes: an implicit method takes adjoint="
            "'checkpoint' or 'direct'"
        )
    check_system(sum(math.prod(leaf.shape[int(control.per_row) :]) for leaf in leaves))


def least_of(tolerance: Tolerance) -> float:
    """The least of tolerances."""
    if not isinstance(tolerance, PerComponent):
        return tolerance
    numbers = [number for _, numbers in tolerance.leaves for number in numbers]
    return float(np.min(numbers)) if numbers else 0.0


def time_of(value: Numbers, name: str, leaves: list[Array], dtype: Any) -> Array:
    """An end of the interval in the state's type."""
    time = as_float(value, name).astype(dtype)
    if time.ndim > 1 or (time.ndim and any(leaf.shape[:1] != time.shape for leaf in leaves)):
        raise InputError(f"{name} has shape {time.shape}: a number, or one per row, was expected")
    if not isinstance(time, jax.core.Tracer) and not np.isfinite(np.asarray(time)).all():
        raise InputError(f"{name}={value} is not finite")
    return time


def as_state(value: Any) -> Array:
    """An array of the state: complex numbers stay what they are, others are floating-point."""
    if isinstance(value, jax.Array | np.ndarray) and jnp.iscomplexobj(value):
        return jnp.asarray(value)
    return as_float(value)


@contextmanager
def forward_mode_named() -> Iterator[None]:
    """JAX's error about forward mode as a line that names the adjoint which has it.

    Where JAX differentiates what is compiled already, its own error comes after `solve` has returned.
    """
    try:
        yield
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        raise InputError(
            "forward mode (jvp, jacfwd, hessian) needs adjoint='direct'; the others have reverse mode only"
        ) from None


def tolerance_of(value: Any, name: str, y0: State) -> Tolerance:
    """A tolerance as a number, or as those of the components; both are static in a compiled solve."""
    given = jax.tree.leaves(value)
    if len(given) == 1 and given[0] is value and np.ndim(value) == 0:
        return number_of(value, name)
    want = jax.tree.structure(y0)
    if str(jax.tree.structure(value)) != str(want):
        raise InputError(
            f"{name} is {jax.tree.structure(value)}: a number, or {want}, was expected"
        )
    if any(isinstance(leaf, jax.core.Tracer) for leaf in given):
        raise InputError(f"{name} is traced: tolerances are numbers when a solve is compiled")
    arrays = []
    for leaf, state in zip(given, jax.tree.leaves(y0), strict=True):
        array = np.asarray(as_float(leaf, name), np.float64)
        beside = zip(array.shape[::-1], state.shape[::-1], strict=False)
        if array.ndim > state.ndim or any(n not in (1, m) for n, m in beside):
            raise InputError(
                f"{name} has shape {array.shape}: one that broadcasts against {state.shape}, the state's, was expected"
            )
        arrays.append(array)
    return PerComponent.of(arrays)


def bounds_of(least: Any, most: Any) -> tuple[float | None, float | None]:
    """The bounds of steps."""
    low = None if least is None else number_of(least, "min_step")
    high = None if most is None else number_of(most, "max_step")
    if (low is not None and not low >= 0) or (high is not None and not high > (low or 0)):
        raise InputError(
            f"min_step={least}, max_step={most}: 0 <= min_step < max_step was expected"
        )
    return low, high


def pid_of(pid: Any, implicit: bool) -> tuple[float, float, float]:
    """Three coefficients."""
    if pid is None:
        return DAMPED if implicit else PLAIN
    try:
        p, i, d = (float(v) for v in pid)
    except (TypeError, ValueError):
        raise InputError(f"pid={pid!r}: three numbers were expected, such as (0, 1, 0)") from None
    if not i > 0:
        raise InputError(f"pid={pid!r}: the second number, the error's own, must be positive")
    return p, i, d


def controller_of(control: Any, method: Any, steps: int | None) -> Any:
    """A diffrax step-size controller, or None for one of ours."""
    if isinstance(control, str):
        return None
    if isinstance(method, Method) or not hasattr(control, "adapt_step_size") or steps is not None:
        raise InputError(
            f"control={control!r}: 'shared', 'per_row' or, with a diffrax solver and no steps=N, its step-size "
            "controller was expected"
        )
    return control


def number_of(value: Any, name: str) -> float:
    """A tolerance as a Python number: it is static in a compiled solve."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name}={value!r}: a number was expected") from None


def stops_of(at: Numbers, name: str, leaves: list[Array], dtype: Any) -> Array:
    """Times on the way."""
    stops = as_float(at, name).astype(dtype)
    by_row = stops.ndim == 2 and all(leaf.shape[:1] == stops.shape[:1] for leaf in leaves)
    if stops.ndim != 1 and not by_row:
        raise InputError(f"{name} has shape {stops.shape}: (k,), or (rows, k), was expected")
    return stops


def check_times(
    t0: Numbers, at: Numbers | None, t1: Numbers, dtype: Any, name: str = "times"
) -> None:
    """Raises `InputError` for times out of order, or so close that they are equal in the state's type."""
    given = [t0, t1] if at is None else [t0, at, t1]
    if any(isinstance(t, jax.core.Tracer) for t in given):
        return
    parts = [np.asarray(t, np.float64) for t in given]
    parts = [parts[0][..., None], *parts[1:-1], parts[-1][..., None]]
    rows = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
    times = np.concatenate([np.broadcast_to(t, (*rows, t.shape[-1])) for t in parts], -1)
    if not np.isfinite(times).all():
        raise InputError(f"{name} must be finite")
    cast, length = times.astype(dtype).astype(np.float64), times[..., -1:] - times[..., :1]
    for wrong, reason in (
        (np.diff(cast) * np.where(length < 0, -1.0, 1.0) < 0, "must go from t0 to t1 in order"),
        # Rounding of times that were meant to be equal does not count.
        (
            (np.diff(cast) == 0) & (np.abs(np.diff(times)) > 1e-6 * np.abs(length)),
            f"must differ in {dtype}, the state's type (count from the first one, or use float64)",
        ),
    ):
        if wrong.any():
            *row, i = np.argwhere(wrong)[0]
            first, second = times[(*row, i)], times[(*row, i + 1)]
            raise InputError(f"{name} {reason}, but {first:.17g} comes before {second:.17g}")


def check_field(field: Any, t: Array, y0: State) -> None:
    """Raises `InputError` if the field's value is not of the state's structure and shapes, or not real."""
    given = eqx.filter_eval_shape(field, t, y0)
    want, got = jax.tree.structure(y0), jax.tree.structure(given)
    if str(want) != str(got):
        raise InputError(f"the field gives {got}, but the state is {want}")
    leaves = jax.tree.leaves_with_path(y0)
    for (path, a), b in zip(leaves, jax.tree.leaves(given), strict=True):
        where = f" at {jax.tree_util.keystr(path)}" if path else ""
        if not hasattr(b, "shape") or not hasattr(b, "dtype"):
            kind = "Python number" if isinstance(b, Number) else type(b).__name__
            raise InputError(
                f"the field gives a {kind}{where}, {b!r}: a JAX array of shape {a.shape} was expected"
            )
        if a.shape != b.shape:
            raise InputError(
                f"the field gives an array of shape {b.shape}{where}, expected {a.shape}, the state's"
            )
        if jnp.iscomplexobj(b) and not jnp.iscomplexobj(a):
            raise InputError(f"the field gives type {b.dtype}{where}: {a.dtype} was expected")


def check_looks(
    interpolate: bool | None,
    save: Any,
    stops: Array | None,
    then: Any,
    events: tuple[Event, ...],
    t: Array,
    y0: State,
    control: Control,
    by_row: bool,
) -> None:
    """Raises `InputError` for what cannot be looked at on the way."""
    if interpolate is False:
        raise InputError(
            "interpolate=False steps onto the times of `at`, and takes no dense, jumps, events or save"
        )
    rows = t.shape if control.per_row else ()
    if events and by_row and not control.per_row:
        raise InputError("events with times per row need control='per_row'")
    at = along_rows(t, jax.tree.leaves(y0)[0])
    check_events(events, rows, t, y0)
    check_then(then, at, y0)
    if save is None:
        return
    if stops is None:
        raise InputError("save says what to return at the times `at`: at=[...] was expected")
    given = eqx.filter_eval_shape(save, at, y0)
    for leaf in jax.tree.leaves(given):
        if not hasattr(leaf, "shape") or not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise InputError(f"save gives {leaf!r}: floating-point arrays were expected")
        if t.shape and leaf.shape[:1] != t.shape:
            raise InputError(
                f"save gives an array of shape {leaf.shape}: rows on its leading axis were expected"
            )
