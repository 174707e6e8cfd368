"""Glow on images."""

from dataclasses import field

from jaxtyping import PRNGKeyArray

from pushforward.architectures.images.scales import Scaled, squeezed
from pushforward.architectures.registry import published
from pushforward.bijections import AbstractBijection
from pushforward.errors import check_choice
from pushforward.rows import Shape
from pushforward.transformers import AbstractTransformer, Additive, Affine

COUPLINGS: dict[str, AbstractTransformer] = {"affine": Affine(bound=2.0), "additive": Additive()}


@published("image_glow", "Kingma & Dhariwal 2018, arXiv 1807.03039", images=True)
class ImageGlow(Scaled):
    """At each scale, steps of activation normalisation, an invertible 1 x 1 convolution and affine coupling.

    Density and sampling: `steps` network passes at each scale. Normalisation and convolution are one product.
    `mixing` and `coupling` are those of the paper's ablation (section 6.1).

    Arguments:
        scales: how often pixels are squeezed; default 0, as often as height and width can be halved, at most 3.
        steps: couplings of each scale; default 8.
        mixing: what mixes channels between couplings, `"conv"` (default), `"shuffle"` (a permutation that is drawn) or
            `"reverse"`.
        coupling: `"affine"` (default) or `"additive"`.
        width, blocks: channels and inner convolutions of each network; default 64 and 1.
        sizes: of the kernels of a network's first, inner and last convolutions; default (3, 1, 3), the paper's.
        dropout: share of values dropped before a network's last product during training; default 0.
        levels: grey levels; default 256.
        scale, alpha: the scale of the layers, see `bijections.images.Pixels`; default "logit" and 1e-6.

    Raises `InputError` for another mixing or coupling, or an even size, when it is built.

    ```python
    >>> import equinox as eqx, jax, pushforward as pf
    >>> flow = pf.architectures.ImageGlow(steps=2, width=8).build((4, 4, 1), key=jax.random.key(0))
    >>> eqx.filter_jit(flow.log_prob)(jax.numpy.full((5, 4, 4, 1), 100.5)).shape
    (5,)

    ```
    """

    scales: int = 0
    steps: int = 8
    mixing: str = "conv"
    coupling: str = "affine"
    width: int = 64
    blocks: int = 1
    sizes: tuple[int, int, int] = field(default=(3, 1, 3), metadata={"absent": (3, 3, 1)})
    dropout: float = 0.0
    levels: int = 256
    scale: str = "logit"
    alpha: float = 1e-6

    def of_scale(
        self, event: Shape, condition: Shape | None, key: PRNGKeyArray
    ) -> list[AbstractBijection]:
        check_choice("coupling", self.coupling, COUPLINGS)
        squeeze, latent = squeezed(event)
        return [
            self._stack(latent, COUPLINGS[self.coupling], condition, key, self.mixing),
            squeeze,
        ]
