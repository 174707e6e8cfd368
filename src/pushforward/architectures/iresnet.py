"""Invertible residual networks."""

from pushforward.architectures.parts import Plan, Planned, residual
from pushforward.architectures.registry import published


@published(
    "iresnet",
    "Behrmann, Grathwohl, Chen, Duvenaud & Jacobsen 2019, arXiv 1811.00995",
    learning_rate=2e-2,
)
class IResNet(Planned):
    """Residual maps with contractive networks (ELU), each followed by an activation normalisation, trained on a
    power series of fixed length for the log-det.

    Density: exact up to 128 coordinates or hidden units, `layers` times as many passes and their cube in operations;
    beyond, an estimate by a series. Training: exact up to 10 coordinates; beyond, 10 terms, whose bias is
    bounded (`Residual.log_det_with_bound`). Sampling: a fixed-point search per layer.

    Arguments:
        layers: number of maps; default 0: 32 up to 3 coordinates, 16 beyond.
        width, depth: units and number of hidden layers of each network; default 32 and 1.
        lipschitz: Lipschitz constant of each network, below 1; default 0.95.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.IResNet(layers=2, width=8, depth=1).build(3, condition=1, key=jax.random.key(0))
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
        # Up to as many coordinates as the series has terms, the determinant costs no more, and is exact.
        return residual(self, d, "elu", log_det="exact" if d <= 10 else "truncated", terms=10)
