"""The affine transformer."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import InputError
from pushforward.transformers.base import AbstractTransformer


class Affine(AbstractTransformer):
    """A scale and a shift, `x = exp(s) z + b`, with a softly bounded log-slope `s = bound * tanh(raw / bound)`.

    Training cannot run away to a zero or infinite scale. `most` bounds s above, which keeps draws near the data:
    `s = most - softplus(c - bound * tanh(raw / bound))`, with c such that raw = 0 is slope 1. Cost: one exponential
    either way.

    RealNVP (Dinh et al. 2017, arXiv 1605.08803), MAF (Papamakarios et al. 2017, arXiv 1705.07057).

    Arguments:
        bound: the largest |log-slope|, in nats; default 5.
        most: the largest log-slope of `forward`; default None, `bound`.

    Raises `InputError` unless both are positive.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> pf.transformers.Affine().forward(jnp.array([1.0]), jnp.array([[2.0], [0.0]]))
    (Array([3.], dtype=float32), Array([0.], dtype=float32))

    ```
    """

    bound: float = eqx.field(static=True, default=5.0)
    most: float | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.most is not None and not self.most > 0:
            raise InputError(f"most={self.most}: the largest log-slope must be positive")
        if not self.bound > 0:
            raise InputError(f"bound={self.bound}: the bound of the log-slope must be positive")

    @property
    def size(self) -> int:
        return 2

    def _log_slope(self, params: Array) -> Array:
        log_slope = self.bound * jnp.tanh(params[1] / self.bound)
        if self.most is None:
            return log_slope
        return self.most - jax.nn.softplus(math.log(math.expm1(self.most)) - log_slope)

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        log_slope = self._log_slope(params)
        return z * jnp.exp(log_slope) + params[0], log_slope

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        log_slope = self._log_slope(params)
        return (x - params[0]) * jnp.exp(-log_slope), -log_slope
