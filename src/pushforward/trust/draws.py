"""What draws of a fitted density look like beside rows that it has not seen."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import ks_2samp

from pushforward.errors import warn
from pushforward.models.table_model import TableModel

DRAWS = 16_384
"""Draws that are looked at, at most, and no more than there are rows: extremes of as many are alike."""
_JUDGED = 2_000
# Draws, and as many held-out rows, that the classifier and the quantiles see.
_FOLDS = 3
# Draws are said to reach too far where three lie beyond three times the data's furthest (heavy tails do it now and
# then), or one beyond a hundred times.
_TIMES, _SEVERAL, _ABSURD = 3.0, 3, 100.0
_ACCURACY, _QUANTILES = 0.7, 0.1


def draws_report(
    model: TableModel,
    heldout: Float[np.ndarray, "n d"],
    train: Float[np.ndarray, "m d"],
    *,
    heldout_condition: Float[np.ndarray, " n *c"] | None = None,
) -> dict[str, Any]:
    """How draws compare with rows.

    Arguments:
        model: the density.
        heldout: rows that no gradient saw, in the table's units.
        train: the rows of the training.
        heldout_condition: the condition of the held-out rows, for a conditional model; there is a draw for each.

    Returns a JSON-able dictionary:
        draws: how many were drawn.
        furthest, furthest_column: the largest distance of a draw from its column's median, in the largest of any row,
            and where; `beyond`: how many draws lie further than three times it in some column.
        quantiles, quantiles_column, quantiles_noise: the largest distance between the distribution functions of draws
            and held-out rows in any column, and what equal distributions exceed once in a hundred tables.
        c2st, c2st_error: how often boosted trees tell draws from held-out rows, 0.5 if they cannot, and its standard
            error; None for fewer than 30 rows.
    """
    n = min(DRAWS, len(train) + len(heldout)) if heldout_condition is None else len(heldout)
    draws = (
        model.sample(n, 0) if heldout_condition is None else model.sample(1, 0, heldout_condition)
    )
    center = np.array([kind.median for kind in model.columns.kinds])
    largest = np.maximum(*(np.abs(part - center).max(0) for part in (train, heldout)))
    away = np.abs(draws - center) / np.maximum(largest, np.finfo(float).tiny)
    column = int(away.max(0).argmax())
    k = min(len(heldout), len(draws), _JUDGED)
    steps = [float(ks_2samp(draws[:k, i], heldout[:k, i]).statistic) for i in range(draws.shape[1])]
    worst = int(np.argmax(steps))
    c2st = _c2st(
        heldout[:k], draws[:k], None if heldout_condition is None else heldout_condition[:k]
    )
    return {
        "draws": len(draws),
        "furthest": float(away.max()),
        "furthest_column": model.columns.names[column],
        "beyond": int((away > _TIMES).any(1).sum()),
        "quantiles": steps[worst],
        "quantiles_column": model.columns.names[worst],
        # Kolmogorov's bound at 1 %, shared among the columns.
        "quantiles_noise": float(np.sqrt(np.log(200 * len(steps)) / k)),
        "c2st": c2st,
        "c2st_error": None if c2st is None else float(np.sqrt(0.25 / (2 * k))),
    }


def format_draws(report: dict[str, Any]) -> list[str]:
    """The report line by line, without its warnings.

    Arguments:
        report: what `draws_report` returned.
    """
    lines = [
        f"{report['draws']:,} draws: the furthest lies {report['furthest']:.2g} x as far out as the furthest row "
        f"({report['furthest_column']}); distribution functions of columns differ by at most "
        f"{report['quantiles']:.3f} ({report['quantiles_column']}; noise alone {report['quantiles_noise']:.3f})"
    ]
    if report["c2st"] is not None:
        lines.append(
            f"boosted trees tell draws from held-out rows in {report['c2st']:.1%} +- {report['c2st_error']:.1%} of "
            "cases (50% if they cannot)"
        )
    return lines


def draws_warnings(report: dict[str, Any]) -> list[str]:
    """What users of draws have to know; empty for a report of an older file, `{}`.

    Arguments:
        report: what `draws_report` returned.
    """
    if not report:
        return []
    # Written so that NaN warns.
    found = []
    if report["beyond"] >= _SEVERAL or not report["furthest"] <= _ABSURD:
        found.append(
            f"draws reach too far: {report['beyond']} of {report['draws']:,} lie beyond {_TIMES:g} times the furthest "
            f"row, one {report['furthest']:.2g} times as far (column '{report['furthest_column']}'): means and ranges "
            "of draws are not those of the data"
        )
    if not report["quantiles"] - report["quantiles_noise"] <= _QUANTILES:
        found.append(
            f"draws of column '{report['quantiles_column']}' are not distributed as held-out rows: the distribution "
            f"functions differ by {report['quantiles']:.2f}"
        )
    if report["c2st"] is not None and not report["c2st"] - 2 * report["c2st_error"] <= _ACCURACY:
        found.append(
            f"boosted trees tell draws from held-out rows in {report['c2st']:.0%} of cases: draws are not like the "
            "data in everything"
        )
    return found


def warn_of_draws(model: TableModel) -> None:
    """Repeat what the trust report says of draws, for whoever draws.

    Arguments:
        model: a fitted density.
    """
    for text in draws_warnings(model.trust.get("draws", {})):
        warn(text)


def _c2st(rows: np.ndarray, draws: np.ndarray, condition: np.ndarray | None) -> float | None:
    """Accuracy of a classifier between rows and draws, with their conditions, on folds that it has not seen."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    if len(rows) < 30:
        return None
    if condition is not None:
        rows, draws = np.hstack([rows, condition]), np.hstack([draws, condition])
    both = np.concatenate([rows, draws])
    # Trees see the order of values alone: ones near the largest float must not overflow their histograms.
    both = np.clip(both, -1e30, 1e30)
    of_draws = np.repeat([0, 1], len(rows))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    trees = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    return float(cross_val_score(trees, both, of_draws, cv=folds).mean())
