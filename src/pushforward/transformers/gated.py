"""The gated transformer of the inverse autoregressive flow."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import InputError
from pushforward.transformers.base import AbstractTransformer


class Gated(AbstractTransformer):
    """A mean of the value and a new one, weighted by a gate, `z = g x + (1 - g) m` with `g = sigmoid(s)`.

    The update of LSTM cells, for stability: the gate starts nearly open and the slope never exceeds 1.
    `s = 2 + bound * tanh(raw / bound)`. Cost: one sigmoid either way.

    Inverse autoregressive flow (Kingma et al. 2016, arXiv 1606.04934, equations 13 and 14).

    Arguments:
        bound: how far the gate's logit may move from its start at 2; default 5.

    Raises `InputError` unless the bound is positive.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> z, _ = pf.transformers.Gated().inverse(jnp.array([1.0]), jnp.array([[3.0], [-2.0]]))
    >>> bool(1.0 < z[0] < 3.0)
    True

    ```
    """

    bound: float = eqx.field(static=True, default=5.0)

    def __check_init__(self) -> None:
        if not self.bound > 0:
            raise InputError(f"bound={self.bound}: the bound of the gate's logit must be positive")

    @property
    def size(self) -> int:
        return 2

    def _gate(self, params: Array) -> Array:
        return 2.0 + self.bound * jnp.tanh(params[1] / self.bound)

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        s = self._gate(params)
        return jax.nn.sigmoid(s) * x + jax.nn.sigmoid(-s) * params[0], jax.nn.log_sigmoid(s)

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        s = self._gate(params)
        # 1 / g = 1 + exp(-s), and (1 - g) / g = exp(-s).
        odds = jnp.exp(-s)
        return z * (1 + odds) - odds * params[0], -jax.nn.log_sigmoid(s)
