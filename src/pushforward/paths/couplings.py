"""Couplings: which latent event of a batch is paired with which data event."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from pushforward.draws import check_key
from pushforward.errors import InputError, check_choice
from pushforward.rows import as_float

ROWS = 256
"""Rows coupled with each other; larger batches are coupled in blocks."""
SINKHORN, REGULARISATION = 100, 0.05
"""Sweeps of the entropic coupling and its temperature, as a share of the mean reduced cost."""
WARM_SWEEPS, WARM_REGULARISATION = 10, 0.05
"""The same for the potentials from which the exact coupling starts."""


def partners(
    coupling: str, z: ArrayLike, x: ArrayLike, condition: ArrayLike | None, key: PRNGKeyArray
) -> Int[Array, " n"]:
    """For each data row, the number of the latent row of its batch that it is paired with.

    - `"independent"`: its own.
    - `"exact_ot"`: the assignment of least total `|x - z|^2`, a permutation. It begins with the potentials of a few
      entropic sweeps, which leave a fifth to a third of the search.
    - `"sinkhorn"`: a draw from the entropic plan's column of the data row; latent rows may repeat.

    Rows are paired only within equal conditions: the latent must stay independent of the condition, or the conditional
    densities would be wrong. Where all conditions differ every row keeps its own.

    Cost: `n^2 d` for the distances; then about `n^3` with small constants on the host ("exact_ot"), or a hundred
    products with an `n x n` matrix ("sinkhorn"). Batches beyond 256 rows are coupled in blocks of 256, so that the cost
    per row does not grow; rows after the last whole block keep their own.

    Arguments:
        coupling: a name in `COUPLINGS`.
        z: `(n, *event)` latent rows.
        x: `(n, *event)` data rows.
        condition: `(n, *condition)`, or None.
        key: of the draws.

    Raises `InputError` for an unknown name, or rows, conditions or events whose shapes do not match.

    Sources: Tong et al. 2024, arXiv 2302.00482; Pooladian et al. 2023, arXiv 2304.14772 (minibatch couplings); Cuturi
    2013, arXiv 1306.0895 (Sinkhorn).

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.paths import partners
    >>> z, x = jnp.array([[0.0], [5.0], [1.0]]), jnp.array([[4.0], [0.1], [0.9]])
    >>> partners("exact_ot", z, x, None, jax.random.key(0)).tolist()
    [1, 0, 2]

    ```
    """
    check_choice("coupling", coupling, COUPLINGS)
    check_key(key)
    z, x = as_float(z, "z"), as_float(x, "x")
    if z.shape != x.shape or not x.ndim:
        raise InputError(
            f"z has shape {z.shape}, but x {x.shape}: one latent row for each data row, (n, *event), was expected"
        )
    if condition is not None and jnp.shape(condition)[:1] != x.shape[:1]:
        raise InputError(
            f"condition has shape {jnp.shape(condition)}, but x {x.shape}: one condition for each row was expected"
        )
    n = len(x)
    own, find = jnp.arange(n, dtype=jnp.int32), COUPLINGS[coupling]
    if find is None or n < 2:
        return own
    size = min(n, ROWS)
    blocks = n // size
    kept = (jax.lax.stop_gradient(a.reshape(n, -1)[: blocks * size]) for a in (z, x))
    zs, xs = (a.reshape(blocks, size, -1) for a in kept)
    keys = jax.random.split(key, blocks)

    def block(i: Array) -> Array:
        allowed = None
        if condition is not None:
            rows = jnp.asarray(condition).reshape(n, -1)
            rows = jax.lax.dynamic_slice_in_dim(rows, i * size, size)
            allowed = (rows[:, None] == rows[None]).all(-1)
        return find(_distances(zs[i], xs[i]), allowed, keys[i]) + i * size

    found = jax.lax.map(block, jnp.arange(blocks)).reshape(-1)
    return jnp.concatenate([found, own[blocks * size :]])


def _distances(z: Float[Array, "n d"], x: Float[Array, "n d"]) -> Float[Array, "n n"]:
    """Squared distances of latent rows (first axis) and data rows, up to a term of each latent row."""
    centre = x.mean(0, keepdims=True)
    z, x = z - centre, x - centre
    return (x * x).sum(1)[None] - 2 * z @ x.T


def _reduced(cost: Float[Array, "n n"]) -> tuple[Array, Array]:
    """The minima of the rows, then of the columns: the cost less both has a 0 in every row and column."""
    by_row = cost.min(1)
    return by_row, (cost - by_row[:, None]).min(0)


def _sweeps(
    cost: Float[Array, "n n"], allowed: Bool[Array, "n n"] | None, sweeps: int, share: float
) -> tuple[Array, Array, Array]:
    """Potentials of latent rows and data rows after some sweeps of Sinkhorn's algorithm, and the temperature.

    The kernel of the reduced cost has a 1 in every row and column: its products are safe where exponentials of the cost
    itself would vanish.
    """
    if allowed is not None:
        # More than any assignment within the allowed pairs can cost.
        low = cost.min()
        cost = jnp.where(allowed, cost, low + 4 * (cost.max() - low))
    f, g = _reduced(cost)
    rest, tiny = cost - f[:, None] - g[None], jnp.finfo(cost.dtype).tiny
    counted = jnp.ones_like(rest) if allowed is None else allowed.astype(rest.dtype)
    temperature = share * (rest * counted).sum() / counted.sum() + tiny
    kernel = jnp.exp(-rest / temperature)
    if allowed is not None:
        kernel = jnp.where(allowed, kernel, 0.0)

    def sweep(_: Array, scales: tuple[Array, Array]) -> tuple[Array, Array]:
        u, _ = scales
        v = 1 / jnp.maximum(u @ kernel, tiny)
        return 1 / jnp.maximum(kernel @ v, tiny), v

    ones = jnp.ones(len(cost), cost.dtype)
    u, v = jax.lax.fori_loop(0, sweeps, sweep, (ones, ones))
    return f + temperature * jnp.log(u), g + temperature * jnp.log(v), temperature


def _assigned(cost: Array | np.ndarray) -> np.ndarray:
    """The latent row (first axis) of every data row in the assignment of least cost."""
    from scipy.optimize import linear_sum_assignment

    cost = np.asarray(cost)
    if not np.isfinite(cost).all():
        # The loss is not finite either, and the step is rolled back.
        return np.arange(len(cost), dtype=np.int32)
    return np.asarray(linear_sum_assignment(cost.T)[1], np.int32)


def _exact(
    cost: Float[Array, "n n"], allowed: Bool[Array, "n n"] | None, key: PRNGKeyArray
) -> Int[Array, " n"]:
    """The assignment of least total squared distance: each latent row goes to one data row."""
    f, g, _ = _sweeps(cost, allowed, WARM_SWEEPS, WARM_REGULARISATION)
    # The best assignment is the same for any potentials; good ones leave little to search.
    rest = cost - f[:, None] - g[None]
    f, g = _reduced(rest)
    rest = rest - f[:, None] - g[None]
    if allowed is not None:
        rest = jnp.where(allowed, rest, len(cost) * (rest.max() + 1))
    shape = jax.ShapeDtypeStruct((len(cost),), jnp.int32)
    found: Array = jax.pure_callback(_assigned, shape, rest, vmap_method="sequential")
    return found


def _sinkhorn(
    cost: Float[Array, "n n"], allowed: Bool[Array, "n n"] | None, key: PRNGKeyArray
) -> Int[Array, " n"]:
    """Draws from the entropic plan's columns: a latent row may go to several data rows."""
    f, g, temperature = _sweeps(cost, allowed, SINKHORN, REGULARISATION)
    logits = (f[:, None] + g[None] - cost) / temperature
    if allowed is not None:
        logits = jnp.where(allowed, logits, -jnp.inf)
    return jax.random.categorical(key, logits, axis=0).astype(jnp.int32)


Coupling = Callable[[Array, Array | None, PRNGKeyArray], Array]
COUPLINGS: Mapping[str, Coupling | None] = MappingProxyType(
    {"independent": None, "exact_ot": _exact, "sinkhorn": _sinkhorn}
)
"""The couplings by name; None leaves every row with its own."""
