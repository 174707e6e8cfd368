"""Couplings: which latent event of a batch goes with which data event."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from pushforward.draws import check_key
from pushforward.errors import InputError
from pushforward.rows import as_float

ROWS = 256
"""Rows that are coupled with each other; larger batches are coupled in blocks."""
SINKHORN, REGULARISATION = 100, 0.05
"""Sweeps of the entropic coupling and its temperature, as a share of the mean reduced cost."""
WARM_SWEEPS, WARM_REGULARISATION = 10, 0.05
"""The same for the potentials that the exact coupling starts from."""


def partners(
    coupling: str, z: Array, x: Array, condition: Array | None, key: PRNGKeyArray
) -> Int[Array, " n"]:
    """For each data row the latent row of its batch that it is paired with.

    - `"independent"`: its own.
    - `"exact_ot"`: the assignment of least total `|x - z|^2`, a permutation. It begins with the potentials of a few
      entropic sweeps, which leave a fifth to a third of the search from nothing.
    - `"sinkhorn"`: a draw from the entropic plan's column of the data row; latent rows may repeat.

    Rows are paired only with latent rows that were drawn under an equal condition: within a label the latent stays
    independent of the label, or the conditional densities would be wrong. Conditions that are all different leave
    every row with its own.

    Cost: `n^2 d` for the distances; then about `n^3` with small constants on the host ("exact_ot"), or a hundred
    products of `n x n` ("sinkhorn"). Batches beyond 256 rows are coupled in blocks of 256, so that the cost of a row
    does not grow; what is left over after the last whole block keeps its own.

    Arguments:
        coupling: a name in `COUPLINGS`.
        z: `(n, *event)` latent rows.
        x: `(n, *event)` data rows.
        condition: `(n, *condition)`, or None.
        key: of the draws.

    Raises `InputError` for an unknown name, rows or conditions of another length than x, events of another shape.

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
    if coupling not in COUPLINGS:
        raise InputError(f"coupling={coupling!r} is unknown; known: {', '.join(COUPLINGS)}")
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
    own = jnp.arange(n)
    find = COUPLINGS[coupling]
    if find is None or n < 2:
        return own
    size = min(n, ROWS)
    blocks = n // size
    flat = [jax.lax.stop_gradient(a.reshape(n, -1)[: blocks * size]) for a in (z, x)]
    zs, xs = (a.reshape(blocks, size, -1) for a in flat)
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
    """Squared distances of latent rows (first axis) and data rows, up to terms of the latent row alone."""
    z, x = z - x.mean(0), x - x.mean(0)
    return (x * x).sum(1) - 2 * z @ x.T


def _reduced(cost: Float[Array, "n n"]) -> tuple[Array, Array]:
    """What each row, then each column has at least: the cost less both has a 0 in every row and column."""
    by_row = cost.min(1)
    return by_row, (cost - by_row[:, None]).min(0)


def _sweeps(
    cost: Float[Array, "n n"], allowed: Bool[Array, "n n"] | None, sweeps: int, share: float
) -> tuple[Array, Array, Array]:
    """Potentials of latent rows and data rows after some sweeps of Sinkhorn's, and the temperature.

    On the reduced cost the kernel has a 1 in every row and column, so that products are safe where exponentials of
    the cost itself would vanish.
    """
    if allowed is not None:
        # More than any assignment within the allowed pairs can cost.
        low = cost.min()
        cost = jnp.where(allowed, cost, low + 4 * (cost.max() - low))
    f, g = _reduced(cost)
    rest, tiny = cost - f[:, None] - g, jnp.finfo(cost.dtype).tiny
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


def _assigned(cost: np.ndarray) -> np.ndarray:
    """The latent row (first axis) of every data row in the assignment of least cost."""
    from scipy.optimize import linear_sum_assignment

    cost = np.asarray(cost)
    if not np.isfinite(cost).all():
        return np.arange(
            len(cost), dtype=np.int32
        )  # the loss is not finite either, and rolled back
    return linear_sum_assignment(cost.T)[1].astype(np.int32)


def _exact(
    cost: Float[Array, "n n"], allowed: Bool[Array, "n n"] | None, key: PRNGKeyArray
) -> Int[Array, " n"]:
    """The assignment of least total squared distance: each latent row goes to one data row."""
    f, g, _ = _sweeps(cost, allowed, WARM_SWEEPS, WARM_REGULARISATION)
    # Any potentials leave the best assignment what it is; good ones leave little to search.
    rest = cost - f[:, None] - g
    f, g = _reduced(rest)
    rest = rest - f[:, None] - g
    if allowed is not None:
        rest = jnp.where(allowed, rest, len(cost) * (rest.max() + 1))
    shape = jax.ShapeDtypeStruct((len(cost),), jnp.int32)
    return jax.pure_callback(_assigned, shape, rest, vmap_method="sequential")


def _sinkhorn(
    cost: Float[Array, "n n"], allowed: Bool[Array, "n n"] | None, key: PRNGKeyArray
) -> Int[Array, " n"]:
    """Draws from the entropic plan's columns: a latent row may go to several data rows."""
    f, g, temperature = _sweeps(cost, allowed, SINKHORN, REGULARISATION)
    logits = (f[:, None] + g - cost) / temperature
    if allowed is not None:
        logits = jnp.where(allowed, logits, -jnp.inf)
    return jax.random.categorical(key, logits, axis=0)


Coupling = Callable[[Array, Array | None, PRNGKeyArray], Array]
COUPLINGS: Mapping[str, Coupling | None] = MappingProxyType(
    {"independent": None, "exact_ot": _exact, "sinkhorn": _sinkhorn}
)
"""The couplings by name; None leaves every row with its own."""
