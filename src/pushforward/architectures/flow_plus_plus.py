"""Flow++ on vectors."""

from pushforward.architectures.parts import Plan, Planned, coupling_layer, layer_of
from pushforward.architectures.registry import published
from pushforward.bijections import ActNorm, LULinear, Reverse
from pushforward.transformers import LogisticMixtureCDF


@published("flow_plus_plus", "Ho, Chen, Srinivas, Duan & Abbeel 2019, arXiv 1902.00275")
class FlowPlusPlus(Planned):
    """Steps of activation normalisation, a learned linear map (LU) and coupling by cumulative logistic mixtures.

    Density: `layers` network passes. Sampling: the same, with a numeric search for each transformed coordinate.

    Arguments:
        layers: number of steps; default 6.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        components: logistics of each mixture; default 8.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.FlowPlusPlus(layers=2, width=8, components=2).build(3, 1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 6
    width: int = 128
    depth: int = 2
    components: int = 8
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        layer = layer_of(self, LogisticMixtureCDF(self.components), coupling_layer)
        return Plan(layer, (Reverse, LULinear, ActNorm))
