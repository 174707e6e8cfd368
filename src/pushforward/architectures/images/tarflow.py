"""TarFlow: causal transformers over patches, in alternating directions."""

from typing import Any

from jaxtyping import PRNGKeyArray

from pushforward.architectures.registry import published
from pushforward.bijections import ActNorm, Chain
from pushforward.bijections.images import CausalPatches, PerPixel, Pixels
from pushforward.bijections.images.patches import check_patch
from pushforward.bijections.images.squeeze import image_shape
from pushforward.bijections.reshape import Reshape
from pushforward.distributions import Flow, StandardNormal
from pushforward.draws import spawn
from pushforward.errors import check_count
from pushforward.networks import CausalTransformer
from pushforward.rows import Size, as_shape
from pushforward.transformers import RationalQuadratic


@published("tarflow", "Zhai et al. 2024, arXiv 2412.06329", images=True)
class TarFlow:
    """Blocks that go from patch to patch, every other one backwards, with splines at each number.

    Splines stand in place of the paper's affine maps, which would first have to learn the scales of flat backgrounds.

    Density: one pass of each block's transformer. Sampling: one small step per patch and block.

    Arguments:
        flows: blocks; default 4.
        width, layers: of each block's transformer; default 128 and 2.
        patch: the side of a patch; default 4.
        bins: of each spline; default 8.
        dropout: share of the transformers' features dropped during training; default 0.
        levels: grey levels; default 256.
        scale, alpha: the scale of the layers, see `bijections.images.Pixels`; default "logit" and 1e-6.

    ```python
    >>> import equinox as eqx, jax, pushforward as pf
    >>> flow = pf.architectures.TarFlow(flows=2, width=8).build((4, 4, 1), key=jax.random.key(0))
    >>> eqx.filter_jit(flow.log_prob)(jax.numpy.full((5, 4, 4, 1), 100.5)).shape
    (5,)

    ```
    """

    flows: int = 4
    width: int = 128
    layers: int = 2
    patch: int = 4
    bins: int = 8
    dropout: float = 0.0
    levels: int = 256
    scale: str = "logit"
    alpha: float = 1e-6

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        """A flow with fresh parameters, in grey levels, see `Architecture`."""
        check_count("flows", self.flows)
        shape: Any = event
        h, w, c = image_shape(shape)
        tokens, numbers = h * w // check_patch(shape, self.patch) ** 2, self.patch**2 * c
        splines = RationalQuadratic(bins=self.bins, bound=4.0)
        blocks = []
        for i, own in enumerate(spawn(key, self.flows)):
            network = CausalTransformer(
                tokens,
                numbers,
                (splines.size, numbers),
                width=self.width,
                layers=self.layers,
                dropout=self.dropout,
                condition_shape=as_shape(condition, "condition"),
                key=own,
            )
            blocks.append(CausalPatches(shape, self.patch, network, splines, backwards=i % 2 == 1))
        norm = PerPixel(ActNorm(c), (h, w))
        pixels = Pixels(shape, self.levels, self.scale, self.alpha)
        return Flow(StandardNormal((h * w * c,)), Chain([Reshape(shape), *blocks, norm, pixels]))
