"""Block neural autoregressive flows."""

from functools import partial

from pushforward.architectures.parts import MIXED, Plan, Planned
from pushforward.architectures.registry import published
from pushforward.bijections import BlockAutoregressive


@published("bnaf", "De Cao, Titov & Aziz 2019, arXiv 1904.04676")
class BNAF(Planned):
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

    def plan(self, d: int) -> Plan:
        return Plan(partial(BlockAutoregressive, units=self.units, depth=self.depth), MIXED)
