"""Planar flows."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward import bijections
from pushforward.architectures.parts import layered
from pushforward.bijections import ActNorm, Chain
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Shape, Size


@configuration
class PlanarFlow:
    """Planar maps, each with an activation normalisation behind it.

    Density: `layers` times 3 d multiply-adds. Sampling: the same, with a numeric search a layer.

    Arguments:
        layers: maps; default 64.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.PlanarFlow(layers=2)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 64
    base: str = "normal"
    reference: ClassVar[str] = "Rezende & Mohamed 2015, arXiv 1505.05770"
    learning_rate: ClassVar[float] = 2e-2

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> Chain:
            return Chain([bijections.Planar(d, condition, key=key), ActNorm(d)])

        return layered(self, layer, self.layers, event, condition, key)
