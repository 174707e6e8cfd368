"""The dense sigmoid of neural autoregressive flows."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.bijections.numeric import solved
from pushforward.bijections.transformers.base import AbstractTransformer
from pushforward.bijections.transformers.deep_sigmoid import (
    FARTHEST,
    LARGEST,
    REACH,
    START,
    check_units,
)
from pushforward.bijections.transformers.mixtures import along, log_sum, spread
from pushforward.bijections.transformers.tails import bounded, floored, linear_tails


class DenseSigmoid(AbstractTransformer):
    """A monotone network of two dense layers, 1 to `units` to 1, each

        h' = logit(W sigmoid(a * (U h) + b))

    with the rows of U and W positive, summing to 1. The derivative is a product of matrices of positive entries, taken
    in log space. Outside `[-bound, bound]` the map goes on straight. Cost: inverse `2 units^2` multiply-adds and
    exponentials, forward a numeric search.

    Neural autoregressive flows, deep dense sigmoidal (Huang et al. 2018, arXiv 1804.00779).

    Arguments:
        units: units of each layer, at least 1; default 6.
        bound: half the side of the box; default 20.

    Raises `InputError` for fewer than 1 unit or a bound that is not positive.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.bijections import DenseSigmoid
    >>> family = DenseSigmoid(units=4)
    >>> z, _ = family.inverse(jnp.array([1.0]), jnp.zeros((family.size, 1)))
    >>> abs(float(z[0]) - 1) < 0.2
    True

    ```
    """

    units: int = eqx.field(static=True, default=6)
    bound: float = eqx.field(static=True, default=20.0)

    def __check_init__(self):
        check_units(self.units, self.bound)

    @property
    def size(self) -> int:
        # First layer: a, b, W; second: U, a, b, one row of W.
        k = self.units
        return 2 * k + k * k + k * k + 2 * k + k

    def inverse(self, x: Array, params: Array) -> tuple[Array, Array]:
        k, shape = self.units, x.shape
        at = np.cumsum([2 * k, k * k, k * k, 2 * k])
        first, w1, u2, second, w2 = (
            params[i:j] for i, j in zip([0, *at], [*at, self.size], strict=True)
        )
        # Rows of W start different, or the units of the second layer would stay copies.
        rows = [
            float(v)
            for v in 0.5
            * np.cos(np.pi * np.outer(np.arange(k) + 1, np.arange(k) + 0.5) / k).ravel()
        ]
        w1 = jax.nn.log_softmax((w1 + along(rows, w1)).reshape(k, k, *shape), axis=1)
        u2 = jax.nn.log_softmax(u2.reshape(k, k, *shape), axis=1)
        w2 = jax.nn.log_softmax(w2.reshape(1, k, *shape), axis=1)

        def evaluate(x: Array) -> tuple[Array, Array]:
            log_a, pre = self._affine(first, x[None])
            h, log_slope = _mix(w1, pre, log_a)
            log_a, pre = self._affine(second, (jnp.exp(u2) * h).sum(1))
            into = log_a + log_sum(jnp.moveaxis(u2 + log_slope, 1, 0))
            h, log_slope = _mix(w2, pre, into)
            return floored(h[0], log_slope[0], x)

        return linear_tails(evaluate, x, self.bound)

    def forward(self, z: Array, params: Array) -> tuple[Array, Array]:
        return solved(self.inverse, z, params)

    def _affine(self, params: Array, h: Array) -> tuple[Array, Array]:
        """Log-slopes of a layer's units and what they are fed, `(units, *shape)`."""
        k = self.units
        log_a = (START if k > 1 else 0.0) + bounded(params[:k], LARGEST)
        return log_a, jnp.exp(log_a) * h + bounded(params[k:], FARTHEST) - along(
            spread(k, REACH), params
        )


def _mix(log_weights: Array, pre: Array, log_slope: Array) -> tuple[Array, Array]:
    """`logit(W sigmoid(pre))` and its log-slope, `(out, *shape)`, from log-weights `(out, units, *shape)`."""
    log_up, log_down = -jax.nn.softplus(-pre), -jax.nn.softplus(pre)

    def mixed(terms: Array) -> Array:
        return log_sum(jnp.moveaxis(log_weights + terms, 1, 0))

    below, above = mixed(log_up), mixed(log_down)
    return below - above, mixed(log_slope + log_up + log_down) - below - above
