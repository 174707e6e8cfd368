"""The convolutional network with a certified Lipschitz constant."""

from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.draws import spawn
from pushforward.errors import InputError, check_count
from pushforward.networks.contraction import AbstractContraction, AbstractJacobian, by_tangents
from pushforward.networks.layers import uniform_weights
from pushforward.networks.lipschitz import activated, check_contraction, norm_bound
from pushforward.rows import Shape

SIZE = 3
"""Side of the first and the last kernel."""


class LipschitzConv(AbstractContraction):
    """Convolutions of 3 x 3, 1 x 1 and 3 x 3 pixels, padded with zeros, whose Lipschitz constant in the images is at
    most `lipschitz`.

    Each convolution is scaled down so that its norm as an operator on images, see `convolution_bound`, is at most
    `lipschitz ** (1 / 3)`. The spectral norm of a reshaped kernel is no bound of it: the operator's may be three times
    as large. The first convolution has a bias of each place, in which a condition is one more; the constant is not with
    respect to the condition.

    It works on arrays `(c, h, w, n)`: every convolution then is one matrix product, at the thin ends of few channels
    over shifted copies, and can be differentiated in either mode. Cost: `2 width (18 c + width)` operations per pixel,
    and for the norms, once per call, 7 products of matrices of 2 c for each of `h w / 2` frequencies.

    Arguments:
        event: the shape `(h, w, c)` of an image.
        width: channels within.
        condition: number of condition features; 0 for none.
        lipschitz: the constant, within (0, 1); default 0.8.
        activation: `"lipswish"` (default), `"elu"` or `"tanh"`.

    Raises `InputError` for an event that is no image, a width below 1, an unknown activation, or a constant outside
    (0, 1).

    Sources: Behrmann et al. 2019, arXiv 1811.00995, and Chen et al. 2019, arXiv 1906.02735 (the block); Delattre et al.
    2023, arXiv 2305.16173 (norms of convolutions by Gram iteration at every frequency).

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.networks import LipschitzConv
    >>> network = LipschitzConv((4, 4, 1), width=8, key=jax.random.key(0))
    >>> network(network.columns(jnp.ones((5, 4, 4, 1)))).shape
    (1, 4, 4, 5)

    ```
    """

    decaying = ("first", "first_condition", "hidden", "last")
    amortized = ("last_bias",)
    first: Float[Array, "width size size c"]
    first_condition: Float[Array, "width condition"]
    place: Float[Array, "width h w"]
    hidden: Float[Array, "width width"]
    hidden_bias: Float[Array, " width"]
    last: Float[Array, "size size c width"]
    last_bias: Float[Array, " c"]
    beta: Float[Array, " activations"]
    event: Shape = eqx.field(static=True)
    lipschitz: float = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        event: Shape,
        *,
        width: int,
        condition: int = 0,
        lipschitz: float = 0.8,
        activation: str = "lipswish",
        key: PRNGKeyArray,
    ):
        if len(event) != 3:
            raise InputError(
                f"event={event}: the shape (height, width, channels) of an image was expected"
            )
        check_count("width", width)
        check_contraction(lipschitz, activation)
        h, w, c = self.event = event
        keys, area = spawn(key, 5), SIZE * SIZE
        self.first = uniform_weights(keys[0], (width, SIZE, SIZE, c), area * c)
        self.first_condition = uniform_weights(keys[1], (width, condition), condition)
        bias = uniform_weights(keys[2], (width, 1, 1), 1)
        self.place = jnp.broadcast_to(bias, (width, h, w))
        self.hidden, self.hidden_bias = (
            uniform_weights(keys[3], (width, width), width),
            jnp.zeros(width),
        )
        self.last = 0.1 * uniform_weights(keys[4], (SIZE, SIZE, c, width), area * width)
        self.last_bias = jnp.zeros(c)
        self.beta = jnp.zeros(2 if activation == "lipswish" else 0)
        self.lipschitz, self.activation = lipschitz, activation

    @property
    def event_shape(self) -> Shape:
        return self.event

    def columns(self, rows: Float[Array, "n h w c"]) -> Float[Array, "c h w n"]:
        return rows.transpose(3, 1, 2, 0)

    def rows(self, columns: Float[Array, "c h w n"]) -> Float[Array, "n h w c"]:
        return columns.transpose(3, 1, 2, 0)

    def weights(self) -> list[Array]:
        """The matrices as they are applied, each within its share of the Lipschitz constant: of the first convolution
        from shifted copies, `(width, 9 c)`, and of the last one to shifted results, `(9 c, width)`."""
        share, pixels = self.lipschitz ** (1 / 3), self.event[:2]
        width = len(self.hidden)
        bounds = (
            convolution_bound(self.first.transpose(1, 2, 3, 0), pixels),
            norm_bound(self.hidden),
            convolution_bound(self.last, pixels),
        )
        matrices = self.first.reshape(width, -1), self.hidden, self.last.reshape(-1, width)
        return [
            w / jnp.maximum(bound / share, 1.0) for w, bound in zip(matrices, bounds, strict=True)
        ]

    def linearised(
        self,
        weights: list[Array],
        x: Float[Array, "c h w n"],
        condition: Float[Array, "condition n"] | None,
    ) -> tuple[Array, AbstractJacobian]:
        n = x.shape[-1]
        bias = self.place[..., None]
        if condition is not None:
            bias = bias + (self.first_condition @ condition)[:, None, None]
        h = (weights[0] @ _copies(x)).reshape(len(bias), *x.shape[1:]) + bias
        h, first = self._act(0, h.reshape(len(h), -1))
        h, second = self._act(1, weights[1] @ h + self.hidden_bias[:, None])
        value = _summed(weights[2] @ h, x.shape) + self.last_bias[:, None, None, None]
        return value, ConvJacobian(weights, [first, second], self.event, n)

    def _act(self, i: int, h: Array) -> tuple[Array, Array]:
        return activated(self.activation, self.beta, i, h)


