"""The Sylvester map."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, PerRow
from pushforward.bijections.orthogonal import reflected
from pushforward.bijections.small_systems import orthonormal
from pushforward.draws import normal, spawn
from pushforward.errors import InputError, check_count
from pushforward.networks.layers import uniform_weights
from pushforward.numeric import increasing_root
from pushforward.rows import Shape, condition_size, flat

KINDS = ("orthogonal", "householder", "triangular")


class Sylvester(AbstractBijection):
    """A planar map with several directions, `z = x + Q R tanh(S Q^T x + b + V condition)`.

    Q has orthonormal columns, R and S are upper triangular with `|r_ii s_ii| < 1`. By Sylvester's identity the
    determinant is one of size `units`, and triangular:

        log |det dz/dx| = sum_i log(1 + tanh'_i r_ii s_ii)

    Q is one of three kinds: `"orthogonal"`, the QR factor of a free matrix (exact, where the paper iterates);
    `"householder"`, a product of reflections; `"triangular"`, the identity, to alternate with a reversal.

    Cost: inverse `2 d units` multiply-adds, and forming Q. Forward: in the coordinates `Q^T x` the map is triangular,
    so that `units` scalar equations are solved one after another, each by a numeric search that cannot fail.

    Sylvester normalizing flows (van den Berg et al. 2018, arXiv 1803.05649).

    Arguments:
        d: number of coordinates.
        units: columns of Q; default 32, at most d; "triangular" always has d.
        kind: `"orthogonal"`, `"householder"` or `"triangular"`; default "orthogonal".
        reflections: of the kind "householder"; default 8.
        condition_shape: the shape of a condition; None for none.
        key: draws the initial weights.

    Raises `InputError` for an unknown kind, or fewer than 1 unit or reflection.

    ```python
    >>> import jax, pushforward as pf
    >>> layer = pf.bijections.Sylvester(3, 2, key=jax.random.key(0))
    >>> layer.inverse(jax.numpy.ones((5, 3)))[1].shape
    (5,)

    ```
    """

    decaying = ("r", "s")
    factor: Float[Array, "a b"]
    r: Float[Array, "units units"]
    s: Float[Array, "units units"]
    r_diagonal: Float[Array, " units"]
    s_diagonal: Float[Array, " units"]
    b: Float[Array, " units"]
    v: Float[Array, "units condition"]
    kind: str = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        d: int,
        units: int = 32,
        kind: str = "orthogonal",
        reflections: int = 8,
        condition_shape: Shape | None = None,
        *,
        key: PRNGKeyArray,
    ):
        if kind not in KINDS:
            raise InputError(f"kind={kind!r} is unknown; known: {', '.join(KINDS)}")
        check_count("units", units)
        check_count("reflections", reflections)
        m = d if kind == "triangular" else min(units, d)
        keys = spawn(key, 7)
        shape = {"orthogonal": (d, m), "householder": (reflections, d), "triangular": (0, 0)}[kind]
        self.factor = normal(keys[0], shape)
        self.r = 0.01 * normal(keys[1], (m, m))
        self.s = uniform_weights(keys[2], (m, m), m)
        self.r_diagonal = 0.01 * normal(keys[3], (m,))
        self.s_diagonal = normal(keys[4], (m,))
        self.b = normal(keys[5], (m,))
        size = condition_size(condition_shape)
        self.v = uniform_weights(keys[6], (m, size), size)
        self.kind = kind
        self.event_shape, self.condition_shape = (d,), condition_shape

    def unread(self) -> dict[str, Bool[np.ndarray, "..."] | bool]:
        """All of R and S but the strict triangles; the factor in one dimension, where there is one direction."""
        below = np.tril(np.ones(self.r.shape[-2:], bool))
        return {"r": below, "s": below, "factor": self.event_shape[0] == 1}

    def _matrices(self) -> tuple[Array | None, Array, Array]:
        """Q (None for the identity), R and S."""
        m = self.b.size
        r = jnp.triu(self.r, 1) + jnp.diag(BELOW_ONE * jnp.tanh(self.r_diagonal))
        s = jnp.triu(self.s, 1) + jnp.diag(BELOW_ONE * jnp.tanh(self.s_diagonal))
        if self.kind == "triangular":
            return None, r, s
        if self.kind == "orthogonal":
            return orthonormal(self.factor), r, s
        columns = jnp.eye(m, self.event_shape[0], dtype=self.factor.dtype)
        return reflected(columns, self.factor).T, r, s

    def _shift(self, condition: Condition, n: int) -> Float[Array, "units n"]:
        shift = self.b if condition is None else self.b + flat(condition) @ self.v.T
        return jnp.broadcast_to(shift, (n, self.b.size)).T

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        q, r, s = self._matrices()
        y = x.T if q is None else q.T @ x.T
        bent = jnp.tanh(s @ y + self._shift(condition, x.shape[0]))
        moved = r @ bent
        z = x + (moved if q is None else q @ moved).T
        return z, _log_det(r, s, bent)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        q, r, s = self._matrices()
        reached = z.T if q is None else q.T @ z.T
        shift = self._shift(condition, z.shape[0])

        def last_to_first(known: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
            # Rows after i of y and of the bent values are known, the others still 0.
            y, bent = known
            slopes, from_later = (r[i, i], s[i, i]), s[i] @ y + shift[i]
            target = reached[i] - r[i] @ bent
            y_i = increasing_root(_one_direction, target, (*slopes, from_later))
            bent_i = jnp.tanh(slopes[1] * y_i + from_later)
            return (y.at[i].set(y_i), bent.at[i].set(bent_i)), None

        start = jnp.zeros_like(reached)
        indices = jnp.arange(r.shape[0])
        (y, bent), _ = jax.lax.scan(last_to_first, (start, start), indices, reverse=True)
        moved = y - reached
        x = z + (moved if q is None else q @ moved).T
        return x, -_log_det(r, s, bent)


# Keeps `|r_ii s_ii|` below 1 even where tanh rounds to 1.
BELOW_ONE = 0.999


def _one_direction(y: Array, params: tuple[Array, ...]) -> tuple[Array, Array]:
    r, s, shift = params
    bent = jnp.tanh(s * y + shift)
    return y + r * bent, jnp.log1p(r * s * (1 - bent * bent))


def _log_det(r: Array, s: Array, bent: Array) -> PerRow:
    along = jnp.diag(r) * jnp.diag(s)
    return jnp.log1p(along[:, None] * (1 - bent * bent)).sum(0)
