"""The autoregressive structure."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.networks.masked_mlp import MaskedMLP
from pushforward.rows import Shape, flat
from pushforward.transformers.base import AbstractTransformer


class Autoregressive(AbstractBijection):
    """Transform coordinate i by a scalar map whose parameters depend on the data coordinates before i.

        z_i = tau^-1(x_i; h_i(x_1, ..., x_{i-1}, condition))

    The Jacobian is triangular, so the log-det is the sum of the log-slopes. Cost: inverse (density) one parallel pass
    of the network; forward (sampling) one coordinate after another, with cached activations, about the arithmetic of
    one pass. `Invert` exchanges the two (IAF).

    MAF (Papamakarios et al. 2017, arXiv 1705.07057).

    Arguments:
        network: gives the transformer's parameters.
        transformer: the scalar map.
        condition_shape: the shape of a condition, flattened for the network; None for none.

    ```python
    >>> import jax, pushforward as pf
    >>> from pushforward.networks import MaskedMLP
    >>> network = MaskedMLP(3, 2, width=8, depth=1, key=jax.random.key(0))
    >>> layer = pf.bijections.Autoregressive(network, pf.transformers.Affine())
    >>> z, log_det = layer.inverse(jax.numpy.ones((5, 3)))
    >>> z.shape, log_det.shape
    ((5, 3), (5,))

    ```
    """

    amortized = ("network",)
    network: MaskedMLP
    transformer: AbstractTransformer
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        network: MaskedMLP,
        transformer: AbstractTransformer,
        condition_shape: Shape | None = None,
    ):
        self.network, self.transformer = network, transformer
        self.event_shape = (network.first.shape[1],)
        self.condition_shape = condition_shape

    @property
    def volume_preserving(self) -> bool:
        return self.transformer.volume_preserving

    @property
    def recomputable(self) -> bool:
        # Forward runs the network coordinate by coordinate and would draw other noise.
        return self.network.dropout == 0

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        columns = x.T
        params = self.network(columns, as_columns(condition), key)
        z, log_slope = self.transformer.inverse(columns, params)
        return z.T, log_slope.sum(0)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        network = self.network.one_by_one(as_columns(condition), z.shape[0])

        def step(known: Any, i_and_z: tuple[Array, Array]) -> tuple[Any, tuple[Array, Array]]:
            i, z_i = i_and_z
            x_i, log_slope = self.transformer.forward(z_i, network.params_of(known, i))
            return network.reveal(known, i, x_i), (x_i, log_slope)

        _, (x, log_slope) = jax.lax.scan(step, network.start, (jnp.arange(z.shape[1]), z.T))
        return x.T, log_slope.sum(0)


def as_columns(condition: Condition) -> Array | None:
    """Condition rows `(n, *condition)` as network features `(size, n)`."""
    return None if condition is None else flat(condition).T
