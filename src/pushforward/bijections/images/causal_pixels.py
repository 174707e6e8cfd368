"""Images number by number."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, replaced
from pushforward.bijections.images.patches import check_patch, from_patches, to_patches
from pushforward.bijections.images.squeeze import image_shape
from pushforward.draws import normal, spawn
from pushforward.errors import check_count
from pushforward.networks.causal import CausalTransformer
from pushforward.networks.images import FEATURES, level_features
from pushforward.rows import Shape
from pushforward.transformers.level_spline import LevelSpline


class CausalPixels(AbstractBijection):
    """Each number of an image on [0, 1] by a spline with knots at grey levels, given all numbers before it.

        x_i = tau(z_i; h(x_1, ..., x_(i-1), condition))

    Numbers are in the order of patches, within a patch of pixels, within a pixel of channels. A causal transformer over
    patches says what is known of the patches before; a small network at each number adds what has come before within
    a window around it. Both see levels, not the noise within them: the Jacobian is triangular and the density exact
    all the same, but what it conditions on jumps, so that gradients with respect to pixels miss it.

    Cost: inverse (density) one pass, forward (sampling) one small step per number, and one of the transformer per
    patch.

    Arguments:
        event: the shape `(h, w, c)`.
        knots: of the splines, see `LevelSpline`.
        levels: grey levels; default 256.
        patch: the side of a patch; default 4.
        width, layers: of the transformer; default 128 and 2.
        hidden: units of the network at each number; default 64.
        reach: how far its window reaches to each side, in pixels; default 3.
        dropout: share of the transformer's features zeroed during training; default 0.
        condition_shape: the shape of a condition; None for none.

    Raises `InputError` for patches that do not tile the image, or counts below 1.

    ```python
    >>> import jax, pushforward as pf
    >>> knots = (0.0, 1 / 256, 0.5, 1.0)
    >>> layer = pf.bijections.images.CausalPixels(
    ...     (4, 4, 1), knots, patch=2, width=8, hidden=8, reach=1, key=jax.random.key(0)
    ... )
    >>> z, log_det = layer.inverse(jax.numpy.full((5, 4, 4, 1), 0.3))
    >>> bool((abs(layer.forward(z)[0] - 0.3) < 1e-6).all())
    True

    ```
    """

    decaying = ("window", "second", "last")
    amortized = ("last_bias",)
    network: CausalTransformer
    window: Float[Array, "seen hidden"]
    second: Float[Array, "hidden hidden"]
    second_bias: Float[Array, " hidden"]
    last: Float[Array, "size hidden"]
    last_bias: Float[Array, " size"]
    spline: LevelSpline
    patch: int = eqx.field(static=True)
    reach: int = eqx.field(static=True)
    levels: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        event: Shape,
        knots: tuple[float, ...],
        *,
        levels: int = 256,
        patch: int = 4,
        width: int = 128,
        layers: int = 2,
        hidden: int = 64,
        reach: int = 3,
        dropout: float = 0.0,
        condition_shape: Shape | None = None,
        key: PRNGKeyArray,
    ):
        h, w, c = self.event_shape = image_shape(event)
        self.patch, self.reach, self.levels = check_patch(event, patch), reach, levels
        for name, count in {"reach": reach, "hidden": hidden}.items():
            check_count(name, count)
        check_count("levels", levels, 2)
        self.spline, self.condition_shape = LevelSpline(knots), condition_shape
        keys, numbers = spawn(key, 4), patch * patch * c
        self.network = CausalTransformer(
            h * w // patch**2,
            FEATURES * numbers,
            (hidden, numbers),
            width=width,
            layers=layers,
            dropout=dropout,
            condition_shape=condition_shape,
            key=keys[0],
        )
        # The transformer's outputs are features here, which must not start at 0.
        self.network = replaced(
            self.network, last=normal(keys[3], (hidden * numbers, width)) / width**0.5
        )
        seen = FEATURES * c * (2 * reach + 1) ** 2
        self.window = 2 * normal(keys[1], (seen, hidden)) / seen**0.5
        self.second = normal(keys[2], (hidden, hidden)) / hidden**0.5
        self.second_bias = jnp.zeros(hidden)
        self.last, self.last_bias = (
            jnp.zeros((self.spline.size, hidden)),
            jnp.zeros(self.spline.size),
        )

    @property
    def recomputable(self) -> bool:
        # Forward runs the network token by token, without dropout.
        return self.network.dropout == 0

    def unread(self) -> dict[str, Bool[np.ndarray, "..."]]:
        """The weights of the window for places that come before no number."""
        read = np.logical_or.reduce(self._allowed(), axis=(0, 1, 2))
        return {"window": ~read[:, None]}

    def standardising(self, x: Float[Array, "n h w c"]) -> "CausalPixels":
        """The same map, started at the histogram of the numbers of all pixels."""
        start = self.spline.starting(np.asarray(x).ravel())
        return replaced(self, last_bias=jnp.asarray(start, self.last_bias.dtype))

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        n, (h, w, c), patch = len(x), self.event_shape, self.patch
        features = level_features(x, self.levels)
        context = self._context(
            self.network.hidden(to_patches(features, patch), condition, key), n * h * w // patch**2
        )
        wide = jnp.pad(features, ((0, 0), *[(self.reach, self.reach)] * 2, (0, 0)))
        side = range(2 * self.reach + 1)
        shifted = [wide[:, i : i + h, j : j + w] for i in side for j in side]
        # (n, tokens, pixels of a patch, what a window sees), then once for each channel of the pixel.
        windows = to_patches(jnp.concatenate(shifted, axis=-1), patch)
        windows = windows.reshape(n, h * w // patch**2, patch**2, 1, len(self.window))
        allowed = jnp.asarray(self._allowed(), x.dtype)
        rows = (windows * allowed[None]).reshape(n * h * w * c, len(self.window))
        params = self._params(rows, context)
        values = to_patches(x, patch)
        z, log_slope = self.spline.inverse(values.reshape(-1), params)
        image = from_patches(z.reshape(values.shape), patch, self.event_shape)
        return image, log_slope.reshape(n, h * w * c).sum(1)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        n, (h, w, c), patch, reach = len(z), self.event_shape, self.patch, self.reach
        tokens, numbers = h * w // patch**2, patch * patch * c
        latent = to_patches(z, patch)
        allowed = jnp.asarray(self._allowed(), z.dtype).reshape(tokens, numbers, len(self.window))
        rows, columns, channels = (jnp.asarray(a.reshape(tokens, numbers)) for a in self._places())
        side = 2 * reach + 1

        def number(state: tuple[Array, Array], own: tuple[Array, ...]) -> tuple[Any, Array]:
            wide, log_det = state
            z, context, mask, row, column, channel = own
            around = jax.lax.dynamic_slice(wide, (0, row, column, 0), (n, side, side, c))
            inside = _inside(row, column, side, reach, h, w)[None, :, :, None]
            seen = jnp.where(inside, level_features(around, self.levels), 0.0)
            params = self._params(seen.reshape(n, len(self.window)) * mask[None], context)
            x, log_slope = self.spline.forward(z, params)
            place = (0, row + reach, column + reach, channel)
            wide = jax.lax.dynamic_update_slice(wide, x[:, None, None, None], place)
            return (wide, log_det + log_slope), x

        def token(state: tuple[Any, ...], own: tuple[Array, ...]) -> tuple[Any, None]:
            past, before, wide, log_det = state
            t, z, *others = own
            hidden, past = self.network.step(past, before, t, condition)
            context = self._context(hidden, n).reshape(n, numbers, self.network.out[0])
            steps = (z.T, context.swapaxes(0, 1), *others)
            (wide, log_det), x = jax.lax.scan(number, (wide, log_det), steps)
            # As `to_patches` of features: of each pixel the channels of one feature after the other.
            pixels = x.T.reshape(n, patch * patch, c)
            before = level_features(pixels, self.levels).reshape(n, FEATURES * numbers)
            return (past, before, wide, log_det), None

        start = (
            self.network.start(n),
            jnp.zeros((n, FEATURES * numbers), z.dtype),
            jnp.zeros((n, h + 2 * reach, w + 2 * reach, c), z.dtype),
            jnp.zeros(n, z.dtype),
        )
        steps = (jnp.arange(tokens), latent.swapaxes(0, 1), allowed, rows, columns, channels)
        (_, _, wide, log_det), _ = jax.lax.scan(token, start, steps)
        return wide[:, reach : reach + h, reach : reach + w], log_det

    def _context(self, hidden: Array, m: int) -> Float[Array, "rows units"]:
        """What the transformer says to each number of `m` tokens."""
        units, numbers = self.network.out
        return self.network.outputs(hidden).transpose(2, 1, 0).reshape(m * numbers, units)

    def _params(self, seen: Array, context: Array) -> Float[Array, "size m"]:
        hidden = jax.nn.silu(seen @ self.window + context)
        hidden = jax.nn.silu(hidden @ self.second + self.second_bias)
        return (
            jax.lax.dot_general(self.last, hidden, (((1,), (1,)), ((), ())))
            + self.last_bias[:, None]
        )

    def _places(self) -> tuple[Int[np.ndarray, "..."], ...]:
        """Row, column and channel of each number, in their order, `(tokens, pixels of a patch, c)`."""
        pixels = (self.patch**2, self.event_shape[2])
        tokens = to_patches(np.indices(self.event_shape), self.patch)
        return tuple(index.reshape(-1, *pixels) for index in tokens)

    def _allowed(self) -> Bool[np.ndarray, "tokens pixels c seen"]:
        """Which entries of its window come before a number."""
        h, w, c = self.event_shape
        reach, last = self.reach, h * w * c
        places = self._places()
        order = np.empty((h, w, c), int)
        order[places] = np.arange(last).reshape(places[0].shape)
        wide = np.pad(order, ((reach, reach), (reach, reach), (0, 0)), constant_values=last)
        side = range(2 * reach + 1)
        around = np.stack([wide[i : i + h, j : j + w] for i in side for j in side], axis=2)
        before = around[:, :, None] < order[:, :, :, None, None]
        # (h, w, own channel, window, feature, channel), as `level_features` lays them out.
        seen = np.repeat(before[:, :, :, :, None], FEATURES, axis=4)
        patches = to_patches(seen.reshape(1, h, w, -1), self.patch)[0]
        allowed: np.ndarray = patches.reshape(*places[0].shape[:2], c, -1)
        return allowed


def _inside(row: Array, column: Array, side: int, reach: int, h: int, w: int) -> Array:
    """Which places of a window lie within the image."""
    own_rows = row + jnp.arange(side) - reach
    own_columns = column + jnp.arange(side) - reach
    rows, columns = (own_rows >= 0) & (own_rows < h), (own_columns >= 0) & (own_columns < w)
    return rows[:, None] & columns[None]
