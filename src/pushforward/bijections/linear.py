"""The LU-parametrised linear map."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.rows import Shape


class LULinear(AbstractBijection):
    """An invertible linear map with bias, `z = L U x + b`: L unit lower, U upper triangular with positive diagonal.

    It starts at the identity; the log-det is the sum of U's log-diagonal. Cost: a product with a d x d matrix either
    way, composed once per call; forward by two triangular solves.

    Glow (Kingma & Dhariwal 2018, arXiv 1807.03039), in the vector form of Oliva et al. 2018 (arXiv 1801.09819).

    Arguments:
        d: number of coordinates.

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

    def __init__(self, d: int):
        self.lower, self.upper = jnp.zeros((d, d)), jnp.zeros((d, d))
        self.log_diagonal, self.bias = jnp.zeros(d), jnp.zeros(d)
        self.event_shape = (d,)

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
        solve, eye = jax.scipy.linalg.solve_triangular, jnp.eye(len(lower), dtype=lower.dtype)
        # Not for the rows: in the loop of a stack's gradient that is slow (Glow in `benchmarks/remat.py`).
        undone = solve(upper, solve(lower, eye, lower=True, unit_diagonal=True))
        x = (z - self.bias[None]) @ undone.T
        return x, jnp.broadcast_to(-self.log_diagonal.sum(), z.shape[:1])
