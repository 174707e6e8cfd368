"""The multi-layer perceptron of angles."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.deprecated import renamed_arguments
from pushforward.networks.mlp import MLP


class PeriodicMLP(eqx.Module):
    """An `MLP` that sees its first inputs, angles in radians, as cosines and sines, and the others as they are.

    Its outputs have period 2 pi in every angle and are continuous across the seam.

    Arguments:
        angles: number of angles.
        out: shape of the output's leading axes.
        condition: number of inputs after the angles; default 0.
        network: width, depth and the other options of `MLP`.

    Raises `InputError` as `MLP` does.

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.networks.periodic import PeriodicMLP
    >>> network = PeriodicMLP(1, (3,), width=8, depth=1, key=jax.random.key(0))
    >>> ends = network(jnp.array([[-jnp.pi, jnp.pi]]))
    >>> bool(jnp.allclose(ends[:, 0], ends[:, 1], atol=1e-6))
    True

    ```
    """

    mlp: MLP
    angles: int = eqx.field(static=True)

    @renamed_arguments(others="condition")
    def __init__(
        self,
        angles: int,
        out: tuple[int, ...],
        *,
        condition: int = 0,
        key: PRNGKeyArray,
        **network: Any,
    ):
        self.mlp = MLP(2 * angles + condition, out, key=key, **network)
        self.angles = angles

    @property
    def out(self) -> tuple[int, ...]:
        """Shape of the output's leading axes."""
        return self.mlp.out

    def __call__(self, inputs: Float[Array, "inputs n"], key: PRNGKeyArray | None = None) -> Array:
        angles, rest = inputs[: self.angles], inputs[self.angles :]
        return self.mlp(jnp.concatenate([jnp.cos(angles), jnp.sin(angles), rest]), key)
