"""Parameters from a condition, row by row: hypernetwork amortization."""

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from pushforward.bijections.base import (
    AbstractBijection,
    Condition,
    Key,
    Mapped,
    PerRow,
    check_bijection,
    replaced,
)
from pushforward.bijections.flow_map import FlowMap
from pushforward.bijections.initialise import has_statistics
from pushforward.draws import normal, spawn
from pushforward.errors import InputError, check_count
from pushforward.fields import AbstractField
from pushforward.ode.solver import holds_solver
from pushforward.parameters import read_entries
from pushforward.rows import Shape, as_shape, condition_size, each_row, flat


class Amortized(AbstractBijection):
    """A map with parameters of each row's own: shared values plus a linear function of the row's condition.

        p(c) = p + H c,    or, for matrices, of low rank:    W(c) = W + U(c) (V_0 + V(c))^T

    H starts at 0, which is the shared map. Any bijection can be amortized. Without `where`, the parameters are those of
    the fields that its class names in `amortized`: of networks and fields the last bias, of planar, radial, Sylvester
    and elementwise maps all of them; where a class names none, all of its own.

    Cost, either way: the head, `outputs * context` multiply-adds per row, and the map. A matrix of each row's own is
    formed for every row, `out * in` numbers, and takes no part in a batch's matrix product: leave most weights shared.
    A search or a solve runs until the last row is done. Noise is drawn per row.

    Sylvester normalizing flows (van den Berg et al. 2018, arXiv 1803.05649), whose parameters are amortized; biases and
    low-rank updates of a field as in FFJORD (Grathwohl et al. 2019, arXiv 1810.01367, section 4.3).

    Arguments:
        bijection: the map. Its own condition, if any, is the same one.
        context: the size or shape of the condition.
        where: from the map to the arrays that become each row's own, as for `equinox.tree_at`; default by its classes.
        rank: of the changes to matrices, where that takes fewer numbers; default 0, which changes every entry.
        key: draws `V_0`.

    Raises `InputError` where there is nothing to amortize, `where` selects anything but floating-point arrays, the
    conditions differ, or the map cannot go row by row: it has batch-norm, a continuous map within a composition
    (amortize that one), a trained time of each row's own, or the `hjb` regulariser.

    ```python
    >>> import jax, pushforward as pf
    >>> layer = pf.bijections.Planar(3, key=jax.random.key(0))
    >>> own = pf.bijections.Amortized(layer, 8, key=jax.random.key(1))
    >>> own.head.shape  # w, u and b
    (7, 8)
    >>> own.inverse(jax.numpy.ones((5, 3)), jax.numpy.ones((5, 8)))[0].shape
    (5, 3)

    ```
    """

    bijection: AbstractBijection
    head: Float[Array, "outputs context"]
    directions: tuple[Float[Array, "..."], ...]
    chosen: tuple[int, ...] = eqx.field(static=True)
    shapes: tuple[Shape, ...] = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape = eqx.field(static=True)

    def __init__(
        self,
        bijection: AbstractBijection,
        context: int | Shape,
        *,
        where: Callable[[Any], Any] | None = None,
        rank: int = 0,
        key: PRNGKeyArray,
    ):
        check_bijection(bijection, "what is amortized")
        check_count("rank", rank, 0)
        name, shape = type(bijection).__name__, as_shape(context, "condition")
        if shape is None or bijection.condition_shape not in (None, shape):
            raise InputError(
                f"context={context}: {name} takes a condition of shape {bijection.condition_shape}; the same shape was "
                "expected"
            )
        if has_statistics(bijection):
            raise InputError(
                f"{name} has batch-norm, whose statistics are of many rows: leave it out, amortized maps go row by row"
            )
        if isinstance(bijection, FlowMap):
            if bijection.hjb:
                raise InputError(f"hjb={bijection.hjb} regularises a potential that all rows share")
        elif holds_solver(bijection):
            raise InputError(
                f"{name} has a continuous map within: amortize that one, as in Chain([Amortized(FlowMap(...), ...)])"
            )
        self.bijection, self.rank = bijection, rank
        self.chosen = _chosen(bijection, where)
        leaves = jax.tree.leaves(bijection)
        self.shapes = tuple(np.shape(leaves[i]) for i in self.chosen)
        self.event_shape, self.condition_shape = bijection.event_shape, shape
        matrices = [shape for shape in self.shapes if self._low_rank(shape)]
        self.directions = tuple(
            normal(k, (*s[:-2], s[-1], rank)) / math.sqrt(s[-1])
            for k, s in zip(spawn(key, len(matrices)), matrices, strict=True)
        )
        self.head = jnp.zeros((self._outputs, condition_size(shape)))

    @property
    def latent_shape(self) -> Shape:
        return self.bijection.latent_shape

    def facts_of(self) -> tuple[AbstractBijection, ...]:
        return (self.bijection,)

    def without_log_det(self) -> AbstractBijection:
        bijection = self.bijection.without_log_det()
        return self if bijection is self.bijection else replaced(self, bijection=bijection)

    def unread(self) -> dict[str, Bool[np.ndarray, "..."]]:
        """The head's outputs for entries that the map never reads."""
        leaves = jax.tree.leaves(self.bijection)
        read = jax.tree.leaves(read_entries(self.bijection))
        found: list[np.ndarray] = []
        sides: dict[str, np.ndarray] = {}
        for i, shape in zip(self.chosen, self.shapes, strict=True):
            # In a stack a layer axis leads, and all layers read the same entries.
            entries = np.broadcast_to(read[i], np.shape(leaves[i])).reshape(-1, *shape)[0]
            if self._low_rank(shape):
                rows, columns = (
                    np.repeat(entries.any(a)[..., None], self.rank, -1) for a in (-1, -2)
                )
                sides[f"directions.{len(sides)}"] = ~columns
                found += [rows.ravel(), columns.ravel()]
            else:
                found.append(entries.ravel())
        return {"head": ~np.concatenate(found)[:, None], **sides}

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return self._run("forward_rows", z, condition, key)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return self._run("inverse_rows", x, condition, key)

    def with_outputs(self, outputs: Float[Array, " outputs"]) -> Any:
        """The map of one row, from the head's outputs for that row."""
        leaves, tree = jax.tree.flatten(self.bijection)
        directions, start = iter(self.directions), 0

        def following(shape: Shape) -> Array:
            nonlocal start
            start += math.prod(shape)
            return outputs[start - math.prod(shape) : start].reshape(shape)

        for i, shape in zip(self.chosen, self.shapes, strict=True):
            if self._low_rank(shape):
                left = following((*shape[:-1], self.rank))
                right = next(directions) + following((*shape[:-2], shape[-1], self.rank))
                leaves[i] = leaves[i] + left @ jnp.swapaxes(right, -1, -2)
            else:
                leaves[i] = leaves[i] + following(shape)
        return jax.tree.unflatten(tree, leaves)

    def _low_rank(self, shape: Shape) -> bool:
        """Whether an array's changes are of low rank, which they are where that takes fewer numbers."""
        return len(shape) > 1 and 0 < (shape[-2] + shape[-1]) * self.rank < shape[-2] * shape[-1]

    @property
    def _outputs(self) -> int:
        """How many numbers the head gives per row."""
        return sum(
            math.prod(s[:-2]) * (s[-2] + s[-1]) * self.rank if self._low_rank(s) else math.prod(s)
            for s in self.shapes
        )

    def _outputs_of(self, condition: Condition) -> Float[Array, "n features"]:
        """The head's outputs, followed by the condition where the map itself takes one."""
        assert condition is not None
        features = flat(condition)
        outputs = features @ self.head.T
        if self.bijection.condition_shape is None:
            return outputs
        return jnp.concatenate([outputs, features], axis=1)

    def _apart(self, row: Float[Array, " features"]) -> tuple[Any, tuple[Array, ...]]:
        """From one row of `_outputs_of`: its map, and the condition `(1, *condition)` if the map takes one."""
        own = self.with_outputs(row[: self._outputs])
        if self.bijection.condition_shape is None:
            return own, ()
        return own, (row[self._outputs :].reshape(1, *self.condition_shape),)

    def _run(self, method: str, value: Array, condition: Condition, key: Key) -> Mapped:
        outputs = self._outputs_of(condition)
        if isinstance(self.bijection, FlowMap):
            continuous = self.bijection.with_field(_AmortizedField(self))
            solved: Mapped = getattr(continuous, method)(value, outputs, key)
            return solved

        def one(row: Array, value: Array, key: Key) -> tuple[Array, Float[Array, ""]]:
            own, given = self._apart(row)
            out, log_det = getattr(own, method)(value[None], given[0] if given else None, key)
            return out[0], log_det[0]

        keys = None if key is None else jax.random.split(key, len(value))
        mapped: Mapped = each_row(one, outputs, value, keys)
        return mapped


