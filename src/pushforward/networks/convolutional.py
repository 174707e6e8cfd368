"""Convolutions on a batch of images, channels last."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.draws import spawn
from pushforward.errors import InputError, check_count
from pushforward.networks.layers import activation_named, stacked, uniform_weights

EPS = 1e-5


def squeeze(x: Float[Array, "n h w c"]) -> Float[Array, "n h/2 w/2 4*c"]:
    """Two by two pixels as one pixel of four times the channels: a convolution after it has stride 2 in the original.

    Raises `InputError` for an odd height or width.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.networks import squeeze
    >>> squeeze(jnp.arange(4.0).reshape(1, 2, 2, 1)).ravel().tolist()
    [0.0, 1.0, 2.0, 3.0]

    ```
    """
    n, h, w, c = x.shape
    if h % 2 or w % 2:
        raise InputError(f"images of {h} x {w} pixels: even numbers were expected")
    blocks = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, h // 2, w // 2, 4 * c)


def unsqueeze(x: Float[Array, "n h w channels"]) -> Float[Array, "n 2*h 2*w c"]:
    """The inverse of `squeeze`."""
    n, h, w, c = x.shape
    blocks = x.reshape(n, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, 2 * h, 2 * w, c // 4)


@jax.custom_vjp
def convolved(x: Array, kernel: Array) -> Array:
    """`x` `(n, h, w, c)` convolved with a kernel `(size, size, c, out)` of odd size, padded with zeros.

    Both gradients are written as convolutions of the same form: the input's with the flipped kernel, the kernel's with
    the cotangent as kernel and images in place of channels. XLA's own reverse permutes axes instead, which its CPU
    backend (JAX 0.10) computes by plain loops, some 20 times slower, wherever it lies in a compiled loop, as all of
    training and solving does. Reverse mode only.
    """
    return _convolution(x, kernel, kernel.shape[0] // 2)


def _convolution(x: Array, kernel: Array, margin: int) -> Array:
    margins = [(margin, margin)] * 2
    axes = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), margins, dimension_numbers=axes)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return convolved(x, kernel), (x, kernel)


def _backward(kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    x, kernel = kept
    by_x = convolved(cotangent, kernel[::-1, ::-1].swapaxes(2, 3))
    channels, as_kernel = x.transpose(3, 1, 2, 0), cotangent.transpose(1, 2, 0, 3)
    by_kernel = _convolution(channels, as_kernel, kernel.shape[0] // 2)
    return by_x, by_kernel.transpose(1, 2, 0, 3)


convolved.defvjp(_forward, _backward)


class Conv(eqx.Module):
    """A convolution that keeps the size of images: `(n, h, w, inputs)` to `(n, h, w, out)`.

    With `time` the time is one more channel, the same in every pixel. Cost: `2 size^2 inputs out` operations per pixel,
    and twice that for the gradient.

    Arguments:
        inputs, out: channels.
        size: of the kernel, odd; default 3.
        time: whether it sees the time; default False.
        scale: initial weights, relative to the usual ones; default 1.

    Raises `InputError` for an even size or channels below 1.

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.networks import Conv
    >>> Conv(1, 4, key=jax.random.key(0))(jnp.ones((5, 28, 28, 1))).shape
    (5, 28, 28, 4)

    ```
    """

    decaying = ("kernel", "clock")

    kernel: Float[Array, "size size inputs out"]
    bias: Float[Array, " out"]
    clock: Float[Array, "size size 1 out"] | None

    def __init__(
        self,
        inputs: int,
        out: int,
        *,
        size: int = 3,
        time: bool = False,
        scale: float = 1.0,
        key: PRNGKeyArray,
    ):
        if size < 1 or size % 2 == 0:
            raise InputError(f"size={size}: an odd number of pixels was expected")
        check_count("inputs", inputs)
        check_count("out", out)
        kernel_key, clock_key = spawn(key, 2)
        fan_in = size * size * (inputs + time)
        self.kernel = scale * uniform_weights(kernel_key, (size, size, inputs, out), fan_in)
        self.bias = jnp.zeros(out)
        self.clock = None
        if time:
            self.clock = scale * uniform_weights(clock_key, (size, size, 1, out), fan_in)

    def __call__(
        self, x: Float[Array, "n h w inputs"], t: ArrayLike | None = None
    ) -> Float[Array, "n h w out"]:
        """Convolve; `t` is a number, or `(n, 1, 1, 1)`, a time per image."""
        y = convolved(x, self.kernel.astype(x.dtype)) + self.bias.astype(x.dtype)[None, None, None]
        if self.clock is None:
            return y
        if t is None:
            raise InputError("this convolution sees the time: a time t was expected")
        # The channel of time is t times an image of ones, so its part is computed once for all images.
        ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
        return y + jnp.asarray(t, x.dtype) * convolved(ones, self.clock.astype(x.dtype))


class GroupNorm(eqx.Module):
    """Shift and scale each image's groups of channels to mean 0 and variance 1, then each channel by trained numbers.

    An image's result does not depend on the images beside it.

    Arguments:
        channels: of the images `(n, h, w, channels)`.
        groups: how many groups they make; default 8.

    Raises `InputError` where the groups do not divide the channels.

    Source: Wu & He 2018, arXiv 1803.08494.

    ```python
    >>> import jax
    >>> from pushforward.networks import GroupNorm
    >>> y = GroupNorm(4, groups=2)(jax.random.normal(jax.random.key(0), (3, 7, 7, 4)) * 5 + 2)
    >>> abs(float(y[0, ..., :2].mean())) < 1e-6, round(float(y[0, ..., :2].std()), 3)
    (True, 1.0)

    ```
    """

    scale: Float[Array, " channels"]
    shift: Float[Array, " channels"]
    groups: int = eqx.field(static=True)

    def __init__(self, channels: int, *, groups: int = 8):
        if groups < 1 or channels < 1 or channels % groups:
            raise InputError(f"groups={groups} do not divide channels={channels}")
        self.scale, self.shift, self.groups = jnp.ones(channels), jnp.zeros(channels), groups

    def __call__(self, x: Float[Array, "n h w channels"]) -> Float[Array, "n h w channels"]:
        n, c = x.shape[0], x.shape[-1]
        pixels = x.reshape(n, -1, c)
        alike = jnp.arange(c) // (c // self.groups)
        share = jnp.where(alike[:, None] == alike[None], self.groups / (pixels.shape[1] * c), 0.0)

        def of_group(v: Array) -> Array:
            # Pixels are summed first, along the channels: the short axis of a group is left for few numbers.
            return (v.sum(1) @ share.astype(x.dtype))[:, None]

        centred = pixels - of_group(pixels)
        scale = self.scale.astype(x.dtype)[None, None] * jax.lax.rsqrt(
            of_group(jnp.square(centred)) + EPS
        )
        return (centred * scale + self.shift.astype(x.dtype)[None, None]).reshape(x.shape)


class ConvBlock(eqx.Module):
    """What a residual block adds to images, or, with `time`, the field of an ODE on images.

        f(t, x) = conv(act(norm(conv(act(norm(x))))))

    Both convolutions see the time if the block does. `x + block(0, x)` is a residual block, and one Euler step.

    Arguments:
        channels: of the images `(n, h, w, channels)`.
        hidden: channels between the convolutions; default None for as many as the images have.
        groups: of both norms; default 8.
        time: whether it sees the time; default False.
        activation: default "relu".
        last_scale: initial weights of the last convolution, relative to the usual ones; default 1.

    Raises `InputError` for groups that do not divide `channels` and `hidden`, or an unknown activation.

    Sources: He et al. 2016, arXiv 1603.05027 (activation before weights); Chen et al. 2018, arXiv 1806.07366.

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.networks import ConvBlock
    >>> block = ConvBlock(8, time=True, key=jax.random.key(0))
    >>> block(0.5, jnp.ones((5, 7, 7, 8))).shape
    (5, 7, 7, 8)

    ```
    """

    norms: tuple[GroupNorm, GroupNorm]
    convs: tuple[Conv, Conv]
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        *,
        hidden: int | None = None,
        groups: int = 8,
        time: bool = False,
        activation: str = "relu",
        last_scale: float = 1.0,
        key: PRNGKeyArray,
    ):
        activation_named(activation)
        first, last = spawn(key, 2)
        between = channels if hidden is None else hidden
        self.norms = (GroupNorm(channels, groups=groups), GroupNorm(between, groups=groups))
        self.convs = (
            Conv(channels, between, time=time, key=first),
            Conv(between, channels, time=time, scale=last_scale, key=last),
        )
        self.activation = activation

    def __call__(self, t: ArrayLike, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """The block's value; `t` is a number, or `(n, 1, 1, 1)`, and ignored without `time`."""
        act = activation_named(self.activation)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = conv(act(norm(x)), t)
        return x


class ResidualBlocks(eqx.Module):
    """Residual blocks one after another, each with its own weights: `x + block(x)`, again and again.

    They are stacked and scanned, so that compile time does not grow with their number. Cost: each block's; the gradient
    keeps the activations of all.

    Arguments:
        channels: of the images `(n, h, w, channels)`.
        count: how many blocks.
        groups, activation, last_scale: of each block, as of `ConvBlock`.

    Raises `InputError` for a count below 1, and all that `ConvBlock` raises.

    Source: He et al. 2016, arXiv 1603.05027.

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.networks import ResidualBlocks
    >>> ResidualBlocks(8, 3, key=jax.random.key(0))(jnp.ones((5, 7, 7, 8))).shape
    (5, 7, 7, 8)

    ```
    """

    blocks: ConvBlock

    def __init__(
        self,
        channels: int,
        count: int,
        *,
        groups: int = 8,
        activation: str = "relu",
        last_scale: float = 1.0,
        key: PRNGKeyArray,
    ):
        check_count("count", count)
        options: Any = {"groups": groups, "activation": activation, "last_scale": last_scale}
        self.blocks = stacked(lambda key: ConvBlock(channels, key=key, **options), count, key)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        arrays, rest = eqx.partition(self.blocks, eqx.is_array)

        def add(x: Array, block: ConvBlock) -> tuple[Array, None]:
            return x + eqx.combine(block, rest)(0.0, x), None

        return jax.lax.scan(add, x, arrays)[0]
