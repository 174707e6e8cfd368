"""FFJORD."""

from functools import partial

from pushforward.architectures.parts import Plan, Planned, continuous, network_of
from pushforward.architectures.registry import published
from pushforward.fields import MLPField


@published(
    "ffjord",
    "Grathwohl, Chen, Bettencourt, Sutskever & Duvenaud 2019, arXiv 1810.01367",
    learning_rate=2e-2,
)
class FFJORD(Planned):
    """Continuous flows of free-form fields: perceptrons whose layers receive the time.

    Density and sampling: one ODE solve per layer, a few dozen network passes each. The log-det is exact, at the cost
    of one more product, for one or two hidden layers. Deeper networks use a random probe in training on more than 8
    coordinates, and in evaluation on more than 128.

    Arguments:
        layers: number of flows in sequence; default 1.
        width, depth: units and number of hidden layers; default 64 and 2.
        time: how layers receive the time, "concat", "squash" or "hyper"; default "squash".
        activation: "tanh" (default), "softplus" or "silu".
        trained_time: whether the end time of the flow is trained; default False.
        steer: half-width of the interval around 1 from which training draws the end time (STEER); default 0.
        rtol, atol: tolerances of the solver; default 1e-5 each.
        base: name of the base distribution; default "normal".

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

    def plan(self, d: int) -> Plan:
        field = partial(MLPField, time=self.time, activation=self.activation, **network_of(self))
        return continuous(self, field, trained_time=self.trained_time, steer=self.steer)
