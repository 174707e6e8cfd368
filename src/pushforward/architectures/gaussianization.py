"""Gaussianization flows."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import elementwise_layer, layered
from pushforward.bijections import Chain, Householder
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.draws import spawn
from pushforward.rows import Shape, Size
from pushforward.transformers import GaussianMixtureCDF


@configuration
class Gaussianization:
    """Every coordinate made normal by itself through a cumulative mixture, then a learned rotation, over and over.

    Density: `layers` times `d components` normal integrals and a rotation. Sampling: the same, with a numeric search a
    coordinate and layer.

    Arguments:
        layers: layers; default 8.
        components: Gaussians of each mixture; default 8.
        width: units of the hidden layer that turns a condition into mixtures, if there is one; default 64.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.Gaussianization(layers=2, components=2, width=8)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 8
    components: int = 8
    width: int = 64
    base: str = "normal"
    reference: ClassVar[str] = "Meng, Song, Song & Ermon 2020, arXiv 2003.01941"
    learning_rate: ClassVar[float] = 5e-2

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> Chain:
            keys = spawn(key, 2)
            mixtures = elementwise_layer(
                GaussianMixtureCDF(self.components),
                d,
                condition,
                width=self.width,
                depth=1,
                key=keys[0],
            )
            return Chain([mixtures, Householder(d, key=keys[1])])

        return layered(self, layer, self.layers, event, condition, key)
