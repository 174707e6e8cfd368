"""The coupling structure."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.autoregressive import as_columns
from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.networks.mlp import MLP
from pushforward.networks.periodic import PeriodicMLP
from pushforward.rows import Shape
from pushforward.transformers.base import AbstractTransformer


class Coupling(AbstractBijection):
    """Keep the first coordinates; transform the rest by scalar maps that depend on them.

        x_a = z_a,    x_b = tau(z_b; h(z_a, condition))

    Alternate with `Reverse`, a permutation or a linear map, so that every coordinate has its turn. With one coordinate
    nothing is kept: the map depends on the condition alone. Cost: one network pass either way.

    NICE (Dinh et al. 2014, arXiv 1410.8516), RealNVP (Dinh et al. 2017, arXiv 1605.08803).

    Arguments:
        network: from the kept coordinates and the condition `(kept + condition, n)` to parameters
            `(size, d - kept, n)`.
        transformer: the scalar map.
        kept: how many coordinates are kept.
        condition_shape: the shape of a condition; None for none.

    ```python
    >>> import jax, pushforward as pf
    >>> from pushforward.networks import MLP
    >>> network = MLP(1, (2, 2), width=8, depth=1, key=jax.random.key(0))
    >>> layer = pf.bijections.Coupling(network, pf.transformers.Affine(), kept=1)
    >>> z, _ = layer.inverse(jax.numpy.ones((5, 3)))
    >>> bool((z[:, 0] == 1).all())
    True

    ```
    """

    amortized = ("network",)
    network: MLP | PeriodicMLP
    transformer: AbstractTransformer
    kept: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        network: MLP | PeriodicMLP,
        transformer: AbstractTransformer,
        kept: int,
        condition_shape: Shape | None = None,
    ):
        self.network, self.transformer, self.kept = network, transformer, kept
        self.event_shape = (kept + network.out[1],)
        self.condition_shape = condition_shape

    @property
    def volume_preserving(self) -> bool:
        return self.transformer.volume_preserving

    def _params(self, kept: Array, condition: Condition, key: Key) -> Array:
        columns = as_columns(condition)
        features = kept if columns is None else jnp.concatenate([kept, columns])
        return self.network(features, key)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        kept, rest = z.T[: self.kept], z.T[self.kept :]
        rest, log_slope = self.transformer.forward(rest, self._params(kept, condition, key))
        return jnp.concatenate([kept, rest]).T, log_slope.sum(0)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        kept, rest = x.T[: self.kept], x.T[self.kept :]
        rest, log_slope = self.transformer.inverse(rest, self._params(kept, condition, key))
        return jnp.concatenate([kept, rest]).T, log_slope.sum(0)
