"""Radial flows."""

from pushforward.architectures.parts import Plan, Planned
from pushforward.architectures.registry import published
from pushforward.bijections import ActNorm, Radial


@published("radial", "Rezende & Mohamed 2015, arXiv 1505.05770", learning_rate=2e-2)
class RadialFlow(Planned):
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

    def plan(self, d: int) -> Plan:
        return Plan(Radial, (ActNorm,))
