"""The interface of every bijection."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.errors import InputError
from pushforward.rows import Numbers, Shape, broadcast_rows, settled
from pushforward.transformers.base import AbstractTransformer

M = TypeVar("M", bound=eqx.Module)
Condition = Array | None
"""Condition rows `(n, *condition)`; None where a map takes none."""
Key = PRNGKeyArray | None
"""The key of noise while training; None in evaluation."""
PerRow = Float[Array, " n"]
"""One number per row."""
Mapped = tuple[Array, PerRow]
"""The rows that a map gives, and its log |det| at each."""


class AbstractBijection(eqx.Module):
    """An invertible map between latent ``z`` and data ``x``, with the log |det| of either direction.

    A leaf declares its two shapes and writes two methods on rows, which always carry exactly one batch axis:
    `forward_rows` pushes latent to data, `inverse_rows` pulls data back. Callers use `forward` and `inverse`, which
    take any leading axes, broadcast the condition and check shapes.

    Everything else has a default, which a leaf may replace by a property or a class attribute: its `latent_shape`, the
    `parts` of a composition, and the facts `volume_preserving`, `exact` and `recomputable`. Optional are a method
    `unread`, the entries of its arrays that the map never reads (`pushforward.parameters.Unread`), an attribute
    `amortized`, the fields that `Amortized` makes each row's own, and the methods that `initialised` names.

    Attributes:
        event_shape: the shape of one data event.
        condition_shape: the shape of one condition, or None where the map takes none.
    """

    event_shape: eqx.AbstractVar[Shape]
    condition_shape: eqx.AbstractVar[Shape | None]

    def __check_init__(self) -> None:
        if math.prod(self.latent_shape) != math.prod(self.event_shape):
            raise InputError(
                f"{type(self).__name__} takes {self.latent_shape} to {self.event_shape}: an invertible map needs as "
                "many numbers at either end"
            )

    @property
    def latent_shape(self) -> Shape:
        """The shape of one latent event, of the size of `event_shape`; default the same."""
        return self.event_shape

    def parts(self) -> tuple["AbstractBijection", ...]:
        """The maps that `forward` applies one after another; default none: not a composition."""
        return ()

    def with_parts(self, parts: Sequence["AbstractBijection"]) -> "AbstractBijection":
        """The same composition of other parts, as many as `parts()` has. Every map with parts defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define with_parts")

    def facts_of(self) -> tuple["AbstractBijection", ...]:
        """The maps whose facts are also this map's; default `parts()`."""
        return self.parts()

    @property
    def volume_preserving(self) -> bool:
        """Whether every log-det is 0; default: whether those of `facts_of` all say so, False where there are none."""
        maps = self.facts_of()
        return bool(maps) and all(one.volume_preserving for one in maps)

    @property
    def exact(self) -> bool:
        """Whether log-dets in evaluation are exact, not estimates; default: whether those of `facts_of` all say so."""
        return all(one.exact for one in self.facts_of())

    @property
    def recomputable(self) -> bool:
        """Whether the two directions undo each other in training too, given one key, as `remat="invertible"` needs;
        default: whether those of `facts_of` all say so."""
        return all(one.recomputable for one in self.facts_of())

    def without_log_det(self) -> "AbstractBijection":
        """The same map for draws without densities: its log-dets may be 0, to save their cost. Default: itself."""
        return self

    @abstractmethod
    def forward_rows(
        self, z: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        """`(n, *latent)` rows to data rows `(n, *event)`, with the log |det| of dx/dz, `(n,)`."""

    @abstractmethod
    def inverse_rows(
        self, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        """`(n, *event)` data rows to latent rows `(n, *latent)`, with the log |det| of dz/dx, `(n,)`."""

    def forward(
        self, z: Numbers, condition: Numbers | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """Push latent to data: `x` and `log |det dx/dz|` in nats.

        Arguments:
            z: `(*batch, *latent)`.
            condition: `(*batch, *condition)`, broadcast against the batch of z.
            key: noise for maps that use it in training (dropout); without it the map is deterministic.

        Raises `InputError` where a shape does not fit and, outside of `jit`, `ConvergenceError` where a numeric
        inverse fails; under `jit` such rows are NaN.
        """
        rows, condition_rows, batch = broadcast_rows(
            z, self.latent_shape, condition, self.condition_shape, "z", self
        )
        x, log_det = settled(lambda: self.forward_rows(rows, condition_rows, key), rows)
        return x.reshape(*batch, *self.event_shape), log_det.reshape(batch)

    def inverse(
        self, x: Numbers, condition: Numbers | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """Pull data back to latent: `z` and `log |det dz/dx|` in nats; arguments as in `forward`.

        Outside of `jit` it raises `InputError` for rows outside the map's range; under `jit` their log-det is -inf.
        """
        rows, condition_rows, batch = broadcast_rows(
            x, self.event_shape, condition, self.condition_shape, "x", self
        )
        z, log_det = settled(lambda: self.inverse_rows(rows, condition_rows, key), rows)
        if not isinstance(log_det, jax.core.Tracer) and (outside := np.isneginf(log_det)).any():
            row = np.asarray(rows)[int(np.argmax(outside))]
            raise InputError(
                f"{int(outside.sum())} of {len(rows)} rows lie outside the values that the map takes, "
                f"the first is {row.tolist()}"
            )
        return z.reshape(*batch, *self.latent_shape), log_det.reshape(batch)


def replaced(module: M, **values: Any) -> M:
    """The module with other values in the named fields; unchecked."""
    other: M = object.__new__(type(module))
    for field in fields(module):
        value = values[field.name] if field.name in values else getattr(module, field.name)
        object.__setattr__(other, field.name, value)
    return other


def check_bijection(given: object, where: str) -> None:
    """Raise `InputError` unless `given` is a bijection; `where` names the place, such as "a chain's map 2"."""
    if isinstance(given, AbstractBijection):
        return
    kind = given.__name__ if isinstance(given, type) else type(given).__name__
    if isinstance(given, AbstractTransformer):
        raise InputError(
            f"{where} is {kind}, a map of one number: wrap it in Elementwise, "
            f"as in Elementwise({kind}(), 2) for rows of 2 columns"
        )
    raise InputError(f"{where} must be a bijection, not {kind}")


def single_maps(bijection: AbstractBijection) -> list[AbstractBijection]:
    """The maps that a composition applies, first to last, nested compositions opened."""
    parts = bijection.parts()
    return [leaf for part in parts for leaf in single_maps(part)] if parts else [bijection]
