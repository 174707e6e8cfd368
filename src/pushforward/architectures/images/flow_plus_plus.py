"""Flow++ on images."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.images.noise import noise_given_picture
from pushforward.architectures.images.scales import Scaled, squeezed
from pushforward.architectures.registry import published
from pushforward.bijections import AbstractBijection, Invert
from pushforward.bijections.images import Checker
from pushforward.distributions import Flow
from pushforward.draws import spawn
from pushforward.errors import check_count
from pushforward.networks import GatedNetwork
from pushforward.rows import Shape
from pushforward.transformers import LogisticMixtureCDF


@published(
    "image_flow_plus_plus", "Ho, Chen, Srinivas, Duan & Abbeel 2019, arXiv 1902.00275", images=True
)
class ImageFlowPlusPlus(Scaled):
    """At each scale couplings by cumulative logistic mixtures, by checkerboard, then, on squeezed pixels, by channels,
    whose networks are gated and attend where pixels are few; and noise within the levels that is learned.

    The noise of a picture's whole levels is a flow given the picture, so that likelihoods are a bound by more than
    uniform noise would be. The paper has one scale, 32 components and wider networks; here channels leave between
    scales.

    Density and noise: twice `steps` network passes at each scale, and twice `noise` passes. Sampling: as density, with
    a numeric search for each transformed number.

    Arguments:
        scales: how often pixels are squeezed; default 0, as often as height and width can be halved, at most 3.
        steps: couplings by checkerboard and as many by channels at each scale; default 2.
        width, blocks: channels and gated convolutions of each network; default 48 and 1.
        components: logistics of each mixture; default 4.
        attention: pixels up to which networks attend, as the cost is their square; None for none; default 64.
        noise: how often each colour of the checkerboard is transformed in the noise; None for uniform noise; default 1.
        dropout: share of values dropped before a network's last product during training; default 0.
        levels: grey levels; default 256.
        scale, alpha: the scale of the layers, see `bijections.images.Pixels`; default "logit" and 1e-6.

    ```python
    >>> import equinox as eqx, jax, pushforward as pf
    >>> small = pf.architectures.ImageFlowPlusPlus(scales=1, steps=1, width=8, components=2)
    >>> flow = small.build((4, 4, 1), key=jax.random.key(0))
    >>> eqx.filter_jit(flow.log_prob)(jax.numpy.full((5, 4, 4, 1), 100.5)).shape
    (5,)

    ```
    """

    scales: int = 0
    steps: int = 2
    width: int = 48
    blocks: int = 1
    components: int = 4
    attention: int | None = 64
    noise: int | None = 1
    dropout: float = 0.0
    levels: int = 256
    scale: str = "logit"
    alpha: float = 1e-6

    def of_scale(
        self, event: Shape, condition: Shape | None, key: PRNGKeyArray
    ) -> list[AbstractBijection]:
        for name in ("attention", "noise"):
            if (value := getattr(self, name)) is not None:
                check_count(name, value)
        (squeeze, latent), board = squeezed(event), Checker(event)
        mixtures = LogisticMixtureCDF(self.components)
        of_channels, of_colours = spawn(key, 2)
        by_channel = self._stack(latent, mixtures, condition, of_channels)
        by_colour = self._stack(board.latent_shape, mixtures, condition, of_colours, "reverse")
        return [by_channel, squeeze, Invert(board), by_colour, board]

    def network(
        self, event: Shape, out: tuple[int, int], condition: Shape | None, key: PRNGKeyArray
    ) -> GatedNetwork:
        return GatedNetwork(
            event,
            out,
            width=self.width,
            blocks=self.blocks,
            attention=self.attention is not None and event[0] * event[1] <= self.attention,
            condition_shape=condition,
            dropout=self.dropout,
            key=key,
        )

    def noise_of(self, event: Shape, *, key: PRNGKeyArray) -> Flow | None:
        """The flow of the noise given a picture, see `Dequantized`; None for uniform noise."""
        if self.noise is None:
            return None
        return noise_given_picture(
            event, steps=self.noise, width=self.width // 2, levels=self.levels, key=key
        )
