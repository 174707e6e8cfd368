"""Losses: what a training step minimises, one number a row."""

from typing import Any, Protocol

from jaxtyping import Array, Float, PRNGKeyArray


class Loss(Protocol):
    """A loss gives one number for each row; the loop takes means.

    `key` carries the noise of a training step. It is None in validation, where a loss must be deterministic: a loss
    that needs noise uses a fixed key of its own then.

    A loss may have a method `check(model, x, condition)`, which `fit` calls before it compiles anything, with all rows
    to learn from and then with those to judge by, as NumPy arrays: it raises `InputError` for rows that it cannot take.
    """

    def __call__(
        self, model: Any, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> Float[Array, " n"]: ...


def negative_log_prob(
    model: Any, x: Array, condition: Array | None, key: PRNGKeyArray | None
) -> Float[Array, " n"]:
    """Maximum likelihood: `-log p(x | condition)` in nats."""
    return -model.log_prob(x, condition, key=key)
