"""FFJORD."""

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
class FFJORD:
    """Continuous flows of free-form fields: perceptrons whose layers know the time.

    Density and sampling: an ODE solve a layer, a few dozen passes of the network each. The log-det is exact, at the
    price of one more product, for one or two hidden layers; deeper networks use a random probe while training on more
    than 8 coordinates, and in evaluation beyond 128.

    Arguments:
        layers: flows one after the other; default 1.
        width, depth: units and number of hidden layers; default 64 and 2.
        time: how layers know the time, "concat", "squash" or "hyper"; default "squash".
        activation: "tanh" (default), "softplus" or "silu".
        trained_time: whether the time that the flow takes is trained; default False.
        steer: while training it is drawn from `1 +- steer` (STEER); default 0.
        rtol, atol: tolerances of the solver; default 1e-5 each.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.FFJORD(width=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 1
    width: int = 64
    depth: int = 2
    time: str = "squash"
    activation: str = "tanh"
    trained_time: bool = False
    steer: float = 0.0
    rtol: float = 1e-5
    atol: float = 1e-5
    base: str = "normal"
    reference: ClassVar[str] = (
        "Grathwohl, Chen, Bettencourt, Sutskever & Duvenaud 2019, arXiv 1810.01367"
    )
    learning_rate: ClassVar[float] = 2e-2

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> FlowMap:
            field = MLPField(
                d,
                width=self.width,
                depth=self.depth,
                time=self.time,
                activation=self.activation,
                condition=condition,
                key=key,
            )
            return FlowMap(
                field,
                trained_time=self.trained_time,
                steer=self.steer,
                solver=Solver(rtol=self.rtol, atol=self.atol),
            )

        return layered(self, layer, self.layers, event, condition, key)
