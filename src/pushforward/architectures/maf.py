"""The masked autoregressive flow."""

from pushforward.architectures.parts import Plan, Planned, layer_of
from pushforward.architectures.registry import published
from pushforward.bijections import BatchNorm, LULinear, Reverse
from pushforward.transformers import Affine


@published("maf", "Papamakarios, Pavlakou & Murray 2017, arXiv 1705.07057")
class MAF(Planned):
    """Affine autoregressive layers that reverse the order of coordinates in between.

    Density: `layers` network passes. Sampling: sequential in the coordinates, with about the arithmetic of one
    density pass thanks to the cached inverse.

    Arguments:
        layers: number of autoregressive layers; default 5.
        width, depth: units and number of hidden layers of each masked network; default 128 and 2.
        linear: whether a learned linear map (LU) precedes each layer; default False.
        batch_norm: whether a batch normalisation follows each layer, as in the paper; default False.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.
        base: name of the base distribution; default "normal".
        near: whether to keep draws near the data: layers have log-slopes towards data of at most 0.5, and networks see
            `6 tanh(x / 6)` of each coordinate; default False, as in the paper.

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.MAF(layers=2, width=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 5
    width: int = 128
    depth: int = 2
    linear: bool = False
    batch_norm: bool = False
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"
    near: bool = False

    def plan(self, d: int) -> Plan:
        most, reach = (MOST, REACH) if self.near else (None, None)
        after = (Reverse, *[LULinear] * self.linear, *[BatchNorm] * self.batch_norm)
        return Plan(layer_of(self, Affine(most=most), reach=reach), after, soft=True)


MOST, REACH = 0.5, 6.0
"""The largest log-slope of layers that keep draws near the data, and the bound of what their networks see."""
