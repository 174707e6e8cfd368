"""Radial flows."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward import bijections
from pushforward.architectures.parts import stacked_flow, vector_event
from pushforward.bijections import ActNorm, Chain
from pushforward.distributions import Flow
from pushforward.rows import Shape, as_shape


@dataclass(frozen=True)
class Radial:
    """Radial maps, each with an activation normalisation behind it.

    Density: `layers` times 3 d multiply-adds. Sampling: the same, with a numeric search a layer.

    Arguments:
        layers: maps; default 64.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.Radial(layers=2)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 64
    base: str = "normal"
    reference: ClassVar[str] = "Rezende & Mohamed 2015, arXiv 1505.05770"
    learning_rate: ClassVar[float] = 2e-2

    def build(
        self, event: int | Shape, condition: int | Shape | None = None, *, key: PRNGKeyArray
    ) -> Flow:
        """The model with fresh parameters; `event` and `condition` are sizes or shapes."""
        d, context = vector_event(event, "Radial"), as_shape(condition, "condition")

        def layer(key: PRNGKeyArray) -> Chain:
            return Chain([bijections.Radial(d, context, key=key), ActNorm(d)])

        return stacked_flow(layer, self.layers, (d,), self.base, key)
