"""The perceptron whose layers see the time."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.draws import spawn
from pushforward.errors import check_choice
from pushforward.fields.base import AbstractField
from pushforward.networks.layers import check_network, uniform_weights
from pushforward.rows import Shape, as_shape, condition_size

TIMES = ("concat", "squash", "hyper")
HYPER = 16


class MLPField(AbstractField):
    """A perceptron `f(t, x)` with smooth activations, whose units are scaled and shifted by functions of time.

        h_1 = act(a_1(t) (x W_1 + b_1) + c_1(t)),  h_2 = act(a_2(t) (h_1 W_2 + b_2) + c_2(t)),  f = h_2 W_3 + b_3

    - `"concat"`: `a = 1`, `c` linear: time is one more input of every hidden layer.
    - `"squash"` (default): `a = sigmoid(linear)`, `c` linear: FFJORD's concatsquash.
    - `"hyper"`: both from a small network of time (16 hidden units).

    With one or two hidden layers the exact divergence costs, at any d, one more product with a `width x width` matrix:
    with `d_i = a_i act'` and `M = W_2 o (W_3 W_1)^T`, `tr J = (d_1 M) . d_2`. Deeper networks have no closed form.

    Arguments:
        d: size of the event.
        width, depth: units and number of hidden layers; default 64 and 2.
        time: how layers see the time; default "squash".
        activation: `"tanh"` (default), `"softplus"` or `"silu"`.
        condition: shape of a condition, which enters the first layer; default None for none.

    Raises `InputError` for sizes below 1 or unknown names.

    Source: Grathwohl et al. 2019, arXiv 1810.01367 (layers).

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.fields import MLPField, divergence
    >>> field = MLPField(3, width=8, key=jax.random.key(0))
    >>> value, trace = divergence(field, 0.5, jnp.ones((5, 3)))
    >>> value.shape, trace.shape
    ((5, 3), (5,))

    ```
    """

    decaying = ("first", "first_condition", "hidden", "last")
    amortized = ("last_bias",)
    first: Float[Array, "d width"]
    first_condition: Float[Array, "condition width"]
    hidden: Float[Array, "layers width width"]
    bias: Float[Array, "depth width"]
    last: Float[Array, "width d"]
    last_bias: Float[Array, " d"]
    clock: tuple[Array, ...]
    overlap: Float[Array, "width width"] | None
    time: str = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        d: int,
        *,
        width: int = 64,
        depth: int = 2,
        time: str = "squash",
        activation: str = "tanh",
        condition: int | Shape | None = None,
        key: PRNGKeyArray,
    ):
        check_network(width, depth, "relu", 0.0)
        check_choice("time", time, TIMES)
        check_choice("activation", activation, SMOOTH)
        self.event_shape, self.condition_shape = (d,), as_shape(condition, "condition")
        size = condition_size(self.condition_shape)
        keys = spawn(key, 6)
        self.first = uniform_weights(keys[0], (d, width), d)
        self.first_condition = uniform_weights(keys[1], (size, width), size)
        self.hidden = uniform_weights(keys[2], (depth - 1, width, width), width)
        self.bias = uniform_weights(keys[3], (depth, width), d)
        self.last = uniform_weights(keys[4], (width, d), width)
        self.last_bias = jnp.zeros(d)
        units = depth * width
        shapes = {
            "concat": [(1, units)],
            "squash": [(1, units), (1, units), (0, units)],
            "hyper": [(1, HYPER), (0, HYPER), (HYPER, 2 * units)],
        }[time]
        self.clock = tuple(
            uniform_weights(k, shape, max(shape[0], 1)) if shape[0] else jnp.zeros(shape[1:])
            for k, shape in zip(spawn(keys[5], len(shapes)), shapes, strict=True)
        )
        self.overlap = None
        self.time, self.activation = time, activation

    def prepared(self) -> "MLPField":
        if len(self.bias) != 2:
            return self
        ready: MLPField = eqx.tree_at(
            lambda field: field.overlap, self, self._overlap(), is_leaf=lambda leaf: leaf is None
        )
        return ready

    def _overlap(self) -> Float[Array, "width width"]:
        """`M = W_2 o (W_3 W_1)^T`."""
        return self.hidden[0] * (self.last @ self.first).T

    def with_divergence(
        self, t: ArrayLike, x: Float[Array, "n d"], condition: Array | None = None
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"] | None]:
        act, depth = SMOOTH[self.activation], len(self.bias)
        scales, shifts = self._at_time(jnp.asarray(t, x.dtype))
        h = x @ self.first
        if condition is not None and self.condition_shape is not None:
            h = h + condition.reshape(len(condition), -1) @ self.first_condition
        slopes: list[Array] = []
        for i in range(depth):
            h = h @ self.hidden[i - 1] if i else h
            h, slope = act(scales[i] * (h + self.bias[i]) + shifts[i])
            slopes.append(scales[i] * slope)
        f = h @ self.last + self.last_bias
        if depth == 1:
            return f, slopes[0] @ (self.first * self.last.T).sum(0)
        if depth == 2:
            overlap = self._overlap() if self.overlap is None else self.overlap
            return f, ((slopes[0] @ overlap) * slopes[1]).sum(1)
        return f, None

    def _at_time(self, t: Array) -> tuple[list[Array], list[Array]]:
        """Scales and shifts of the hidden layers: numbers or `(width,)` or `(n, width)` each."""
        depth, width = self.bias.shape

        def parts(v: Array) -> list[Array]:
            return [v[..., i * width : (i + 1) * width] for i in range(depth)]

        first = t * self.clock[0][0]
        if self.time == "concat":
            return [jnp.ones((), t.dtype)] * depth, parts(first)
        if self.time == "squash":
            return parts(jax.nn.sigmoid(first + self.clock[2])), parts(t * self.clock[1][0])
        h = jnp.tanh(first + self.clock[1]) @ self.clock[2]
        return parts(1 + h[..., : depth * width]), parts(h[..., depth * width :])


def _tanh(v: Array) -> tuple[Array, Array]:
    a = jnp.tanh(v)
    return a, 1 - a * a


def _softplus(v: Array) -> tuple[Array, Array]:
    return jax.nn.softplus(v), jax.nn.sigmoid(v)


def _silu(v: Array) -> tuple[Array, Array]:
    s = jax.nn.sigmoid(v)
    return v * s, s * (1 + v * (1 - s))


SMOOTH = {"tanh": _tanh, "softplus": _softplus, "silu": _silu}
"""Activations with their slopes."""