class _AmortizedField(AbstractField):
    """The field of an amortized continuous map, whose condition is the head's outputs, computed once per solve."""

    amortized: Amortized
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape = eqx.field(static=True)

    def __init__(self, amortized: Amortized):
        inner = amortized.bijection.condition_shape
        self.condition_shape = (amortized.head.shape[0] + condition_size(inner),)
        self.event_shape = amortized.event_shape
        # The head's gradient flows through its outputs.
        self.amortized = eqx.tree_at(lambda a: a.head, amortized, None)

    def prepared(self) -> "_AmortizedField":
        return self

    def with_divergence(
        self, t: ArrayLike, x: Float[Array, "n d"], condition: Condition = None
    ) -> tuple[Float[Array, "n d"], PerRow | None]:
        assert condition is not None
        t = jnp.asarray(t, x.dtype)
        times = jnp.broadcast_to(t, (len(x), *t.shape[1:])) if t.ndim else None

        def one(row: Array, x: Array, own_t: Array | None) -> tuple[Array, Array | None]:
            own, given = self.amortized._apart(row)
            when = t if own_t is None else own_t[None]
            if isinstance(own.field, AbstractField):
                value, trace = own.field.with_divergence(when, x[None], *given)
            else:
                value, trace = own.field(when, x[None], *given), None
            return value[0], None if trace is None else trace[0]

        value, trace = each_row(one, condition, x, times)
        return value, trace


