"""Sum-of-squares polynomial flows."""

from pushforward import transformers
from pushforward.architectures.parts import MIXED, Plan, Planned, by_size, layer_of
from pushforward.architectures.registry import published


@published("sos", "Jaini, Selby & Yu 2019, arXiv 1905.02325")
class SOS(Planned):
    """Integrals of sums of squared polynomials in autoregressive layers, each preceded by a learned linear map (LU).

    Density: `layers` network passes. Sampling: sequential in the coordinates, with about the
    network arithmetic of one density pass and a numeric search per coordinate.

    Arguments:
        layers: number of layers; default 5.
        width, depth: units and number of hidden layers of each network; default 0 (64 up to 3 coordinates, 128 beyond)
            and 2.
        polynomials: squares in each sum; default 3.
        degree: degree of each polynomial; default 6.
        bound: half-width of the box in which maps bend, in standard deviations; default 3.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.SOS(layers=2, width=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 5
    width: int = 0
    depth: int = 2
    polynomials: int = 3
    degree: int = 6
    bound: float = 3.0
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        transformer = transformers.SumOfSquares(self.polynomials, self.degree, self.bound)
        width = by_size(self.width, d, 64, 128)
        return Plan(layer_of(self, transformer, width=width), MIXED, soft=True)
