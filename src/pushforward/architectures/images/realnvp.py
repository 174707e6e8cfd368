"""RealNVP on images."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.images.scales import Scaled, squeezed
from pushforward.architectures.registry import published
from pushforward.bijections import AbstractBijection, Invert
from pushforward.bijections.images import Checker
from pushforward.draws import spawn
from pushforward.rows import Shape
from pushforward.transformers import Affine


@published("image_realnvp", "Dinh, Sohl-Dickstein & Bengio 2017, arXiv 1605.08803", images=True)
class ImageRealNVP(Scaled):
    """At each scale, affine couplings by checkerboard, then, on squeezed pixels, by channels.

    Checkerboards are packed, not masked; activation normalisation stands in place of batch normalisation.

    Density and sampling: twice `steps` network passes at each scale.

    Arguments:
        scales: how often pixels are squeezed; default 0, as often as height and width can be halved, at most 3.
        steps: couplings by checkerboard and as many by channels at each scale; default 3.
        width, blocks: channels and convolutions of each network; default 64 and 2.
        dropout: share of values dropped before a network's last product during training; default 0.
        levels: grey levels; default 256.
        scale, alpha: the scale of the layers, see `bijections.images.Pixels`; default "logit" and 1e-6.

    ```python
    >>> import equinox as eqx, jax, pushforward as pf
    >>> flow = pf.architectures.ImageRealNVP(steps=2, width=8).build((4, 4, 1), key=jax.random.key(0))
    >>> eqx.filter_jit(flow.log_prob)(jax.numpy.full((5, 4, 4, 1), 100.5)).shape
    (5,)

    ```
    """

    scales: int = 0
    steps: int = 3
    width: int = 64
    blocks: int = 2
    dropout: float = 0.0
    levels: int = 256
    scale: str = "logit"
    alpha: float = 1e-6

    def of_scale(
        self, event: Shape, condition: Shape | None, key: PRNGKeyArray
    ) -> list[AbstractBijection]:
        (squeeze, latent), board = squeezed(event), Checker(event)
        by_channel, by_colour = (
            self._stack(shape, Affine(bound=2.0), condition, own, "reverse")
            for shape, own in zip((latent, board.latent_shape), spawn(key, 2), strict=True)
        )
        return [by_channel, squeeze, Invert(board), by_colour, board]
