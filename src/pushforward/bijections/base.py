"""The interface of every bijection."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.errors import InputError
from pushforward.rows import Shape, broadcast_rows, settled
from pushforward.transformers.base import AbstractTransformer


class AbstractBijection(eqx.Module):
    """An invertible map between latent ``z`` and data ``x``, with the log |det| of either direction.

    A leaf declares its two shapes and writes two methods on rows, which always carry exactly one batch axis:
    `forward_rows` pushes latent to data, `inverse_rows` pulls data back. Callers use `forward` and `inverse`, which
    take any leading axes, broadcast the condition and check shapes.

    What else a map has to say of itself has a default, which a leaf may replace: its `latent_shape`, the `parts` of a
    composition, and the facts `volume_preserving`, `exact` and `recomputable`, as a property or as an attribute of the
    class. A method `unread` says which entries of its arrays are never read (`pushforward.parameters.Unread`), an
    attribute `amortized` which of its fields `Amortized` makes each row's own; both may be left out.

    Attributes:
        event_shape: the shape of one data event.
        condition_shape: the shape of one condition, or None where the map takes none.
    """

    event_shape: eqx.AbstractVar[Shape]
    condition_shape: eqx.AbstractVar[Shape | None]

    def __check_init__(self):
        if math.prod(self.latent_shape) != math.prod(self.event_shape):
            raise InputError(
                f"{type(self).__name__} takes {self.latent_shape} to {self.event_shape}: an invertible map has as many "
                "numbers at either end"
            )

    @property
    def latent_shape(self) -> Shape:
        """The shape of one latent event, of the size of `event_shape`; default the same."""
        return self.event_shape

    def parts(self) -> tuple["AbstractBijection", ...]:
        """The maps that `forward` applies one after another; default none, which says: a map of its own."""
        return ()

    def with_parts(self, parts: Sequence["AbstractBijection"]) -> "AbstractBijection":
        """The same composition of other parts, as many as `parts()` has. A map with parts defines it."""
        raise NotImplementedError(
            f"{type(self).__name__} has no parts, or does not put them together"
        )

    @property
    def volume_preserving(self) -> bool:
        """Whether every log-det is 0; default: whether that of every part is, and False without parts."""
        parts = self.parts()
        return bool(parts) and all(part.volume_preserving for part in parts)

    @property
    def exact(self) -> bool:
        """Whether log-dets in evaluation are exact, not estimates; default: whether those of all parts are."""
        return all(part.exact for part in self.parts())

    @property
    def recomputable(self) -> bool:
        """Whether the two directions undo each other while training too, given one key, as `remat="invertible"` needs;
        default: whether those of all parts do."""
        return all(part.recomputable for part in self.parts())

    def without_log_det(self) -> "AbstractBijection":
        """The same map for draws whose density is not asked for: its log-dets may be left out, as 0. Default itself."""
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
        self, z: ArrayLike, condition: ArrayLike | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """Push latent to data: `x` and `log |det dx/dz|` in nats.

        Arguments:
            z: `(*batch, *latent)`.
            condition: `(*batch, *condition)`, broadcast against the batch of z.
            key: noise for maps that use it while training (dropout); without it the map is deterministic.

        Raises `InputError` where a shape does not fit and, outside of `jit`, `ConvergenceError` where a numeric
        inverse does not reach its target; under `jit` such rows are NaN.
        """
        rows, condition_rows, batch = broadcast_rows(
            z, self.latent_shape, condition, self.condition_shape, "z", self
        )
        x, log_det = settled(lambda: self.forward_rows(rows, condition_rows, key), rows)
        return x.reshape(*batch, *self.event_shape), log_det.reshape(batch)

    def inverse(
        self, x: ArrayLike, condition: ArrayLike | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """Pull data back to latent: `z` and `log |det dz/dx|` in nats; arguments as in `forward`.

        Raises, outside of `jit`, `InputError` for rows that the map cannot produce; under `jit` their log-det is
        -inf.
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


def check_bijection(given: object, where: str) -> None:
    """Raises `InputError` for what is not a bijection.

    Arguments:
        given: what stands in the place of a map.
        where: the place, such as "a chain's map 2".
    """
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
    """The maps of their own that a composition applies, first to last, however deep they lie."""
    parts = bijection.parts()
    return [leaf for part in parts for leaf in single_maps(part)] if parts else [bijection]
