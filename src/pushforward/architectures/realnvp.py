"""RealNVP: affine coupling."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import coupling_layer, next_turn, stacked_flow, vector_event
from pushforward.bijections import Chain
from pushforward.distributions import Flow
from pushforward.rows import Shape, as_shape
from pushforward.transformers import Affine


@dataclass(frozen=True)
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

    def build(
        self, event: int | Shape, condition: int | Shape | None = None, *, key: PRNGKeyArray
    ) -> Flow:
        """The model with fresh parameters; `event` and `condition` are sizes or shapes."""
        d, context = vector_event(event, "RealNVP"), as_shape(condition, "condition")

        def layer(key: PRNGKeyArray) -> Chain:
            coupling = coupling_layer(
                Affine(),
                d,
                context,
                width=self.width,
                depth=self.depth,
                dropout=self.dropout,
                key=key,
            )
            return Chain([coupling, next_turn(d)])

        return stacked_flow(layer, self.layers, (d,), self.base, key, soft=True)
