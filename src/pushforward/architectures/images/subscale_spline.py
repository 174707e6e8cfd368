"""A coupling flow over the pixels of blocks, with knots at grey levels."""

from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.architectures.images.levels import even_knots, shares
from pushforward.architectures.images.scales import fitting_scales, squeezed
from pushforward.architectures.registry import published
from pushforward.bijections import AbstractBijection, Chain, Permutation
from pushforward.bijections.images import (
    CausalPatches,
    ImageCoupling,
    MultiScale,
    PerPixel,
    Pixels,
)
from pushforward.bijections.images.squeeze import image_shape
from pushforward.distributions import Flow, Uniform
from pushforward.draws import spawn
from pushforward.networks import CausalTransformer, ImageNetwork
from pushforward.networks.images import FEATURES
from pushforward.rows import Shape, Size, as_shape
from pushforward.transformers import LevelSpline


@published(
    "subscale_spline",
    "this project; after Menick & Kalchbrenner 2018, arXiv 1812.01608",
    images=True,
)
class SubscaleSpline:
    """Coarse to fine: of each block of two by two pixels the lower right one given the upper left one, then the other
    two, by piecewise-linear splines with knots at grey levels; the coarsest pixels one after the other.

    Its likelihood comes close to `PixelSpline`'s. What it conditions on are levels, and its latents are uniform.

    Density: three network passes at each scale, and one for the coarsest pixels. Sampling: the same, with one small
    step for each of the coarsest pixels.

    Arguments:
        scales: how often pixels are parted; default 0, as often as height and width can be halved, at most 3.
        width, blocks: channels and convolutions of each network; default 64 and 2.
        layers: of the transformer over the coarsest pixels, which has as many features as `width`; default 2.
        dropout: share of values dropped before a network's last product during training; default 0.
        levels: grey levels; default 256.
        knots: levels between which densities are even, from 0 to `levels`; default (), which `ImageDensity` replaces
            by those of the pictures, and `build` by even ones.

    ```python
    >>> import equinox as eqx, jax, pushforward as pf
    >>> flow = pf.architectures.SubscaleSpline(width=8).build((4, 4, 1), key=jax.random.key(0))
    >>> eqx.filter_jit(flow.log_prob)(jax.numpy.full((5, 4, 4, 1), 100.5)).shape
    (5,)

    ```
    """

    scales: int = 0
    width: int = 64
    blocks: int = 2
    layers: int = 2
    dropout: float = 0.0
    levels: int = 256
    knots: tuple[int, ...] = ()

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        """A flow with fresh parameters, in grey levels, see `Architecture`."""
        shape: Any = event
        image, c = image_shape(shape), as_shape(condition, "condition")
        spline = LevelSpline(shares(self.knots or even_knots(self.levels), self.levels))
        count = self.scales or fitting_scales(image)
        keys = spawn(key, count + 1)
        scales: list[AbstractBijection] = []
        for own in keys[:count]:
            scales.append(self._scale(image, spline, c, own))
            image = image_shape((image[0] // 2, image[1] // 2, image[2]))
        coarsest = CausalTransformer(
            image[0] * image[1],
            FEATURES * image[2],
            (spline.size, image[2]),
            width=self.width,
            layers=self.layers,
            dropout=self.dropout,
            condition_shape=c,
            key=keys[-1],
        )
        scales.append(CausalPatches(image, 1, coarsest, spline, levels=self.levels))
        bijection = Chain([MultiScale(scales), Pixels(shape, self.levels, "unit")])
        return Flow(Uniform(bijection.latent_shape), bijection)

    def _scale(
        self, event: Shape, spline: LevelSpline, condition: Shape | None, key: PRNGKeyArray
    ) -> Chain:
        squeeze, latent = squeezed(event)
        h, w, c = event[0] // 2, event[1] // 2, event[2]
        couplings = []
        for i, own in enumerate(spawn(key, 3), start=1):
            network = ImageNetwork(
                (h, w, i * c),
                (spline.size, c),
                width=self.width,
                blocks=self.blocks,
                activation="silu",
                dropout=self.dropout,
                levels=self.levels,
                condition_shape=condition,
                key=own,
            )
            couplings.append(ImageCoupling(latent, network, spline))
        # The upper left pixel of each block, the lower right one, then the upper right and the lower left ones.
        order = np.array([0, 2, 3, 1])[:, None] * c + np.arange(c)
        turned = PerPixel(Permutation(order.ravel()), (h, w))
        return Chain([*couplings, turned, squeeze])
