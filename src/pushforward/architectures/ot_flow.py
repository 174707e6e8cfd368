"""OT-Flow."""

from functools import partial

from pushforward.architectures.parts import Plan, Planned, continuous
from pushforward.architectures.registry import published
from pushforward.fields import PotentialField


@published("ot_flow", "Onken, Wu Fung, Li & Ruthotto 2021, arXiv 2006.00104", learning_rate=1e-2)
class OTFlow(Planned):
    """The continuous flow of a potential's gradient, trained towards optimal transport.

    Density and sampling: an ODE solve; field and divergence are exact, the latter at d products of hidden sizes.
    Training penalises the kinetic energy and the residual of the Hamilton-Jacobi-Bellman equation along the paths,
    `int |d phi/dt - |grad phi|^2 / 2| dt`, which is 0 on straight paths.

    Arguments:
        layers: number of flows in sequence; default 1.
        width: units of the potential's network; default 64.
        rank: rank of the potential's quadratic form; default 10.
        kinetic: weight of the kinetic energy, in nats; default 0.01.
        hjb: weight of that residual, in nats; default 0.01.
        rtol, atol: tolerances of the solver; default 1e-5 each.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.OTFlow(width=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 1
    width: int = 64
    rank: int = 10
    kinetic: float = 0.01
    hjb: float = 0.01
    rtol: float = 1e-5
    atol: float = 1e-5
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        field = partial(PotentialField, width=self.width, rank=self.rank)
        return continuous(self, field, kinetic=self.kinetic, hjb=self.hjb)
