"""The inverse autoregressive flow."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import (
    autoregressive_layer,
    layered,
    network_of,
)
from pushforward.bijections import Chain, Invert, Reverse
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Shape, Size
from pushforward.transformers import Affine, Gated


@configuration
class IAF:
    """Affine layers autoregressive in the latent coordinates: MAF turned round, for fast sampling.

    Sampling: `layers` network passes. Density: sequential in the coordinates, about the arithmetic of one sampling
    pass by the cached inverse.

    Arguments:
        layers: autoregressive layers; default 5.
        width, depth: units and number of hidden layers of each masked network; default 128 and 2.
        gated: whether layers mix the value with a new one by a gate (the paper's stable form) instead of scaling and
            shifting; default False.
        residual: whether hidden layers add their input; default False.
        dropout: share of hidden units zeroed while training; default 0.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.IAF(layers=2, width=8)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 5
    width: int = 128
    depth: int = 2
    gated: bool = False
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"
    reference: ClassVar[str] = "Kingma et al. 2016, arXiv 1606.04934"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> Chain:
            made = autoregressive_layer(
                Gated() if self.gated else Affine(), d, condition, key=key, **network_of(self)
            )
            return Chain([Invert(made), Reverse(d)])

        return layered(self, layer, self.layers, event, condition, key, soft=True)
