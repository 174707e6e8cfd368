"""Leading axes are checked, broadcast and flattened to one batch axis here, once for every leaf."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pushforward.errors import InputError

Shape = tuple[int, ...]
Size = int | Shape
"""A shape, or the size of its one axis."""
Numbers = ArrayLike | Sequence[Any]
"""What becomes an array of numbers: an array, a number, or lists of them."""


def as_shape(size: int | Shape | None, what: str = "event") -> Shape | None:
    """A shape from a size or a shape: ``8 -> (8,)``, ``(3, 4) -> (3, 4)``, ``None -> None``."""
    if size is None:
        return None
    sizes = tuple(size) if isinstance(size, Iterable) else (size,)
    if not all(isinstance(s, Integral) and s >= 1 for s in sizes):
        raise InputError(f"{what} shape {sizes}: every size must be a whole number of at least 1")
    return tuple(int(s) for s in sizes)


def condition_size(condition_shape: Shape | None) -> int:
    """Number of condition features; 0 for none."""
    return 0 if condition_shape is None else math.prod(condition_shape)


def flat(condition: Array) -> Float[Array, "n size"]:
    """Condition rows with their axes flattened."""
    return condition.reshape(condition.shape[0], math.prod(condition.shape[1:]))


def sum_event(value: Float[Array, "n ..."]) -> Float[Array, " n"]:
    """Sum over all axes but the first."""
    return value.reshape(value.shape[0], math.prod(value.shape[1:])).sum(1)


def as_float(value: Numbers, name: str = "value") -> Array:
    """The value as a floating-point array: integers and booleans become the default float type.

    Raises `InputError`, with the name, for what is not an array of real numbers.
    """
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError):
        kind = f"{type(value).__name__} that cannot be one"
        raise InputError(f"{name}: an array of numbers was expected, not a {kind}") from None
    if not jnp.issubdtype(array.dtype, jnp.floating):
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise InputError(f"{name}: a real array was expected, not one of type {array.dtype}")
        array = array.astype(jnp.zeros(()).dtype)
    return array


def unmasked(values: Any) -> Any:
    """Replace masked entries by NaN, our mark for missing values; return other input unchanged."""
    if not np.ma.isMaskedArray(values) or not np.ma.is_masked(values):
        return values
    return np.ma.filled(values.astype(np.result_type(values.dtype, np.float32)), np.nan)


def precision_of(model: object, *arrays: Array) -> jnp.dtype:
    """The widest floating-point type of a model's arrays and others: rows keep it from layer to layer."""
    leaves = (leaf for leaf in jax.tree.leaves(model) if isinstance(leaf, jax.Array))
    own = {leaf.dtype for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)}
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*arrays, *own)


def batch_shape_of(value: Array, event_shape: Shape, name: str) -> Shape:
    """The leading axes of ``value``, whose last axes must be ``event_shape``."""
    cut = value.ndim - len(event_shape)
    if cut < 0 or value.shape[cut:] != event_shape:
        raise InputError(
            f"{name} has shape {value.shape}, but its last axes must be the event {event_shape}"
        )
    return value.shape[:cut]


def broadcast_rows(
    value: Numbers,
    event_shape: Shape,
    condition: Numbers | None,
    condition_shape: Shape | None,
    name: str,
    model: object = None,
) -> tuple[Array, Array | None, Shape]:
    """Flatten a value and its condition to one common batch axis.

    Arguments:
        value: `(*batch, *event)`.
        event_shape: the event's axes.
        condition: `(*batch, *condition)`, its leading axes broadcast against the value's; or None.
        condition_shape: the condition's axes, or None where none is taken.
        name: the value's name in error messages.
        model: rows are widened to its precision; default None leaves them as they are.

    Returns `(n, *event)`, `(n, *condition)` or None, and the broadcast batch shape, whose size is `n`.

    Raises `InputError` where an event or condition has the wrong shape, is missing, or is given but not taken.
    """
    value = as_float(value, name)
    value = value.astype(precision_of(model, value))
    batch = batch_shape_of(value, event_shape, name)
    rows, batch = _condition_rows(condition, condition_shape, batch)
    rows = None if rows is None else rows.astype(precision_of(model, rows))
    value = jnp.broadcast_to(value, (*batch, *event_shape))
    return value.reshape(math.prod(batch), *event_shape), rows, batch


def condition_rows(
    condition: Numbers | None, condition_shape: Shape | None, shape: Shape
) -> tuple[Array | None, Shape]:
    """The condition's rows for a sample of batch shape `(*shape, *condition batch)`, and that batch shape."""
    return _condition_rows(condition, condition_shape, shape, sample=True)


