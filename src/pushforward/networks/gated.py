"""Gated convolutions and attention over the positions of an image."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.draws import normal, spawn
from pushforward.errors import check_count
from pushforward.networks.causal import attended, normalised
from pushforward.networks.convolutional import convolved
from pushforward.networks.images import (
    FEATURES,
    AbstractImageNetwork,
    features_first,
    level_features,
    thinly_convolved,
)
from pushforward.networks.layers import dropout, split, uniform_weights
from pushforward.rows import Shape, condition_size, flat


class GatedNetwork(AbstractImageNetwork):
    """As `ImageNetwork`, with blocks whose additions are gated, `h + a sigmoid(b)`: a is of a 3 x 3 convolution, and b
    its gate; then, where the network attends, of attention between all positions.

    Cost of attention: that of two products at every pixel, and the square of the number of pixels.

    Flow++ (Ho et al. 2019, arXiv 1902.00275), section 3.3, with normalised positions in place of layer normalisation.

    Arguments:
        event, out, width, blocks, condition_shape, dropout: as of `ImageNetwork`.
        attention: whether blocks attend; default False.
        levels: if given, the condition is a picture `(h, w, c)` of that many levels, which is packed as the event is
            and seen beside it; default None.

    Raises `InputError` for a width or a number of blocks below 1.

    ```python
    >>> import jax
    >>> from pushforward.networks import GatedNetwork
    >>> network = GatedNetwork((4, 4, 2), (3, 5), width=8, attention=True, key=jax.random.key(0))
    >>> network(jax.numpy.ones((10, 4, 4, 2))).shape
    (3, 5, 160)

    ```
    """

    decaying = ("first", "last", "by_condition")
    amortized = ("last_bias",)
    first: Float[Array, "3 3 inputs width"]
    place: Float[Array, "h w width"]
    by_condition: Float[Array, "condition width"] | None
    blocks: tuple["GatedBlock", ...]
    last: Float[Array, "out width"]
    last_bias: Float[Array, " out"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)
    out: tuple[int, ...] = eqx.field(static=True)
    dropout: float = eqx.field(static=True)
    levels: int | None = eqx.field(static=True)

    def __init__(
        self,
        event: Shape,
        out: tuple[int, int],
        *,
        width: int,
        blocks: int = 1,
        attention: bool = False,
        condition_shape: Shape | None = None,
        levels: int | None = None,
        dropout: float = 0.0,
        key: PRNGKeyArray,
    ):
        check_count("width", width)
        check_count("blocks", blocks)
        h, w, c = event
        keys = spawn(key, 2 + blocks)
        size = condition_size(condition_shape)
        if levels is not None:
            c, size = c + FEATURES * size // (h * w), 0
        self.first = 6.0**0.5 * uniform_weights(keys[0], (3, 3, c, width), 9 * c)
        self.place = jnp.zeros((h, w, width))
        self.by_condition = uniform_weights(keys[1], (size, width), size) if size else None
        self.blocks = tuple(GatedBlock(width, attention, key) for key in keys[2:])
        self.last, self.last_bias = jnp.zeros((out[0] * out[1], width)), jnp.zeros(out[0] * out[1])
        self.event_shape, self.condition_shape, self.out = event, condition_shape, tuple(out)
        self.dropout, self.levels = dropout, levels

    def __call__(
        self,
        x: Float[Array, "n h w c"],
        condition: Array | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Array:
        by_condition: Array | float = 0.0
        if self.levels is not None and condition is not None:
            # The middle of a level, so that rounding does not give another one.
            seen = level_features((condition + 0.5) / self.levels, self.levels)
            x = jnp.concatenate([x, seen.reshape(*x.shape[:3], -1)], axis=-1)
        elif self.by_condition is not None and condition is not None:
            by_condition = (flat(condition) @ self.by_condition)[:, None, None]
        hidden = thinly_convolved(x, self.first) + self.place[None] + by_condition
        for block in self.blocks:
            hidden = block(hidden)
        (own,) = split(key, 1)
        pixels = dropout(jax.nn.relu(hidden), self.dropout, own)
        return features_first(pixels, self.last, self.last_bias, self.out)


class GatedBlock(eqx.Module):
    """A gated convolution and, if it attends, gated attention between all pixels."""

    decaying = ("kernel", "gate", "mix", "together")
    kernel: Float[Array, "3 3 width width"]
    bias: Float[Array, " width"]
    gate: Float[Array, "width 2*width"]
    mix: Float[Array, "width 3*width"] | None
    together: Float[Array, "width 2*width"] | None
    heads: int = eqx.field(static=True)

    def __init__(self, width: int, attention: bool, key: PRNGKeyArray):
        keys = spawn(key, 4)
        self.kernel = 6.0**0.5 * uniform_weights(keys[0], (3, 3, width, width), 9 * width)
        self.bias = jnp.zeros(width)
        self.gate = uniform_weights(keys[1], (width, 2 * width), width)
        self.heads = width // 32 if width % 32 == 0 else 1
        self.mix = self.together = None
        if attention:
            self.mix = width**-0.5 * normal(keys[2], (width, 3 * width))
            self.together = uniform_weights(keys[3], (width, 2 * width), width)

    def __call__(self, h: Float[Array, "n h w width"]) -> Float[Array, "n h w width"]:
        n, height, across, width = h.shape
        found = jax.nn.relu(convolved(jax.nn.relu(h), self.kernel) + self.bias[None, None, None])
        rows = h.reshape(n * height * across, width)
        rows = rows + _gated(found.reshape(rows.shape) @ self.gate)
        if self.mix is None or self.together is None:
            return rows.reshape(h.shape)

        def parted(a: Array) -> Array:
            return a.reshape(n, height * across, self.heads, -1).transpose(0, 2, 1, 3)

        queries, keys, values = map(parted, jnp.split(normalised(rows) @ self.mix, 3, 1))
        seen = attended(queries, keys, values).transpose(0, 2, 1, 3).reshape(rows.shape)
        return (rows + _gated(seen @ self.together)).reshape(h.shape)


def _gated(both: Float[Array, "n twice"]) -> Float[Array, "n width"]:
    value, gate = jnp.split(both, 2, 1)
    return value * jax.nn.sigmoid(gate)
