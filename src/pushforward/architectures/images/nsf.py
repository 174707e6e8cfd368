"""Neural spline flows on images."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.images.scales import Scaled, squeezed
from pushforward.architectures.registry import published
from pushforward.bijections import AbstractBijection
from pushforward.rows import Shape
from pushforward.transformers import RationalQuadratic


@published("image_nsf", "Durkan et al. 2019, arXiv 1906.04032", images=True)
class ImageNSF(Scaled):
    """Glow's steps with rational-quadratic splines in place of affine maps.

    Density and sampling: `steps` network passes at each scale.

    Arguments:
        scales: how often pixels are squeezed; default 0, as often as height and width can be halved, at most 3.
        steps: couplings of each scale; default 4.
        width, blocks: channels and convolutions of each network; default 64 and 1.
        bins: of each spline; default 8.
        dropout: share of values dropped before a network's last product during training; default 0.
        levels: grey levels; default 256.
        scale, alpha: the scale of the layers, see `bijections.images.Pixels`; default "logit" and 1e-6.

    ```python
    >>> import equinox as eqx, jax, pushforward as pf
    >>> flow = pf.architectures.ImageNSF(steps=2, width=8, bins=4).build((4, 4, 1), key=jax.random.key(0))
    >>> eqx.filter_jit(flow.log_prob)(jax.numpy.full((5, 4, 4, 1), 100.5)).shape
    (5,)

    ```
    """

    scales: int = 0
    steps: int = 4
    width: int = 64
    blocks: int = 1
    bins: int = 8
    dropout: float = 0.0
    levels: int = 256
    scale: str = "logit"
    alpha: float = 1e-6

    def of_scale(
        self, event: Shape, condition: Shape | None, key: PRNGKeyArray
    ) -> list[AbstractBijection]:
        squeeze, latent = squeezed(event)
        splines = RationalQuadratic(bins=self.bins, bound=4.0)
        return [self._stack(latent, splines, condition, key), squeeze]
