"""The masked autoregressive flow with a mixture of Gaussians as its base."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.made import MADE
from pushforward.architectures.maf import MAF
from pushforward.architectures.parts import network_of
from pushforward.architectures.registry import published
from pushforward.bijections import Chain
from pushforward.distributions import Flow
from pushforward.draws import spawn
from pushforward.rows import Size


@published("maf_mog", "Papamakarios, Pavlakou & Murray 2017, arXiv 1705.07057")
class MAFMoG:
    """Affine autoregressive layers over a MADE whose conditionals are mixtures of Gaussians.

    The base is built as one more layer, cumulative mixtures over a normal, which has the same density.

    Density: `layers + 1` network passes. Sampling: sequential in the coordinates, with about the arithmetic of one
    density pass and a numeric search per coordinate of the base.

    Arguments:
        layers: number of affine layers; default 5.
        width, depth: units and number of hidden layers of each masked network; default 128 and 2.
        components: Gaussians of each of the base's conditionals; default 8.
        linear: whether a learned linear map (LU) precedes each layer; default False.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.MAFMoG(layers=2, width=8, components=2).build(3, condition=1, key=jax.random.key(0))
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

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        keys, network = spawn(key, 2), network_of(self)
        base = MADE(components=self.components, **network).build(event, condition, key=keys[0])
        maf = MAF(layers=self.layers, linear=self.linear, **network)
        flow = maf.build(event, condition, key=keys[1])
        return Flow(base.base, Chain([base.bijection, flow.bijection]))
