"""Block neural autoregressive flows."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import layered
from pushforward.architectures.registry import published
from pushforward.bijections import BlockAutoregressive, LULinear, Reverse
from pushforward.distributions import Flow
from pushforward.rows import Shape, Size


@published("bnaf", reference="De Cao, Titov & Aziz 2019, arXiv 1904.04676")
class BNAF:
    """Block-autoregressive networks, each preceded by a learned linear map (LU).

    Density: `layers` passes of networks of `d units` units. Sampling: sequential in the coordinates, with
    about the network arithmetic of one density pass and a numeric search per coordinate through its own units.

    Arguments:
        layers: number of networks; default 3.
        units: hidden units of each coordinate; default 16.
        depth: number of hidden layers of each network; default 2.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.BNAF(layers=2, units=4).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 3
    units: int = 16
    depth: int = 2
    base: str = "normal"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, *, key: PRNGKeyArray) -> BlockAutoregressive:
            return BlockAutoregressive(d, self.units, self.depth, condition, key=key)

        return layered(self, layer, event, condition, key, after=(Reverse, LULinear))
