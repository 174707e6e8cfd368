"""Planar continuous flows."""

from functools import partial

from pushforward.architectures.parts import Plan, Planned, continuous
from pushforward.architectures.registry import published
from pushforward.fields import PlanarField


@published(
    "planar_cnf",
    "Chen, Rubanova, Bettencourt & Duvenaud 2018, arXiv 1806.07366",
    learning_rate=2e-2,
)
class PlanarCNF(Planned):
    """The continuous flow of a sum of planar fields with gates in time.

    Density and sampling: an ODE solve of a field with one hidden layer; the exact log-det costs next to nothing.

    Arguments:
        layers: number of flows in sequence; default 1.
        width: number of planar fields; default 64.
        rtol, atol: tolerances of the solver; default 1e-5 each.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.PlanarCNF(width=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 1
    width: int = 64
    rtol: float = 1e-5
    atol: float = 1e-5
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        return continuous(self, partial(PlanarField, width=self.width))
