"""The interface of every distribution."""

import math
from abc import abstractmethod
from collections.abc import Iterable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.base import PerRow
from pushforward.deprecated import outdated
from pushforward.draws import check_key
from pushforward.rows import Numbers, Shape, broadcast_rows, broadcasting, condition_rows, settled

Draws = tuple[Array, PerRow]
"""Draws and their log-densities."""


class AbstractDistribution(eqx.Module):
    """A density that can be evaluated and sampled.

    A leaf declares its two shapes and writes two methods on rows with exactly one batch axis: `log_prob_rows` and
    `sample_rows`. Callers use `log_prob`, `grad_log_prob`, `sample` and `sample_and_log_prob`, which take any leading
    axes.

    Attributes:
        event_shape: the shape of one event.
        condition_shape: the shape of one condition, or None where the density takes none.
    """

    event_shape: eqx.AbstractVar[Shape]
    condition_shape: eqx.AbstractVar[Shape | None]

    @abstractmethod
    def log_prob_rows(
        self, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> Float[Array, " n"]:
        """`(n, *event)` rows to log-densities in nats, `(n,)`."""

    @abstractmethod
    def sample_rows(
        self, key: PRNGKeyArray, n: int, condition: Array | None
    ) -> tuple[Array, Float[Array, " n"]]:
        """`n` draws, `(n, *event)`, and their log-densities, `(n,)`."""

    def log_prob(
        self, x: Numbers, condition: Numbers | None = None, *, key: PRNGKeyArray | None = None
    ) -> Array:
        """Log-density in nats, `(*batch,)`.

        Arguments:
            x: `(*batch, *event)`.
            condition: `(*batch, *condition)`, broadcast against the batch of x.
            key: noise for models that use it in training (dropout); deterministic without it.

        Raises `InputError` where a shape does not fit.
        """
        rows, conditions, batch = broadcast_rows(
            x, self.event_shape, condition, self.condition_shape, "x", self
        )
        return settled(lambda: (self.log_prob_rows(rows, conditions, key),), rows)[0].reshape(batch)

    def grad_log_prob(self, x: Numbers, condition: Numbers | None = None) -> Array:
        """The gradient of the log-density with respect to x, the score, in nats per unit of x, `(*batch, *event)`.

        By automatic differentiation, at about three times the cost of `log_prob`; `FlowMap.push_score` solves an
        equation for a continuous flow's. Arguments and errors as in `log_prob`.

        ```python
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.distributions.StandardNormal(2).grad_log_prob(jnp.array([1.0, -2.0])).tolist()
        [-1.0, 2.0]

        ```
        """
        rows, conditions, batch = broadcast_rows(
            x, self.event_shape, condition, self.condition_shape, "x", self
        )

        def total(rows: Array) -> Array:
            return self.log_prob_rows(rows, conditions, None).sum()

        with broadcasting():
            score: Array = jax.grad(total)(rows)
        return score.reshape(*batch, *self.event_shape)

    def score(self, x: Numbers, condition: Numbers | None = None) -> Array:
        """Deprecated: `grad_log_prob`."""
        outdated("score(x)", "grad_log_prob(x)")
        return self.grad_log_prob(x, condition)

    def sample(
        self,
        key: PRNGKeyArray,
        shape: int | np.integer | Shape = (),
        condition: Numbers | None = None,
    ) -> Array:
        """Draws of shape `(*shape, *batch of the condition, *event)`; a number n is the shape `(n,)`.

        They equal those of `sample_and_log_prob` with the same key; a continuous flow's within its tolerance, as they
        are solved for without their log-densities.
        """
        return self.without_log_prob().sample_and_log_prob(key, shape, condition)[0]

    def without_log_prob(self) -> "AbstractDistribution":
        """The same density for draws alone, whose log-densities may be left out to save their cost. Default: itself."""
        return self

    def sample_and_log_prob(
        self,
        key: PRNGKeyArray,
        shape: int | np.integer | Shape = (),
        condition: Numbers | None = None,
    ) -> tuple[Array, Array]:
        """Draws as in `sample`, with their log-densities in nats from the same pass.

        Raises `InputError` for an invalid key or condition, `ConvergenceError` where a numeric inverse fails; under
        `jit` such draws are NaN.
        """
        check_key(key)
        shape = tuple(shape) if isinstance(shape, Iterable) else (int(shape),)
        conditions, batch = condition_rows(condition, self.condition_shape, shape)
        x, log_prob = settled(lambda: self.sample_rows(key, math.prod(batch), conditions))
        return x.reshape(*batch, *self.event_shape), log_prob.reshape(batch)
