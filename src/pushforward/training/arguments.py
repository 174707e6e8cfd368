"""What `fit` accepts: rows, or steps without rows, and validation rows."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from pushforward.errors import InputError, check_count
from pushforward.rows import precision_of, unmasked
from pushforward.training.batches import (
    BLOCK,
    CHECKED,
    Batch,
    Jitter,
    RowSource,
    count_of,
    holdout,
    jittered,
)
from pushforward.training.loss import Loss
from pushforward.training.settings import Training
from pushforward.training.step import SEGMENT


def rows_of(
    model: Any,
    rows: Any,
    condition: Any,
    validation: Any,
    loss: Loss,
    training: Training,
    jitter: Any,
    key: PRNGKeyArray,
) -> tuple[RowSource, PyTree]:
    """The training rows and the validation rows, from the arguments of `fit`."""
    check = getattr(loss, "check", None)
    if isinstance(rows, RowSource):
        if condition is not None:
            raise InputError("a RowSource holds its conditions: condition= was not expected")
        source, seen = rows, rows.take(np.arange(min(rows.count, BLOCK)))
    else:
        seen = _arrays(model, rows, condition, "x", 1 if validation is not None else 2)
        source = RowSource.of(seen)
    if check is not None:
        check(model, _noisy(seen, jitter))
    if validation is None:
        train, held = holdout(source.count, training.validation, key)
        return source.some(train), _noisy(source.take(held), jitter)
    judge = validation
    if isinstance(seen, Batch):
        if not isinstance(validation, tuple) or len(validation) != 2:
            raise InputError("validation: a pair (x, condition), or (x, None), was expected")
        judge = _arrays(model, *validation, "validation", 1)
        event, expected = judge.x.shape[1:], seen.x.shape[1:]
        if event != expected:
            raise InputError(f"validation has rows of shape {event}, but x has {expected}")
    else:
        count_of(judge)
    judge = _noisy(judge, jitter)
    if check is not None:
        check(model, judge)
    return source, judge


def _noisy(rows: PyTree, jitter: Any) -> PyTree:
    """Rows with one fixed draw of the noise."""
    if jitter is None:
        return rows
    if isinstance(jitter, Jitter):
        return jittered(rows, np.asarray(jitter.width))
    return jax.tree.map(np.asarray, jitter(rows, jax.random.key(0)))


def jitter_of(jitter: Any) -> Any:
    """A function of a batch and a key; widths of uniform noise become a `Jitter`."""
    if jitter is None or callable(jitter):
        return jitter
    return Jitter(np.asarray(jitter, float))


def without_rows(
    steps: Any, training: Training, others: dict[str, Any]
) -> tuple[RowSource, Training]:
    """An empty source, for a loss that draws its own rows, and the training for that many steps: epochs of equal
    length, at most a segment each."""
    others = {**others, "devices": training.devices}
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise InputError(f"{' and '.join(given)}: not expected in a fit without rows")
    if steps is None:
        raise InputError("give rows to fit to, or steps= for a loss that draws its own")
    check_count("steps", steps)
    epochs = math.ceil(steps / SEGMENT)
    source = RowSource(math.ceil(steps / epochs), lambda numbers: None)
    return source, replace(training, batch=1, max_epochs=epochs, max_steps=None)


def _arrays(model: Any, rows: Any, condition: Any, name: str, least: int) -> PyTree:
    """Rows that a fit can take: an array and its conditions as a `Batch`, with narrower floats widened to the widest
    precision, as in `log_prob`; any other pytree as it is, with NumPy arrays."""
    if isinstance(rows, Batch) and condition is None:
        rows, condition = rows
    if not (isinstance(rows, list) or hasattr(rows, "__array__")):
        if condition is not None:
            raise InputError(
                f"condition= goes with an array of rows, not with a {type(rows).__name__}: put it into the rows"
            )
        found = jax.tree.map(np.asarray, rows)
        if count_of(found) < least:
            raise InputError(f"a fit needs at least {least} rows; there is {count_of(found)}")
        return found
    given = [np.asarray(unmasked(a)) for a in (rows, condition) if a is not None]
    # JAX has no floats beyond 64 bits.
    given = [a.astype(np.float64) if a.dtype == np.longdouble else a for a in given]
    kinds = {a.dtype for a in given if jnp.issubdtype(a.dtype, jnp.floating)}
    widest = precision_of(model, *(jnp.asarray(np.zeros(0, kind)) for kind in kinds))
    narrow = {kind for kind in kinds if kind.itemsize < widest.itemsize}
    x, *others = (a.astype(widest) if a.dtype in narrow else a for a in given)
    batch = Batch(x, *others)
    _check_rows(batch, name, least)
    return batch


def _check_rows(batch: Batch, name: str, least: int) -> None:
    """Raises `InputError` for too few rows, values that are not finite, or a different number of conditions."""
    x, condition = batch
    if x.ndim < 1 or x.shape[0] < least:
        raise InputError(f"a fit needs at least {least} rows in {name}; its shape is {x.shape}")
    for what, rows in ((name, x), ("condition", condition)):
        if rows is None or not np.issubdtype(rows.dtype, np.inexact):
            continue
        blocks = (rows[i : i + CHECKED] for i in range(0, len(rows), CHECKED))
        wrong = sum(int((~np.isfinite(block)).sum()) for block in blocks)
        if wrong:
            raise InputError(f"{what} has {wrong} values that are not finite")
    if condition is not None and condition.shape[0] != x.shape[0]:
        raise InputError(f"{x.shape[0]} rows in {name}, but {condition.shape[0]} conditions")
