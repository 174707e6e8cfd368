"""Orthogonal maps from reflections, and the linear map with an orthogonal factor."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.bijections.small_systems import triangular_solve
from pushforward.draws import normal
from pushforward.errors import InputError, check_count
from pushforward.rows import Shape


class Householder(AbstractBijection):
    """A product of Householder reflections, `z = H_k ... H_1 x` with `H = I - 2 v v^T / |v|^2`: a learned rotation.

    Volume-preserving. Cost: `2 reflections d` multiply-adds either way; d reflections reach every orthogonal map.

    Improving variational auto-encoders using Householder flow (Tomczak & Welling 2016, arXiv 1611.09630).

    Arguments:
        d: number of coordinates.
        reflections: how many; default d.
        key: draws the vectors.

    Raises `InputError` for fewer than 1 reflection.

    ```python
    >>> import jax, pushforward as pf
    >>> turn = pf.bijections.Householder(3, key=jax.random.key(0))
    >>> z, log_det = turn.inverse(jax.numpy.array([3.0, 4.0, 0.0]))
    >>> round(float(jax.numpy.linalg.norm(z)), 4), float(log_det)
    (5.0, 0.0)

    ```
    """

    vectors: Float[Array, "reflections d"]
    volume_preserving = True
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, d: int, reflections: int | None = None, *, key: PRNGKeyArray):
        count = d if reflections is None else reflections
        check_count("reflections", count)
        self.vectors = normal(key, (count, d))
        self.event_shape = (d,)

    def unread(self) -> dict[str, bool]:
        """The vectors in one dimension, where all reflections are equal."""
        return {"vectors": self.event_shape[0] == 1}

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        return reflected(x, self.vectors), jnp.zeros(x.shape[0], x.dtype)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        return reflected(z, self.vectors, reverse=True), jnp.zeros(z.shape[0], z.dtype)


class QRLinear(AbstractBijection):
    """An invertible linear map with bias, `z = Q R x + b`: Q a product of reflections, R upper triangular with positive
    diagonal.

    It starts at the identity, as reflections come in pairs that undo each other; the log-det is the sum of R's
    log-diagonal. Cost: a triangular product (inverse) or solve (forward), and the reflections.

    Emerging convolutions (Hoogeboom et al. 2019, arXiv 1901.11137).

    Arguments:
        d: number of coordinates.
        reflections: an even number; default d, rounded up to an even number.
        key: draws the reflections.

    Raises `InputError` for a number of reflections that is not even and positive.

    ```python
    >>> import jax, pushforward as pf
    >>> x, log_det = pf.bijections.QRLinear(2, key=jax.random.key(0)).forward(jax.numpy.ones(2))
    >>> [round(float(v), 3) for v in x]
    [1.0, 1.0]

    ```
    """

    decaying = ("upper",)
    amortized = ("log_diagonal", "bias")
    vectors: Float[Array, "reflections d"]
    upper: Float[Array, "d d"]
    log_diagonal: Float[Array, " d"]
    bias: Float[Array, " d"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, d: int, reflections: int | None = None, *, key: PRNGKeyArray):
        count = d + d % 2 if reflections is None else reflections
        if count < 2 or count % 2:
            raise InputError(f"reflections={count}: an even number of at least 2 was expected")
        half = normal(key, (count // 2, d))
        self.vectors = jnp.concatenate([half, half[::-1]])
        self.upper = jnp.zeros((d, d))
        self.log_diagonal, self.bias = jnp.zeros(d), jnp.zeros(d)
        self.event_shape = (d,)

    def unread(self) -> dict[str, Bool[np.ndarray, "..."] | bool]:
        """All of `upper` but the strict triangle; the vectors in one dimension, where all reflections are equal."""
        below = np.tril(np.ones(self.upper.shape[-2:], bool))
        return {"upper": below, "vectors": self.event_shape[0] == 1}

    def _r(self) -> Array:
        return jnp.triu(self.upper, 1) + jnp.diag(jnp.exp(self.log_diagonal))

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        z = reflected(x @ self._r().T, self.vectors) + self.bias
        return z, jnp.broadcast_to(self.log_diagonal.sum(), x.shape[:1])

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        turned = reflected(z - self.bias, self.vectors, reverse=True)
        x = triangular_solve(self._r(), turned.T).T
        return x, jnp.broadcast_to(-self.log_diagonal.sum(), z.shape[:1])


def reflected(
    rows: Float[Array, "n d"], vectors: Float[Array, "reflections d"], reverse: bool = False
) -> Float[Array, "n d"]:
    """Rows reflected by all vectors, first to last, or last to first if `reverse`.

        x H_1 ... H_k = x - x V^T S^-1 V,    S = I / 2 + striu(V V^T)

    with unit vectors as the rows of V: two products instead of k steps. Last to first, S is transposed.

    Source: Joffrain et al. 2006, doi 10.1145/1141885.1141886.
    """
    # Lengths do not matter, but a vector of length 0 defines no reflection.
    squares = jnp.maximum((vectors * vectors).sum(1), jnp.finfo(vectors.dtype).tiny)
    units = vectors / jnp.sqrt(squares)[:, None]
    system = jnp.triu(units @ units.T, 1) + 0.5 * jnp.eye(len(units), dtype=units.dtype)
    solved = triangular_solve(system, units, trans=reverse)
    return rows - (rows @ units.T) @ solved
