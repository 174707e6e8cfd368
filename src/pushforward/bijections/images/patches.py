"""Images as patches, and maps that go from patch to patch."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, replaced
from pushforward.bijections.images.histogram import at_histogram
from pushforward.bijections.images.squeeze import image_shape
from pushforward.errors import InputError, check_count
from pushforward.networks.causal import CausalTransformer
from pushforward.networks.images import FEATURES, level_features
from pushforward.rows import Shape
from pushforward.transformers.base import AbstractTransformer

A = TypeVar("A", Array, np.ndarray)


class CausalPatches(AbstractBijection):
    """Each patch's numbers by scalar maps whose parameters depend on the patches before it.

        x_t = tau(z_t; h(x_1, ..., x_(t-1), condition))

    Patches are in the order of reading, or, `backwards`, in the reverse. Numbers of one patch do not depend on each
    other: alternate directions, or take patches of one pixel. Cost: inverse (density) one pass of the transformer,
    forward (sampling) one token at a time with keys and values kept.

    TarFlow (Zhai et al. 2024, arXiv 2412.06329).

    Arguments:
        event: the shape `(h, w, c)`.
        patch: the side of a patch, in pixels.
        network: from patches `(n, tokens, inputs)` to parameters `(size, patch^2 c, n tokens)`.
        transformer: the scalar map.
        backwards: whether the last patch comes first; default False.
        levels: if given, of patches on the scale [0, 1] the network sees `level_features`; default None, the numbers.

    Raises `InputError` for patches that do not tile the image, or a network that does not fit.

    ```python
    >>> import jax, pushforward as pf
    >>> from pushforward.networks import CausalTransformer
    >>> network = CausalTransformer(4, 4, (2, 4), width=8, key=jax.random.key(0))
    >>> layer = pf.bijections.images.CausalPatches((4, 4, 1), 2, network, pf.transformers.Affine())
    >>> layer.inverse(jax.numpy.ones((5, 4, 4, 1)))[0].shape
    (5, 4, 4, 1)

    ```
    """

    amortized = ("network",)
    network: CausalTransformer
    transformer: AbstractTransformer
    patch: int = eqx.field(static=True)
    backwards: bool = eqx.field(static=True)
    levels: int | None = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        event: Shape,
        patch: int,
        network: CausalTransformer,
        transformer: AbstractTransformer,
        *,
        backwards: bool = False,
        levels: int | None = None,
    ):
        self.event_shape, self.patch = image_shape(event), check_patch(event, patch)
        h, w, c = self.event_shape
        numbers = patch * patch * c
        tokens = len(network.place), len(network.embed)
        wanted = h * w // patch**2, numbers * (1 if levels is None else FEATURES)
        if tokens != wanted or network.out != (transformer.size, numbers):
            raise InputError(
                f"images {event} in patches of {patch} x {patch} pixels are {wanted[0]} tokens of {wanted[1]} features "
                f"with {(transformer.size, numbers)} parameters; the network takes {tokens[0]} of {tokens[1]} and "
                f"gives {network.out}"
            )
        self.network, self.transformer = network, transformer
        self.backwards, self.levels = backwards, levels
        self.condition_shape = network.condition_shape

    @property
    def volume_preserving(self) -> bool:
        return self.transformer.volume_preserving

    @property
    def recomputable(self) -> bool:
        # Forward runs the network token by token, without dropout.
        return self.network.dropout == 0

    def standardising(self, x: Float[Array, "n h w c"]) -> "CausalPatches":
        """The same map; of splines with fixed knots started at the histogram of the images' numbers."""
        return replaced(self, network=at_histogram(self.network, self.transformer, x))

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        tokens = self._tokens(x)
        n, count, numbers = tokens.shape
        params = self.network(self._features(tokens), condition, key)
        values = tokens.reshape(n * count, numbers).T
        z, log_slope = self.transformer.inverse(values, params)
        per_token = jnp.broadcast_to(log_slope, values.shape).sum(0)
        return self._image(z.T.reshape(tokens.shape)), per_token.reshape(n, count).sum(1)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        tokens = self._tokens(z)

        def step(
            state: tuple[Any, Array, Array], t_and_z: tuple[Array, Array]
        ) -> tuple[Any, Array]:
            past, before, log_det = state
            t, own = t_and_z
            hidden, past = self.network.step(past, self._features(before), t, condition)
            x, log_slope = self.transformer.forward(own.T, self.network.outputs(hidden))
            log_det = log_det + jnp.broadcast_to(log_slope, x.shape).sum(0)
            return (past, x.T, log_det), x.T

        start = self.network.start(len(z)), jnp.zeros_like(tokens[:, 0]), jnp.zeros(len(z), z.dtype)
        steps = jnp.arange(tokens.shape[1]), tokens.swapaxes(0, 1)
        (_, _, log_det), x = jax.lax.scan(step, start, steps)
        return self._image(x.swapaxes(0, 1)), log_det

    def _features(self, numbers: Array) -> Array:
        return numbers if self.levels is None else level_features(numbers, self.levels)

    def _tokens(self, images: Array) -> Array:
        tokens = to_patches(images, self.patch)
        return tokens[:, ::-1] if self.backwards else tokens

    def _image(self, tokens: Array) -> Array:
        tokens = tokens[:, ::-1] if self.backwards else tokens
        return from_patches(tokens, self.patch, self.event_shape)


def check_patch(event: Shape, patch: int) -> int:
    """The side of a patch. Raises `InputError` where patches of it do not tile the image."""
    check_count("patch", patch)
    h, w, _ = image_shape(event)
    if h % patch or w % patch:
        raise InputError(
            f"images of {h} x {w} pixels cannot be cut into patches of {patch} x {patch}: the side of a patch has to "
            "divide both"
        )
    return patch


def to_patches(images: A, patch: int) -> A:
    """Patches in the order of reading, `(n, tokens, numbers)`, of images `(n, h, w, c)` of any type; each has its
    pixels in the order of reading."""
    n, h, w, c = images.shape
    cut = images.reshape(n, h // patch, patch, w // patch, patch, c).transpose(0, 1, 3, 2, 4, 5)
    tokens: A = cut.reshape(n, h * w // patch**2, patch * patch * c)
    return tokens


def from_patches(tokens: Float[Array, "n tokens numbers"], patch: int, event: Shape) -> Array:
    """The inverse of `to_patches`."""
    h, w, c = event
    cut = tokens.reshape(len(tokens), h // patch, w // patch, patch, patch, c)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(len(tokens), h, w, c)
