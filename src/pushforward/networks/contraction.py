"""What a residual map needs of its network."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.rows import Shape


class AbstractJacobian(eqx.Module):
    """The Jacobian of a contraction at n events, as a linear map of arrays in the contraction's layout."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of coordinates."""

    @abstractmethod
    def times(self, v: Array) -> Array:
        """`J v`."""

    @abstractmethod
    def transposed(self, v: Array) -> Array:
        """`J^T v`."""

    @property
    def least(self) -> int:
        """The size of the matrices `smallest`; default `size`."""
        return self.size

    def smallest(self) -> Float[Array, "least least n"]:
        """The smallest matrices M with `det(I + M) = det(I + J)`; default J."""
        return self.matrix()

    @abstractmethod
    def matrix(self) -> Float[Array, "size size n"]:
        """All of it."""


class AbstractContraction(eqx.Module):
    """A map g of events to events of the same shape with `|g(x) - g(y)| <= lipschitz |x - y|`, as `bijections.Residual`
    takes it.

    Its arrays have the rows along the last axis, in a layout of its own for the other axes, to which `columns` takes
    rows once for many calls.

    Attributes:
        lipschitz: the constant, which holds at every step of training, below 1.
    """

    lipschitz: eqx.AbstractVar[float]

    @property
    @abstractmethod
    def event_shape(self) -> Shape:
        """The shape of an event."""

    @abstractmethod
    def weights(self) -> Any:
        """The weights as they are applied, scaled to the Lipschitz constant: made once for many calls."""

    @abstractmethod
    def linearised(
        self, weights: Any, x: Array, condition: Array | None
    ) -> tuple[Array, AbstractJacobian]:
        """The value at `x`, and the Jacobian there; `condition` is `(size, n)`."""

    def columns(self, rows: Array) -> Array:
        """Rows `(n, *event)` in the layout of the contraction, with n last; default for vectors."""
        return rows.T

    def rows(self, columns: Array) -> Array:
        """The inverse of `columns`."""
        return columns.T

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        return self.apply(self.weights(), x, condition)

    def apply(self, weights: Any, x: Array, condition: Array | None) -> Array:
        """The value with the weights from `weights`."""
        return self.linearised(weights, x, condition)[0]


def by_tangents(jacobian: AbstractJacobian, event: Shape, n: int, dtype: Any) -> Array:
    """The matrices `(size, size, n)` of a Jacobian by one tangent for each coordinate; `event` is of its layout."""
    d = jacobian.size
    tangents = jnp.eye(d, dtype=dtype).reshape(d, *event, 1)
    images = jax.vmap(jacobian.times)(jnp.broadcast_to(tangents, (d, *event, n)))
    return images.reshape(d, d, n).swapaxes(0, 1)
