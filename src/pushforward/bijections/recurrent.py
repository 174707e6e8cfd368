"""The recurrent map of transformation autoregressive networks."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.autoregressive import as_columns
from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.draws import spawn
from pushforward.errors import check_count
from pushforward.networks.layers import uniform_weights
from pushforward.rows import Shape, condition_size


class Recurrent(AbstractBijection):
    """A recurrent network reads the coordinates one by one, and its state shifts the next one.

        z_i = r(e^a x_i + m . s_{i-1} + b),    s_i = tanh(u x_i + W s_{i-1} + V condition + e)

    with `r` a leaky rectifier of learned negative slope, and `s_0 = tanh(V condition + e)`. The Jacobian is triangular.
    It starts near the identity. Cost, either way: d steps, one after another, of `units^2` multiply-adds per row.

    Transformation autoregressive networks (Oliva et al. 2018, arXiv 1801.09819).

    Arguments:
        d: number of coordinates.
        units: size of the state; default 32.
        condition_shape: the shape of a condition; None for none.
        key: draws the initial weights.

    Raises `InputError` for fewer than 1 unit.

    ```python
    >>> import jax, pushforward as pf
    >>> layer = pf.bijections.Recurrent(3, units=8, key=jax.random.key(0))
    >>> layer.inverse(jax.numpy.ones((5, 3)))[0].shape
    (5, 3)

    ```
    """

    decaying = ("of_state", "of_condition")
    amortized = ("state_bias", "out", "out_bias", "log_scale", "log_leak")
    of_value: Float[Array, " units"]
    of_state: Float[Array, "units units"]
    of_condition: Float[Array, "units condition"]
    state_bias: Float[Array, " units"]
    out: Float[Array, " units"]
    out_bias: Float[Array, ""]
    log_scale: Float[Array, ""]
    log_leak: Float[Array, ""]
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self, d: int, units: int = 32, condition_shape: Shape | None = None, *, key: PRNGKeyArray
    ):
        check_count("units", units)
        keys = spawn(key, 5)
        condition = condition_size(condition_shape)
        self.of_value = uniform_weights(keys[0], (units,), 1)
        self.of_state = uniform_weights(keys[1], (units, units), units)
        self.of_condition = uniform_weights(keys[2], (units, condition), condition)
        self.state_bias = uniform_weights(keys[3], (units,), 1)
        self.out = 0.01 * uniform_weights(keys[4], (units,), units)
        self.out_bias = self.log_scale = self.log_leak = jnp.zeros(())
        self.event_shape, self.condition_shape = (d,), condition_shape

    def unread(self) -> dict[str, bool]:
        """The recurrence where there is one coordinate, after which no state is used."""
        one = self.event_shape[0] == 1
        return {"of_value": one, "of_state": one}

    def _start(self, condition: Condition, n: int) -> tuple[Array, Array]:
        """The state's bias with the condition's part, `(units, 1 or n)`, and the first state, `(units, n)`."""
        known, columns = self.state_bias[:, None], as_columns(condition)
        if columns is not None:
            known = known + self.of_condition @ columns
        return known, jnp.broadcast_to(jnp.tanh(known), (self.out.size, n))

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        known, start = self._start(condition, x.shape[0])
        scale, leak = jnp.exp(self.log_scale), jnp.exp(self.log_leak)

        def step(state: Array, x_i: Array) -> tuple[Array, tuple[Array, Array]]:
            raw = scale * x_i + self.out @ state + self.out_bias
            z_i = jnp.where(raw < 0, leak * raw, raw)
            return self._next(state, x_i, known), (z_i, raw < 0)

        _, (z, negative) = jax.lax.scan(step, start, x.T)
        log_slope = self.log_scale + jnp.where(negative, self.log_leak, 0.0)
        return z.T, log_slope.sum(0)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        known, start = self._start(condition, z.shape[0])
        scale, leak = jnp.exp(-self.log_scale), jnp.exp(-self.log_leak)

        def step(state: Array, z_i: Array) -> tuple[Array, Array]:
            raw = jnp.where(z_i < 0, leak * z_i, z_i)
            x_i = scale * (raw - self.out @ state - self.out_bias)
            return self._next(state, x_i, known), x_i

        _, x = jax.lax.scan(step, start, z.T)
        log_slope = -self.log_scale - jnp.where(z < 0, self.log_leak, 0.0)
        return x.T, log_slope.sum(1)

    def _next(self, state: Array, x_i: Array, known: Array) -> Array:
        return jnp.tanh(self.of_value[:, None] * x_i + self.of_state @ state + known)
