"""Flow++ on vectors."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import coupling_layer, layered, network_of
from pushforward.bijections import ActNorm, Chain, LULinear, Reverse
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Shape, Size
from pushforward.transformers import LogisticMixtureCDF


@configuration
class FlowPlusPlus:
    """Steps of activation normalisation, a learned linear map (LU) and coupling by cumulative logistic mixtures.

    Density: `layers` network passes. Sampling: the same, with a numeric search for each transformed coordinate.

    Arguments:
        layers: steps; default 6.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        components: logistics of each mixture; default 8.
        residual: whether hidden layers add their input; default False.
        dropout: share of hidden units zeroed while training; default 0.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.FlowPlusPlus(layers=2, width=8, components=2)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 6
    width: int = 128
    depth: int = 2
    components: int = 8
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"
    reference: ClassVar[str] = "Ho, Chen, Srinivas, Duan & Abbeel 2019, arXiv 1902.00275"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def step(d: int, condition: Shape | None, key: PRNGKeyArray) -> Chain:
            coupling = coupling_layer(
                LogisticMixtureCDF(self.components), d, condition, key=key, **network_of(self)
            )
            return Chain([coupling, Reverse(d), LULinear(d), ActNorm(d)])

        return layered(self, step, self.layers, event, condition, key)
