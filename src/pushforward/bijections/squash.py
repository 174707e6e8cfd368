"""Maps of the real line onto an interval or a half-line, for data with bounds, and a power that bends both tails."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, PerRow
from pushforward.errors import InputError
from pushforward.rows import Shape, as_shape


class Sigmoid(AbstractBijection):
    """The scaled sigmoid, `x = low + (high - low) / (1 + exp(-z))`, from R to (low, high) in every coordinate; its
    inverse is the logit.

    Cost: two logarithms per coordinate, either way. Data outside the interval has no latent: density 0.

    Arguments:
        event: number of coordinates, or the event's shape.
        low, high: the interval; default 0 and 1. `low=-1, high=1` is `tanh(z / 2)`.

    Raises `InputError` unless `low < high`; `inverse`, outside of `jit`, for data outside the interval.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> share = pf.bijections.Sigmoid(1, low=0.0, high=100.0)
    >>> float(share.forward(jnp.array([0.0]))[0][0])
    50.0

    ```
    """

    event_shape: Shape = eqx.field(static=True)
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: int | Shape, low: float = 0.0, high: float = 1.0):
        if not low < high:
            raise InputError(f"low={low}, high={high}: the interval needs low < high")
        self.event_shape, self.low, self.high = as_shape(event) or (), float(low), float(high)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        x = self.low + (self.high - self.low) * jax.nn.sigmoid(z)
        # Rounding must not reach the ends, which have no latent.
        least = self.low + (self.high - self.low) * float(jnp.finfo(z.dtype).tiny)
        most = self.high - (self.high - self.low) * float(jnp.finfo(z.dtype).epsneg)
        return jnp.clip(x, least, most), _sum(self._log_slope(z))

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        inside = (x > self.low) & (x < self.high)
        middle = 0.5 * self.low + 0.5 * self.high
        safe = jnp.where(inside, x, middle)
        z = jnp.log(safe - self.low) - jnp.log(self.high - safe)
        return z, _sum(jnp.where(inside, -self._log_slope(z), -jnp.inf))

    def _log_slope(self, z: Array) -> Array:
        return math.log(self.high - self.low) - jax.nn.softplus(z) - jax.nn.softplus(-z)


class Softplus(AbstractBijection):
    """The softplus, `x = log(1 + exp z)`, from R to (0, inf) in every coordinate.

    Cost: two logarithms per coordinate, either way. Data at or below 0 has no latent: density 0.

    Arguments:
        event: number of coordinates, or the event's shape.

    Raises, from `inverse` outside of `jit`, `InputError` for data that is not positive.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> positive = pf.bijections.Softplus(1)
    >>> bool(positive.forward(jnp.array([-3.0]))[0] > 0)
    True

    ```
    """

    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: int | Shape):
        self.event_shape = as_shape(event) or ()

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        x = jnp.maximum(jax.nn.softplus(z), jnp.finfo(z.dtype).tiny)
        return x, _sum(-jax.nn.softplus(-z))

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        inside = x > 0
        safe = jnp.where(inside, x, 1.0)
        # z = log(e^x - 1) = x + log(1 - e^-x).
        bent = jnp.log(-jnp.expm1(-safe))
        return safe + bent, _sum(jnp.where(inside, -bent, -jnp.inf))


class Power(AbstractBijection):
    """A power of both tails, `x = sign(z) ((1 + |z|)^p - 1) / p`, with one learned `p > 0` per coordinate.

    `p > 1` makes tails heavier, `p < 1` lighter; it starts at `p = 1`, the identity. Slope 1 at 0, onto all of R. Cost:
    a logarithm and an exponential per coordinate, either way.

    The transform of Box and Cox (1964) on both sides of 0.

    Arguments:
        event: number of coordinates, or the event's shape.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> print(pf.bijections.Power(2).forward(jnp.array([1.0, -2.0]))[0])
    [ 1. -2.]

    ```
    """

    log_power: Float[Array, "*event"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, event: int | Shape):
        self.event_shape = as_shape(event) or ()
        self.log_power = jnp.zeros(self.event_shape)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        p, grown = jnp.exp(self.log_power), jnp.log1p(jnp.abs(z))
        reached = jnp.minimum(p * grown, _limit(z))
        return jnp.sign(z) * jnp.expm1(reached) / p, _sum((p - 1) * grown)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        p = jnp.exp(self.log_power)
        grown = jnp.log1p(p * jnp.abs(x)) / p
        return jnp.sign(x) * jnp.expm1(jnp.minimum(grown, _limit(x))), _sum((1 - p) * grown)


def _limit(value: Array) -> float:
    """Beyond this logarithm a value stays near the type's limit instead of becoming infinite."""
    return math.log(float(jnp.finfo(value.dtype).max)) / 2


def _sum(log_slope: Array) -> PerRow:
    return log_slope.sum(range(1, log_slope.ndim))
