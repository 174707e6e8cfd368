"""OT-Flow."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import layered
from pushforward.bijections import FlowMap
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.fields import PotentialField
from pushforward.ode import Solver
from pushforward.rows import Shape, Size


@configuration
class OTFlow:
    """The continuous flow of a potential's gradient, trained towards optimal transport.

    Density and sampling: an ODE solve; field and divergence are exact, the latter at d products of hidden sizes. While
    training the kinetic energy counts, and the residual of the Hamilton-Jacobi-Bellman equation along the paths,
    `int |d phi/dt - |grad phi|^2 / 2| dt`, which is 0 on paths that are straight.

    Arguments:
        layers: flows one after the other; default 1.
        width: units of the potential's network; default 64.
        rank: of the potential's quadratic form; default 10.
        kinetic: weight of the kinetic energy, in nats; default 0.01.
        hjb: weight of the equation's residual, in nats; default 0.01.
        rtol, atol: tolerances of the solver; default 1e-5 each.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

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
    reference: ClassVar[str] = "Onken, Wu Fung, Li & Ruthotto 2021, arXiv 2006.00104"
    learning_rate: ClassVar[float] = 1e-2

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> FlowMap:
            field = PotentialField(
                d, width=self.width, rank=self.rank, condition=condition, key=key
            )
            solver = Solver(rtol=self.rtol, atol=self.atol)
            return FlowMap(field, kinetic=self.kinetic, hjb=self.hjb, solver=solver)

        return layered(self, layer, self.layers, event, condition, key)
