"""Simulations as arrays: parameters, observations, and whether an observation is like what was simulated."""

from typing import Any

import numpy as np
from jaxtyping import Float

from pushforward.bijections import Embedded
from pushforward.dataframes import frame_kind
from pushforward.errors import InputError
from pushforward.estimators.shared import readable, refuse_text
from pushforward.models.elements import Elements
from pushforward.models.notes import names_of, notes_of
from pushforward.models.reach import Reach
from pushforward.models.table_model import TableModel, embedded_rows
from pushforward.words import plural, quoted


def simulated(table: Any, called: str) -> tuple[np.ndarray, tuple[str, ...], bool]:
    """A table of simulations as float64 rows, names of its columns, and whether they are its own.

    Raises `InputError` for text, dates, and another number of axes.
    """
    table = readable(table, called)
    refuse_text(table, called)
    try:
        values = np.asarray(table, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{called}: {error}") from None
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        hint = "; embedding='set' or 'series' reads such x" if called == "x" else ""
        raise InputError(
            f"{called}: rows by columns are expected; given shape {values.shape}{hint}"
        )
    if frame_kind(table) is not None and all(isinstance(name, str) for name in table.columns):
        return values, tuple(table.columns), True
    return values, tuple(f"{called}{i}" for i in range(values.shape[1])), False


def elements_of(x: Any, of_one_number: bool) -> Float[np.ndarray, "n k d"]:
    """Sets or series as an array; with `of_one_number` their last axis may be left out.

    Raises `InputError` for what is no such array.
    """
    try:
        values = np.asarray(x, np.float64)
    except (TypeError, ValueError):
        raise InputError(
            "x: sets or series of one length are expected, an array (n, k, d); pad shorter ones with NaN"
        ) from None
    if values.ndim == 2 and of_one_number:
        values = values[..., None]
    if values.ndim != 3:
        raise InputError(
            f"x: observations by elements by columns (n, k, d) are expected; given shape {values.shape}"
        )
    return values


def fitting_rows(table: Any, called: str, model: TableModel) -> Float[np.ndarray, "n columns"]:
    """Rows of theta or x for a fitted posterior; a single one has one axis.

    Raises `InputError` where columns differ from the fitted ones.
    """
    columns = model.columns if called == "theta" else model.condition
    assert columns is not None
    names = columns.names
    if frame_kind(table) is None and np.ndim(table) <= 1:
        table = np.reshape(np.asarray(table), (-1, 1) if len(names) == 1 else (1, -1))
    values, given, named = simulated(table, called)
    own = names_of(model)[0 if called == "theta" else 1]
    if values.shape[1] != len(names):
        raise InputError(
            f"{called} has {plural(values.shape[1], 'column')}; fitted were {len(names)}: {quoted(names)}"
        )
    if named and own is not None and given != own:
        raise InputError(
            f"{called} has the columns {quoted(given)}; fitted were {quoted(own)}, in this order"
        )
    return values


def fitting_observations(x: Any, model: TableModel) -> tuple[np.ndarray, bool]:
    """Observations for a fitted posterior, and whether x was a single one.

    Raises `InputError` where they are not of the fitted form.
    """
    condition = model.condition
    assert condition is not None
    d, axes = len(condition.names), np.ndim(x)
    if isinstance(condition, Elements):
        single = axes == 1 or (axes == 2 and (d > 1 or np.shape(x)[1] == 1))
        return elements_of(np.asarray(x)[None] if single else x, d == 1), single
    single = frame_kind(x) is None and (axes == 0 or (axes == 1 and d > 1))
    return fitting_rows(x, "x", model), single


def features_of(model: TableModel, observed: np.ndarray) -> Float[np.ndarray, " n *features"]:
    """Observations as the flow sees them."""
    assert model.condition is not None
    features = model.condition.features(observed)
    if isinstance(model.flow.bijection, Embedded):
        return embedded_rows(model.flow.bijection, features, model.precision)
    return features


def unlike_simulations(model: TableModel, observed: np.ndarray) -> str:
    """What is said of observations outside of all that was simulated; empty where there are none."""
    columns = model.condition
    assert columns is not None
    low, high = (np.array([getattr(k, end) for k in columns.kinds]) for end in ("lower", "upper"))
    cells = observed.reshape(len(observed), -1, len(low))
    apart = (cells < low) | (cells > high)
    rows = apart.any((1, 2))
    if (reach := notes_of(model).get("reach")) is not None:
        rows |= Reach.from_json(reach).beyond(features_of(model, observed))
    if not rows.any():
        return ""
    row = int(rows.argmax())
    what = "its values are possible, but not together"
    if apart[row].any():
        element, i = (int(place) for place in np.argwhere(apart[row])[0])
        value = f"{columns.names[i]} is {cells[row, element, i]:.4g}"
        what = f"{value}, simulated were {low[i]:.4g} to {high[i]:.4g}"
    if len(observed) == 1:
        return f"x lies outside everything simulated ({what})"
    return (
        f"{plural(int(rows.sum()), 'observation')} of {len(observed):,} lie outside everything simulated, the first in "
        f"row {row + 1} ({what})"
    )
