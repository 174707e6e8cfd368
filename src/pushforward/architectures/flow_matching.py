"""Flow matching."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import layered
from pushforward.bijections import FlowMap
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.fields import GuidedField, MLPField
from pushforward.ode import Solver
from pushforward.paths import FlowMatchingLoss
from pushforward.rows import Shape, Size, condition_size


@configuration
class FlowMatching:
    """A continuous flow whose field is fitted to the velocities of paths from noise to data; no solve while training.

    Density and sampling: an ODE solve, a few dozen passes of the network. The density is that of the learned field,
    exact as any continuous flow's (FFJORD), in closed form for one or two hidden layers; it is not the quantity that
    training minimises.

    Arguments:
        width, depth: units and number of hidden layers; default 128 and 3.
        time: how layers know the time, "concat", "squash" or "hyper"; default "hyper".
        activation: "tanh", "softplus" or "silu" (default).
        path: "linear" (default) or "vp", see `paths.PATHS`.
        coupling: "independent" (default), "exact_ot" or "sinkhorn", see `paths.partners`.
        drop_condition: share of rows trained without their condition, so that `fields.with_guidance` can be used;
            default 0, which leaves no such field.
        rtol, atol: tolerances of the solver; default 1e-5 each.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, unknown names, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.FlowMatching(width=8).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    width: int = 128
    depth: int = 3
    time: str = "hyper"
    activation: str = "silu"
    path: str = "linear"
    coupling: str = "independent"
    drop_condition: float = 0.0
    rtol: float = 1e-5
    atol: float = 1e-5
    base: str = "normal"
    reference: ClassVar[str] = "Lipman, Chen, Ben-Hamu, Nickel & Le 2023, arXiv 2210.02747"

    @property
    def loss(self) -> FlowMatchingLoss:
        """What a fit minimises in place of the negative log-density."""
        return FlowMatchingLoss(
            path=self.path, coupling=self.coupling, drop_condition=self.drop_condition
        )

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        # The loss checks its names before anything is built.
        dropped = self.loss.drop_condition > 0

        def layer(d: int, condition: Shape | None, key: PRNGKeyArray) -> FlowMap:
            guided = dropped and condition is not None
            field = MLPField(
                d,
                width=self.width,
                depth=self.depth,
                time=self.time,
                activation=self.activation,
                condition=condition_size(condition) + 1 if guided else condition,
                key=key,
            )
            return FlowMap(
                GuidedField(field, condition) if guided and condition is not None else field,
                solver=Solver(rtol=self.rtol, atol=self.atol),
            )

        return layered(self, layer, 1, event, condition, key)
