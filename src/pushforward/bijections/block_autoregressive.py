"""The block-autoregressive network."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward.bijections.autoregressive import as_columns
from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.draws import normal, spawn, uniform
from pushforward.errors import check_count
from pushforward.networks.layers import uniform_weights
from pushforward.numeric import increasing_root
from pushforward.rows import Shape, condition_size
from pushforward.transformers.tails import bounded


class BlockAutoregressive(AbstractBijection):
    """One network is the whole map. Coordinate i owns `units` of every hidden layer, which see the coordinates up to i,
    x_i through positive weights only, so that z_i increases in x_i.

        z = g x + (1 - g) f(x),    log dz_i/dx_i from products of the positive diagonal blocks, in log space

    The activation `a x + (1 - a) tanh(x)` is onto R; tanh alone would leave latents without data. Every hidden unit
    scales its whole input, bias included, so that it can become steep without moving. Cost: inverse one pass of the
    network, `(depth - 1) (d units)^2` multiply-adds; forward goes coordinate by coordinate: what earlier coordinates
    contribute is computed once, and each search runs through the coordinate's own `units` only.

    Block neural autoregressive flow (De Cao et al. 2019, arXiv 1904.04676).

    Arguments:
        d: number of coordinates.
        units: hidden units per coordinate and layer; default 8.
        depth: number of hidden layers, at least 1; default 2.
        condition_shape: the shape of a condition, which feeds the first layer; None for none.
        key: draws the initial weights.

    Raises `InputError` for fewer than 1 unit or layer.

    ```python
    >>> import jax, pushforward as pf
    >>> layer = pf.bijections.BlockAutoregressive(3, 4, key=jax.random.key(0))
    >>> layer.inverse(jax.numpy.ones((5, 3)))[0].shape
    (5, 3)

    ```
    """

    decaying = ("lower", "of_condition")
    amortized = ("biases",)
    lower: tuple[Float[Array, "out in"], ...]
    log_blocks: tuple[Float[Array, "d a b"], ...]
    biases: tuple[Float[Array, " out"], ...]
    log_scales: tuple[Float[Array, " out"], ...]
    of_condition: Float[Array, "out condition"]
    gate: Float[Array, " d"]
    units: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        d: int,
        units: int = 8,
        depth: int = 2,
        condition_shape: Shape | None = None,
        *,
        key: PRNGKeyArray,
    ):
        check_count("units", units)
        check_count("depth", depth)
        sizes = [1, *[units] * depth, 1]
        keys = spawn(key, 3 * depth + 4)
        lower, log_blocks, biases = [], [], []
        for i, (a, b) in enumerate(zip(sizes[1:], sizes[:-1], strict=True)):
            lower.append(uniform_weights(keys[3 * i], (d * a, d * b), d * b))
            # Noise, so that the units of a coordinate are not copies.
            log_blocks.append(0.1 * normal(keys[3 * i + 1], (d, a, b)) - math.log(b))
            # Spread over the data, so that each bends somewhere else.
            spread = SPREAD if a > 1 else 0.0
            biases.append(uniform(keys[3 * i + 2], (d * a,), -spread, spread))
        self.lower, self.log_blocks, self.biases = tuple(lower), tuple(log_blocks), tuple(biases)
        self.log_scales = tuple(jnp.zeros(d * units) for _ in range(depth))
        size = condition_size(condition_shape)
        self.of_condition = uniform_weights(keys[-1], (d * units, size), size)
        self.gate = jnp.zeros(d)
        self.units, self.event_shape, self.condition_shape = units, (d,), condition_shape

    def unread(self) -> dict[str, Bool[np.ndarray, "..."]]:
        """All of `lower` but the blocks that earlier coordinates feed."""
        d = self.event_shape[0]
        later = np.triu(np.ones((d, d), bool))
        blocks = [np.ones(log_block.shape[-2:], bool) for log_block in self.log_blocks]
        return {f"lower.{i}": np.kron(later, block) for i, block in enumerate(blocks)}

    def _strictly_lower(self) -> list[Array]:
        """The weights from earlier to later coordinates, `(d a, d b)` per layer."""
        unread = self.unread().values()
        return [jnp.where(no, 0.0, lower) for no, lower in zip(unread, self.lower, strict=True)]

    def _context(self, condition: Condition) -> Array:
        """The first layer's bias, with the condition's part, `(d units, 1 or n)`."""
        columns, bias = as_columns(condition), self.biases[0][:, None]
        return bias if columns is None else bias + self.of_condition @ columns

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        (n, d), h = x.shape, x.T
        log_slope = jnp.zeros((d, 1, n), x.dtype)
        added = [self._context(condition), *(b[:, None] for b in self.biases[1:])]
        for i, lower in enumerate(self._strictly_lower()):
            blocks = self.log_blocks[i]
            a, b = blocks.shape[1:]
            own = jnp.einsum("dab,dbn->dan", jnp.exp(blocks), h.reshape(d, b, n))
            h = lower @ h + own.reshape(d * a, n) + added[i]
            log_slope = _log_product(blocks, log_slope)
            if i < len(self.log_scales):
                scale = bounded(self.log_scales[i], LARGEST)[:, None]
                h, log_bent = _activated(jnp.exp(scale) * h)
                log_slope = log_slope + (scale + log_bent).reshape(d, a, n)
        z, log_slope = _gated(x.T, h, log_slope[:, 0], self.gate[:, None])
        return z.T, log_slope.sum(0)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        n, d = z.shape
        # One coordinate's rows on the leading axis.
        lower = [w.reshape(d, -1, w.shape[1]) for w in self._strictly_lower()]
        context = self._context(condition)
        context = context.reshape(d, self.units, context.shape[1])
        added = [context, *(b.reshape(d, -1, 1) for b in self.biases[1:])]
        scales = [bounded(s, LARGEST).reshape(d, -1, 1) for s in self.log_scales]

        def reveal(known: list[Array], i: Array) -> tuple[list[Array], tuple[Array, Array]]:
            # `known` holds every layer's input; coordinates from i on are still 0.
            fed = [w[i] @ h + add[i] for w, h, add in zip(lower, known, added, strict=True)]
            params = ([b[i] for b in self.log_blocks], fed, [s[i] for s in scales], self.gate[i])
            x_i = increasing_root(_one_coordinate, z[:, i], params)
            _, log_slope, layers = _own_network(x_i, params)
            new = [
                jax.lax.dynamic_update_slice_in_dim(h, own, i * own.shape[0], 0)
                for h, own in zip(known, layers, strict=True)
            ]
            return new, (x_i, log_slope)

        start = [jnp.zeros((w.shape[2], n), z.dtype) for w in lower]
        _, (x, log_slope) = jax.lax.scan(reveal, start, jnp.arange(d))
        return x.T, -log_slope.sum(0)


# Slope of the activation far out, and the largest |log-scale| of a unit. The first bounds how thin a density can become
# between two modes: units that are flat there still pass on that share of their steepest slope.
SLOPE, LARGEST = 0.02, 4.0
# Units bend initially within this many standard deviations.
SPREAD = 3.0
_Params = tuple[list[Array], list[Array], list[Array], Array]
"""Of one coordinate: blocks, what earlier coordinates and biases add, log-scales, gate."""


def _activated(h: Array) -> tuple[Array, Array]:
    """The activation and its log-slope."""
    bent = jnp.tanh(h)
    return SLOPE * h + (1 - SLOPE) * bent, jnp.log(SLOPE + (1 - SLOPE) * (1 - bent * bent))


def _log_product(log_blocks: Array, log_slope: Array) -> Array:
    """The log of `blocks @ slope` for positive blocks `(d, a, b)` and slopes `(d, b, n)`."""
    largest = jax.lax.stop_gradient(log_slope.max(1, keepdims=True))
    product = jnp.einsum("dab,dbn->dan", jnp.exp(log_blocks), jnp.exp(log_slope - largest))
    return jnp.log(product) + largest


def _gated(x: Array, f: Array, log_slope: Array, gate: Array) -> tuple[Array, Array]:
    """`g x + (1 - g) f` with its log-slope."""
    keep, change = jax.nn.log_sigmoid(gate), jax.nn.log_sigmoid(-gate)
    return jnp.exp(keep) * x + jnp.exp(change) * f, jnp.logaddexp(keep, change + log_slope)


def _own_network(x: Array, params: _Params) -> tuple[Array, Array, list[Array]]:
    """One coordinate's network at `x`, `(n,)`: value, log-slope and the input of every layer, `(b, n)` each."""
    log_blocks, fed, scales, gate = params
    h, log_slope, layers = x[None], jnp.zeros((1, *x.shape), x.dtype), []
    for i, (blocks, add) in enumerate(zip(log_blocks, fed, strict=True)):
        layers.append(h)
        h = jnp.exp(blocks) @ h + add
        log_slope = _log_product(blocks[None], log_slope[None])[0]
        if i < len(scales):
            h, log_bent = _activated(jnp.exp(scales[i]) * h)
            log_slope = log_slope + scales[i] + log_bent
    value, log_slope = _gated(x, h[0], log_slope[0], gate)
    return value, log_slope, layers


def _one_coordinate(x: Array, params: _Params) -> tuple[Array, Array]:
    return _own_network(x, params)[:2]
