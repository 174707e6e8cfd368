"""Residual flows."""

from pushforward.architectures.parts import Plan, Planned, residual
from pushforward.architectures.registry import published


@published(
    "residual_flow",
    "Chen, Behrmann, Duvenaud & Jacobsen 2019, arXiv 1906.02735",
    learning_rate=2e-2,
)
class ResidualFlow(Planned):
    """Residual maps with contractive networks (LipSwish), each followed by an activation normalisation, trained
    with an unbiased log-det.

    Density: exact up to 128 coordinates or hidden units, `layers` times as many passes and their cube in operations;
    beyond, an estimate by a series. Training: exact up to 3 coordinates; beyond, an unbiased estimate by a
    random number of terms. Sampling: a fixed-point search per layer.

    Arguments:
        layers: number of maps; default 0: 32 up to 3 coordinates, 16 beyond.
        width, depth: units and number of hidden layers of each network; default 32 and 1.
        lipschitz: Lipschitz constant of each network, below 1; default 0.95.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.ResidualFlow(layers=2, width=8, depth=1).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 0
    width: int = 32
    depth: int = 1
    lipschitz: float = 0.95
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        return residual(self, d, "lipswish")
