"""The gradient of a potential."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.draws import spawn
from pushforward.errors import check_count
from pushforward.fields.base import AbstractField
from pushforward.networks.layers import uniform_weights
from pushforward.rows import Shape, as_shape, broadcasting, condition_size


class PotentialField(AbstractField):
    """Minus the gradient of a potential, a residual network of two layers and a quadratic form; s = (x, t, condition).

        phi(s) = w . u_1 + |A s|^2 / 2 + b . x,    u_0 = act(s K_0 + b_0),    u_1 = u_0 + act(u_0 K_1 + b_1)

    with `act(v) = log(2 cosh v)`, whose slope is tanh. Field and divergence (minus the Laplacian in x) are in closed
    form; the divergence costs `d` products with a `width x width` matrix.

    Arguments:
        d: size of the event.
        width: units of the network; default 32.
        rank: of the quadratic form, lowered to d + 1 if above; default 10.
        condition: shape of a condition; default None for none.

    Raises `InputError` for sizes below 1.

    Source: Onken et al. 2021, arXiv 2006.00104 (OT-Flow).

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.fields import PotentialField
    >>> field = PotentialField(2, width=4, key=jax.random.key(0))
    >>> field(0.5, jnp.ones((5, 2))).shape
    (5, 2)

    ```
    """

    decaying = ("enter", "middle")
    amortized = ("linear",)
    enter: Float[Array, "inputs width"]
    enter_bias: Float[Array, " width"]
    middle: Float[Array, "width width"]
    middle_bias: Float[Array, " width"]
    weights: Float[Array, " width"]
    quadratic: Float[Array, "inputs rank"]
    linear: Float[Array, " d"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        d: int,
        *,
        width: int = 32,
        rank: int = 10,
        condition: int | Shape | None = None,
        key: PRNGKeyArray,
    ):
        check_count("width", width)
        check_count("rank", rank)
        self.event_shape, self.condition_shape = (d,), as_shape(condition, "condition")
        size = condition_size(self.condition_shape)
        inputs = d + 1 + size
        keys = spawn(key, 6)
        self.enter = uniform_weights(keys[0], (inputs, width), inputs)
        self.enter_bias = uniform_weights(keys[1], (width,), inputs)
        self.middle = uniform_weights(keys[2], (width, width), width)
        self.middle_bias = uniform_weights(keys[3], (width,), width)
        self.weights = uniform_weights(keys[4], (width,), width)
        self.quadratic = 0.1 * uniform_weights(keys[5], (inputs, min(rank, d + 1)), inputs)
        self.linear = jnp.zeros(d)

    def prepared(self) -> "PotentialField":
        return self

    def with_divergence(
        self, t: ArrayLike, x: Float[Array, "n d"], condition: Array | None = None
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        d = x.shape[1]
        s, first, second, back = self._layers(t, x, condition)
        enter = self.enter[:d]
        gradient = self._gradient(s, first, back, d) + self.linear
        outer = ((1 - first * first) * back) @ jnp.square(enter).sum(0)
        # The slopes of the second layer's inputs with respect to each coordinate, side by side: (n, d, width).
        spread = (first[:, None, :] * enter) @ self.middle
        inner = ((1 - second * second) * self.weights) * jnp.square(spread).sum(1)
        return -gradient, -(outer + inner.sum(1) + jnp.square(self.quadratic[:d]).sum())

    def hjb_residual(
        self, t: ArrayLike, x: Float[Array, "n d"], condition: Array | None = None
    ) -> Float[Array, " n"]:
        """`d phi/dt - |grad phi|^2 / 2`, which does not depend on x where paths are straight and of constant speed.

        Its gradient is minus the acceleration along the field. Cost: the field's; next to a call of the field, almost
        nothing. Arguments as of `with_divergence`.
        """
        d = x.shape[1]
        with broadcasting():
            s, first, _, back = self._layers(t, x, condition)
            # Time stands behind the coordinates of x.
            gradient = self._gradient(s, first, back, d + 1)
            along = gradient[:, :d] + self.linear
        return gradient[:, d] - jnp.square(along).sum(1) / 2

    def _gradient(self, s: Array, first: Array, back: Array, rows: int) -> Array:
        """The gradient with respect to the first inputs, but for the linear part."""
        gradient = (first * back) @ self.enter[:rows].T
        return gradient + (s @ self.quadratic) @ self.quadratic[:rows].T

    def _layers(self, t: ArrayLike, x: Float[Array, "n d"], condition: Array | None) -> list[Array]:
        """All inputs, the slopes of both layers, the gradient of `w . u_1` with respect to the first one's outputs."""
        n = len(x)
        columns = [x, jnp.broadcast_to(jnp.asarray(t, x.dtype), (n, 1))]
        if condition is not None and self.condition_shape is not None:
            columns.append(condition.reshape(n, -1))
        s = jnp.concatenate(columns, 1)
        below = s @ self.enter + self.enter_bias
        # log(2 cosh v), without overflow.
        raised = jnp.abs(below) + jnp.log1p(jnp.exp(-2 * jnp.abs(below)))
        second = jnp.tanh(raised @ self.middle + self.middle_bias)
        back = self.weights + (second * self.weights) @ self.middle.T
        return [s, jnp.tanh(below), second, back]
