"""How far the conditionals of a typed table agree with its joint distribution."""

from typing import Any

import numpy as np
from jaxtyping import Float

from pushforward.distributions.typed_layout import Cells
from pushforward.models.exact import FEW, marginal_of
from pushforward.models.typed_table import BLOCK, TypedTable
from pushforward.training.batches import taken

ROWS, DRAWS = 200, 16
"""Held-out rows that are looked at, at most, and draws for each."""
# Nats per row beyond which whoever fits is told.
_LARGE = 1.0


def agreement_report(model: TypedTable, cells: Cells, draws: int = DRAWS) -> dict[str, Any]:
    """The log-probability of random cells in one pass, beside what follows from the joint distribution.

    Of every row a random half of the present cells is B, the other half is M. log p(x_B) and log p(x_M | x_B) are
    computed in one pass each, and by importance sampling (`models.exact`). The difference is an error of the model
    as a whole: at most one of the two figures is what it would be if all conditionals agreed.

    Arguments:
        model: the density.
        cells: rows that no gradient saw; the first `ROWS` are looked at.
        draws: for each row; default `DRAWS`. Few draws make the differences larger by about `error`.

    Returns a JSON-able dictionary:
        rows, draws: how many.
        marginal, conditional: for log p(x_B) and log p(x_M | x_B), in nats per row: `size`, the mean size of the
            difference; `mean`, that of one pass less importance sampling; `error`, the mean standard error of a row's
            estimate by importance sampling.
        effective_draws, few: their mean number, and the share of rows with under 5.
    """
    cells = taken(cells, slice(0, ROWS))
    present = np.asarray(cells.present) & model.columns.values
    rng = np.random.default_rng(0)
    given = present & (rng.uniform(size=present.shape) < 0.5)
    n, blank = len(given), np.zeros_like(given)
    # Calls are of one size, so that there is one program to compile.
    thrice = np.resize(np.arange(3 * n), BLOCK)
    targets = np.concatenate([given, present, present & ~given])[thrice]
    known = np.concatenate([blank, blank, given])[thrice]
    direct = model.log_prob_of(taken(cells, thrice % n), targets, known).sum(1)
    of_part, of_whole = marginal_of(
        model,
        taken(cells, np.tile(np.arange(n), 2)),
        np.concatenate([given, present]),
        direct[: 2 * n],
        draws=draws,
        rng=rng,
        size=BLOCK,
    ).split(2)
    part, rest = direct[:n], direct[2 * n : 3 * n]
    effective = np.minimum(of_part.effective_draws, of_whole.effective_draws)
    return {
        "rows": len(given),
        "draws": draws,
        "marginal": _figures(part - of_part.log_prob, of_part.error),
        "conditional": _figures(
            rest - (of_whole.log_prob - of_part.log_prob), np.hypot(of_whole.error, of_part.error)
        ),
        "effective_draws": float(effective.mean()),
        "few": float((effective < FEW).mean()),
    }


def format_agreement(report: dict[str, Any]) -> list[str]:
    """The report line by line.

    Arguments:
        report: what `agreement_report` returned, or an empty dictionary.
    """
    if not report:
        return []
    marginal, conditional = report["marginal"], report["conditional"]
    lines = [
        f"conditionals reached by different routes agree within {marginal['size']:.2f} nats per row",
        f"random halves of {report['rows']:,} held-out rows in one pass, less what follows from the joint: "
        f"{marginal['mean']:+.2f} nats, the other halves given them {conditional['mean']:+.2f} (size "
        f"{conditional['size']:.2f}); {report['draws']} draws, worth {report['effective_draws']:.1f}, leave an "
        f"error of {marginal['error']:.2f}",
    ]
    if report["few"] >= 0.05:
        lines.append(
            f"{report['few']:.0%} of rows have under {FEW:g} effective draws: there the difference is known roughly"
        )
    return lines


def agreement_warnings(report: dict[str, Any]) -> list[str]:
    """What users of conditionals have to know; empty for a report of an older file, `{}`.

    Arguments:
        report: what `agreement_report` returned.
    """
    # Written so that NaN warns.
    if not report or report["marginal"]["size"] <= _LARGE:
        return []
    return [
        f"conditionals reached by different routes differ by {report['marginal']['size']:.1f} nats per row: "
        "`score --exact 64` makes them agree"
    ]


def _figures(
    difference: Float[np.ndarray, " n"], error: Float[np.ndarray, " n"]
) -> dict[str, float]:
    return {
        "size": float(np.abs(difference).mean()),
        "mean": float(difference.mean()),
        "error": float(error.mean()),
    }
