"""A solution that can be called."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import InputError
from pushforward.ode.adjoint import Steps
from pushforward.ode.interpolation import value
from pushforward.ode.packing import Packing
from pushforward.ode.step import State, along_rows
from pushforward.rows import Numbers, as_float


class Path(eqx.Module):
    """The solution between its ends: the polynomials of all steps.

    Attributes:
        polynomials: coefficients, `(steps, degree + 1, ...)`.
        begins, lengths, ends: of the steps in time, `(steps, *rows)`; unused steps end where the last did.
        t0, t1: the interval.
    """

    polynomials: State
    begins: Array
    lengths: Array
    ends: Array
    t0: Array
    t1: Array
    packing: Packing | None

    def __call__(self, t: Numbers) -> State:
        """The states at times of any shape, `(*times, ...)`, by one look at all steps' ends for each of them."""
        times = as_float(t, "t").astype(self.ends.dtype)
        low, high = jnp.minimum(self.t0, self.t1).min(), jnp.maximum(self.t0, self.t1).max()
        if not any(isinstance(v, jax.core.Tracer) for v in (times, low, high)):
            given = np.asarray(times)
            if not ((given >= low) & (given <= high)).all():
                raise InputError(
                    f"t from {given.min():.6g} to {given.max():.6g}: times from {low:.6g} to {high:.6g} were expected"
                )
        flat = jax.lax.map(self._at, times.ravel())
        if self.packing is not None:
            flat = self.packing.unpack(flat)
        return jax.tree.map(lambda leaf: leaf.reshape(*times.shape, *leaf.shape[1:]), flat)

    def _at(self, t: Array) -> State:
        way = jnp.where(self.t1 < self.t0, -1.0, 1.0).astype(t.dtype)
        before = (way * t)[None] > way[None] * self.ends
        outside = before[-1] | (way * t < way * self.t0)
        i = jnp.minimum(before.sum(0, dtype=jnp.int32), len(self.ends) - 1)
        if i.ndim:
            rows = jnp.arange(len(i), dtype=i.dtype)
            here = jax.tree.map(lambda leaf: jnp.moveaxis(leaf[i, :, rows], 0, 1), self.polynomials)
            begin, length = self.begins[i, rows], self.lengths[i, rows]
        else:
            here = jax.tree.map(lambda leaf: leaf[i], self.polynomials)
            begin, length = self.begins[i], self.lengths[i]
        nothing = length == 0
        u = jnp.where(nothing, 0.0, (t - begin) / jnp.where(nothing, 1.0, length))
        return jax.tree.map(
            lambda leaf: jnp.where(along_rows(outside, leaf), jnp.nan, leaf), value(here, u)
        )


def steps_in_time(
    steps: Steps, a: Array, b: Array, end: Array
) -> tuple[State, Array, Array, Array]:
    """Polynomials, begins, lengths and ends of the steps of one interval that ended at `end`."""
    rows = max(a.ndim, steps.starts.ndim - 1)
    starts, sizes = (x[:, None] if x.ndim == rows else x for x in (steps.starts, steps.sizes))
    used = jnp.arange(len(starts), dtype=jnp.int32) < steps.taken
    used = used.reshape(-1, *[1] * rows)
    length = (b - a)[None]
    begins, lengths = a[None] + starts * length, jnp.where(used, sizes, 0.0) * length
    reached = jax.lax.cummax(jnp.where(used, starts + sizes, 0.0), axis=0)
    # A sum that misses the end by rounding.
    reached = jnp.where(reached > 1 - 16 * jnp.finfo(a.dtype).eps, 1.0, reached)
    ends = jax.lax.stop_gradient(a[None] + reached * length)
    way = jnp.where(b < a, -1.0, 1.0)[None].astype(ends.dtype)
    ends = way * jnp.minimum(way * ends, jax.lax.stop_gradient(way * end[None]))
    return steps.polynomials, jnp.broadcast_to(begins, ends.shape), lengths, ends
