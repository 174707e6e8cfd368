"""The dense sigmoid of neural autoregressive flows."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.errors import check_count
from pushforward.numeric import ScalarMap, solved
from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.deep_sigmoid import FARTHEST, LARGEST, REACH, START
from pushforward.transformers.mixtures import along, spread
from pushforward.transformers.tails import bounded, check_bound, floored, linear_tails


class DenseSigmoid(AbstractTransformer):
    """A monotone network of two dense layers, 1 to `units` to 1, each

        h' = logit(W sigmoid(a * (U h) + b)),    W_ij = exp(M_ij + c_j) / sum_k exp(M_ik + c_k)

    with the rows of U and W positive, summing to 1. Slopes a, shifts b and weights c are each value's own; the
    matrices M and U belong to the family and are trained (the paper's pseudo-parameters: a conditioner then gives
    `6 units` numbers per value instead of `2 units^2`). The derivative is a product of positive matrices, in log space.
    Outside `[-bound, bound]` the map continues straight.

    Cost: inverse `5 units^2` multiply-adds in matrix products and `12 units` exponentials, forward a numeric search.

    Neural autoregressive flows, deep dense sigmoidal (Huang et al. 2018, arXiv 1804.00779).

    Arguments:
        units: units of each layer, at least 1; default 6.
        bound: half the side of the box; default 20.

    Raises `InputError` for fewer than 1 unit or a bound that is not positive.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> family = pf.transformers.DenseSigmoid(units=4)
    >>> z, _ = family.inverse(jnp.array([1.0]), jnp.zeros((family.size, 1)))
    >>> abs(float(z[0]) - 1) < 0.2
    True

    ```
    """

    searched = True
    mixing: Float[Array, "units units"]
    feeding: Float[Array, "units units"]
    units: int = eqx.field(static=True)
    bound: float = eqx.field(static=True)

    def __init__(self, units: int = 6, bound: float = 20.0):
        check_count("units", units)
        check_bound(bound)
        self.units, self.bound = units, bound
        # Rows of W start different, or the second layer's units would stay copies.
        places = np.outer(np.arange(units) + 1, np.arange(units) + 0.5)
        self.mixing = jnp.asarray(0.5 * np.cos(np.pi * places / units), jnp.zeros(()).dtype)
        self.feeding = jnp.zeros((units, units))

    @property
    def size(self) -> int:
        # Either layer: a, b, c.
        return 6 * self.units

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        return _tailed(self.bound)(x, (params, self.mixing, self.feeding))

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        # Trained arrays are arguments: gradients of the search are with respect to its arguments only.
        return solved(_tailed(self.bound), z, (params, self.mixing, self.feeding))


def _tailed(bound: float) -> ScalarMap:
    """The map with its tails, `(x, (params, mixing, feeding)) -> (value, log-slope)`."""

    def function(x: Array, given: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        inside = jnp.clip(x, -bound, bound)
        return linear_tails(x - inside, *floored(*_network(inside, *given), inside))

    return function


def _network(x: Array, params: Array, mixing: Array, feeding: Array) -> tuple[Array, Array]:
    first, second = params.reshape(2, 3, len(mixing), *params.shape[1:])
    log_a, pre = _affine(first, x[None])
    matrix = jnp.exp(bounded(mixing, LARGEST))
    h, log_slope = _mix(matrix, first[2], pre, log_a)
    into = jax.nn.softmax(bounded(feeding, LARGEST), axis=1)
    log_a, pre = _affine(second, jnp.tensordot(into, h, 1, precision="highest"))
    h, log_slope = _mix(jnp.ones_like(matrix[:1]), second[2], pre, log_a + _log(into, log_slope))
    return h[0], log_slope[0]


def _affine(params: Array, h: Array) -> tuple[Array, Array]:
    """Log-slopes and inputs of a layer's units, `(units, *shape)`."""
    units = params.shape[1]
    log_a = (START if units > 1 else 0.0) + bounded(params[0], LARGEST)
    shifts = bounded(params[1], FARTHEST) - along(spread(units, REACH), params[1])
    return log_a, jnp.exp(log_a) * h + shifts


def _mix(matrix: Array, weights: Array, pre: Array, log_slope: Array) -> tuple[Array, Array]:
    """`logit(W sigmoid(pre))` and its log-slope, `(out, *shape)`, with W as in the class; the sums that divide its rows
    cancel in the logit."""
    weights = jax.nn.log_softmax(weights, axis=0)
    log_down = -jax.nn.softplus(pre)
    below, above = _log(matrix, weights + log_down + pre), _log(matrix, weights + log_down)
    sides = _log(matrix, weights + log_slope + 2 * log_down + pre) + _log(matrix, weights)
    return below - above, sides - below - above


def _log(matrix: Array, terms: Array) -> Array:
    """`log(matrix @ exp(terms))` for a positive matrix, terms on the leading axis."""
    largest = jax.lax.stop_gradient(terms.max(0, keepdims=True))
    product = jnp.tensordot(matrix, jnp.exp(terms - largest), 1, precision="highest")
    return jnp.log(product) + largest
