"""Glow on vectors."""

from pushforward.architectures.parts import Plan, Planned, coupling_layer, layer_of
from pushforward.architectures.registry import published
from pushforward.bijections import ActNorm, LULinear, Reverse
from pushforward.transformers import Affine


@published("glow", "Kingma & Dhariwal 2018, arXiv 1807.03039")
class Glow(Planned):
    """Steps of activation normalisation, a learned linear map (LU) and affine coupling.

    Density and sampling: `layers` network passes and d x d products.

    Arguments:
        layers: number of steps; default 8.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        dropout: fraction of hidden units dropped during training; default 0.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.Glow(layers=2, width=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 8
    width: int = 128
    depth: int = 2
    dropout: float = 0.0
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        layer = layer_of(self, Affine(), coupling_layer)
        return Plan(layer, (Reverse, LULinear, ActNorm), soft=True)
