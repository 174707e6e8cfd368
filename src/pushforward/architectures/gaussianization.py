"""Gaussianization flows."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import Plan, Planned, elementwise_layer
from pushforward.architectures.registry import published
from pushforward.bijections import Chain, Householder
from pushforward.draws import spawn
from pushforward.rows import Shape
from pushforward.transformers import GaussianMixtureCDF


@published("gaussianization", "Meng, Song, Song & Ermon 2020, arXiv 2003.01941", learning_rate=5e-2)
class Gaussianization(Planned):
    """Alternating layers: each coordinate made normal by a cumulative mixture, then a learned rotation.

    Density: `layers` times `d components` normal integrals and a rotation. Sampling: the same, with a numeric search
    per coordinate and layer.

    Arguments:
        layers: number of layers; default 8.
        components: Gaussians of each mixture; default 8.
        width: units of the hidden layer that maps a condition to mixtures; default 64.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.Gaussianization(layers=2, components=2, width=8).build(3, 1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 8
    components: int = 8
    width: int = 64
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        mixture, network = GaussianMixtureCDF(self.components), {"width": self.width, "depth": 1}

        def layer(d: int, *, condition_shape: Shape | None, key: PRNGKeyArray) -> Chain:
            keys = spawn(key, 2)
            mixtures = elementwise_layer(mixture, d, condition_shape, key=keys[0], **network)
            return Chain([mixtures, Householder(d, key=keys[1])])

        return Plan(layer)
