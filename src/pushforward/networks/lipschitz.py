"""The perceptron with a certified Lipschitz constant."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.draws import spawn
from pushforward.errors import InputError, check_choice
from pushforward.networks.contraction import AbstractContraction, AbstractJacobian
from pushforward.networks.layers import check_network, uniform_weights
from pushforward.rows import Shape

NORMS = ("spectral", "one", "inf")


class LipschitzMLP(AbstractContraction):
    """A perceptron on columns, `(inputs, n)` to `(outputs, n)`, whose Lipschitz constant in its inputs is at most
    `lipschitz`.

    Each matrix is scaled down so that its norm is at most `lipschitz ** (1 / number of matrices)`. The spectral norm
    is bounded from above by Gram iteration, so that the bound holds at every step; power iteration, the usual way,
    approaches it from below. Activations have slopes of at most 1. Condition features enter the first layer freely:
    the constant is not with respect to them.

    Cost: a perceptron's, and for each matrix, once per call, six products of square matrices of its smaller side.

    Arguments:
        inputs, outputs: number of features.
        width: units of a hidden layer.
        depth: number of hidden layers, at least 1.
        condition: number of condition features; 0 for none.
        lipschitz: the constant, within (0, 1); default 0.9.
        norm: `"spectral"`, or the induced norms `"one"` and `"inf"`, which are cheaper and tighter; default "spectral".
        activation: `"lipswish"` (default), `"elu"` or `"tanh"`.

    Raises `InputError` for a width or depth below 1, or an unknown norm or activation, or a constant outside (0, 1).

    Sources: Behrmann et al. 2019, arXiv 1811.00995 (normalisation); Chen et al. 2019, arXiv 1906.02735 (LipSwish,
    induced norms); Delattre et al. 2023, arXiv 2305.16173 (Gram iteration).

    ```python
    >>> import jax
    >>> from pushforward.networks import LipschitzMLP
    >>> network = LipschitzMLP(3, 3, width=8, depth=1, key=jax.random.key(0))
    >>> network(jax.numpy.ones((3, 5))).shape
    (3, 5)

    ```
    """

    decaying = ("first", "first_condition", "hidden", "last")
    amortized = ("last_bias",)
    first: Float[Array, "width inputs"]
    first_condition: Float[Array, "width condition"]
    first_bias: Float[Array, " width"]
    hidden: Float[Array, "layers width width"]
    hidden_bias: Float[Array, "layers width"]
    last: Float[Array, "outputs width"]
    last_bias: Float[Array, " outputs"]
    beta: Float[Array, " activations"]
    lipschitz: float = eqx.field(static=True)
    norm: str = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int,
        depth: int,
        condition: int = 0,
        lipschitz: float = 0.9,
        norm: str = "spectral",
        activation: str = "lipswish",
        key: PRNGKeyArray,
    ):
        check_network(width, depth, "relu", 0.0)
        check_contraction(lipschitz, activation)
        check_choice("norm", norm, NORMS)
        keys = spawn(key, 5)
        self.first = uniform_weights(keys[0], (width, inputs), inputs)
        self.first_condition = uniform_weights(keys[1], (width, condition), condition)
        self.first_bias = uniform_weights(keys[2], (width,), 1)
        self.hidden = uniform_weights(keys[3], (depth - 1, width, width), width)
        self.hidden_bias = jnp.zeros((depth - 1, width))
        self.last = 0.1 * uniform_weights(keys[4], (outputs, width), width)
        self.last_bias = jnp.zeros(outputs)
        self.beta = jnp.zeros(depth if activation == "lipswish" else 0)
        self.lipschitz, self.norm, self.activation = lipschitz, norm, activation

    @property
    def event_shape(self) -> Shape:
        return (self.last.shape[-2],)

    def weights(self) -> list[Array]:
        """The matrices as they are applied, each within its share of the Lipschitz constant."""
        matrices = [self.first, *self.hidden, self.last]
        share = self.lipschitz ** (1 / len(matrices))
        return [w / jnp.maximum(norm_bound(w, self.norm) / share, 1.0) for w in matrices]

    def linearised(
        self, weights: list[Array], x: Array, condition: Array | None
    ) -> tuple[Array, "NetworkJacobian"]:
        """The network's value at `x`, and its Jacobian there as a linear map."""
        h = weights[0] @ x + self.first_bias[:, None]
        if condition is not None:
            h = h + self.first_condition @ condition
        slopes = []
        for i, w in enumerate(weights[1:]):
            h, slope = self._act(i, h)
            slopes.append(slope)
            last = i == len(weights) - 2
            h = w @ h + (self.last_bias if last else self.hidden_bias[i])[:, None]
        return h, NetworkJacobian(weights, slopes)

    def _act(self, i: int, h: Array) -> tuple[Array, Array]:
        return activated(self.activation, self.beta, i, h)


