"""The divergence of a vector field, exact or estimated."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pushforward.errors import InputError
from pushforward.fields.base import AbstractField
from pushforward.rows import broadcasting, sum_event


def divergence(
    field: Any,
    t: ArrayLike,
    x: Float[Array, "n ..."],
    noise: Array | None = None,
    *,
    condition: Array | None = None,
) -> tuple[Float[Array, "n ..."], Float[Array, " n"]]:
    """The field at rows, and its divergence `sum_i df_i/dx_i`.

    Without noise it is exact: in closed form for fields that have one (`AbstractField`; about one more matrix product),
    else by a tangent for each of d coordinates, which pass through the field side by side. With noise it is
    Hutchinson's estimate `v . J v`, one tangent per probe, unbiased if the noise has unit covariance (Hutchinson 1989).
    In events of several axes, such as images, pullbacks stand in place of tangents.

    Arguments:
        field: `f(t, x)`, or `f(t, x, condition)`.
        t: a number, or `(n, 1, ..., 1)`, a time per row.
        x: `(n, *event)` rows.
        noise: `(n, *event)` or `(probes, n, *event)`, fixed along a solve; None (default) for the exact divergence.
        condition: `(n, *condition)`, if the field takes one.

    Raises `InputError` for noise, or a field's value, of another shape.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.fields import divergence
    >>> value, trace = divergence(lambda t, x: t * x**2, 0.5, jnp.array([[1.0, 2.0]]))
    >>> trace.tolist()
    [3.0]

    ```
    """
    if noise is None and isinstance(field, AbstractField):
        with broadcasting():
            value, trace = field.with_divergence(t, x, condition)
        if trace is not None:
            return value, trace
    arguments = () if condition is None else (condition,)

    def at(x: Array) -> Array:
        value: Array = field(t, x, *arguments)
        if jnp.shape(value) != x.shape:
            raise InputError(
                f"the field gives an array of shape {jnp.shape(value)}, expected {x.shape}, that of the rows"
            )
        return value

    def along(v: Array) -> tuple[Array, Array]:
        """The field, and `v . J v`."""
        v = jnp.broadcast_to(v, x.shape)
        value, moved = pushed(at, x, v)
        return value, sum_event(moved * v)

    if noise is None:
        d = math.prod(x.shape[1:])
        axes = jnp.eye(d, dtype=x.dtype).reshape(d, *x.shape[1:])
        value, found = jax.vmap(along, out_axes=(None, 0))(axes)
        return value, found.sum(0)
    probes = noise[None] if noise.ndim == x.ndim else noise
    if probes.shape[1:] != x.shape:
        raise InputError(
            f"noise has shape {noise.shape}: {x.shape}, or a leading axis of probes before it, was expected"
        )
    if len(probes) == 1:
        return along(probes[0])
    value, found = jax.vmap(along, out_axes=(None, 0))(probes)
    return value, found.mean(0)


def pushed(
    at: Callable[[Array], Array], x: Float[Array, "n ..."], v: Float[Array, "n ..."]
) -> tuple[Array, Array]:
    """The value `f(x)` of a function on rows and its Jacobian's product `J v`; in events of several axes `J^T v`.

    Convolutions know reverse mode only (`networks.convolutional.convolved`). The trace's estimate `v . J v` is the same
    number, and `|J^T v|^2` has the same mean over probes.
    """
    if x.ndim == 2:
        return jax.jvp(at, (x,), (v,))
    value, pull = jax.vjp(at, x)
    return value, pull(v)[0]
