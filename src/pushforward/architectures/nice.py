"""NICE: additive coupling."""

import jax.numpy as jnp

from pushforward.architectures.parts import Plan, Planned, coupling_layer, layer_of, next_turn
from pushforward.architectures.registry import published
from pushforward.bijections import Elementwise
from pushforward.transformers import Additive, Affine


@published("nice", "Dinh, Krueger & Bengio 2014, arXiv 1410.8516")
class NICE(Planned):
    """Additive coupling layers, which preserve volume, and one diagonal scale.

    Density and sampling: `layers` network passes each.

    Arguments:
        layers: number of coupling layers; default 6.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        dropout: fraction of hidden units dropped during training; default 0.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.NICE(layers=2, width=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 6
    width: int = 128
    depth: int = 2
    dropout: float = 0.0
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        layer = layer_of(self, Additive(), coupling_layer)
        scale = Elementwise(Affine(), d, jnp.zeros((2, d)))
        return Plan(layer, (next_turn,), soft=True, first=scale)
