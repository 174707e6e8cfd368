"""Sylvester flows."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import PRNGKeyArray

from pushforward import bijections
from pushforward.architectures.parts import stacked_flow, vector_event
from pushforward.bijections import ActNorm, Chain, Reverse
from pushforward.distributions import Flow
from pushforward.rows import Shape, as_shape


@dataclass(frozen=True)
class Sylvester:
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
    >>> architecture = pf.architectures.Sylvester(layers=2, units=2)
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

    def build(
        self, event: int | Shape, condition: int | Shape | None = None, *, key: PRNGKeyArray
    ) -> Flow:
        """The model with fresh parameters; `event` and `condition` are sizes or shapes."""
        d, context = vector_event(event, "Sylvester"), as_shape(condition, "condition")

        def layer(key: PRNGKeyArray) -> Chain:
            sylvester = bijections.Sylvester(
                d, self.units, self.kind, self.reflections, context, key=key
            )
            return Chain([sylvester, Reverse(d), ActNorm(d)])

        return stacked_flow(layer, self.layers, (d,), self.base, key)