class _Number(int):
    """An array's index among the leaves of a map."""


def _chosen(bijection: AbstractBijection, where: Callable[[Any], Any] | None) -> tuple[int, ...]:
    """The indices of the leaves that become each row's own."""
    leaves, tree = jax.tree.flatten(bijection)
    numbered = jax.tree.unflatten(
        tree, [_Number(i) if eqx.is_inexact_array(leaf) else leaf for i, leaf in enumerate(leaves)]
    )
    name = type(bijection).__name__
    if where is None:
        read = jax.tree.leaves(read_entries(bijection))
        found = [i for i in _named(numbered) if np.any(read[i])]
    else:
        found = jax.tree.leaves(where(numbered))
        if not all(isinstance(i, _Number) for i in found):
            raise InputError(
                f"where selects something in {name} that is not a floating-point array"
            )
    if not found:
        raise InputError(f"{name} has no parameters that could be each row's own")
    if isinstance(bijection, FlowMap) and numbered.log_time in found:
        raise InputError("a continuous map's time cannot be each row's own: leave log_time out")
    return tuple(map(int, sorted(set(found))))


def _named(node: Any) -> list[int]:
    """The arrays that a module's class, and the classes of its fields, name in `amortized`."""
    if isinstance(node, _Number):
        return [node]
    if isinstance(node, eqx.Module):
        names = getattr(type(node), "amortized", None)
        names = [field.name for field in fields(node)] if names is None else names
        return [i for name in names for i in _named(getattr(node, name))]
    inner = jax.tree.leaves(node, is_leaf=lambda part: isinstance(part, eqx.Module))
    return [i for part in inner if part is not node for i in _named(part)]
