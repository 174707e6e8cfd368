"""The interface of every transformer: a family of increasing scalar maps."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
from jaxtyping import Array


class AbstractTransformer(eqx.Module):
    """A family of strictly increasing scalar maps, one for each value, chosen by its parameters.

    Structures (coupling, autoregressive, elementwise) supply the parameters. They stand on the leading axis, so that
    a map over `(n, d)` values reads its parameters as `(size, n, d)` and every operation runs along the long axes; an
    axis of parameters that values share may be 1, as in `(size, 1, d)`, and then so may a log-slope's.
    All-zero parameters give the identity, or a map close to it: that is where training starts.

    `inverse` (data to latent, the density's direction) is the direct formula; `forward` may have to solve.

    Attributes:
        volume_preserving: whether every log-slope is 0; default False.
        searched: whether `forward` is a numeric search, of hundreds of steps; default False.
    """

    volume_preserving: ClassVar[bool] = False
    searched: ClassVar[bool] = False

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of parameters of one scalar map."""

    @abstractmethod
    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        """`z` of any shape, `params` `(size, *shape)` -> `x` and `log dx/dz`, both of z's shape."""

    @abstractmethod
    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        """`x` of any shape, `params` `(size, *shape)` -> `z` and `log dz/dx`, both of x's shape."""
