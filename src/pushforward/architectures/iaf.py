"""The inverse autoregressive flow."""

from pushforward.architectures.parts import Plan, Planned, inverse_autoregressive_layer, layer_of
from pushforward.architectures.registry import published
from pushforward.bijections import Reverse
from pushforward.transformers import Affine, Gated


@published("iaf", "Kingma et al. 2016, arXiv 1606.04934")
class IAF(Planned):
    """Affine layers autoregressive in the latent coordinates: MAF inverted, for fast sampling.

    Sampling: `layers` network passes. Density: sequential in the coordinates, with about the arithmetic of one
    sampling pass thanks to the cached inverse.

    Arguments:
        layers: number of autoregressive layers; default 5.
        width, depth: units and number of hidden layers of each masked network; default 128 and 2.
        gated: whether layers interpolate between the value and a new one by a gate (the paper's stable form) instead of
            scaling and shifting; default False.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.IAF(layers=2, width=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 5
    width: int = 128
    depth: int = 2
    gated: bool = False
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        transformer = Gated() if self.gated else Affine()
        layer = layer_of(self, transformer, inverse_autoregressive_layer)
        return Plan(layer, (Reverse,), soft=True)
