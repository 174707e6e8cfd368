"""The multi-layer perceptron."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.draws import spawn
from pushforward.networks.layers import (
    activation_named,
    check_network,
    dropout,
    split,
    uniform_weights,
)


class MLP(eqx.Module):
    """A perceptron on columns of features: `(inputs, n)` to `(*out, n)`.

    The last layer starts at `last_scale` times the usual random weights, so that what it parametrises starts near the
    identity. `inputs` may be 0: the output is then a learned constant.

    Arguments:
        inputs: number of input features.
        out: shape of the output's leading axes.
        width: units of a hidden layer.
        depth: number of hidden layers, at least 1.
        residual: whether hidden layers after the first add their input.
        activation: name of the activation between layers; default "relu".
        dropout: share of hidden units zeroed when called with a key.
        last_scale: initial weights of the last layer, relative to the usual ones; default 0.01.

    Raises `InputError` for a width or depth below 1, a dropout outside [0, 1) or an unknown activation.

    ```python
    >>> import jax
    >>> from pushforward.networks import MLP
    >>> network = MLP(2, (3, 4), width=8, depth=1, key=jax.random.key(0))
    >>> network(jax.numpy.ones((2, 5))).shape
    (3, 4, 5)

    ```
    """

    decaying = ("first", "hidden", "last")
    amortized = ("last_bias",)
    first: Float[Array, "width inputs"]
    first_bias: Float[Array, " width"]
    hidden: Float[Array, "layers width width"]
    hidden_bias: Float[Array, "layers width"]
    last: Float[Array, "out width"]
    last_bias: Float[Array, " out"]
    out: tuple[int, ...] = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    residual: bool = eqx.field(static=True)
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        out: tuple[int, ...],
        *,
        width: int,
        depth: int,
        activation: str = "relu",
        residual: bool = False,
        dropout: float = 0.0,
        last_scale: float = 0.01,
        key: PRNGKeyArray,
    ):
        check_network(width, depth, activation, dropout)
        keys = spawn(key, 3)
        size = math.prod(out)
        self.first = uniform_weights(keys[0], (width, inputs), inputs)
        self.first_bias = jnp.zeros(width)
        self.hidden = uniform_weights(keys[1], (depth - 1, width, width), width)
        self.hidden_bias = jnp.zeros((depth - 1, width))
        self.last = last_scale * uniform_weights(keys[2], (size, width), width)
        self.last_bias = jnp.zeros(size)
        self.out, self.activation = out, activation
        self.residual, self.dropout = residual, dropout

    def __call__(self, inputs: Float[Array, "inputs n"], key: PRNGKeyArray | None = None) -> Array:
        act = activation_named(self.activation)
        keys = split(key, 1 + self.hidden.shape[0])
        h = self.first @ inputs + self.first_bias[:, None]
        for i in range(self.hidden.shape[0]):
            step = self.hidden[i] @ dropout(act(h), self.dropout, keys[i])
            h = step + self.hidden_bias[i][:, None] + (h if self.residual else 0.0)
        out = self.last @ dropout(act(h), self.dropout, keys[-1]) + self.last_bias[:, None]
        return out.reshape(*self.out, inputs.shape[1])
