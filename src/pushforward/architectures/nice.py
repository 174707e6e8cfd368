"""NICE: additive coupling."""

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import coupling_layer, next_turn, transformer_flow
from pushforward.architectures.registry import published
from pushforward.bijections import Chain, Elementwise
from pushforward.distributions import Flow
from pushforward.rows import Size
from pushforward.transformers import Additive, Affine


@published("nice", reference="Dinh, Krueger & Bengio 2014, arXiv 1410.8516")
class NICE:
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

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        after = (next_turn,)
        flow = transformer_flow(self, Additive(), event, condition, key, coupling_layer, after)
        (d,) = flow.event_shape
        scale = Elementwise(Affine(), d, jnp.zeros((2, d)))
        return Flow(flow.base, Chain([scale, flow.bijection]))
