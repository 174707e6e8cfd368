"""FFJORD on images."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.images.scales import Scaled, squeezed
from pushforward.architectures.registry import published
from pushforward.bijections import AbstractBijection, FlowMap
from pushforward.fields import ConvField
from pushforward.ode import Solver
from pushforward.rows import Shape


@published(
    "image_ffjord",
    "Grathwohl, Chen, Bettencourt, Sutskever & Duvenaud 2019, arXiv 1810.01367",
    images=True,
)
class ImageFFJORD(Scaled):
    """At each scale, continuous flows of convolutional fields and products that normalise and mix channels.

    With `scales=1, halvings=1` it is the paper's single flow of an encoder and decoder. By default it has the
    regularisers of RNODE (Finlay et al. 2020, arXiv 2002.02798).

    Training takes few equal steps of dopri5, six calls of the field each, and a random probe for the log-det: adaptive
    steps would cost a multiple. Density and sampling take steps by tolerance, a few dozen calls, so that the validation
    tells a field for which the steps of training are too few; the regularisers keep it from becoming one. Log-dets in
    evaluation are estimates by fixed probes, the same for every picture, and exact where a scale has no more numbers
    than there are probes.

    Arguments:
        scales: how often pixels are squeezed; default 0, as often as height and width can be halved, at most 3.
        steps: flows of each scale; default 2.
        width, depth: channels and convolutions of each field; default 32 and 1.
        halvings: of height and width within a field, an encoder and decoder; default 0.
        activation: "tanh" (default), "softplus" or "silu".
        kinetic, jacobian: weights of RNODE's regularisers, in nats; default 0.01 each.
        training_steps: of the solver, for each flow, in training; default 1.
        rtol, atol: tolerances of the solver otherwise; default 1e-4 each.
        probes: of the log-det in evaluation, each as costly as a call of the field; default 4.
        levels: grey levels; default 256.
        scale, alpha: the scale of the layers, see `bijections.images.Pixels`; default "logit" and 1e-6.

    ```python
    >>> import equinox as eqx, jax, pushforward as pf
    >>> flow = pf.architectures.ImageFFJORD(steps=1, width=8).build((2, 2, 1), key=jax.random.key(0))
    >>> eqx.filter_jit(flow.log_prob)(jax.numpy.full((5, 2, 2, 1), 100.5)).shape
    (5,)

    ```
    """

    scales: int = 0
    steps: int = 2
    width: int = 32
    depth: int = 1
    halvings: int = 0
    activation: str = "tanh"
    kinetic: float = 0.01
    jacobian: float = 0.01
    training_steps: int = 1
    rtol: float = 1e-4
    atol: float = 1e-4
    probes: int = 4
    levels: int = 256
    scale: str = "logit"
    alpha: float = 1e-6
    blocks = 1
    dropout = 0.0

    def of_scale(
        self, event: Shape, condition: Shape | None, key: PRNGKeyArray
    ) -> list[AbstractBijection]:
        squeeze, latent = squeezed(event)
        solver = Solver(rtol=self.rtol, atol=self.atol)

        def flow(key: PRNGKeyArray) -> FlowMap:
            field = ConvField(
                latent,
                width=self.width,
                depth=self.depth,
                halvings=self.halvings,
                activation=self.activation,
                condition=condition,
                key=key,
            )
            return FlowMap(
                field,
                solver=solver,
                training_steps=self.training_steps,
                probes=self.probes,
                kinetic=self.kinetic,
                jacobian=self.jacobian,
            )

        return [self._mixed(latent, flow, key), squeeze]
