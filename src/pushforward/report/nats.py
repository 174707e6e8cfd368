"""The model's nats per row beside those of simpler models, and of each column."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pushforward.report.findings import Values
from pushforward.report.html import Html, element, table
from pushforward.report.svg import Scale, axis, bar, number, picture, words

OTHERS = {
    "nats": "this model",
    "marginal_nats": "each column by itself",
    "gaussian_nats": "a Gaussian with full covariance",
    "copula_nats": "a Gaussian copula",
    "tree_nats": "a tree of pairs",
    "mixture_nats": "a mixture of products",
}
"""Figures that a trust report may hold, and what they are of."""
Figure = tuple[str, float, float | None]


def figures(trust: Mapping[str, Any]) -> list[Figure]:
    """The nats per held-out row that a trust report holds, with standard errors: this model's first."""
    names = [name for name in trust if name in OTHERS or name.endswith("_nats")]
    names.sort(key=lambda name: list(OTHERS).index(name) if name in OTHERS else len(OTHERS))
    found = []
    for name in names:
        if isinstance(trust[name], int | float) and np.isfinite(trust[name]):
            error = trust.get(f"{name}_error")
            error = error if error is not None and np.isfinite(error) else None
            what = OTHERS.get(name, name.removesuffix("_nats").replace("_", " "))
            found.append((what, float(trust[name]), None if error is None else float(error)))
    return found


def nats_figure(found: Sequence[Figure], name: str = "nats") -> Html:
    """Points with two standard errors on a common scale, and the same as a table."""
    ends = [value + side * 2 * (error or 0) for _, value, error in found for side in (-1, 1)]
    room = 0.06 * (max(ends) - min(ends)) or 1.0
    x = Scale(min(ends) - room, max(ends) + room, 8, 332)
    parts, height = [], 36
    for i, (what, value, error) in enumerate(found):
        y = i * height + 26
        parts.append(words(8, y - 12, what))
        parts.append(element("line", x1=8, x2=332, y1=y, y2=y, class_="axis"))
        if error is not None:
            left, right = x(value - 2 * error), x(value + 2 * error)
            parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="whisker"))
        parts.append(element("circle", cx=x(value), cy=y, r=5, class_="mark"))
    bottom = len(found) * height + 6
    text = "; ".join(f"{what} {value:.3f}" for what, value, _ in found)
    drawn = picture(
        f"{name}-picture",
        "Nats per held-out row",
        f"{text}. Further right is better.",
        340,
        bottom + 20,
        parts,
        axis(x, bottom, number),
    )
    rows = [
        (what, f"{value:.3f}", "" if error is None else f"{error:.3f}")
        for what, value, error in found
    ]
    caption = "Mean log-probability of held-out rows, in nats per row: higher is better"
    note = "Points with two standard errors to either side; further right is better."
    return element(
        "div",
        element("figure", drawn, element("figcaption", note)),
        table(caption, ("model", "nats per row", "standard error"), rows, (1, 2)),
    )


def columns_table(columns: Sequence[Values]) -> Html | None:
    """Each column by itself and given all others; None where neither is known."""
    known = [c for c in columns if c.alone is not None and c.given_rest is not None]
    if not known:
        return None
    gains = [c.given_rest[0] - c.alone[0] for c in known if c.alone and c.given_rest]
    longest = max(*gains, 1e-9) if len(gains) > 1 else max(gains[0], 1e-9)
    x = Scale(0, longest, 0, 90)
    rows = []
    for i, (column, gain) in enumerate(zip(known, gains, strict=True)):
        assert column.alone is not None
        assert column.given_rest is not None
        drawn = picture(
            f"gain-{i}",
            f"Gain of {column.name}",
            f"{gain:.3f} nats",
            92,
            12,
            bar(0, 2, x(max(gain, 0)), 8, "data"),
        )
        rows.append(
            (
                column.name,
                f"{column.alone[0]:.3f}",
                f"{column.given_rest[0]:.3f}",
                f"{gain:.3f}",
                element("div", drawn, class_="spark"),
            )
        )
    caption = "Mean log-probability of a cell, in nats: by its column alone, and given all other cells of its row"
    heads = ("column", "alone", "given the rest", "gain", "what the rest says")
    return table(caption, heads, rows, (1, 2, 3))
