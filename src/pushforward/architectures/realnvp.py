"""RealNVP: affine coupling."""

from pushforward.architectures.parts import Plan, Planned, coupling_layer, layer_of, next_turn
from pushforward.architectures.registry import published
from pushforward.transformers import Affine


@published("realnvp", "Dinh, Sohl-Dickstein & Bengio 2017, arXiv 1605.08803")
class RealNVP(Planned):
    """Affine coupling layers that exchange halves in between.

    Density and sampling: `layers` network passes each.

    Arguments:
        layers: number of coupling layers; default 8.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        dropout: fraction of hidden units dropped during training; default 0.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.RealNVP(layers=2, width=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 8
    width: int = 128
    depth: int = 2
    dropout: float = 0.0
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        return Plan(layer_of(self, Affine(), coupling_layer), (next_turn,), soft=True)
