"""Invertible residual networks on images."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.images.residual_scales import ResidualScaled
from pushforward.architectures.registry import published
from pushforward.distributions import Flow
from pushforward.rows import Size


@published(
    "image_iresnet",
    "Behrmann, Grathwohl, Chen, Duvenaud & Jacobsen 2019, arXiv 1811.00995",
    images=True,
)
class ImageIResNet(ResidualScaled):
    """At each scale, residual maps of contractive convolutions (ELU), each followed by an activation normalisation of
    the channels, trained on a power series of fixed length for the log-det.

    Convolutions are held to certified norms as operators on images, see `networks.LipschitzConv`.

    Density: an estimate for images of more than 128 numbers, as `bijections.Residual` says, by `judged` noise vectors;
    the terms that its series leaves out add less than 1e-3 bits per dimension. Exact up to 128 numbers. Training: ten
    terms, whose bias is bounded (`Residual.log_det_with_bound`). Sampling: a fixed-point search per map.

    Arguments:
        scales: how often pixels are squeezed; default 0, as often as height and width can be halved, at most 3.
        steps: maps of each scale; default 4.
        width: channels of each network; default 32.
        lipschitz: Lipschitz constant of each network, below 1; default 0.8.
        judged: noise vectors of an estimated density; default 4.
        levels: grey levels; default 256.
        scale, alpha: the scale of the layers, see `bijections.images.Pixels`; default "logit" and 1e-6.

    ```python
    >>> import equinox as eqx, jax, pushforward as pf
    >>> flow = pf.architectures.ImageIResNet(steps=1, width=8).build((4, 4, 1), key=jax.random.key(0))
    >>> eqx.filter_jit(flow.log_prob)(jax.numpy.full((5, 4, 4, 1), 100.5)).shape
    (5,)

    ```
    """

    scales: int = 0
    steps: int = 4
    width: int = 32
    lipschitz: float = 0.8
    judged: int = 4
    levels: int = 256
    scale: str = "logit"
    alpha: float = 1e-6

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        """A flow with fresh parameters, in grey levels, see `Architecture`."""
        return self.built(event, condition, key, "elu", log_det="truncated", terms=10)
