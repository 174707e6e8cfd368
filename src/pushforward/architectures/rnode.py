"""Regularised neural ODEs."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import layered
from pushforward.bijections import FlowMap
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.fields import MLPField
from pushforward.ode import Solver
from pushforward.rows import Shape, Size


@configuration
class RNODE:
    """FFJORD whose training also asks for straight paths: small kinetic energy, small Jacobian along a random probe.

    Density and sampling: an ODE solve, of fewer steps than without the regularisers. The log-det is a random probe's
    while training, exact (in closed form for one or two hidden layers) in evaluation.

    Arguments:
        layers: flows one after the other; default 1.
        width, depth: units and number of hidden layers; default 64 and 2.
        kinetic, jacobian: weights of the regularisers, in nats; default 0.01 each.
        time: how layers know the time, "concat", "squash" or "hyper"; default "squash".
        rtol, atol: tolerances of the solver; default 1e-5 each.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

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
    reference: ClassVar[str] = "Finlay, Jacobsen, Nurbekyan & Oberman 2020, arXiv 2002.02798"
    learning_rate: ClassVar[float] = 2e-2

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> FlowMap:
            field = MLPField(
                d,
                width=self.width,
                depth=self.depth,
                time=self.time,
                condition=condition,
                key=key,
            )
            return FlowMap(
                field,
                kinetic=self.kinetic,
                jacobian=self.jacobian,
                solver=Solver(rtol=self.rtol, atol=self.atol),
            )

        return layered(self, layer, self.layers, event, condition, key)
