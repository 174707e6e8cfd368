"""A state of several arrays as one."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

State = Any


class Packing(eqx.Module):
    """How arrays of one type are laid side by side: `(rows, entries)` where all have the same rows, else `(entries,)`.

    Whatever a solver does with a state it does once per array: one array compiles and runs faster than three.
    """

    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    structure: Any = eqx.field(static=True)
    by_rows: bool = eqx.field(static=True)

    def pack(self, state: State) -> Array:
        """The state as one array."""
        leaves = jax.tree.leaves(state)
        if self.by_rows:
            return jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], 1)
        return jnp.concatenate([leaf.ravel() for leaf in leaves])

    def unpack(self, packed: Array) -> State:
        """The state again; axes before the packed array's own stay in front."""
        lead = packed.shape[: packed.ndim - 1 - self.by_rows]
        leaves, at = [], 0
        for shape in self.shapes:
            size = math.prod(shape[self.by_rows :])
            part = jax.lax.slice_in_dim(packed, at, at + size, axis=-1)
            leaves.append(part.reshape(*lead, *shape))
            at += size
        return jax.tree.unflatten(self.structure, leaves)


class PackedField(eqx.Module):
    """A field of packed states."""

    field: Callable[[Array, State], State]
    packing: Packing

    def __call__(self, t: Array, packed: Array) -> Array:
        if t.ndim:
            t = t.reshape(-1, *[1] * (len(self.packing.shapes[0]) - 1))
        return self.packing.pack(self.field(t, self.packing.unpack(packed)))


def packing_of(state: State, rows_needed: bool) -> Packing | None:
    """The packing of a state, a pytree of arrays; None where it is one array already, or cannot be one.

    With `rows_needed` the leading axis must remain one of rows.
    """
    leaves, structure = jax.tree.flatten(state)
    shapes = tuple(leaf.shape for leaf in leaves)
    by_rows = all(shape[:1] == shapes[0][:1] and shape for shape in shapes)
    same = all(leaf.dtype == leaves[0].dtype for leaf in leaves)
    if len(leaves) == 1 or not same or (rows_needed and not by_rows):
        return None
    return Packing(shapes, structure, bool(by_rows))