def _condition_rows(
    condition: Numbers | None, condition_shape: Shape | None, batch: Shape, sample: bool = False
) -> tuple[Array | None, Shape]:
    """The condition's rows and the batch shape: its leading axes broadcast against `batch`, or follow it."""
    if condition_shape is None:
        if condition is not None:
            raise InputError("a condition was given, but this model takes none")
        return None, batch
    if condition is None:
        raise InputError(f"this model needs a condition of shape {condition_shape}; none was given")
    condition = as_float(condition, "condition")
    own = batch_shape_of(condition, condition_shape, "condition")
    batch = (*batch, *(1,) * len(own)) if sample else batch
    try:
        batch = jnp.broadcast_shapes(batch, own)
    except ValueError:
        message = f"the batch axes of value and condition do not broadcast: {batch} and {own}"
        raise InputError(message) from None
    condition = jnp.broadcast_to(condition, (*batch, *condition_shape))
    return condition.reshape(math.prod(batch), *condition_shape), batch


def settled(run: Callable[[], tuple[Array, ...]], rows: Array | None = None) -> tuple[Array, ...]:
    """The result of `run()`; outside of `jit`, a numeric inverse that failed raises its `ConvergenceError`.

    In a compiled loop a search cannot raise and leaves NaN. Where finite rows give NaN, the run is therefore repeated
    without compilation, so that the search at fault raises.

    Arguments:
        run: returns arrays with the rows on their first axis.
        rows: `(n, *event)`, the input; None without one.
    """
    with broadcasting():
        out = run()
    if any(isinstance(array, jax.core.Tracer) for array in (*out, rows)):
        return out
    failed = np.zeros(out[0].shape[:1], bool)
    for array in out:
        failed |= np.isnan(np.asarray(array)).any(tuple(range(1, array.ndim)))
    if rows is not None:
        failed &= np.isfinite(np.asarray(rows)).all(tuple(range(1, rows.ndim)))
    if failed.any():
        with spelled_out(), broadcasting():
            run()
    return out


def broadcasting() -> AbstractContextManager[Any]:
    """Allow arrays of different numbers of axes to broadcast, as our code expects, where a user has set JAX to refuse
    that (`JAX_NUMPY_RANK_PROMOTION=raise`)."""
    if jax.config.jax_numpy_rank_promotion == "allow":  # type: ignore[attr-defined]
        return nullcontext()
    allowed: AbstractContextManager[Any] = jax.numpy_rank_promotion("allow")
    return allowed


_spelled_out: ContextVar[bool] = ContextVar("spelled_out", default=False)


@contextmanager
def spelled_out() -> Iterator[None]:
    """Run without compilation, so that whatever fails inside can raise."""
    token = _spelled_out.set(True)
    try:
        with jax.disable_jit():
            yield
    finally:
        _spelled_out.reset(token)


def kept_whole() -> AbstractContextManager[None]:
    """Compile this part even inside `spelled_out`; elsewhere this does nothing. A search or a solve reports its own
    failure, and uncompiled its hundreds of steps take half a minute."""
    return jax.disable_jit(False) if _spelled_out.get() else nullcontext()


_row_by_row: ContextVar[bool] = ContextVar("row_by_row", default=False)


def row_by_row() -> bool:
    """Whether this runs inside `each_row`, where what looks like one matrix is one for each row."""
    return _row_by_row.get()


def each_row(run: Callable[..., Any], *rows: Any) -> Any:
    """`run` for every row, side by side; results have the rows in front.

    Inside, the rows are the last axis, along which operations vectorise. Inside `spelled_out`, rows that give NaN run
    again by themselves, so that what fails can raise.

    Arguments:
        run: from one row of each argument to a pytree of arrays.
        rows: pytrees of arrays with the rows on their first axis, the same number in all.
    """
    last = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), rows)
    token = _row_by_row.set(True)
    try:
        out = jax.vmap(run, in_axes=-1, out_axes=-1)(*last)
    finally:
        _row_by_row.reset(token)
    out = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), out)
    leaves = jax.tree.leaves(out)
    if _spelled_out.get() and not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        failed = [np.isnan(np.asarray(leaf)).reshape(len(leaf), -1).any(1) for leaf in leaves]
        for i in np.flatnonzero(np.any(failed, axis=0)):
            run(*jax.tree.map(lambda leaf, i=i: leaf[i], rows))
    return out


def share_of_blocks(rows: int, block: int, share: tuple[int, int] = (1, 1)) -> range:
    """The numbers of the blocks of `block` rows that fall to one of several workers: neighbours, as many to each or one
    more.

    Arguments:
        rows: of all workers.
        block: rows of a block.
        share: which worker, from 1, and of how many; default the only one.

    ```python
    >>> [list(share_of_blocks(10, 2, (i, 3))) for i in (1, 2, 3)]
    [[0], [1, 2], [3, 4]]

    ```
    """
    count = -(-rows // block)
    return range((share[0] - 1) * count // share[1], share[0] * count // share[1])


def block_size(rows: int, most: int, growth: int = 2) -> int:
    """The rows of a compiled call for `rows` rows: 64, or that times a power of `growth`, and at most `most`.

    A larger growth compiles fewer programs and fills up more rows; for programs that compile longer than they run.
    """
    size = 64
    while size < min(rows, most):
        size *= growth
    return min(most, size)


def padded(rows: np.ndarray, size: int) -> Array:
    """Rows of any kind on the device, filled up with zeros to `size` rows, so that tables of any length share a few
    compiled programs."""
    extra = np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)
    return jnp.asarray(np.concatenate([rows, extra]))