class ConvJacobian(AbstractJacobian):
    """The Jacobian of a `LipschitzConv` at n images: its matrices and the slopes between them. Its products with
    vectors evaluate no activation."""

    weights: list[Array]
    slopes: list[Array]  # each (width, pixels)
    event: Shape = eqx.field(static=True)
    n: int = eqx.field(static=True)

    @property
    def size(self) -> int:
        h, w, c = self.event
        return h * w * c

    def times(self, v: Float[Array, "c h w n"]) -> Float[Array, "c h w n"]:
        inner = self.slopes[0] * (self.weights[0] @ _copies(v))
        inner = self.slopes[1] * (self.weights[1] @ inner)
        return _summed(self.weights[2] @ inner, v.shape)

    def transposed(self, v: Float[Array, "c h w n"]) -> Float[Array, "c h w n"]:
        inner = self.slopes[1] * (self.weights[2].T @ _copies(v, backwards=True))
        inner = self.slopes[0] * (self.weights[1].T @ inner)
        return _summed(self.weights[0].T @ inner, v.shape, backwards=True)

    def matrix(self) -> Float[Array, "size size n"]:
        h, w, c = self.event
        return by_tangents(self, (c, h, w), self.n, self.weights[0].dtype)


def convolution_bound(
    kernel: Float[Array, "size size a b"], pixels: tuple[int, ...]
) -> Float[Array, ""]:
    """An upper bound of the operator norm of a convolution on images of `pixels`, padded with zeros.

    With r the kernel's reach, let the image lie in a corner of a torus of `h + r` by `w + r` pixels that is zero
    elsewhere. What the kernel sees beyond an edge of the image, at most r pixels away, is zero on the torus too, as the
    edge opposite is r pixels further. So the convolution is: embed, convolve on the torus, crop. Embedding and cropping
    have norm 1, and the Fourier transform is unitary and makes the convolution on the torus a product with one matrix
    at each frequency:

        |convolution| <= max_f |K(f)|,    K(f) = sum_o kernel[o] exp(2 pi i f o)

    Each matrix is bounded by `norm_bound`, as the real one `((Re, -Im), (Im, Re))` of the same norm; kernels are real,
    so that half of the frequencies do. It exceeds the norm on the torus by less than 2 %, and that of the convolution
    by as much as the edges matter: by 1 % at 28 pixels for a blurring kernel, by a third at 4, fourfold on one pixel.

    Arguments:
        kernel: a matrix from or to channels for each offset; a transpose has the same norm.
        pixels: height and width.
    """
    size, _, a, b = kernel.shape
    reach = size // 2
    height, width = pixels[0] + reach, pixels[1] + reach
    rows, columns = np.arange(height) / height, np.arange(width // 2 + 1) / width
    offsets = np.array(list(product(range(-reach, reach + 1), repeat=2)))
    frequencies = np.array(list(product(rows, columns)))
    angles = 2 * np.pi * frequencies @ offsets.T
    waves = [jnp.asarray(wave(angles), kernel.dtype) for wave in (np.cos, np.sin)]
    flat = kernel.reshape(size * size, a * b)

    def at(waves: list[Array], flat: Array) -> Float[Array, "frequencies rows columns"]:
        real, imaginary = ((wave @ flat).reshape(-1, a, b) for wave in waves)
        upper = jnp.concatenate([real, -imaginary], axis=2)
        return jnp.concatenate([upper, jnp.concatenate([imaginary, real], axis=2)], axis=1)

    # The largest one alone has a gradient.
    largest = jax.vmap(norm_bound)(at(waves, jax.lax.stop_gradient(flat))).argmax()
    return norm_bound(at([wave[largest][None] for wave in waves], flat)[0])


def _copies(x: Float[Array, "c h w n"], backwards: bool = False) -> Float[Array, "inputs pixels"]:
    """Copies of images shifted by every offset of a kernel, one upon the other, zero beyond the edges."""
    c, h, w, n = x.shape
    reach = SIZE // 2
    wide = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    offsets = list(product(range(SIZE), repeat=2))
    copies = [wide[:, i : i + h, j : j + w] for i, j in offsets[:: -1 if backwards else 1]]
    return jnp.concatenate(copies).reshape(len(copies) * c, h * w * n)


def _summed(
    y: Float[Array, "outputs pixels"], shape: Shape, backwards: bool = False
) -> Float[Array, "c h w n"]:
    """The transpose of `_copies` the other way: images for every offset, shifted by it, and added."""
    c, h, w, n = shape
    reach = SIZE // 2
    margins = ((0, 0), (0, 0), (reach, reach), (reach, reach), (0, 0))
    wide = jnp.pad(y.reshape(SIZE * SIZE, c, h, w, n), margins)
    offsets = list(product(range(SIZE), repeat=2))[:: -1 if backwards else 1]
    total = wide[0, :, :h, :w] * 0
    for k, (i, j) in enumerate(offsets):
        total = total + wide[k, :, i : i + h, j : j + w]
    return total
