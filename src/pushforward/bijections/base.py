"""The interface of every bijection."""

from abc import abstractmethod

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

    Attributes:
        event_shape: the shape of one event.
        condition_shape: the shape of one condition, or None where the map takes none.
    """

    event_shape: eqx.AbstractVar[Shape]
    condition_shape: eqx.AbstractVar[Shape | None]

    @abstractmethod
    def forward_rows(
        self, z: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        """`(n, *event)` latent rows to data rows, with the log |det| of dx/dz, `(n,)`."""

    @abstractmethod
    def inverse_rows(
        self, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Float[Array, " n"]]:
        """`(n, *event)` data rows to latent rows, with the log |det| of dz/dx, `(n,)`."""

    def forward(
        self, z: ArrayLike, condition: ArrayLike | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """Push latent to data: `x` and `log |det dx/dz|` in nats.

        Arguments:
            z: `(*batch, *event)`.
            condition: `(*batch, *condition)`, broadcast against the batch of z.
            key: noise for maps that use it while training (dropout); without it the map is deterministic.

        Raises `InputError` where a shape does not fit and, outside of `jit`, `ConvergenceError` where a numeric
        inverse does not reach its target; under `jit` such rows are NaN.
        """
        rows, condition_rows, batch = broadcast_rows(
            z, self.event_shape, condition, self.condition_shape, "z", self
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
        return z.reshape(*batch, *self.event_shape), log_det.reshape(batch)


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
