"""Networks from images to the parameters of couplings."""

import math
from abc import abstractmethod
from functools import reduce
from itertools import product
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.draws import spawn
from pushforward.errors import InputError, check_count
from pushforward.networks.convolutional import convolved
from pushforward.networks.layers import activation_named, dropout, split, stacked, uniform_weights
from pushforward.rows import Shape, condition_size, flat

THIN = 8
"""Channels up to which a convolution is one product over shifted copies: the compiler's own needs twice the time."""


class AbstractImageNetwork(eqx.Module):
    """A network from images and a condition to parameters at every pixel, `(n, h, w, c)` to `(*out, n h w)`.

    Attributes:
        event_shape: the shape `(h, w, c)` of an image.
        condition_shape: the shape of a condition, or None.
        out: shape of the output's leading axes.
        last_bias: `prod(out)` numbers that are added to the output at every pixel, with which scalar maps start.
    """

    event_shape: eqx.AbstractVar[Shape]
    condition_shape: eqx.AbstractVar[Shape | None]
    out: eqx.AbstractVar[tuple[int, ...]]
    last_bias: eqx.AbstractVar[Array]

    @abstractmethod
    def __call__(
        self,
        x: Float[Array, "n h w c"],
        condition: Array | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Array:
        """The parameters; `key` for dropout."""


class ImageNetwork(AbstractImageNetwork):
    """A convolutional network from images to parameters at every pixel, `(n, h, w, c)` to `(*out, n h w)`.

    A convolution with a bias of each place, in which a condition is one more bias; residual blocks of one convolution
    each; and a last convolution that starts at 0, so that what it parametrises starts at the identity. The output has
    features in front, as scalar maps take them. Kernels of one pixel are products of matrices, and the last one is a
    product whatever its size.

    Arguments:
        event: the shape `(h, w, c)` of an image.
        out: shape of the output's leading axes.
        width: channels within.
        blocks: how many, at least 1; default 1.
        sizes: of the kernels of the first convolution, of blocks, and of the last one, odd; default (3, 3, 1).
        condition_shape: the shape of a condition; None for none.
        activation: default "relu".
        dropout: share of channels' values zeroed before the last product when called with a key; default 0.
        levels: if given, of images on the scale [0, 1] it sees `level_features`; default None, the numbers.

    Raises `InputError` for a width or a number of blocks below 1, an even size, or an unknown activation.

    ```python
    >>> import jax
    >>> from pushforward.networks import ImageNetwork
    >>> network = ImageNetwork((4, 4, 2), (3, 5), width=8, key=jax.random.key(0))
    >>> network(jax.numpy.ones((10, 4, 4, 2))).shape
    (3, 5, 160)

    ```
    """

    decaying = ("first", "kernels", "last", "by_condition")
    amortized = ("last_bias",)
    first: Float[Array, "size size inputs width"]
    place: Float[Array, "h w width"]
    by_condition: Float[Array, "condition width"] | None
    kernels: Float[Array, "blocks inner inner width width"]
    biases: Float[Array, "blocks width"]
    last: Float[Array, "outputs width"]
    last_bias: Float[Array, " out"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)
    out: tuple[int, ...] = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    dropout: float = eqx.field(static=True)
    levels: int | None = eqx.field(static=True)

    def __init__(
        self,
        event: Shape,
        out: tuple[int, int],
        *,
        width: int,
        blocks: int = 1,
        sizes: tuple[int, int, int] = (3, 3, 1),
        condition_shape: Shape | None = None,
        activation: str = "relu",
        dropout: float = 0.0,
        levels: int | None = None,
        key: PRNGKeyArray,
    ):
        check_count("width", width)
        check_count("blocks", blocks)
        activation_named(activation)
        if len(sizes) != 3 or any(size < 1 or size % 2 == 0 for size in sizes):
            raise InputError(f"sizes={sizes}: three odd numbers of pixels were expected")
        h, w, c = event
        first, inner, last = sizes
        keys = spawn(key, 3)
        # Uniform weights of He's variance: 3 / fan_in of the bound's square.
        gain = 6.0**0.5
        inputs = c if levels is None else FEATURES * c
        area = first * first
        self.first = gain * uniform_weights(keys[0], (first, first, inputs, width), area * inputs)
        shape, area = (inner, inner, width, width), inner * inner
        self.kernels = stacked(
            lambda key: gain * uniform_weights(key, shape, area * width), blocks, keys[1]
        )
        self.place, self.biases = jnp.zeros((h, w, width)), jnp.zeros((blocks, width))
        size = condition_size(condition_shape)
        self.by_condition = uniform_weights(keys[2], (size, width), size) if size else None
        outputs = out[0] * out[1]
        self.last, self.last_bias = jnp.zeros((last * last * outputs, width)), jnp.zeros(outputs)
        self.event_shape, self.condition_shape, self.out = (h, w, c), condition_shape, tuple(out)
        self.activation, self.dropout, self.levels = activation, dropout, levels

    def __call__(
        self,
        x: Float[Array, "n h w c"],
        condition: Array | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Array:
        act = activation_named(self.activation)
        x = x if self.levels is None else level_features(x, self.levels)
        hidden = thinly_convolved(x, self.first) + self.place[None]
        if self.by_condition is not None and condition is not None:
            hidden = hidden + (flat(condition) @ self.by_condition)[:, None, None]
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            hidden = hidden + thinly_convolved(act(hidden), kernel) + bias[None, None, None]
        (own,) = split(key, 1)
        pixels = dropout(act(hidden), self.dropout, own)
        return features_first(pixels, self.last, self.last_bias, self.out)


def thinly_convolved(
    x: Float[Array, "n h w c"], kernel: Float[Array, "size size c out"]
) -> Float[Array, "n h w out"]:
    """`convolved`, of images of few channels or by kernels of one pixel as one product."""
    few = x.shape[-1] <= THIN or len(kernel) == 1
    return (few_convolved if few else convolved)(x, kernel)


def features_first(
    x: Float[Array, "n h w width"],
    weights: Float[Array, "rows width"],
    bias: Float[Array, " outputs"],
    out: tuple[int, ...],
) -> Float[Array, "*out n*h*w"]:
    """A convolution with features in front, as scalar maps take them.

    It is one product, whose results for each offset of the kernel are shifted and added: outputs are few. The weights
    have the offsets first, `(size, size, outputs)`.
    """
    n, h, w, width = x.shape
    params = jax.lax.dot_general(weights, x.reshape(-1, width), (((1,), (1,)), ((), ())))
    size = math.isqrt(len(weights) // len(bias))
    if size > 1:
        margin = (size // 2, size // 2)
        parts = params.reshape(size, size, len(bias), n, h, w)
        wide = jnp.pad(parts, ((0, 0),) * 4 + (margin, margin))
        places = list(product(range(size), repeat=2))
        shifted = [wide[i, j, ..., i : i + h, j : j + w] for i, j in places]
        params = reduce(add, shifted).reshape(len(bias), -1)
    return (params + bias[:, None]).reshape(*out, n * h * w)


def few_convolved(x: Float[Array, "n h w c"], kernel: Float[Array, "size size c out"]) -> Array:
    """`convolved` of images of few channels: their shifted copies side by side, and one product."""
    size, _, c, out = kernel.shape
    margin = size // 2
    n, h, w, _ = x.shape
    wide = jnp.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    copies = [wide[:, i : i + h, j : j + w] for i in range(size) for j in range(size)]
    columns = jnp.concatenate(copies, axis=-1).reshape(n * h * w, size * size * c)
    return (columns @ kernel.reshape(size * size * c, out)).reshape(n, h, w, out)


FEATURES = 3
"""What `level_features` gives for each number."""


def level_features(x: Float[Array, "*shape c"], levels: int) -> Float[Array, "*shape 3*c"]:
    """What a network sees of numbers on the scale [0, 1]: the level, whether it is above the lowest, and whether it is
    among the highest 2 %, or the highest one of few. Noise within a level is not seen: it says nothing, and would have
    to be ignored.
    """
    level = jnp.floor(levels * jnp.clip(x, 0.0, 1.0))
    lowest, highest = level > 0, level > min(0.98 * levels, levels - 2)
    return jnp.concatenate(
        [2 * level / levels, lowest.astype(x.dtype), highest.astype(x.dtype)], axis=-1
    )
