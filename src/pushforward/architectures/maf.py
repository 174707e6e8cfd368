"""The masked autoregressive flow."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import (
    autoregressive_layer,
    layered,
    network_of,
)
from pushforward.bijections import AbstractBijection, BatchNorm, Chain, LULinear, Reverse
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Shape, Size
from pushforward.transformers import Affine


@configuration
class MAF:
    """Affine autoregressive layers, the order of coordinates reversed between them.

    Density: `layers` network passes. Sampling: sequential in the coordinates, about the arithmetic of one density
    pass by the cached inverse.

    Arguments:
        layers: autoregressive layers; default 5.
        width, depth: units and number of hidden layers of each masked network; default 128 and 2.
        linear: whether a learned linear map (LU) stands before each layer as well; default False.
        batch_norm: whether a batch normalisation follows each layer, as in the paper; default False.
        residual: whether hidden layers add their input; default False.
        dropout: share of hidden units zeroed while training; default 0.
        base: name of the base distribution; default "normal".
        near: whether draws are kept near the data: a layer's log-slope towards data is at most 0.5, and its network
            sees coordinates as `6 tanh(x / 6)`; default False, as in the paper.

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.MAF(layers=2, width=8)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
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
    reference: ClassVar[str] = "Papamakarios, Pavlakou & Murray 2017, arXiv 1705.07057"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> Chain:
            made = autoregressive_layer(
                Affine(most=MOST if self.near else None),
                d,
                condition,
                reach=REACH if self.near else None,
                key=key,
                **network_of(self),
            )
            after: list[AbstractBijection] = [LULinear(d)] if self.linear else []
            after += [BatchNorm(d)] if self.batch_norm else []
            return Chain([made, Reverse(d), *after])

        return layered(self, layer, self.layers, event, condition, key, soft=True)


MOST, REACH = 0.5, 6.0
"""The largest log-slope of layers that keep draws near the data, and how far their networks see."""
