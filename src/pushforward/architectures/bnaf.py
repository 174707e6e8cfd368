"""Block neural autoregressive flows."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import layered
from pushforward.bijections import BlockAutoregressive, Chain, LULinear, Reverse
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Shape, Size


@configuration
class BNAF:
    """Block-autoregressive networks, a learned linear map (LU) before each.

    Density: `layers` passes of networks of `d units` units. Sampling: sequential in the coordinates, the network at
    about the arithmetic of one density pass, each coordinate by a numeric search through its own units.

    Arguments:
        layers: networks; default 3.
        units: hidden units of each coordinate; default 16.
        depth: number of hidden layers of each network; default 2.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.BNAF(layers=2, units=4)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 3
    units: int = 16
    depth: int = 2
    base: str = "normal"
    reference: ClassVar[str] = "De Cao, Titov & Aziz 2019, arXiv 1904.04676"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> Chain:
            network = BlockAutoregressive(d, self.units, self.depth, condition, key=key)
            return Chain([network, Reverse(d), LULinear(d)])

        return layered(self, layer, self.layers, event, condition, key)
