"""The trust report: what held-out rows say about a fitted density, and whether its map does what it claims."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int
from scipy.special import chdtri

from pushforward.columns import Columns, Constant
from pushforward.distributions import Flow
from pushforward.errors import InputError
from pushforward.models.cells import Cells, cell_log_prob
from pushforward.models.table_flow import has_normal_base, outer_maps, without_angles
from pushforward.models.table_model import TableModel, log_prob_rows
from pushforward.trust.draws import draws_report
from pushforward.trust.gaussian import Gaussian
from pushforward.trust.holdout import mean_error
from pushforward.trust.order import order_report
from pushforward.trust.probes import (
    ROUND_TRIP_ROWS,
    jacobian_log_dets,
    pull,
    round_trip_error,
)

# More rows would make the standard error smaller than anybody needs.
_ROWS = 8192
# Rows whose whole numbers are averaged over their cells, and those for which two sets of points are compared.
_CELL_ROWS, _CELL_CHECKED = 2048, 256
# A normal latent lies beyond the radius with this probability.
_BEYOND = 0.001
# Share of rows with one value from which on a column that is not whole numbers is warned of.
_REPEATED = 0.1


# Training rows that are looked at.
_TRAIN_ROWS = 1 << 16


def trusted(
    model: TableModel,
    values: Float[np.ndarray, "n d"],
    condition: Float[np.ndarray, " n *c"] | None,
    train: np.ndarray,
    heldout: np.ndarray,
    how: dict[str, Any],
    groups: np.ndarray | None = None,
) -> TableModel:
    """The model with all that is measured of it in `trust`: the report, the order of the rows, the draws.

    Arguments:
        model: a fitted density.
        values, condition: the whole table, in the order of its rows.
        train, heldout: numbers of its rows.
        how: how they were held out, see `holdout_report`.
        groups: the group of each row as a number, where whole groups were held out; default None.
    """
    some = np.sort(train[:_TRAIN_ROWS])
    judge = values[heldout]
    judge_condition = None if condition is None else condition[heldout]
    report = trust_report(
        model,
        judge,
        values[some],
        heldout_condition=judge_condition,
        train_condition=None if condition is None else condition[some],
        heldout_groups=None if groups is None else groups[heldout],
    )
    report["holdout"] = how
    report["order"] = order_report(values, model.columns.names)
    report["draws"] = draws_report(model, judge, values[some], heldout_condition=judge_condition)
    return replace(model, trust=report)


def trust_report(
    model: TableModel,
    heldout: Float[np.ndarray, "n d"],
    train: Float[np.ndarray, "m d"],
    *,
    heldout_condition: Float[np.ndarray, " n *c"] | None = None,
    train_condition: Float[np.ndarray, " m *c"] | None = None,
    heldout_groups: Int[np.ndarray, " n"] | None = None,
) -> dict[str, Any]:
    """How far to trust a fitted density.

    Arguments:
        model: the density; its own `trust` is not looked at.
        heldout: rows that no gradient saw (they may have chosen when to stop, and between models), in the table's
            units. Of more than 8,192, that many drawn at random are used.
        train: the rows of the training; a Gaussian with full covariance is fitted to them for comparison.
        heldout_condition, train_condition: the condition of each, for a conditional model. The Gaussian is then the
            linear regression p(columns | condition), a joint Gaussian conditioned.
        heldout_groups: `(n,)` numbers of groups, where rows of one group are not independent: standard errors are then
            those of groups, see `mean_error`. Default None.

    Returns a JSON-able dictionary:
        rows: held-out rows used.
        nats, nats_error: mean log-density of a held-out row in the table's units, and its standard error.
        gaussian_nats, gaussian_nats_error: the same of the Gaussian, on the same rows.
        gain, gain_error: mean of the rows' differences, and its standard error.
        integer_columns: names; the Gaussian's is fitted with the variance of a cell added, as the flow's training
            fills the cells.
        cells: whether densities of whole numbers are means over their cells; `cell_error` is then the standard
            deviation of a row's log-density between two sets of points in the cells.
        round_trip, round_trip_rows: the worst |forward(inverse(u)) - u| / max(1, |u|) in encoded units, and on how
            many rows.
        log_det, log_det_rows: the worst difference, in nats, between the flow's log-det and that of its Jacobian by
            automatic differentiation in 64 bits; None and 0 where skipped, above 128 columns.
        tail_start, tail_rows: encoded values beyond `tail_start` are compressed; the share of rows with such a value.
        latent_beyond, latent_expected: share of latent rows beyond the radius that a normal base exceeds with
            probability `latent_expected`; None for another base.
        repeated: for columns that are not whole numbers and hold one value in a tenth of the training rows or more:
            the value and its share.

    Raises `InputError` without held-out rows, for a wrong number of columns or a missing condition.
    """
    heldout, train = np.asarray(heldout, np.float64), np.asarray(train, np.float64)
    if len(heldout) == 0 or len(train) == 0:
        raise InputError("a trust report needs at least 1 held-out row and 1 training row")
    if len(heldout) > _ROWS:
        some = np.sort(np.random.default_rng(0).choice(len(heldout), _ROWS, replace=False))
        heldout = heldout[some]
        heldout_condition = (
            None if heldout_condition is None else np.asarray(heldout_condition)[some]
        )
        heldout_groups = None if heldout_groups is None else heldout_groups[some]
    u, c = _encoded(model, heldout, heldout_condition)
    # Nearly all the time goes into compiling, on one core: the Jacobian's program is compiled beside the others.
    with ThreadPoolExecutor(1) as beside, jax.enable_x64(model.precision == 64):
        by_jacobian = beside.submit(jacobian_log_dets, model.flow, u, c)
        z, log_det, log_prob = pull(model.flow, u, c, model.precision)
        k = min(len(u), ROUND_TRIP_ROWS)
        round_trip = round_trip_error(model.flow, u[:k], None if c is None else c[:k], z[:k])
        reference = by_jacobian.result()
    differences = np.abs(reference - log_det[: len(reference)])
    cells = Cells.of(model.columns) if model.cells else None
    log_det_of_units = model.columns.log_det(heldout)
    fitted = Gaussian.fit(model.columns, *_encoded(model, train, train_condition))
    if cells is None:
        nats, cell_error = log_prob + log_det_of_units, None
    else:
        # Many points per row: fewer rows say enough.
        u, c = u[:_CELL_ROWS], None if c is None else c[:_CELL_ROWS]
        condition = (
            None if heldout_condition is None else np.asarray(heldout_condition)[:_CELL_ROWS]
        )
        nats = model.log_prob(heldout[:_CELL_ROWS], condition)
        few = slice(_CELL_CHECKED)
        cell_error = _cell_error(model, u[few], None if c is None else c[few])
    gaussian = (
        cell_log_prob(fitted.log_prob, cells, model.columns, u, c) + log_det_of_units[: len(u)]
    )
    start, in_tails = _tails(model.flow, u)
    beyond = None
    # A normal base with soft tails differs beyond the radius in question only.
    if has_normal_base(model.flow):
        latent = without_angles(model.flow, z)
        beyond = float((np.square(latent).sum(1) > chdtri(latent.shape[1], _BEYOND)).mean())
    groups = None if heldout_groups is None else heldout_groups[: len(nats)]
    return {
        "rows": len(nats),
        **_mean("nats", nats, groups),
        **_mean("gaussian_nats", gaussian, groups),
        **_mean("gain", nats - gaussian, groups),
        "integer_columns": [
            name
            for name, kind in zip(model.columns.names, model.columns.kinds, strict=True)
            if kind.noise > 0
        ],
        "cells": cells is not None,
        "cell_error": cell_error,
        "round_trip": round_trip,
        "round_trip_rows": k,
        "log_det": float(differences.max()) if len(differences) else None,
        "log_det_rows": len(differences),
        "tail_start": start,
        "tail_rows": in_tails,
        "latent_beyond": beyond,
        "latent_expected": _BEYOND,
        "repeated": _repeated(model.columns, train),
    }


def _repeated(columns: Columns, train: np.ndarray) -> dict[str, list[float]]:
    found = {}
    for name, kind, values in zip(columns.names, columns.kinds, train.T, strict=True):
        if kind.noise > 0 or isinstance(kind, Constant):
            continue
        distinct, counts = np.unique(values, return_counts=True)
        share = float(counts.max() / len(values))
        if counts.max() > 1 and share >= _REPEATED:
            found[name] = [float(distinct[counts.argmax()]), share]
    return found


def _cell_error(model: TableModel, u: np.ndarray, c: np.ndarray | None) -> float:
    """How much a row's log-density differs between two sets of points in the cells, as a standard deviation."""
    pair = [
        cell_log_prob(
            lambda u, c: log_prob_rows(model.flow, u, c, model.precision),
            Cells.of(model.columns, other),
            model.columns,
            u,
            c,
        )
        for other in (False, True)
    ]
    return float(np.sqrt(np.square(pair[0] - pair[1]).mean() / 2))


def _mean(
    name: str, values: Float[np.ndarray, " n"], groups: np.ndarray | None
) -> dict[str, float | None]:
    """Mean and standard error; one row tells nothing of the error, nor do infinite densities."""
    return {name: float(values.mean()), f"{name}_error": mean_error(values, groups)}


def _encoded(
    model: TableModel, values: np.ndarray, condition: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Encoded rows as the model sees them, so that probes in 64 bits look at the very same points."""
    u, c = model.encode(values, condition)
    if model.precision == 64:
        return u, c
    return _rounded(u), None if c is None else _rounded(c)


def _rounded(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float32).astype(np.float64)


def _tails(flow: Flow, u: np.ndarray) -> tuple[float, float]:
    """Where compression starts, and the share of rows that it reaches."""
    tails, margins = outer_maps(flow)
    if tails is None:
        return float("inf"), 0.0
    seen = without_angles(flow, u)
    if margins is not None:
        seen = np.asarray(margins.inverse(seen)[0])
    return tails.start, float((np.abs(seen) > tails.start).any(1).mean())
