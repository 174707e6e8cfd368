"""The coupling structure on images."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, replaced
from pushforward.bijections.images.histogram import at_histogram
from pushforward.bijections.images.squeeze import image_shape
from pushforward.errors import InputError
from pushforward.networks.images import AbstractImageNetwork
from pushforward.rows import Shape
from pushforward.transformers.base import AbstractTransformer


class ImageCoupling(AbstractBijection):
    """Keep all channels but some, and transform these at every pixel by scalar maps that depend on the channels before.

        x_b = tau(z_b; h(x_a, condition)),    x_a = z_a,    x_c = z_c

    The channels stand in this order: a, which the network sees, b, which are transformed, and c, which are neither, if
    any. After `Checker` it is the coupling by checkerboard, after `Squeeze` of one of a block's four pixels given
    others. As the last map of a level of `MultiScale` it is a prior of what leaves given what stays. Cost: one network
    pass either way.

    RealNVP (Dinh et al. 2017, arXiv 1605.08803), Glow (Kingma & Dhariwal 2018, arXiv 1807.03039).

    Arguments:
        event: the shape `(h, w, c)`.
        network: from channels a and the condition to parameters, `(size, b, n h w)`; it is of images of h x w pixels.
        transformer: the scalar map.

    Raises `InputError` where the network does not fit the event and the scalar map.

    ```python
    >>> import jax, pushforward as pf
    >>> from pushforward.networks import ImageNetwork
    >>> network = ImageNetwork((4, 4, 2), (2, 2), width=8, key=jax.random.key(0))
    >>> layer = pf.bijections.images.ImageCoupling((4, 4, 4), network, pf.transformers.Affine())
    >>> layer.inverse(jax.numpy.ones((5, 4, 4, 4)))[0].shape
    (5, 4, 4, 4)

    ```
    """

    amortized = ("network",)
    network: AbstractImageNetwork
    transformer: AbstractTransformer
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self, event: Shape, network: AbstractImageNetwork, transformer: AbstractTransformer
    ):
        h, w, c = self.event_shape = image_shape(event)
        seen, (size, moved) = network.event_shape, network.out
        if seen[:2] != (h, w) or seen[2] + moved > c or size != transformer.size:
            raise InputError(
                f"a network from images {seen} to {size} parameters for {moved} channels does not fit a coupling of "
                f"images {self.event_shape}, whose {type(transformer).__name__} takes {transformer.size} parameters"
            )
        self.network, self.transformer = network, transformer
        self.condition_shape = network.condition_shape

    @property
    def volume_preserving(self) -> bool:
        return self.transformer.volume_preserving

    def standardising(self, x: Float[Array, "n h w c"]) -> "ImageCoupling":
        """The same map; of splines with fixed knots started at the histogram of the images' numbers."""
        return replaced(self, network=at_histogram(self.network, self.transformer, x))

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return self._mapped(z, condition, key, "forward")

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return self._mapped(x, condition, key, "inverse")

    def _mapped(self, value: Array, condition: Condition, key: Key, method: str) -> Mapped:
        n, h, w, _ = value.shape
        first, end = self.network.event_shape[2], self.network.event_shape[2] + self.network.out[1]
        params = self.network(value[..., :first], condition, key)
        # The scalar maps see channels in front and all pixels behind, along which they vectorise.
        moved = value[..., first:end].reshape(n * h * w, end - first).T
        moved, log_slope = getattr(self.transformer, method)(moved, params)
        moved = moved.T.reshape(n, h, w, end - first)
        out = jnp.concatenate([value[..., :first], moved, value[..., end:]], axis=-1)
        per_pixel = jnp.broadcast_to(log_slope, (end - first, n * h * w)).sum(0)
        return out, per_pixel.reshape(n, h * w).sum(1)
