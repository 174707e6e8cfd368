"""Batch normalisation as a bijection."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, replaced
from pushforward.rows import Shape


class BatchNorm(AbstractBijection):
    """Standardise by statistics of the data, then scale and shift: `z = e^s (x - mean) / sqrt(var + e) + b`.

    In training (with a key) `inverse` uses the batch's mean and variance. Evaluation, and `forward` always, use the
    stored ones, so that a row's density never depends on the rows beside it. `pushforward.fit` measures them on
    training rows before every validation; `with_statistics(bijection, x)` does it by hand. Cost: d multiply-adds
    either way.

    Batch normalization (Ioffe & Szegedy 2015, arXiv 1502.03167) as in MAF (Papamakarios et al. 2017, arXiv 1705.07057).

    Arguments:
        d: number of coordinates.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> x = jnp.array([[0.0], [4.0]])
    >>> norm = pf.bijections.with_statistics(pf.bijections.BatchNorm(1), x)
    >>> [round(float(v), 3) for v in norm.inverse(x)[0][:, 0]]
    [-1.0, 1.0]

    ```
    """

    mean: Float[Array, " d"]
    variance: Float[Array, " d"]
    log_scale: Float[Array, " d"]
    shift: Float[Array, " d"]
    recomputable = False
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, d: int):
        self.mean, self.variance = jnp.zeros(d), jnp.ones(d)
        self.log_scale, self.shift = jnp.zeros(d), jnp.zeros(d)
        self.event_shape = (d,)

    def unread(self) -> dict[str, bool]:
        """The statistics, which are measured, not trained."""
        return {"mean": True, "variance": True}

    def measuring(self, x: Float[Array, "n d"]) -> "BatchNorm":
        """The same map with the stored statistics set from data rows."""
        return replaced(self, mean=x.mean(0), variance=x.var(0))

    def _affine(self, mean: Array, variance: Array) -> tuple[Array, Array]:
        """Log-slope and centre."""
        # The contract perturbs every array: a variance stays one by its absolute value.
        return self.log_scale - 0.5 * jnp.log(jnp.abs(variance) + EPSILON), mean

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        if key is None:
            log_slope, centre = self._affine(*jax.lax.stop_gradient((self.mean, self.variance)))
        else:
            log_slope, centre = self._affine(x.mean(0), x.var(0))
        z = (x - centre) * jnp.exp(log_slope) + self.shift
        return z, jnp.broadcast_to(log_slope.sum(), x.shape[:1])

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        log_slope, centre = self._affine(*jax.lax.stop_gradient((self.mean, self.variance)))
        x = (z - self.shift) * jnp.exp(-log_slope) + centre
        return x, jnp.broadcast_to(-log_slope.sum(), z.shape[:1])


EPSILON = 1e-5
