"""The masked autoregressive flow with a mixture of Gaussians as its base."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.made import MADE
from pushforward.architectures.maf import MAF
from pushforward.architectures.parts import network_of
from pushforward.bijections import Chain
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.draws import spawn
from pushforward.rows import Size


@configuration
class MAFMoG:
    """Affine autoregressive layers over a base that is a MADE with mixtures of Gaussians as conditionals.

    The base is built as one more layer, the cumulative mixtures over a normal: the same density.

    Density: `layers + 1` network passes. Sampling: sequential in the coordinates, about the arithmetic of one density
    pass, the base's coordinates by a numeric search.

    Arguments:
        layers: affine layers; default 5.
        width, depth: units and number of hidden layers of each masked network; default 128 and 2.
        components: Gaussians of each of the base's conditionals; default 8.
        linear: whether a learned linear map (LU) stands before each layer as well; default False.
        residual: whether hidden layers add their input; default False.
        dropout: share of hidden units zeroed while training; default 0.

    Raises `InputError` for sizes below 1, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.MAFMoG(layers=2, width=8, components=2)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 5
    width: int = 128
    depth: int = 2
    components: int = 8
    linear: bool = False
    residual: bool = False
    dropout: float = 0.0
    reference: ClassVar[str] = "Papamakarios, Pavlakou & Murray 2017, arXiv 1705.07057"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        keys = spawn(key, 2)
        network = network_of(self)
        base = MADE(components=self.components, **network).build(event, condition, key=keys[0])
        maf = MAF(layers=self.layers, linear=self.linear, **network)
        flow = maf.build(event, condition, key=keys[1])
        return Flow(base.base, Chain([base.bijection, flow.bijection]))
