"""The LU-parametrised linear map, and the one that starts from data."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward.bijections.actnorm import log_deviation
from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, replaced
from pushforward.bijections.small_systems import triangular_solve
from pushforward.draws import rotation
from pushforward.rows import Shape


class LULinear(AbstractBijection):
    """An invertible linear map with bias, `z = L U x + b`: L unit lower, U upper triangular with positive diagonal.

    It starts at the identity, or with a key at a random rotation; the log-det is the sum of U's log-diagonal. Cost: a
    product with a d x d matrix either way, composed once per call; forward by two triangular solves.

    Glow (Kingma & Dhariwal 2018, arXiv 1807.03039), in the vector form of Oliva et al. 2018 (arXiv 1801.09819).

    Arguments:
        d: number of coordinates.
        key: of the rotation; default None, the identity.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> x, log_det = pf.bijections.LULinear(2).forward(jnp.array([1.0, 2.0]))
    >>> [float(v) for v in x], float(abs(log_det))
    ([1.0, 2.0], 0.0)

    ```
    """

    decaying = ("lower", "upper")
    amortized = ("log_diagonal", "bias")
    lower: Float[Array, "d d"]
    upper: Float[Array, "d d"]
    log_diagonal: Float[Array, " d"]
    bias: Float[Array, " d"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, d: int, *, key: PRNGKeyArray | None = None):
        self.lower, self.upper = jnp.zeros((d, d)), jnp.zeros((d, d))
        self.log_diagonal, self.bias = jnp.zeros(d), jnp.zeros(d)
        self.event_shape = (d,)
        if key is not None:
            factors = rotation(key, d)
            self.lower, self.upper = jnp.tril(factors, -1), jnp.triu(factors, 1)
            self.log_diagonal = jnp.log(jnp.diagonal(factors))

    def unread(self) -> dict[str, Bool[np.ndarray, "..."]]:
        """All but the strict triangles."""
        square = np.ones(self.lower.shape[-2:], bool)
        return {"lower": np.triu(square), "upper": np.tril(square)}

    def _factors(self) -> tuple[Array, Array]:
        eye = jnp.eye(self.bias.size, dtype=self.bias.dtype)
        diagonal = eye * jnp.exp(self.log_diagonal)[None]
        return jnp.tril(self.lower, -1) + eye, jnp.triu(self.upper, 1) + diagonal

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        lower, upper = self._factors()
        z = x @ (lower @ upper).T + self.bias[None]
        return z, jnp.broadcast_to(self.log_diagonal.sum(), x.shape[:1])

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        lower, upper = self._factors()
        solve, eye = triangular_solve, jnp.eye(len(lower), dtype=lower.dtype)
        # Not for the rows: in the loop of a stack's gradient that is slow (Glow in `benchmarks/remat.py`).
        undone = solve(upper, solve(lower, eye, lower=True, unit_diagonal=True))
        x = (z - self.bias[None]) @ undone.T
        return x, jnp.broadcast_to(-self.log_diagonal.sum(), z.shape[:1])


class ActLinear(AbstractBijection):
    """A linear map and the activation normalisation before it in one product, `z = L U x + b`: as `LULinear`, but it
    starts, by `initialised`, at a random rotation of standardised data.

    Per pixel (`images.PerPixel`) it is a step's normalisation and its invertible 1 x 1 convolution. Cost: as
    `LULinear`.

    Glow (Kingma & Dhariwal 2018, arXiv 1807.03039).

    Arguments:
        d: number of coordinates.
        key: of the rotation.

    ```python
    >>> import jax, jax.numpy as jnp, pushforward as pf
    >>> x = jnp.array([[0.0, 1.0], [4.0, 1.0]])
    >>> mixing = pf.bijections.initialised(pf.bijections.ActLinear(2, key=jax.random.key(0)), x)
    >>> jnp.linalg.norm(mixing.inverse(x)[0], axis=1).round(3).tolist()
    [1.0, 1.0]

    ```
    """

    linear: LULinear
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, d: int, *, key: PRNGKeyArray):
        self.linear, self.event_shape = LULinear(d, key=key), (d,)

    def standardising(self, x: Float[Array, "n d"]) -> "ActLinear":
        """The same map of standardised data rows; constant columns keep their scale."""
        log_scale = log_deviation(x)
        scaled = replaced(
            self.linear,
            upper=self.linear.upper * jnp.exp(-log_scale)[None],
            log_diagonal=self.linear.log_diagonal - log_scale,
        )
        centre, _ = scaled.inverse_rows(x.mean(0)[None], None, None)
        return replaced(self, linear=replaced(scaled, bias=scaled.bias * 2 - centre[0]))

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return self.linear.forward_rows(z, condition, key)

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return self.linear.inverse_rows(x, condition, key)
