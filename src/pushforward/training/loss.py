"""Losses: what a training step minimises."""

import inspect
import warnings
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from pushforward.distributions import AbstractDistribution
from pushforward.errors import InputError
from pushforward.rows import broadcast_rows
from pushforward.training.batches import Batch


@runtime_checkable
class Loss(Protocol):
    """A loss takes a model, a batch of the rows that `fit` was given, and a key.

    It returns one number per row, and the loop takes means. One that has to see its batch as a whole has an attribute
    `scalar = True` and returns one number. In a fit without rows the batch is None, and either is accepted.

    `key` is for the noise of a training step. It is None in the validation of rows, where a loss must be deterministic:
    a loss that needs noise uses a fixed key there. A fit without rows is validated with the same key every time.

    A loss may have a method `at(progress)`, which gives the loss of a training step when the fit has come so far, from
    0 to 1: for what is warmed up or annealed. Validation is by the loss itself.

    A loss may have a method `check(model, batch)`, which raises `InputError` for a model or rows that it cannot take.
    `fit` calls it before it compiles anything, with the rows, then with the validation rows if there are any, as NumPy
    arrays.
    """

    def __call__(
        self, model: Any, batch: PyTree, key: PRNGKeyArray | None
    ) -> Float[Array, " n"]: ...


def negative_log_prob(
    model: Any, batch: Batch, key: PRNGKeyArray | None = None
) -> Float[Array, " n"]:
    """Maximum likelihood: `-log p(x | condition)` in nats per row, by `model.log_prob(x, condition, key=key)`."""
    values: Array = model.log_prob(batch.x, batch.condition, key=key)
    return -values


def _check(model: Any, batch: Any) -> None:
    """Refuse models without a density, and rows that are not its events."""
    name = type(model).__name__
    if not callable(getattr(model, "log_prob", None)):
        raise InputError(
            f"{name} has no log_prob(x, condition, key=key), which this loss needs: pass another loss"
        )
    if not isinstance(batch, Batch):
        raise InputError(
            f"maximum likelihood takes the rows of fit(model, x, condition), not a {type(batch).__name__}: pass "
            "another loss"
        )
    x, condition = batch
    if not np.issubdtype(x.dtype, np.floating):
        raise InputError(f"x must be floating-point rows, not {x.dtype}")
    try:
        inspect.signature(model.log_prob).bind(x, condition, key=None)
    except TypeError as error:
        message = f"{name}.log_prob must take (x, condition, key=key): {error}"
        raise InputError(message) from None
    if isinstance(model, AbstractDistribution):
        shapes = model.event_shape, condition, model.condition_shape, "x", model
        eqx.filter_eval_shape(lambda x: broadcast_rows(x, *shapes)[:2], x)


negative_log_prob.check = _check  # type: ignore[attr-defined]


def is_scalar(loss: Loss) -> bool:
    """Whether a loss sees its batch as a whole and returns one number."""
    return bool(getattr(loss, "scalar", False))


class _TwoLeaves(eqx.Module):
    """A loss of the form that version 0.4 had."""

    loss: Any

    def __call__(self, model: Any, batch: Batch, key: PRNGKeyArray | None) -> Float[Array, " n"]:
        values: Array = self.loss(model, batch.x, batch.condition, key)
        return values


def adapted(loss: Loss) -> Loss:
    """The loss; one that takes `(model, x, condition, key)` is wrapped, with a `DeprecationWarning`."""
    if not callable(loss):
        raise InputError(f"loss={loss!r}: a function loss(model, batch, key) was expected")
    try:
        signature = inspect.signature(loss)
    except ValueError:  # a builtin
        return loss
    try:
        signature.bind("model", "batch", "key")
    except TypeError:
        try:
            signature.bind("model", "x", "condition", "key")
        except TypeError:
            message = f"the loss takes {signature}: (model, batch, key) was expected"
            raise InputError(message) from None
        warnings.warn(
            "losses take (model, batch, key), with batch.x and batch.condition; (model, x, condition, key) goes in 0.6",
            DeprecationWarning,
            stacklevel=3,
        )
        return _TwoLeaves(loss)
    return loss