class NetworkJacobian(AbstractJacobian):
    """The Jacobian of a perceptron at `n` columns: a product of its matrices and the slopes between them.

    Its products with vectors cost the network's matrix products, and none of its activations.
    """

    weights: list[Array]
    slopes: list[Array]  # each (width, n)

    @property
    def size(self) -> int:
        return self.weights[-1].shape[0]

    @property
    def least(self) -> int:
        return min(self.size, *map(len, self.slopes))

    def smallest(self) -> Float[Array, "least least n"]:
        """J, or a smaller matrix that a narrow hidden layer gives."""
        widths = [len(slope) for slope in self.slopes]
        return self.matrix() if self.least == self.size else self.turned(int(np.argmin(widths)))

    def matrix(self) -> Float[Array, "outputs inputs n"]:
        """All of it, from one tangent per input, side by side in every matrix product."""
        tangents = self.weights[0][:, :, None]
        for w, slope in zip(self.weights[1:], self.slopes, strict=True):
            moved = slope[:, None] * tangents
            tangents = (w @ moved.reshape(len(moved), -1)).reshape(len(w), *moved.shape[1:])
        return tangents

    def turned(self, layer: int) -> Float[Array, "width width n"]:
        """`B A` where `J = A B`, cut at a hidden layer: `det(I + B A) = det(I + J)`, and it may be far smaller."""
        w, s = self.weights, self.slopes
        # From that layer to the end, then directly from the start to that layer.
        weights = [*w[layer + 1 : -1], w[0] @ w[-1], *w[1 : layer + 1]]
        inner = NetworkJacobian(weights, [*s[layer + 1 :], *s[:layer]]).matrix()
        return s[layer][:, None] * inner

    def times(self, v: Float[Array, "inputs n"]) -> Float[Array, "outputs n"]:
        """`J v`."""
        v = self.weights[0] @ v
        for w, slope in zip(self.weights[1:], self.slopes, strict=True):
            v = w @ (slope * v)
        return v

    def transposed(self, v: Float[Array, "outputs n"]) -> Float[Array, "inputs n"]:
        """`J^T v`."""
        for w, slope in zip(self.weights[:0:-1], self.slopes[::-1], strict=True):
            v = slope * (w.T @ v)
        return self.weights[0].T @ v


def check_contraction(lipschitz: float, activation: str) -> None:
    """Raises `InputError` for a constant outside (0, 1), or an unknown activation."""
    if not 0 < lipschitz < 1:
        raise InputError(f"lipschitz={lipschitz}: a constant above 0 and below 1 was expected")
    check_choice("activation", activation, ("lipswish", "elu", "tanh"))


def activated(activation: str, beta: Array, i: int, h: Array) -> tuple[Array, Array]:
    """Activation number i and its slope, of at most 1, which share the costly part."""
    if activation == "tanh":
        a = jnp.tanh(h)
        return a, 1 - a * a
    if activation == "elu":
        below = jnp.exp(jnp.minimum(h, 0.0))
        return jnp.where(h > 0, h, below - 1), below
    scaled = jax.nn.softplus(beta[i] + 0.5) * h
    s = jax.nn.sigmoid(scaled)
    return h * s / 1.1, s * (1 + scaled * (1 - s)) / 1.1


SQUARINGS = 6


def norm_bound(w: Float[Array, "a b"], norm: str = "spectral") -> Array:
    """An upper bound of a matrix's operator norm: exact for `"one"` and `"inf"`, within 2 % for `"spectral"`.

    Gram iteration: `|W|^2 <= |G^m|_F^(1/m)` with `G = W W^T` (or `W^T W`, if smaller) and `m = 2^SQUARINGS`. Raising to
    the power m by squaring closes the gap to `k^(1/4m)` for k equal singular values.
    """
    if norm == "one":
        return jnp.abs(w).sum(0).max()
    if norm == "inf":
        return jnp.abs(w).sum(1).max()
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    log_scale, tiny = jnp.zeros((), w.dtype), jnp.finfo(w.dtype).tiny
    for _ in range(SQUARINGS):
        size = jnp.sqrt((gram * gram).sum() + tiny)
        gram = gram / size
        gram, log_scale = gram @ gram, 2 * (log_scale + jnp.log(size))
    total = log_scale + 0.5 * jnp.log((gram * gram).sum() + tiny)
    rounding = 8 * float(jnp.finfo(w.dtype).eps)
    return jnp.exp(total / 2 ** (SQUARINGS + 1)) * (1 + rounding)


def series_tail(lipschitz: float, terms: int) -> float:
    """`sum_{k > terms} L^k / k`, what remains of `-log(1 - L)` after that many terms."""
    return max(-math.log1p(-lipschitz) - sum(lipschitz**k / k for k in range(1, terms + 1)), 0.0)
