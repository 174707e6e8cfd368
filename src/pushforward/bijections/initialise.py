"""The data passes that set data-dependent layers."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.bijections.base import AbstractBijection
from pushforward.errors import InputError
from pushforward.rows import Numbers, broadcasting

B = TypeVar("B", bound=AbstractBijection)
STATISTICS = ("measuring",)
"""The method of a map that stores statistics of data: from rows to the map with theirs."""
START = ("standardising", *STATISTICS)
"""These, and the method of a map that starts from data rows."""


def initialised(bijection: B, x: Numbers, condition: Numbers | None = None) -> B:
    """The map with every `ActNorm` and `BatchNorm` in it set from the data rows that reach it; all else unchanged.

    So is any map with a method `standardising(x)` or `measuring(x)`, from data rows to the map that they set. A map of
    maps that are not its parts, as they do not act on whole events, has a method `visited(visit, x, condition)`: it
    calls `visit(map, rows, condition)` for each of them, which gives the map that the rows have set and their latents,
    and returns itself with these maps, and the latents of x.

    Arguments:
        bijection: a map, or a composition, whose parts are visited.
        x: `(n, *event)` data rows.
        condition: `(n, *condition)`, if the map takes one.

    Raises `InputError` for such a layer where no data pass can reach it: inside `Invert`, or a map without parts.
    """
    return _passed(bijection, x, condition, START)


def with_statistics(bijection: B, x: Numbers, condition: Numbers | None = None) -> B:
    """The map with the stored statistics of every `BatchNorm` in it measured on the data rows that reach it.

    Arguments and errors as in `initialised`.
    """
    return _passed(bijection, x, condition, STATISTICS)


def has_statistics(model: Any) -> bool:
    """Whether the model holds a `BatchNorm`, or another map with a method `measuring`."""
    return _within(model, STATISTICS) is not None


def _passed(bijection: B, x: Numbers, condition: Any, methods: tuple[str, ...]) -> B:
    if _within(bijection, methods) is None:
        return bijection
    with broadcasting():
        passed: B = _set(bijection, jnp.asarray(x), condition, methods)[0]
        return passed


def _set(bijection: Any, x: Array, condition: Any, methods: tuple[str, ...]) -> tuple[Any, Array]:
    if hasattr(bijection, "visited"):

        def visit(part: Any, x: Array, condition: Any) -> tuple[Any, Array]:
            return _set(part, x, condition, methods)

        whole: tuple[Any, Array] = bijection.visited(visit, x, condition)
        return whole
    parts: list[AbstractBijection] = []
    for part in reversed(bijection.parts()):
        part, x = _set(part, x, condition, methods)
        parts.insert(0, part)
    if parts:
        return bijection.with_parts(parts), x
    own = [method for method in methods if hasattr(bijection, method)]
    if own:
        bijection = getattr(bijection, own[0])(x)
    elif (inner := _within(bijection, methods)) is not None:
        outer = type(bijection).__name__
        raise InputError(f"{type(inner).__name__} inside {outer} cannot be set from data")
    return bijection, _latents(bijection, x, condition)


def _latents(bijection: AbstractBijection, x: Array, condition: Any) -> Array:
    z = _compiled(bijection, x, condition)
    if not isinstance(z, jax.core.Tracer) and np.isnan(np.asarray(z)).any():
        # Uncompiled, a search that fails raises.
        return bijection.inverse_rows(x, condition, None)[0]
    return z


@eqx.filter_jit
def _compiled(bijection: AbstractBijection, x: Array, condition: Any) -> Array:
    """Compiled once for all equal layers; no log-dets, which cost continuous maps a multiple."""
    return bijection.without_log_det().inverse_rows(x, condition, None)[0]


def _within(model: Any, methods: tuple[str, ...]) -> AbstractBijection | None:
    """The first map in a model that has one of the methods."""

    def found(node: Any) -> bool:
        return isinstance(node, AbstractBijection) and any(hasattr(node, name) for name in methods)

    return next(filter(found, jax.tree.leaves(model, is_leaf=found)), None)
