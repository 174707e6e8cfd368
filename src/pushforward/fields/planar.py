"""The sum of planar fields."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.draws import spawn
from pushforward.errors import check_count
from pushforward.fields.base import AbstractField
from pushforward.networks.layers import uniform_weights
from pushforward.rows import Shape, as_shape, condition_size

HIDDEN = 16


class PlanarField(AbstractField):
    """A sum of planar fields with gates that open and close in time.

        f = sum_k s_k(t) u_k tanh(w_k . x + b_k),    tr J = sum_k s_k(t) (u_k . w_k) (1 - tanh^2)

    The gates `s_k` are sigmoids of a small network of time. Cost: two products with `d x width` matrices; the
    divergence costs next to nothing.

    Arguments:
        d: size of the event.
        width: number of planar fields; default 32.
        condition: shape of a condition, which shifts the hyperplanes; default None for none.

    Raises `InputError` for a width below 1.

    Source: Chen et al. 2018, arXiv 1806.07366, section 4.

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.fields import PlanarField
    >>> field = PlanarField(2, width=4, key=jax.random.key(0))
    >>> field(0.5, jnp.ones((5, 2))).shape
    (5, 2)

    ```
    """

    decaying = ("normals", "by_condition", "directions", "gate_out")
    amortized = ("offsets",)
    normals: Float[Array, "d width"]
    by_condition: Float[Array, "condition width"]
    offsets: Float[Array, " width"]
    directions: Float[Array, "width d"]
    gate_in: Float[Array, " hidden"]
    gate_bias: Float[Array, " hidden"]
    gate_out: Float[Array, "hidden width"]
    gate_offsets: Float[Array, " width"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self, d: int, *, width: int = 32, condition: int | Shape | None = None, key: PRNGKeyArray
    ):
        check_count("width", width)
        self.event_shape, self.condition_shape = (d,), as_shape(condition, "condition")
        size = condition_size(self.condition_shape)
        keys = spawn(key, 7)
        self.normals = uniform_weights(keys[0], (d, width), d)
        self.by_condition = uniform_weights(keys[1], (size, width), size)
        self.offsets = uniform_weights(keys[2], (width,), d)
        self.directions = uniform_weights(keys[3], (width, d), width)
        self.gate_in, self.gate_bias = (3 * uniform_weights(k, (HIDDEN,), 1) for k in keys[4:6])
        self.gate_out = uniform_weights(keys[6], (HIDDEN, width), HIDDEN)
        self.gate_offsets = jnp.zeros(width)

    def prepared(self) -> "PlanarField":
        return self

    def with_divergence(
        self, t: ArrayLike, x: Float[Array, "n d"], condition: Array | None = None
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        t = jnp.asarray(t, x.dtype)
        gates = jnp.tanh(t * self.gate_in + self.gate_bias) @ self.gate_out + self.gate_offsets
        gates = jax.nn.sigmoid(gates)
        h = x @ self.normals + self.offsets
        if condition is not None and self.condition_shape is not None:
            h = h + condition.reshape(len(condition), -1) @ self.by_condition
        h = jnp.tanh(h)
        overlap = (self.normals * self.directions.T).sum(0)
        return (gates * h) @ self.directions, (gates * (1 - h * h)) @ overlap
