"""How much columns say about each other, as the model has it."""

from itertools import combinations

import numpy as np

from pushforward.distributions.typed_layout import Cells
from pushforward.models.typed_table import TypedTable
from pushforward.report.findings import Dependence, spread
from pushforward.report.html import Html, element, folded, scrolled, table
from pushforward.report.passes import log_prob_by_choice
from pushforward.report.svg import brief, number, picture, words

PASSES = 40_000
"""Rows times pairs that are evaluated, about."""
COLUMNS = 30
"""Columns between which it is measured, at most."""
_FEWEST, _ROWS = 128, 2048
_LISTED = 40


def dependence(model: TypedTable, cells: Cells, chosen: np.ndarray) -> Dependence | None:
    """Mutual information of pairs of columns, from the model's own distributions of one and of two cells.

        I(i; j) = E[log p(x_i, x_j) - log p(x_i) - log p(x_j)]

    where the mean is over rows of the table that have both cells. The estimate may be below 0 where there is little to
    find; sqrt(1 - exp(-2 I)) is the correlation of a Gaussian pair of that information (Linfoot 1957). Cost: a pass of
    some rows, at most 2,048, for each pair.

    Arguments:
        model: the density.
        cells: the rows.
        chosen: numbers of the model's columns.

    Returns None for fewer than two columns.
    """
    d = len(chosen)
    if d < 2:
        return None
    pairs = list(combinations(range(d), 2))
    rows = int(np.clip(PASSES // (len(pairs) + d), _FEWEST, _ROWS))
    some = Cells(*(np.asarray(array)[spread(len(cells.present), rows)] for array in cells))
    targets = np.zeros((d + len(pairs), len(model.columns.places)), bool)
    targets[np.arange(d), chosen] = True
    for k, pair in enumerate(pairs):
        targets[d + k, chosen[list(pair)]] = True
    found = log_prob_by_choice(model, some, targets, np.zeros_like(targets))
    present = np.asarray(some.present)[:, chosen].T
    nats, errors = np.full((d, d), np.nan), np.full((d, d), np.nan)
    for (i, j), both in zip(pairs, found[d:], strict=True):
        there = present[i] & present[j]
        if there.sum() >= 30:
            each = (both - found[i] - found[j])[there]
            nats[i, j] = nats[j, i] = each.mean()
            errors[i, j] = errors[j, i] = each.std(ddof=1) / np.sqrt(len(each))
    names = tuple(model.columns.places[c][0].name for c in chosen)
    return Dependence(names, nats, errors, len(some.present), d == int(model.columns.values.sum()))


def dependence_figure(found: Dependence) -> Html:
    """A heat map, with the figures of the strongest pairs in a table behind it."""
    d, cell, label = len(found.names), 18, 110
    size = label + d * cell
    strength = np.sqrt(-np.expm1(-2 * np.maximum(np.nan_to_num(found.nats), 0)))
    parts = []
    for i, name in enumerate(found.names):
        at = label + (i + 0.5) * cell
        short = brief(name, 16)
        parts.append(words(label - 5, at + 4, short, "end"))
        parts.append(words(at + 4, label - 5, short, transform=f"rotate(-90 {at + 4} {label - 5})"))
        for j in range(d):
            if i == j or np.isnan(found.nats[i, j]):
                continue
            title = f"{name} and {found.names[j]}: {found.nats[i, j]:.3f} ± {found.errors[i, j]:.3f} nats"
            place = {"x": label + j * cell, "y": label + i * cell, "width": cell, "height": cell}
            square = element("rect", **place, class_="heat", fill_opacity=f"{strength[i, j]:.2f}")
            parts.append(element("g", element("title", title), square))
    parts.append(element("rect", x=label, y=label, width=d * cell, height=d * cell, class_="grid"))
    order = sorted(
        (p for p in combinations(range(d), 2) if not np.isnan(found.nats[p])),
        key=lambda p: -found.nats[p],
    )
    pairs = [(f"{found.names[i]}, {found.names[j]}", i, j) for i, j in order[:_LISTED]]
    strongest = ", ".join(f"{name} {found.nats[i, j]:.2f}" for name, i, j in pairs[:3])
    text = f"Strongest pairs, in nats: {strongest or 'none'}."
    picture_ = picture(
        "dependence-map",
        "Mutual information between columns",
        f"{text} The table below has the figures.",
        size + 4,
        size + 4,
        parts,
    )
    rows = [
        (name, f"{found.nats[i, j]:.3f}", f"{found.errors[i, j]:.3f}", f"{strength[i, j]:.2f}")
        for name, i, j in pairs
    ]
    heads = ("pair", "nats", "standard error", "as a correlation")
    caption = (
        f"Mutual information of the {len(rows)} strongest pairs, on up to {number(found.rows)} rows"
    )
    whole = "" if found.all else f" Only {d} columns are shown, those of which the others say most."
    return element(
        "figure",
        scrolled("Heat map of dependence", element("div", picture_, class_="matrix")),
        element(
            "figcaption",
            f"The stronger the colour, the stronger the dependence, as a correlation from 0 to 1.{whole}",
        ),
        folded("The figures as a table", table(caption, heads, rows, (1, 2, 3))),
    )
