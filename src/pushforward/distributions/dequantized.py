"""Whole numbers, such as grey levels, under a density of real ones."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, UInt32

from pushforward.bijections.base import Condition, Key, PerRow
from pushforward.distributions.base import AbstractDistribution, Draws
from pushforward.distributions.flow import Flow
from pushforward.errors import InputError, check_count
from pushforward.rows import Shape


class Dequantized(AbstractDistribution):
    """The distribution of whole numbers that a density of real ones gives: each is a cell `[x, x + 1)`.

        P(x) = integral of p(x + u) over u in [0, 1)^d = E[p(x + u) / q(u | x)],    u ~ q

    `log_prob` is an estimate whose expectation is a bound, `E[log p(x + u) - log q(u | x)] <= log P(x)`: by one draw of
    the noise, new with a key and always the same for a row without one. The probabilities P sum to 1 where the density
    has no mass beyond the cells. In bits per dimension it is `-log_prob / (d log 2)`.

    Cost: that of the density, and of the noise's.

    Uniform noise: Theis et al. 2016 (arXiv 1511.01844). Variational noise: Flow++ (Ho et al. 2019, arXiv 1902.00275).
    More draws: importance weighted (Burda et al. 2016, arXiv 1509.00519).

    Arguments:
        density: of real numbers, in units of the levels.
        noise: the flow q of u given x, of the density's shape on the unit cube, whose condition is x; default None for
            uniform noise.
        draws: of the noise, for a bound of their mean, `log (1/K) sum p / q`; default 1.

    Raises `InputError` for noise of another shape, or fewer than 1 draw.

    ```python
    >>> import jax, pushforward as pf
    >>> box = pf.distributions.Uniform((2, 2, 1), low=0.0, high=256.0)
    >>> pictures = pf.distributions.Dequantized(box)
    >>> log_prob = float(pictures.log_prob(jax.numpy.zeros((2, 2, 1))))
    >>> round(-log_prob / (4 * float(jax.numpy.log(2))), 3)  # bits per dimension
    8.0

    ```
    """

    density: AbstractDistribution
    noise: Flow | None
    draws: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        density: AbstractDistribution,
        noise: Flow | None = None,
        *,
        draws: int = 1,
    ):
        shape = density.event_shape
        if noise is not None and (noise.event_shape, noise.condition_shape) != (shape, shape):
            raise InputError(
                f"noise of events {noise.event_shape} given {noise.condition_shape} does not fit a density of events "
                f"{shape}: both have to be these"
            )
        check_count("draws", draws)
        self.density, self.noise, self.draws = density, noise, draws
        self.event_shape, self.condition_shape = shape, density.condition_shape

    def log_prob_rows(self, x: Array, condition: Condition, key: Key) -> PerRow:
        if self.draws == 1:
            return self.log_prob_of_draw(x, condition, key, 0)
        # A loop, so that a program of many draws is compiled as soon as one of a single draw.
        each = jax.lax.map(
            lambda i: self.log_prob_of_draw(x, condition, key, i), jnp.arange(self.draws)
        )
        log_mean: PerRow = jax.nn.logsumexp(each, axis=0) - math.log(self.draws)
        return log_mean

    def log_prob_of_draw(self, x: Array, condition: Condition, key: Key, i: int | Array) -> PerRow:
        """`log p(x + u) - log q(u | x)` of rows by draw number `i` of the noise: `log_prob_rows` is the logarithm of
        the mean of `exp` of the first `draws` of them."""
        within, log_q = self.dequantized(x, key, i)
        return self.density.log_prob_rows(within, condition, key) - log_q

    def dequantized(self, x: Array, key: Key, i: int | Array = 0) -> Draws:
        """Rows with draw number `i` of the noise, x + u, and the noise's log-densities `log q(u | x)`."""
        keys = _keys_of(x) if key is None else jax.random.split(key, len(x))
        own = jax.vmap(lambda one: jax.random.fold_in(one, i))(keys)
        if self.noise is None:
            u = jax.vmap(lambda one: jax.random.uniform(one, self.event_shape, x.dtype))(own)
            return within_level(x, u), jnp.zeros(len(x), x.dtype)
        # Rows have keys of their own, but pass through the map together: of single ones networks are slow.
        base = self.noise.base
        z, log_base = jax.vmap(lambda one: base.sample_rows(one, 1, None))(own)
        u, log_det = self.noise.bijection.forward_rows(z[:, 0], x, key)
        return within_level(x, u), log_base[:, 0] - log_det

    def sample_rows(self, key: PRNGKeyArray, n: int, condition: Condition) -> Draws:
        """Draws of whole numbers, with one draw's estimate of their log-probabilities."""
        x = jnp.floor(self.density.without_log_prob().sample_rows(key, n, condition)[0])
        return x, self.log_prob_rows(x, condition, None)


def within_level(x: Array, u: Array) -> Array:
    """x + u below x + 1, to which float32 rounds 255 + u once in 130,000 draws: beyond the last level there is no
    density."""
    return jnp.minimum(x + u, jnp.nextafter(x + 1, x))


def _keys_of(x: Array) -> Array:
    """A key for each row, which follows from the row's numbers alone: a row's noise must not depend on its place."""
    words = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    words = words.reshape(len(x), math.prod(x.shape[1:]))
    places = jnp.arange(words.shape[1], dtype=jnp.uint32)
    # Odd factors that differ from place to place; Knuth's multiplier spreads neighbours.
    factors = 2 * places * jnp.uint32(2654435761) + jnp.uint32(1)
    mixed = (words ^ (words >> 15)) * factors[None]
    hashed: UInt32[Array, " n"] = (mixed ^ (mixed >> 13)).sum(1, dtype=jnp.uint32)
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), hashed)
