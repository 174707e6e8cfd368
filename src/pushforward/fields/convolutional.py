"""The convolutional network whose layers see the time."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.draws import spawn
from pushforward.errors import InputError, check_choice, check_count
from pushforward.fields.base import AbstractField
from pushforward.fields.timed_mlp import SMOOTH
from pushforward.networks.convolutional import convolved, squeeze, unsqueeze
from pushforward.networks.images import THIN, few_convolved
from pushforward.networks.layers import uniform_weights
from pushforward.rows import Shape, as_shape, condition_size, flat


class ConvField(AbstractField):
    """A convolutional field `f(t, x)` of images with smooth activations, whose channels are scaled and shifted by time.

        h_1 = act(a_1(t) (x * K_1 + b_1) + t c_1),  ...,  f = h_L W + b,    a_i(t) = 2 sigmoid(t u_i + v_i)

    The first convolution, 3 x 3 as all are, has a bias of each place, in which a condition is one more bias. With
    `halvings` the network is an encoder and decoder: each time two by two pixels become one, the layers in the middle
    see as much further, and on the way back, by a product at every pixel, what was there before is added. The last
    product starts at 0, and so does the field.

    The divergence has no closed form. Cost: the convolutions', `18 width^2` operations a pixel for each in the middle;
    twice that with a probe.

    Arguments:
        event: the shape `(h, w, c)` of an image.
        width: channels within; default 64.
        depth: convolutions in the middle; default 1.
        halvings: of height and width, by the encoder; default 0.
        activation: "tanh" (default), "softplus" or "silu".
        condition: shape of a condition; default None for none.

    Raises `InputError` for sizes below 1, an unknown activation, or a height or width that cannot be halved as often.

    Source: Grathwohl et al. 2019, arXiv 1810.01367, with sums on the way back.

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.fields import ConvField
    >>> field = ConvField((4, 4, 2), width=8, halvings=1, key=jax.random.key(0))
    >>> field(0.5, jnp.ones((5, 4, 4, 2))).shape
    (5, 4, 4, 2)

    ```
    """

    decaying = ("first", "by_condition", "down", "middle", "up", "last")
    amortized = ("last_bias",)
    first: Float[Array, "3 3 c width"]
    place: Float[Array, "h w width"]
    by_condition: Float[Array, "condition width"] | None
    down: Float[Array, "halvings 3 3 4*width width"]
    middle: Float[Array, "depth 3 3 width width"]
    up: Float[Array, "halvings width 4*width"]
    bias: Float[Array, "layers width"]
    clock: Float[Array, "3 layers width"]
    last: Float[Array, "width c"]
    last_bias: Float[Array, " c"]
    activation: str = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        event: Shape,
        *,
        width: int = 64,
        depth: int = 1,
        halvings: int = 0,
        activation: str = "tanh",
        condition: int | Shape | None = None,
        key: PRNGKeyArray,
    ):
        check_count("width", width)
        check_count("depth", depth)
        check_count("halvings", halvings, 0)
        check_choice("activation", activation, SMOOTH)
        h, w, c = event
        if h % 2**halvings or w % 2**halvings:
            raise InputError(
                f"halvings={halvings}: images of {h} x {w} pixels cannot be halved as often"
            )
        self.event_shape, self.condition_shape = (h, w, c), as_shape(condition, "condition")
        size, layers = condition_size(self.condition_shape), 1 + depth + halvings
        keys = spawn(key, 6)

        def weights(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int) -> Array:
            # Of variance 1 / fan_in: sums that neither fade nor saturate the activation.
            spread: Array = 3.0**0.5 * uniform_weights(key, shape, fan_in)
            return spread

        self.first = weights(keys[0], (3, 3, c, width), 9 * c)
        self.down = weights(keys[1], (halvings, 3, 3, 4 * width, width), 36 * width)
        self.middle = weights(keys[2], (depth, 3, 3, width, width), 9 * width)
        self.up = weights(keys[3], (halvings, width, 4 * width), width)
        self.by_condition = uniform_weights(keys[4], (size, width), size) if size else None
        self.clock = uniform_weights(keys[5], (3, layers, width), 1)
        self.place, self.bias = jnp.zeros((h, w, width)), jnp.zeros((layers, width))
        self.last, self.last_bias = jnp.zeros((width, c)), jnp.zeros(c)
        self.activation = activation

    def prepared(self) -> "ConvField":
        return self

    def with_divergence(
        self, t: ArrayLike, x: Float[Array, "n h w c"], condition: Array | None = None
    ) -> tuple[Float[Array, "n h w c"], None]:
        time = jnp.asarray(t, x.dtype)
        time = time if time.ndim else time[None, None, None, None]
        layers = iter(range(len(self.bias)))

        def timed(h: Array) -> Array:
            i = next(layers)
            slope, start, shift = (part[i][None, None, None] for part in self.clock)
            scale = 2 * jax.nn.sigmoid(time * slope + start)
            return SMOOTH[self.activation](
                scale * (h + self.bias[i][None, None, None]) + time * shift
            )[0]

        wide = few_convolved if x.shape[-1] <= THIN else convolved
        h = wide(x, self.first) + self.place[None]
        if self.by_condition is not None and condition is not None:
            h = h + (flat(condition) @ self.by_condition)[:, None, None]
        h = timed(h)
        passed: list[Array] = []
        for kernel in self.down:
            passed.append(h)
            h = timed(convolved(squeeze(h), kernel))
        for kernel in self.middle:
            h = timed(convolved(h, kernel))
        for matrix in self.up:
            h = unsqueeze(h @ matrix) + passed.pop()
        return h @ self.last + self.last_bias[None, None, None], None
