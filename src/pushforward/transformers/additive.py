"""The additive transformer."""

import jax.numpy as jnp
from jaxtyping import Array

from pushforward.transformers.base import AbstractTransformer


class Additive(AbstractTransformer):
    """A shift, `x = z + b`: volume-preserving, log-slope 0. Cost: one addition either way.

    NICE (Dinh et al. 2014, arXiv 1410.8516).

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> pf.transformers.Additive().forward(jnp.array([1.0]), jnp.array([[2.0]]))
    (Array([3.], dtype=float32), Array([0.], dtype=float32))

    ```
    """

    volume_preserving = True

    @property
    def size(self) -> int:
        return 1

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        return z + params[0], jnp.zeros_like(z)

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        return x - params[0], jnp.zeros_like(x)
