"""Sylvester flows."""

from typing import ClassVar, Literal

from jaxtyping import PRNGKeyArray

from pushforward import bijections
from pushforward.architectures.parts import layered
from pushforward.bijections import ActNorm, Chain, Reverse
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Shape, Size


@configuration
class SylvesterFlow:
    """Sylvester maps, the order of coordinates reversed and an activation normalisation behind each.

    Density: `layers` times `2 d units` multiply-adds, and the orthogonal factors once a call. Sampling: the same, with
    `units` numeric searches a layer, one after another.

    Arguments:
        layers: maps; default 16.
        units: directions of each map, at most d; default 32.
        kind: how the orthogonal factor is parametrised, "orthogonal", "householder" or "triangular" (none); default
            "orthogonal".
        reflections: reflections of the kind "householder"; default 8.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.SylvesterFlow(layers=2, units=2)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 16
    units: int = 32
    kind: Literal["orthogonal", "householder", "triangular"] = "orthogonal"
    reflections: int = 8
    base: str = "normal"
    reference: ClassVar[str] = "van den Berg, Hasenclever, Tomczak & Welling 2018, arXiv 1803.05649"
    learning_rate: ClassVar[float] = 2e-2

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> Chain:
            sylvester = bijections.Sylvester(
                d, self.units, self.kind, self.reflections, condition, key=key
            )
            return Chain([sylvester, Reverse(d), ActNorm(d)])

        return layered(self, layer, self.layers, event, condition, key)
