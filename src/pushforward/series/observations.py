"""Irregular series with gaps, as arrays."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from pushforward.dataframes import dated
from pushforward.errors import InputError
from pushforward.rows import Numbers, unmasked


@dataclass(frozen=True, eq=False, init=False)
class Observations:
    """Series of different lengths, each at its own times, with gaps; shorter ones are padded.

    Arguments:
        times: `(n, k)`, not decreasing; padding repeats a series' last time.
        values: `(n, k, d)`; missing ones are set to 0.
        seen: `(n, k, d)`, whether a value was observed, False in the padding; default all that are not NaN.

    Raises `InputError` where shapes do not match.

    ```python
    >>> import numpy as np
    >>> from pushforward.series import Observations, pack
    >>> observed = pack([[0.0, 1.0, 3.0], [0.0, 2.0]], [np.ones((3, 2)), np.full((2, 2), np.nan)])
    >>> observed.times.tolist(), observed.seen.sum((1, 2)).tolist(), observed.lengths.tolist()
    ([[0.0, 1.0, 3.0], [0.0, 2.0, 2.0]], [6, 0], [3, 2])
    >>> bool(Observations(np.arange(4.0).reshape(2, 2), np.ones((2, 2, 1))).seen.all())
    True

    ```
    """

    times: Float[np.ndarray, "n k"]
    values: Float[np.ndarray, "n k d"]
    seen: Bool[np.ndarray, "n k d"]

    def __init__(self, times: Numbers, values: Numbers, seen: Numbers | None = None) -> None:
        refuse_dates(times, "times")
        refuse_dates(values, "values")
        times, values = np.asarray(times), np.asarray(values)
        seen = ~np.isnan(values) if seen is None else np.asarray(seen, bool)
        if times.ndim != 2 or values.ndim != 3 or values.shape[:2] != times.shape:
            raise InputError(
                f"times and values have shapes {times.shape} and {values.shape}: "
                "(n, k) and (n, k, d) were expected"
            )
        if seen.shape != values.shape:
            raise InputError(f"seen has shape {seen.shape}, but values have {values.shape}")
        _set(self, (times, np.where(seen, values, 0), seen))

    @property
    def lengths(self) -> Int[np.ndarray, " n"]:
        """The number of rows of each series, without padding."""
        steps: np.ndarray = (np.diff(self.times) > 0).sum(1)
        return 1 + steps


def _set(observed: Observations, arrays: Any) -> Observations:
    """The frozen record, completed."""
    for name, array in zip(("times", "values", "seen"), arrays, strict=True):
        object.__setattr__(observed, name, array)
    return observed


def _rebuilt(_: None, arrays: Any) -> Observations:
    """Observations of arrays that may be traced: they are not checked again."""
    return _set(object.__new__(Observations), arrays)


# Rows of a fit.
jax.tree_util.register_pytree_node(
    Observations, lambda o: ((o.times, o.values, o.seen), None), _rebuilt
)


def pack(times: Any, series: Any, columns: int | None = None) -> Observations:
    """Series as arrays, checked.

    Arguments:
        times: `(k,)` of one series, or a list of them for several; finite, increasing.
        series: `(k, d)`, or a list of them; NaN where nothing was observed. A series of one column may be `(k,)`.
        columns: the expected number of columns; default None for any.

    Raises `InputError` for empty input, times that are not finite, repeat or go back, infinite values, lengths of times
    and values that differ, or numbers of columns that differ.

    ```python
    >>> from pushforward.series import pack
    >>> pack([0.0, 2.0, 1.0], [[1.0], [2.0], [3.0]])
    Traceback (most recent call last):
    ...
    pushforward.errors.InputError: the times go back from 2 to 1 at place 2: sort times and values together

    ```
    """
    pairs = _paired(times, series)
    rows = [_checked(t, y, f" of series {i}" if len(pairs) > 1 else "") for i, (t, y) in pairs]
    widths = [y.shape[1] for _, y in rows]
    expected = widths[0] if columns is None else columns
    for i, width in enumerate(widths):
        if width != expected:
            source = "series 0 has" if columns is None else "the model has"
            raise InputError(f"series {i} has {width} columns, but {source} {expected}")
    n, k = len(rows), max(len(t) for t, _ in rows)
    all_times, all_values = np.empty((n, k)), np.full((n, k, expected), np.nan)
    for i, (t, y) in enumerate(rows):
        all_times[i] = t[-1]
        all_times[i, : len(t)] = t
        all_values[i, : len(t)] = y
    return Observations(all_times, all_values)


def is_several(times: Any) -> bool:
    """Whether times are a list of arrays, one per series, rather than the times of one series."""
    try:
        if isinstance(times, np.ndarray) and times.dtype != object:
            return times.ndim > 1
        return len(times) > 0 and np.ndim(times[0]) > 0
    except (TypeError, KeyError, IndexError):
        return False


def checked_times(times: Any, where: str = "") -> Float[np.ndarray, " k"]:
    """The times `(k,)` of one series as float64, if there are any, and they are finite and increase; messages say
    "the times" and `where`."""
    refuse_dates(times, f"the times{where}")
    try:
        t = np.asarray(times, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"the times{where} are not numbers: an array (k,) was expected") from None
    if t.ndim != 1:
        raise InputError(f"the times{where} have shape {t.shape}: (k,) was expected")
    if not len(t):
        raise InputError(f"the times{where} are empty: at least one is needed")
    if not np.isfinite(t).all():
        at = int(np.flatnonzero(~np.isfinite(t))[0])
        raise InputError(f"the times{where} have {t[at]} at place {at}: drop rows without a time")
    wrong = np.flatnonzero(np.diff(t) <= 0)
    if len(wrong):
        at = int(wrong[0]) + 1
        fault = f"go back from {t[at - 1]:.6g} to {t[at]:.6g}", "sort times and values together"
        if t[at] == t[at - 1]:
            fault = f"repeat {t[at]:.6g}", "merge rows of equal time"
        raise InputError(f"the times{where} {fault[0]} at place {at}: {fault[1]}")
    return t


def checked_state(initial: Any, d: int) -> Float[np.ndarray, "*n d"]:
    """A state `(d,)` or several `(n, d)` as float64, if they are finite."""
    refuse_dates(initial, "initial states")
    try:
        state = np.asarray(initial, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"initial={initial!r}: a state ({d},) was expected") from None
    if state.ndim not in (1, 2) or state.shape[-1] != d or not state.size:
        raise InputError(f"initial has shape {state.shape}: ({d},), or (n, {d}), was expected")
    if not np.isfinite(state).all():
        raise InputError("initial has values that are not finite: a complete state is needed")
    return state


def refuse_dates(values: Any, what: str) -> None:
    """Raises `InputError` for dates and spans of time, which as numbers would be counts of some unit. `values` are an
    array, a frame, a series or a list; `what` names them, as a plural."""
    which = dated(values)
    if which is not None:
        where = "" if which == "the array" or np.ndim(values) == 1 else f" in {which}"
        raise InputError(
            f"{what} hold dates or spans of time{where}: give them as numbers, such as days since the first one"
        )


def check_enough(observed: Observations) -> None:
    """Raises `InputError` for a series with fewer than two observed rows."""
    rows = observed.seen.any(2).sum(1)
    if (rows < 2).any():
        i = int(np.argmax(rows < 2))
        few = "one observation" if rows[i] else "no observation"
        raise InputError(f"series {i} has {few}: at least two are needed, at different times")


def gap_between(observed: Observations) -> str | None:
    """Describe the first gap in time that separates the series into two groups; None without one."""
    spans = sorted((t[0], t[-1], i) for i, t in enumerate(observed.times))
    _, until, who = spans[0]
    for first, last, i in spans:
        if first > until:
            return f"series {who} ends at {until:.6g}, series {i} begins at {first:.6g}"
        if last > until:
            until, who = last, i
    return None


def _paired(times: Any, series: Any) -> list[tuple[int, tuple[Any, Any]]]:
    for name, given in (("times", times), ("series", series)):
        if not hasattr(given, "__len__"):
            raise InputError(f"{name} is {given!r}: an array, or a list of arrays, was expected")
        if not len(given):
            raise InputError(f"{name} is empty: at least one series is needed")
    if not is_several(times):
        return [(0, (times, series))]
    if len(times) != len(series):
        raise InputError(f"{len(times)} arrays of times, but {len(series)} series: one each")
    return list(enumerate(zip(times, series, strict=True)))


def _checked(
    times: Any, values: Any, where: str
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k d"]]:
    t = checked_times(times, where)
    refuse_dates(values, f"the values{where}")
    try:
        y = np.asarray(unmasked(values), np.float64)
    except (TypeError, ValueError):
        message = f"the values{where} are not a table of numbers: (k, d) was expected"
        raise InputError(message) from None
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or len(y) != len(t) or not y.shape[1]:
        raise InputError(
            f"the values{where} have shape {y.shape}: ({len(t)}, columns) was expected, for {len(t)} times"
        )
    if np.isinf(y).any():
        row, column = np.argwhere(np.isinf(y))[0]
        place = f"{y[row, column]} in row {row}, column {column}"
        raise InputError(f"the values{where} have {place}: missing values are NaN")
    return t, y
