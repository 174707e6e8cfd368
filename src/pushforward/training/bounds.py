"""Bounds of log-likelihoods of models with latent variables: the loss of variational auto-encoders."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.errors import InputError, check_count
from pushforward.training.batches import count_of
from pushforward.training.loss import Loss

BLOCK = 100
"""Rows whose bounds are estimated at once."""


@runtime_checkable
class LatentVariableModel(Protocol):
    """What the bounds need: draws of latents for each row, and the two parts of their log-weights."""

    def bound_terms(
        self, batch: Any, key: PRNGKeyArray
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """For one draw `z ~ q(z | x)` per row: `log p(x | z)`, and `log q(z | x) - log p(z)`, in nats."""


@dataclass(frozen=True)
class EvidenceBound:
    """The negative evidence lower bound, in nats per row, with a warm-up of the divergence and free bits.

        loss = beta max(free_bits, mean of log q(z | x) - log p(z)) - mean of log p(x | z),   z ~ q(z | x)

    With `beta = 1` and no free bits it is at least `-log p(x)`, with equality where q is the posterior. `beta` rises
    linearly from 0 to 1 over the first part of the fit, so that latents are in use before their price is paid. Below
    `free_bits` the divergence has no gradient. Validation is by the bound itself, with the same draws every time.

    Arguments:
        warmup: share of the fit over which beta rises; default 0, for `beta = 1` throughout.
        free_bits: nats of divergence per row, on average over a batch, that cost nothing; default 0.
        samples: draws of latents for each row; default 1.

    Raises `InputError` for values out of range; `fit` refuses a model without a method `bound_terms(batch, key)`, see
    `LatentVariableModel`.

    Sources: Kingma & Welling 2014, arXiv 1312.6114; Sønderby et al. 2016, arXiv 1602.02282 (warm-up); Kingma et al.
    2016, arXiv 1606.04934 (free bits).

    ```python
    >>> from pushforward.training import EvidenceBound
    >>> EvidenceBound(warmup=0.2, free_bits=2.0)
    EvidenceBound(warmup=0.2, free_bits=2.0, samples=1)

    ```
    """

    warmup: float = 0.0
    free_bits: float = 0.0
    samples: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= 1:
            raise InputError(f"warmup={self.warmup}: a share of the fit, 0 to 1, was expected")
        if not 0 <= self.free_bits < float("inf"):
            raise InputError(f"free_bits={self.free_bits}: finite nats of at least 0 were expected")
        check_count("samples", self.samples)

    def __call__(self, model: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " n"]:
        """The loss of each row, with `beta = 1`; without a key the bound itself."""
        free = 0.0 if key is None else self.free_bits
        return self._weighted(1.0, free, model, batch, jax.random.key(0) if key is None else key)

    def at(self, progress: Float[Array, ""]) -> Loss:
        """The loss of a training step when the fit has come so far, in [0, 1]."""
        if self.warmup == 0:
            return self
        return partial(self._weighted, jnp.clip(progress / self.warmup, 0.0, 1.0), self.free_bits)

    def _weighted(
        self, beta: Any, free: float, model: Any, batch: Any, key: PRNGKeyArray
    ) -> Float[Array, " n"]:
        terms = [model.bound_terms(batch, k) for k in jax.random.split(key, self.samples)]
        fits = sum(fit for fit, _ in terms) / self.samples
        costs = sum(cost for _, cost in terms) / self.samples
        if free:
            paid = costs.mean() > free
            costs = jnp.where(paid, costs, free)
        beta = jnp.asarray(beta, costs.dtype)
        loss: Array = beta * costs - fits
        return loss

    def check(self, model: Any, batch: Any) -> None:
        """Raises `InputError` for a model without `bound_terms`."""
        _check(model)


def importance_nll(
    model: LatentVariableModel, batch: Any, draws: int = 500, *, key: PRNGKeyArray
) -> Float[np.ndarray, " n"]:
    """The negative log-likelihood of each row, estimated by importance weights: the figure of most published tables.

        -log (1 / K) sum_k p(x | z_k) p(z_k) / q(z_k | x),   z_k ~ q(z | x)

    It falls towards `-log p(x)` as K grows; on average it is never below. Cost: K passes of `bound_terms`.

    Arguments:
        model: has a method `bound_terms`.
        batch: rows as the model takes them, a pytree of arrays with one leading axis.
        draws: K; default 500.
        key: of the draws.

    Returns nats, `(n,)` float64. Raises `InputError` for a model without the method, and for draws below 1.

    Source: Burda et al. 2016, arXiv 1509.00519.

    ```python
    >>> import equinox as eqx, jax, jax.numpy as jnp
    >>> from pushforward.training import Batch, importance_nll
    >>> class Line(eqx.Module):
    ...     def bound_terms(self, batch, key):  # z ~ N(0, 1), x ~ N(z, 1), q(z | x) = p(z | x)
    ...         mean, noise = batch.x / 2, jax.random.normal(key, batch.x.shape)
    ...         z = mean + noise / 2**0.5
    ...         log_2pi = jnp.log(2 * jnp.pi)
    ...         fit = -0.5 * (batch.x - z) ** 2 - 0.5 * log_2pi
    ...         return fit, 0.5 * (z**2 - noise**2) + 0.5 * jnp.log(2.0)
    >>> importance_nll(Line(), Batch(jnp.zeros(3)), 5, key=jax.random.key(0)).round(4).tolist()
    [1.2655, 1.2655, 1.2655]

    ```
    """
    check_count("draws", draws)
    _check(model)
    parts, n = [], count_of(batch)
    size = min(n, BLOCK)
    for start in range(0, n, size):
        # Filled up with rows from the beginning, so that all blocks share one program.
        rows = np.arange(start, start + size) % n
        block = jax.tree.map(lambda leaf, rows=rows: jnp.asarray(leaf[rows]), batch)
        found = _log_mean_weight(model, block, jax.random.fold_in(key, start), draws)
        parts.append(-np.asarray(found, np.float64)[: n - start])
    return np.concatenate(parts)


@eqx.filter_jit
def _log_mean_weight(model: Any, block: Any, key: PRNGKeyArray, draws: int) -> Array:
    """`log mean_k w_k` for each row."""

    def one(total: Array, k: Array) -> tuple[Array, None]:
        fit, cost = model.bound_terms(block, jax.random.fold_in(key, k))
        return jnp.logaddexp(total, fit - cost), None

    shape = jax.eval_shape(lambda: model.bound_terms(block, key)[0])
    start = jnp.full(shape.shape, -jnp.inf, shape.dtype)
    total: Array = jax.lax.scan(one, start, jnp.arange(draws))[0]
    return total - jnp.log(jnp.asarray(draws, total.dtype))


def _check(model: Any) -> None:
    if not callable(getattr(model, "bound_terms", None)):
        raise InputError(
            f"{type(model).__name__} has no method bound_terms(batch, key) that gives log p(x | z) and "
            "log q(z | x) - log p(z) for each row"
        )
