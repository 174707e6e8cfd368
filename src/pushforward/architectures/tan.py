"""Transformation autoregressive networks."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.made import MADE
from pushforward.architectures.parts import network_of, stacked, vector_shapes
from pushforward.architectures.registry import published
from pushforward.bijections import Chain, LULinear, Recurrent, Reverse
from pushforward.distributions import Flow
from pushforward.draws import spawn
from pushforward.rows import Shape, Size


@published("tan", "Oliva et al. 2018, arXiv 1801.09819")
class TAN:
    """Recurrent and linear transformations of the coordinates to latents whose conditionals are mixtures of Gaussians.

    Density: `layers` recurrences over the coordinates and one network pass. Sampling: the same, with a numeric search
    per coordinate.

    Arguments:
        layers: number of recurrent transformations, each preceded by a learned linear map (LU); default 3.
        units: size of the recurrent state; default 32.
        width, depth: units and number of hidden layers of the conditionals' network; default 256 and 2.
        components: Gaussians of each conditional; default 16.
        residual: whether hidden layers of that network have skip connections; default False.
        dropout: fraction of its hidden units dropped during training; default 0.

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.TAN(layers=2, units=4, width=8, components=2).build(3, 1, key=jax.random.key(0))
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

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, *, condition_shape: Shape | None, key: PRNGKeyArray) -> Chain:
            recurrent = Recurrent(d, self.units, condition_shape, key=key)
            return Chain([Reverse(d), recurrent, LULinear(d)])

        keys, (d, shape) = spawn(key, 2), vector_shapes(self, event, condition)
        made = MADE(components=self.components, **network_of(self)).build(d, shape, key=keys[0])
        layers = stacked(self.layers, layer, d, shape, spawn(keys[1], 2)[1])
        return Flow(made.base, Chain([made.bijection, layers]))
