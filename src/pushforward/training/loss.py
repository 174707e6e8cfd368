"""Losses: what a training step minimises, one number a row."""

import inspect
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.distributions import AbstractDistribution
from pushforward.errors import InputError
from pushforward.rows import broadcast_rows


@runtime_checkable
class Loss(Protocol):
    """A loss gives one number for each row; the loop takes means.

    `key` carries the noise of a training step. It is None in validation, where a loss must be deterministic: a loss
    that needs noise uses a fixed key of its own then.

    A loss may have a method `check(model, x, condition)`, which `fit` calls before it compiles anything, with the rows
    that it was given and then with the validation rows, if it was given those, as NumPy arrays: it raises `InputError`
    for a model or rows that it cannot take.
    """

    def __call__(
        self, model: Any, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> Float[Array, " n"]: ...


def negative_log_prob(
    model: Any, x: Array, condition: Array | None, key: PRNGKeyArray | None
) -> Float[Array, " n"]:
    """Maximum likelihood: `-log p(x | condition)` in nats, by `model.log_prob(x, condition, key=key)`."""
    return -model.log_prob(x, condition, key=key)


def _check(model: Any, x: np.ndarray, condition: np.ndarray | None) -> None:
    """Refuse models without a density, and rows that are not its events, before a step sees a batch of them."""
    if not callable(getattr(model, "log_prob", None)):
        raise InputError(
            f"{type(model).__name__} has no log_prob(x, condition, key=key), which this loss needs: give a loss of "
            "your own"
        )
    try:
        inspect.signature(model.log_prob).bind(x, condition, key=None)
    except TypeError as error:
        raise InputError(
            f"{type(model).__name__}.log_prob must take (x, condition, key=key): {error}"
        ) from None
    if isinstance(model, AbstractDistribution):
        shapes = model.event_shape, condition, model.condition_shape, "x", model
        eqx.filter_eval_shape(lambda x: broadcast_rows(x, *shapes)[:2], x)


negative_log_prob.check = _check  # type: ignore[attr-defined]
