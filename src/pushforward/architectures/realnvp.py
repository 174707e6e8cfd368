"""RealNVP: affine coupling."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import (
    coupling_layer,
    layered,
    network_of,
    next_turn,
)
from pushforward.bijections import Chain
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Shape, Size
from pushforward.transformers import Affine


@configuration
class RealNVP:
    """Affine coupling layers, halves exchanged between them.

    Density and sampling: `layers` network passes each.

    Arguments:
        layers: coupling layers; default 8.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        dropout: share of hidden units zeroed while training; default 0.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.RealNVP(layers=2, width=8)
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
    reference: ClassVar[str] = "Dinh, Sohl-Dickstein & Bengio 2017, arXiv 1605.08803"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> Chain:
            coupling = coupling_layer(Affine(), d, condition, key=key, **network_of(self))
            return Chain([coupling, next_turn(d)])

        return layered(self, layer, self.layers, event, condition, key, soft=True)
