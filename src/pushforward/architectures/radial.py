"""Radial flows."""

from jaxtyping import PRNGKeyArray

from pushforward import bijections
from pushforward.architectures.parts import layered
from pushforward.architectures.registry import published
from pushforward.distributions import Flow
from pushforward.rows import Size


@published("radial", reference="Rezende & Mohamed 2015, arXiv 1505.05770", learning_rate=2e-2)
class RadialFlow:
    """Radial maps, each followed by an activation normalisation.

    Density: `layers` times 3 d multiply-adds. Sampling: the same, with a numeric search per layer.

    Arguments:
        layers: number of maps; default 64.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.RadialFlow(layers=2).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 64
    base: str = "normal"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        after = (bijections.ActNorm,)
        return layered(self, bijections.Radial, event, condition, key, after)
