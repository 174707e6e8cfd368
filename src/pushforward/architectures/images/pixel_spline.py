"""An autoregressive flow on images, with knots at grey levels."""

from typing import Any

from jaxtyping import PRNGKeyArray

from pushforward.architectures.images.levels import even_knots, shares
from pushforward.architectures.registry import published
from pushforward.bijections import Chain
from pushforward.bijections.images import CausalPixels, Pixels
from pushforward.distributions import Flow, Uniform
from pushforward.rows import Size, as_shape


@published("pixel_spline", "this project; after MADE and the transformer", images=True)
class PixelSpline:
    """Number by number: piecewise-linear splines with knots at grey levels, given all numbers before.

    Its likelihood is the best of all here. What it conditions on are levels, see `CausalPixels`, and its latents are
    uniform: they do not interpolate.

    Density: one network pass. Sampling: one small step per number.

    Arguments:
        width, layers: of the transformer over patches; default 128 and 2.
        patch: the side of a patch; default 4.
        hidden: units of the network at each number; default 64.
        reach: how far its window reaches, in pixels; default 3.
        dropout: share of the transformer's features dropped during training; default 0.
        levels: grey levels; default 256.
        knots: levels between which densities are even, from 0 to `levels`; default (), which `ImageDensity` replaces
            by those of the pictures, and `build` by even ones.

    ```python
    >>> import equinox as eqx, jax, pushforward as pf
    >>> small = pf.architectures.PixelSpline(width=8, hidden=8)
    >>> flow = small.build((4, 4, 1), key=jax.random.key(0))
    >>> eqx.filter_jit(flow.log_prob)(jax.numpy.full((5, 4, 4, 1), 100.5)).shape
    (5,)

    ```
    """

    width: int = 128
    layers: int = 2
    patch: int = 4
    hidden: int = 64
    reach: int = 3
    dropout: float = 0.0
    levels: int = 256
    knots: tuple[int, ...] = ()

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        """A flow with fresh parameters, in grey levels, see `Architecture`."""
        shape: Any = event
        pixels = CausalPixels(
            shape,
            shares(self.knots or even_knots(self.levels), self.levels),
            levels=self.levels,
            patch=self.patch,
            width=self.width,
            layers=self.layers,
            hidden=self.hidden,
            reach=self.reach,
            dropout=self.dropout,
            condition_shape=as_shape(condition, "condition"),
            key=key,
        )
        return Flow(Uniform(shape), Chain([pixels, Pixels(shape, self.levels, "unit")]))
