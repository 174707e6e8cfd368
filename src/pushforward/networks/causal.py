"""A causal transformer over tokens."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.draws import normal, spawn
from pushforward.errors import InputError, check_count
from pushforward.networks.layers import dropout as dropped
from pushforward.networks.layers import split, stacked
from pushforward.rows import Shape, condition_size, flat

EPS = 1e-5


class Past(NamedTuple):
    """Keys and values of the tokens before, of each layer.

    Attributes:
        keys, values: `(layers, n, heads, tokens, width / heads)`.
    """

    keys: Array
    values: Array


class CausalTransformer(eqx.Module):
    """A transformer over tokens in which output t depends on the tokens before t, `(n, tokens, inputs)` to
    `(*out, n tokens)`.

    Layers of attention and a perceptron, each after a normalisation and added to what enters. The last product starts
    at 0, so that what it parametrises starts at the identity. Cost: one pass for all outputs. With `start` and `step`
    one output at a time, each at the cost of one token, as keys and values of the tokens before are kept.

    Sources: Vaswani et al. 2017, arXiv 1706.03762; normalised before the layers as by Xiong et al. 2020, arXiv
    2002.04745.

    Arguments:
        tokens: how many, in order.
        inputs: features of a token.
        out: shape of an output.
        width: features within.
        layers: how many; default 2.
        heads: of attention; default None for one of 32 features each.
        condition_shape: the shape of a condition, which is added to every token; None for none.
        dropout: share of features zeroed in what each layer adds when called with a key; default 0.

    Raises `InputError` for heads that do not divide the width, or counts below 1.

    ```python
    >>> import jax
    >>> from pushforward.networks import CausalTransformer
    >>> network = CausalTransformer(6, 2, (3, 2), width=8, key=jax.random.key(0))
    >>> network(jax.numpy.ones((5, 6, 2))).shape
    (3, 2, 30)

    ```
    """

    decaying = ("embed", "by_condition", "layers", "last")
    amortized = ("last_bias",)
    embed: Float[Array, "inputs width"]
    place: Float[Array, "tokens width"]
    by_condition: Float[Array, "condition width"] | None
    layers: "Layer"
    scale: Float[Array, " width"]
    last: Float[Array, "outputs width"]
    last_bias: Float[Array, " outputs"]
    out: tuple[int, ...] = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        tokens: int,
        inputs: int,
        out: tuple[int, ...],
        *,
        width: int,
        layers: int = 2,
        heads: int | None = None,
        condition_shape: Shape | None = None,
        dropout: float = 0.0,
        key: PRNGKeyArray,
    ):
        heads = max(width // 32, 1) if heads is None else heads
        for name, count in {
            "tokens": tokens,
            "width": width,
            "layers": layers,
            "heads": heads,
        }.items():
            check_count(name, count)
        if width % heads:
            raise InputError(f"heads={heads} do not divide width={width}")
        keys = spawn(key, 4)
        self.embed = normal(keys[0], (inputs, width)) / math.sqrt(max(inputs, 1))
        self.place = 0.02 * normal(keys[1], (tokens, width))
        self.layers = stacked(lambda key: Layer(width, heads, layers, key), layers, keys[2])
        size = condition_size(condition_shape)
        self.by_condition = normal(keys[3], (size, width)) / math.sqrt(size) if size else None
        outputs = math.prod(out)
        self.scale, self.last, self.last_bias = (
            jnp.ones(width),
            jnp.zeros((outputs, width)),
            jnp.zeros(outputs),
        )
        self.out, self.condition_shape, self.dropout = tuple(out), condition_shape, dropout

    def __call__(
        self,
        x: Float[Array, "n tokens inputs"],
        condition: Array | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Array:
        return self.outputs(self.hidden(x, condition, key))

    def hidden(
        self,
        x: Float[Array, "n tokens inputs"],
        condition: Array | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "n*tokens width"]:
        """What the outputs are made of, tokens of one row side by side."""
        n, tokens, _ = x.shape
        before = jnp.pad(x[:, :-1] @ self.embed, ((0, 0), (1, 0), (0, 0)))
        h = (before + self._places(condition)).reshape(n * tokens, self.scale.size)
        arrays, rest = eqx.partition(self.layers, eqx.is_array)
        count = self.layers.up.shape[0]
        keys = None if key is None else jax.random.split(key, count)

        def apply(h: Array, own: tuple[Any, Any]) -> tuple[Array, None]:
            layer: Layer = eqx.combine(own[0], rest)
            return layer(h, (n, tokens), self.dropout, own[1]), None

        h, _ = jax.lax.scan(apply, h, (arrays, keys))
        return normalised(h) * self.scale[None]

    def outputs(self, hidden: Float[Array, "m width"]) -> Array:
        """`(*out, m)`, features in front, as scalar maps take them."""
        out = jax.lax.dot_general(self.last, hidden, (((1,), (1,)), ((), ())))
        return (out + self.last_bias[:, None]).reshape(*self.out, len(hidden))

    def start(self, n: int) -> Past:
        """What is kept before the first of `n` rows' tokens."""
        count, width = self.layers.up.shape[0], self.scale.size
        shape = (count, n, self.layers.heads, len(self.place), width // self.layers.heads)
        return Past(jnp.zeros(shape, self.scale.dtype), jnp.zeros(shape, self.scale.dtype))

    def step(
        self,
        past: Past,
        before: Float[Array, "n inputs"],
        t: Int[Array, ""],
        condition: Array | None = None,
    ) -> tuple[Float[Array, "n width"], Past]:
        """`hidden` of token t, given the token before it (whatever it is for the first), and what is kept then."""
        place = jax.lax.dynamic_index_in_dim(self._places(condition), t, 1, keepdims=False)
        h = jnp.where(t > 0, before @ self.embed, 0.0) + place
        arrays, rest = eqx.partition(self.layers, eqx.is_array)

        def apply(h: Array, own: tuple[Any, Array, Array]) -> tuple[Array, tuple[Array, Array]]:
            layer: Layer = eqx.combine(own[0], rest)
            return layer.step(h, own[1], own[2], t)

        h, (keys, values) = jax.lax.scan(apply, h, (arrays, *past))
        return normalised(h) * self.scale[None], Past(keys, values)

    def _places(self, condition: Array | None) -> Float[Array, "n tokens width"]:
        """What every token has besides its own features; n is 1 without a condition."""
        if self.by_condition is None or condition is None:
            return self.place[None]
        return self.place[None] + (flat(condition) @ self.by_condition)[:, None]


class Layer(eqx.Module):
    """Attention to tokens up to each one's own, then a perceptron."""

    decaying = ("mix", "together", "up", "down")
    mix: Float[Array, "width 3*width"]
    together: Float[Array, "width width"]
    up: Float[Array, "width 4*width"]
    down: Float[Array, "4*width width"]
    up_bias: Float[Array, " 4*width"]
    scales: Float[Array, "2 width"]
    heads: int = eqx.field(static=True)

    def __init__(self, width: int, heads: int, layers: int, key: PRNGKeyArray):
        keys = spawn(key, 4)
        within, added = width**-0.5, (2 * layers * width) ** -0.5
        self.mix = within * normal(keys[0], (width, 3 * width))
        self.together = added * normal(keys[1], (width, width))
        self.up = within * normal(keys[2], (width, 4 * width))
        self.down = 0.5 * added * normal(keys[3], (4 * width, width))
        self.up_bias, self.scales, self.heads = jnp.zeros(4 * width), jnp.ones((2, width)), heads

    def __call__(
        self, h: Array, rows: tuple[int, int], dropout: float, key: PRNGKeyArray | None
    ) -> Array:
        """The tokens of `rows = (n, tokens)` flat, `(n tokens, width)`, so that products are of plain matrices."""
        first, second = split(key, 2)
        (n, tokens), width = rows, h.shape[1]

        def parted(a: Array) -> Array:
            return a.reshape(n, tokens, self.heads, width // self.heads).transpose(0, 2, 1, 3)

        queries, keys, values = map(
            parted, jnp.split((normalised(h) * self.scales[:1]) @ self.mix, 3, 1)
        )
        seen = jnp.tril(jnp.ones((tokens, tokens), bool))
        mixed = attended(queries, keys, values, seen).transpose(0, 2, 1, 3)
        h = h + dropped(mixed.reshape(n * tokens, width) @ self.together, dropout, first)
        return h + dropped(self._perceptron(h), dropout, second)

    def step(
        self, h: Float[Array, "n width"], keys: Array, values: Array, t: Array
    ) -> tuple[Array, tuple[Array, Array]]:
        """The same of token t alone, with the keys and values of those before."""
        n, width = h.shape
        mixed = (normalised(h) * self.scales[:1]) @ self.mix
        query, key, value = (
            part.reshape(n, self.heads, 1, width // self.heads) for part in jnp.split(mixed, 3, 1)
        )
        keys, values = (
            jax.lax.dynamic_update_slice_in_dim(old, new, t, 2)
            for old, new in ((keys, key), (values, value))
        )
        seen = (jnp.arange(keys.shape[2]) <= t)[None]
        h = h + attended(query, keys, values, seen).reshape(n, width) @ self.together
        return h + self._perceptron(h), (keys, values)

    def _perceptron(self, h: Array) -> Array:
        return (
            jax.nn.silu((normalised(h) * self.scales[1:]) @ self.up + self.up_bias[None])
            @ self.down
        )


def attended(queries: Array, keys: Array, values: Array, seen: Array | None = None) -> Array:
    """`(n, heads, tokens, features)`; `seen` says which keys a query may see, None for all."""
    scores = jnp.einsum("nhqd,nhkd->nhqk", queries, keys) / math.sqrt(queries.shape[-1])
    if seen is not None:
        scores = jnp.where(seen[None, None], scores, -jnp.inf)
    share = jax.nn.softmax(scores, axis=-1)
    return jnp.einsum("nhqk,nhkd->nhqd", share, values)


def normalised(h: Array) -> Array:
    """Features scaled to a mean square of 1."""
    return h * jax.lax.rsqrt(jnp.square(h).mean(-1, keepdims=True) + EPS)
