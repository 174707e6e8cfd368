"""Bernstein polynomial flows."""

from pushforward import transformers
from pushforward.architectures.parts import MIXED, Plan, Planned, layer_of
from pushforward.architectures.registry import published


@published("bernstein", "Ramasinghe, Fernando, Khan & Barnes 2021, arXiv 2102.03509")
class BernsteinFlow(Planned):
    """Bernstein polynomials in autoregressive layers, each preceded by a learned linear map (LU).

    Density: `layers` network passes. Sampling: sequential in the coordinates, with about the
    network arithmetic of one density pass and a numeric search per coordinate.

    Arguments:
        layers: number of layers; default 5.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        degree: degree of each polynomial; default 16.
        bound: half-width of the box in which maps bend, in standard deviations; default 5.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.BernsteinFlow(layers=2, width=8, degree=4).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 5
    width: int = 128
    depth: int = 2
    degree: int = 16
    bound: float = 5.0
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        transformer = transformers.Bernstein(self.degree, self.bound)
        return Plan(layer_of(self, transformer), MIXED, soft=True)
