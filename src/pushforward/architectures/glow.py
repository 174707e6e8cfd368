"""Glow on vectors."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import coupling_layer, layered, network_of
from pushforward.bijections import ActNorm, Chain, LULinear, Reverse
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Shape, Size
from pushforward.transformers import Affine


@configuration
class Glow:
    """Steps of activation normalisation, a learned linear map (LU) and affine coupling.

    Density and sampling: `layers` network passes and d x d products.

    Arguments:
        layers: steps; default 8.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        dropout: share of hidden units zeroed while training; default 0.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.Glow(layers=2, width=8)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 8
    width: int = 128
    depth: int = 2
    dropout: float = 0.0
    base: str = "normal"
    reference: ClassVar[str] = "Kingma & Dhariwal 2018, arXiv 1807.03039"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def step(d: int, condition: Shape | None, key: PRNGKeyArray) -> Chain:
            coupling = coupling_layer(Affine(), d, condition, key=key, **network_of(self))
            return Chain([coupling, Reverse(d), LULinear(d), ActNorm(d)])

        return layered(self, step, self.layers, event, condition, key, soft=True)
