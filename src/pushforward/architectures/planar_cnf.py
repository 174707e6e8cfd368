"""Planar continuous flows."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import layered
from pushforward.bijections import FlowMap
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.fields import PlanarField
from pushforward.ode import Solver
from pushforward.rows import Shape, Size


@configuration
class PlanarCNF:
    """The continuous flow of a sum of planar fields with gates in time.

    Density and sampling: an ODE solve of a field with one hidden layer; the log-det is exact and next to free.

    Arguments:
        layers: flows one after the other; default 1.
        width: number of planar fields; default 64.
        rtol, atol: tolerances of the solver; default 1e-5 each.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

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
    reference: ClassVar[str] = "Chen, Rubanova, Bettencourt & Duvenaud 2018, arXiv 1806.07366"
    learning_rate: ClassVar[float] = 2e-2

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> FlowMap:
            field = PlanarField(d, width=self.width, condition=condition, key=key)
            return FlowMap(field, solver=Solver(rtol=self.rtol, atol=self.atol))

        return layered(self, layer, self.layers, event, condition, key)
