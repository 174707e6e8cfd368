"""The loss of latent ODEs."""

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.errors import InputError, check_count
from pushforward.series.latent_ode import LatentODE, check_order
from pushforward.series.observations import Observations


@dataclass(frozen=True)
class NegativeELBO:
    """The negative evidence lower bound of a latent ODE, in nats per series, for the values that were observed.

        loss = KL(q(z_0 | series) || N(0, 1)) * kl - mean over draws of sum_i log N(x_i; decode(z(t_i)), noise^2)

    With `kl=1` it is at least `-log p(series)`, with equality where q is the posterior. Rows are `Observations`. A
    validation loss (no key) always uses the same draws, and hides nothing. Cost: a pass of the recognition network, a
    solve over the knots, and for each draw a pass of the decoder per observation.

    Arguments:
        kl: weight of the divergence; default 1. For a warm-up make it small at first, and 1 in a second fit.
        samples: draws of the latent state per series and step; default 1.
        hide: share of the observed values that are hidden from the recognition network, drawn anew in each step, while
            all are scored; default 0. It trains the interpolation of missing values, and the bound still holds.

    Raises `InputError` for values out of range; when called, for a model of another kind; `fit` refuses times outside
    the model's span.

    Source: Kingma & Welling 2014, arXiv 1312.6114.

    ```python
    >>> from pushforward.series import NegativeELBO
    >>> NegativeELBO(kl=0.1, hide=0.3)
    NegativeELBO(kl=0.1, samples=1, hide=0.3)

    ```
    """

    kl: float = 1.0
    samples: int = 1
    hide: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.kl < float("inf"):
            raise InputError(f"kl={self.kl}: a finite weight of at least 0 was expected")
        check_count("samples", self.samples)
        if not 0 <= self.hide < 1:
            raise InputError(f"hide={self.hide}: a share at least 0 and below 1 was expected")

    def __call__(self, model: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " n"]:
        """The loss of each series."""
        times, x, seen = _parts(model, batch)
        draw_key, hide_key = jax.random.split(jax.random.key(0) if key is None else key)
        shown = seen
        if self.hide and key is not None:
            shown = seen & jax.random.bernoulli(hide_key, 1 - self.hide, seen.shape)
        mean, scale = model.encode_rows(times, x, shown)
        n, m = len(x), self.samples
        noise = jax.random.normal(draw_key, (m, *mean.shape), mean.dtype)
        z0 = (mean[None] + scale[None] * noise).reshape(m * n, -1)
        # Where nothing was observed the time is arbitrary, but its path must not be NaN.
        due = jnp.where(seen.any(-1), times, model.span[0])
        expected = model.decode(model.path(z0, jnp.tile(due, (m, 1)))).reshape(m, *x.shape)
        spread = model.noise.astype(x.dtype)[None, None, None]
        terms = jnp.square((x[None] - expected) / spread) + jnp.log(2 * jnp.pi * jnp.square(spread))
        misfit = 0.5 * jnp.where(seen[None], terms, 0.0).sum((2, 3)).mean(0)
        divergence = 0.5 * (jnp.square(mean) + jnp.square(scale) - 1) - jnp.log(scale)
        return misfit + self.kl * divergence.sum(1)

    def check(self, model: Any, batch: Any) -> None:
        """Raises `InputError` unless rows are `Observations` of the model's columns, every series has an observation,
        and times increase and lie within the model's span."""
        times, _, seen = _parts(model, batch)
        if isinstance(batch, Observations):
            check_order(batch)
            if not np.isfinite(batch.values).all():
                raise InputError("observed values must be finite")
        outside = seen.any(-1) & ~model.within(times)
        if outside.any():
            i, j = (int(place) for place in np.argwhere(outside)[0])
            raise InputError(
                f"series {i} has an observation at {times[i, j]:.6g}, outside the model's span {model.span}: build the "
                "model with a span that covers all times"
            )


def _parts(model: Any, batch: Any) -> tuple[Any, Any, Any]:
    """Times, values, and which of them were observed."""
    if not isinstance(model, LatentODE):
        raise InputError(f"this loss trains a LatentODE, not a {type(model).__name__}")
    if isinstance(batch, Observations):
        d = batch.values.shape[2]
        if d != model.d:
            raise InputError(f"the series have {d} columns, but the model has {model.d}")
        return batch.times, batch.values, batch.seen
    x, condition = getattr(batch, "x", None), getattr(batch, "condition", None)
    if x is None or condition is None or condition.shape != (*x.shape[:2], 1 + model.d):
        raise InputError(
            f"this loss takes Observations, such as pack(times, series), not a {type(batch).__name__}"
        )
    return condition[..., 0], x, condition[..., 1:] > 0.5


def as_rows(observations: Observations) -> tuple[Float[Array, "n k d"], Float[Array, "n k 1+d"]]:
    """Deprecated: `fit` takes `Observations` as they are.

    Raises `InputError` where a series has no observation, or times that repeat or go back.
    """
    message = "as_rows goes in 0.6: fit takes Observations as they are"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    check_order(observations)
    x = jnp.asarray(observations.values)
    clock = np.concatenate([observations.times[..., None], observations.seen], -1)
    return x, jnp.asarray(clock, x.dtype)
