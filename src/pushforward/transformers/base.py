"""The interface of every transformer: a family of increasing scalar maps."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
from jaxtyping import Array

from pushforward.numeric import solved


class AbstractTransformer(eqx.Module):
    """A family of strictly increasing scalar maps, one for each value, chosen by its parameters.

    Structures (coupling, autoregressive, elementwise) supply the parameters on the leading axis: a map over `(n, d)`
    values reads `(size, n, d)` parameters, and every operation runs along the long axes. An axis of parameters that
    values share may be 1, as in `(size, 1, d)`, and then so may a log-slope's. All-zero parameters give the identity,
    or a map close to it, where training starts.

    `inverse` (data to latent, the density's direction) is the direct formula. `forward` is its numeric inverse, unless
    a family knows better.

    Attributes:
        volume_preserving: whether every log-slope is 0; default False.
        searched: whether `forward` is a numeric search; default False.
    """

    volume_preserving: ClassVar[bool] = False
    searched: ClassVar[bool] = False

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of parameters of one scalar map."""

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        """`z` of any shape, `params` `(size, *shape)` -> `x` and `log dx/dz`, both of z's shape."""
        return solved(self.inverse, z, params)

    @abstractmethod
    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        """`x` of any shape, `params` `(size, *shape)` -> `z` and `log dz/dx`, both of x's shape."""
