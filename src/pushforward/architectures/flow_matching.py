"""Flow matching."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import Plan, Planned, continuous, network_of
from pushforward.architectures.registry import published
from pushforward.fields import AbstractField, GuidedField, MLPField
from pushforward.paths import FlowMatchingLoss
from pushforward.rows import Shape, condition_size


@published("flow_matching", "Lipman, Chen, Ben-Hamu, Nickel & Le 2023, arXiv 2210.02747")
class FlowMatching(Planned):
    """A continuous flow whose field is fitted to the velocities of paths from noise to data, without solves in
    training.

    Density and sampling: an ODE solve, a few dozen network passes. The density of the learned field is as exact as
    FFJORD's, in closed form for one or two hidden layers; training does not minimise it.

    Arguments:
        width, depth: units and number of hidden layers; default 128 and 3.
        time: how layers receive the time, "concat", "squash" or "hyper"; default "hyper".
        activation: "tanh", "softplus" or "silu" (default).
        path: "linear" (default) or "vp", see `paths.PATHS`.
        coupling: "independent" (default), "exact_ot" or "sinkhorn", see `paths.partners`.
        drop_condition: fraction of rows trained without their condition, which `fields.with_guidance` needs; default 0.
        rtol, atol: tolerances of the solver; default 1e-5 each.
        base: name of the base distribution; default "normal".

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

    @property
    def loss(self) -> FlowMatchingLoss:
        """What a fit minimises in place of the negative log-density."""
        return FlowMatchingLoss(
            path=self.path, coupling=self.coupling, drop_condition=self.drop_condition
        )

    def plan(self, d: int) -> Plan:
        options = {"time": self.time, "activation": self.activation, **network_of(self)}
        # The loss checks its names before anything is built.
        guided = self.loss.drop_condition > 0

        def field(d: int, *, condition: Shape | None, key: PRNGKeyArray) -> AbstractField:
            if condition is None or not guided:
                return MLPField(d, condition=condition, key=key, **options)
            size = condition_size(condition) + 1
            return GuidedField(MLPField(d, condition=size, key=key, **options), condition)

        return continuous(self, field, layers=1)
