"""Unconstrained monotonic neural networks."""

from pushforward import transformers
from pushforward.architectures.parts import MIXED, Plan, Planned, layer_of
from pushforward.architectures.registry import published


@published("umnn", "Wehenkel & Louppe 2019, arXiv 1908.05164")
class UMNN(Planned):
    """Integrals of positive networks in autoregressive layers, each preceded by a learned linear map (LU).

    Density: `layers` network passes, and a network of one hidden layer at `nodes` points per coordinate. Sampling:
    sequential in the coordinates, with about the arithmetic of one density pass.

    Arguments:
        layers: number of layers; default 3.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        units: hidden units of each layer's integrand; default 16.
        nodes: panels of the quadrature, an even number; default 32.
        bound: half-width of the box in which maps bend, in standard deviations; default 3.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.UMNN(layers=2, width=8, nodes=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 3
    width: int = 128
    depth: int = 2
    units: int = 16
    nodes: int = 32
    bound: float = 3.0
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        transformer = transformers.Integral(self.units, self.nodes, self.bound)
        return Plan(layer_of(self, transformer), MIXED, soft=True)
