"""Neural autoregressive flows."""

from pushforward import transformers
from pushforward.architectures.parts import MIXED, Plan, Planned, by_size, layer_of
from pushforward.architectures.registry import published


@published("naf", "Huang, Krueger, Lacoste & Courville 2018, arXiv 1804.00779")
class NAF(Planned):
    """Monotone networks in autoregressive layers, each preceded by a learned linear map (LU).

    Density: `layers` network passes. Sampling: sequential in the coordinates, with about the
    network arithmetic of one density pass and a numeric search per coordinate.

    Arguments:
        layers: number of layers; default 5.
        width, depth: units and number of hidden layers of each network; default 0 (64 up to 3 coordinates, 128 beyond)
            and 2.
        units: hidden units of each monotone network; default 0: 16 up to 3 coordinates, 8 beyond.
        dense: whether monotone networks have two dense layers, whose matrices all values share (DDSF), or one layer
            (DSF); default False.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.NAF(layers=2, width=8, units=4).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 5
    width: int = 0
    depth: int = 2
    units: int = 0
    dense: bool = False
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        kind = transformers.DenseSigmoid if self.dense else transformers.DeepSigmoid
        transformer, width = kind(by_size(self.units, d, 16, 8)), by_size(self.width, d, 64, 128)
        return Plan(layer_of(self, transformer, width=width), MIXED, soft=True)
