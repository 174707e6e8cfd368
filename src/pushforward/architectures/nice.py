"""NICE: additive coupling."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import (
    coupling_layer,
    layered,
    network_of,
    next_turn,
)
from pushforward.bijections import Chain, Elementwise
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Shape, Size
from pushforward.transformers import Additive, Affine


@configuration
class NICE:
    """Additive coupling layers and one diagonal scale: volume-preserving but for the scale.

    Density and sampling: `layers` network passes each.

    Arguments:
        layers: coupling layers; default 6.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        dropout: share of hidden units zeroed while training; default 0.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.NICE(layers=2, width=8)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 6
    width: int = 128
    depth: int = 2
    dropout: float = 0.0
    base: str = "normal"
    reference: ClassVar[str] = "Dinh, Krueger & Bengio 2014, arXiv 1410.8516"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> Chain:
            coupling = coupling_layer(Additive(), d, condition, key=key, **network_of(self))
            return Chain([coupling, next_turn(d)])

        flow = layered(self, layer, self.layers, event, condition, key, soft=True)
        (d,) = flow.event_shape
        scale = Elementwise(Affine(), d, jnp.zeros((2, d)))
        return Flow(flow.base, Chain([scale, flow.bijection]))
