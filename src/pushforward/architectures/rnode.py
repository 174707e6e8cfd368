"""Regularised neural ODEs."""

from functools import partial

from pushforward.architectures.parts import Plan, Planned, continuous, network_of
from pushforward.architectures.registry import published
from pushforward.fields import MLPField


@published(
    "rnode", "Finlay, Jacobsen, Nurbekyan & Oberman 2020, arXiv 2002.02798", learning_rate=2e-2
)
class RNODE(Planned):
    """FFJORD regularised towards straight paths: small kinetic energy, small Jacobian along a random probe.

    Density and sampling: an ODE solve, in fewer steps than without the regularisers. The log-det is estimated by a
    random probe in training, and exact in evaluation, in closed form for one or two hidden layers.

    Arguments:
        layers: number of flows in sequence; default 1.
        width, depth: units and number of hidden layers; default 64 and 2.
        kinetic, jacobian: weights of the regularisers, in nats; default 0.01 each.
        time: how layers receive the time, "concat", "squash" or "hyper"; default "squash".
        rtol, atol: tolerances of the solver; default 1e-5 each.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.RNODE(width=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 1
    width: int = 64
    depth: int = 2
    kinetic: float = 0.01
    jacobian: float = 0.01
    time: str = "squash"
    rtol: float = 1e-5
    atol: float = 1e-5
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        field = partial(MLPField, time=self.time, **network_of(self))
        return continuous(self, field, kinetic=self.kinetic, jacobian=self.jacobian)
