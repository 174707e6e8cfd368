"""Transformation autoregressive networks."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.made import MADE
from pushforward.architectures.parts import network_of, vector_event
from pushforward.bijections import Chain, LULinear, Recurrent, Reverse, Stack
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.draws import spawn
from pushforward.rows import Size, as_shape


@configuration
class TAN:
    """Recurrent and linear transformations of the coordinates, whose conditionals are then mixtures of Gaussians.

    Density: `layers` recurrences over the coordinates and one network pass. Sampling: the same, with a numeric search a
    coordinate.

    Arguments:
        layers: recurrent transformations, each with a learned linear map (LU) before it; default 3.
        units: size of the recurrent state; default 32.
        width, depth: units and number of hidden layers of the conditionals' network; default 256 and 2.
        components: Gaussians of each conditional; default 16.
        residual: whether hidden layers of that network add their input; default False.
        dropout: share of its hidden units zeroed while training; default 0.

    Raises `InputError` for sizes below 1, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.TAN(layers=2, units=4, width=8, components=2)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 3
    units: int = 32
    width: int = 256
    depth: int = 2
    components: int = 16
    residual: bool = False
    dropout: float = 0.0
    reference: ClassVar[str] = "Oliva et al. 2018, arXiv 1801.09819"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        d, context = vector_event(event, "TAN"), as_shape(condition, "condition")
        keys = spawn(key, 2)
        made = MADE(components=self.components, **network_of(self))
        conditionals = made.build(d, context, key=keys[0])

        def layer(key: PRNGKeyArray) -> Chain:
            recurrent = Recurrent(d, self.units, context, key=key)
            return Chain([Reverse(d), recurrent, LULinear(d)])

        layers = Stack(layer, self.layers, key=spawn(keys[1], 2)[1])
        return Flow(conditionals.base, Chain([conditionals.bijection, layers]))
