"""Draws beside the data, column by column, on common bins."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import ks_2samp

from pushforward.report.findings import Values
from pushforward.report.html import Html, element
from pushforward.report.svg import Scale, axis, bar, brief, picture, steps, ticks, words

BINS, FEW, LEVELS = 36, 40, 12
"""Bins of numbers; different numbers up to which each has a bin of its own; labels that are shown."""
HEAP = 0.25
"""Share of the rows from which on one number among many is told in words, so that the others are seen."""
_LONG_TAIL = 30.0
_LETTER = 7.5
# Width of a letter with the room that it needs about it.


@dataclass(frozen=True)
class Distance:
    """How far draws of a column are from its rows.

    Attributes:
        size: the largest difference of the distribution functions of numbers, or the total variation of labels.
        chance: what equal distributions stay below in 99 of 100 tables.
    """

    size: float
    chance: float


def distance(column: Values, columns: int) -> Distance | None:
    """The distance between rows and draws of a column; None where one of them has no cells.

    Arguments:
        column: its values.
        columns: the number of columns among which the error of the first kind is shared.

    Labels: total variation, whose mean and deviations under equal distributions are bounded (McDiarmid 1989). Numbers:
    the statistic of Kolmogorov and Smirnov. Labels without a level of their own are left out: they are never drawn.
    """
    n, m = len(column.rows), len(column.draws)
    if n == 0 or m == 0:
        return None
    if column.levels is None:
        size = float(ks_2samp(column.rows, column.draws, method="asymp").statistic)
        return Distance(size, float(np.sqrt(np.log(200 * columns) / 2 * (1 / n + 1 / m))))
    rows, draws = counts(column)
    rare, rows = rows[-1], rows[:-1]
    n, m, draws = n - int(rare), int(draws[:-1].sum()), draws[:-1]
    if n == 0 or m == 0:
        return None
    p, q = rows / n, draws / m
    pooled = (rows + draws) / (n + m)
    mean = 0.5 * np.sqrt(2 / np.pi * pooled * (1 - pooled) * (1 / n + 1 / m)).sum()
    beyond = np.sqrt(np.log(100 * columns) / 2 * (1 / n + 1 / m))
    return Distance(float(np.abs(p - q).sum() / 2), float(mean + beyond))


def counts(column: Values) -> tuple[np.ndarray, np.ndarray]:
    """How often each level occurs among rows and draws; at the end all labels without a level."""
    levels = list(column.levels or ())
    found = []
    for values in (column.rows, column.draws):
        distinct, number = np.unique(np.asarray(values), return_counts=True)
        seen = dict(zip(distinct.tolist(), number.tolist(), strict=True))
        each = [seen.pop(level, 0) for level in levels]
        found.append(np.array([*each, sum(seen.values())], float))
    return found[0], found[1]


def draws_figure(column: Values, name: str, apart: Distance | None) -> Html | None:
    """Rows and draws of one column: bars of labels, outlines of histograms of numbers."""
    if len(column.rows) == 0 or len(column.draws) == 0:
        return None
    told = ""
    if apart is not None:
        what = "distribution functions differ" if column.levels is None else "shares differ in all"
        told = f"{what} by {apart.size:.3f} (chance alone: up to {apart.chance:.3f})"
    drawn, note = (_numbers if column.levels is None else _labels)(column, name, told)
    text = f"Draws beside the data: {told}. {note}" if told else note
    return element("figure", drawn, element("figcaption", text.strip()))


def _labels(column: Values, name: str, told: str) -> tuple[Html, str]:
    levels = column.levels or ()
    rows, draws = counts(column)
    p, q = (of[:-1] / max(of[:-1].sum(), 1.0) for of in (rows, draws))
    order = np.argsort(-(p + q), kind="stable")[:LEVELS]
    rest = np.setdiff1d(np.arange(len(p)), order)
    names = [column.write(levels[i]) for i in order]
    lines = [(brief(n, 22), n, p[i], q[i]) for n, i in zip(names, order, strict=True)]
    if len(rest):
        lines.append((f"{len(rest)} others", "all others", p[rest].sum(), q[rest].sum()))
    left = 8 + min(_LETTER * max(len(line[0]) for line in lines), 130)
    x = Scale(0, max(max(line[2:]) for line in lines), 0, 268 - left)
    parts, height = [], 20
    for k, (short, whole, of_rows, of_draws) in enumerate(lines):
        at = k * height + 2
        title = f"{whole}: {of_rows:.2%} of rows, {of_draws:.2%} of draws"
        pair = [
            bar(left, at, x(of_rows), 7, "data"),
            bar(left, at + 8, x(of_draws), 7, "drawn"),
            words(left - 4, at + 11, short, "end"),
            words(left + 4 + x(max(of_rows, of_draws)), at + 11, _percent(of_rows), class_="faint"),
        ]
        parts.append(element("g", element("title", title), *pair))
    text = "; ".join(f"{line[1]}: {line[2]:.1%} and {line[3]:.1%}" for line in lines[:5])
    drawn = picture(
        name,
        f"Draws of {column.name} beside the data",
        f"Shares of rows and of draws. {text}. {told}",
        320,
        len(lines) * height + 2,
        parts,
    )
    if rows[-1] == 0:
        return drawn, ""
    share = rows[-1] / rows.sum()
    note = "are labels too rare to be kept, which are never drawn; shares are among the others."
    return drawn, f"{share:.1%} of the data {note}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.01 else f"{share:.2%}"


def _numbers(column: Values, name: str, told: str) -> tuple[Html, str]:
    rows, draws, notes = column.rows.astype(float), column.draws.astype(float), []
    values, number = np.unique(rows, return_counts=True)
    n, m = len(rows), len(draws)
    if len(values) > FEW and number.max() > HEAP * n:
        heap = values[number.argmax()]
        notes.append(
            f"{column.write(heap)} is left out of the picture: {number.max() / n:.1%} of the data, "
            f"{(draws == heap).mean():.1%} of the draws."
        )
        rows, draws = rows[rows != heap], draws[draws != heap]
    edges, log = _edges(np.concatenate([rows, draws]), rows, column.step)
    both = ((rows, n), (draws, m))
    heights = [np.histogram(part, edges)[0] / size for part, size in both]
    beyond = [((part < edges[0]) | (part > edges[-1])).sum() / size for part, size in both]
    if max(beyond) > 0:
        notes.append(
            f"Beyond the picture lie {beyond[0]:.2%} of the data, {beyond[1]:.2%} of the draws."
        )
    shown = np.log10(edges) if log else edges
    x = Scale(float(shown[0]), float(shown[-1]), 6, 314)
    y = Scale(0, float(max(h.max() for h in heights)) or 1.0, 104, 4)
    bars = [
        bar(x(left), y(height), x(right) - x(left) + 0.2, y(0) - y(height), "data")
        for left, right, height in zip(shown[:-1], shown[1:], heights[0], strict=True)
        if height > 0
    ]

    def label(place: float) -> str:
        return column.write(10.0**place if log else place)

    at = [t for t in ticks(x.low, x.high) if not log or t == round(t)] or [x.low, x.high]
    if sum(len(label(t)) for t in at) * _LETTER > x.stop - x.start:
        at = [x.low, x.high]
    quantiles = " and ".join(
        f"{what} {', '.join(column.write(q) for q in np.quantile(part, (0.1, 0.5, 0.9), method='nearest'))}"
        for what, part in (("of the data", column.rows), ("of draws", column.draws))
    )
    drawn = picture(
        name,
        f"Draws of {column.name} beside the data",
        f"Histograms on common bins. The 10th, 50th and 90th percentile {quantiles}. {told}",
        320,
        124,
        bars,
        steps(shown.tolist(), heights[1].tolist(), x, y, "step"),
        axis(x, 104, label, at),
    )
    return drawn, " ".join(notes)


def _edges(both: np.ndarray, rows: np.ndarray, step: float) -> tuple[np.ndarray, bool]:
    """Common bins, and whether they are equal in the logarithm."""
    if len(both) == 0:
        return np.array([0.0, 1.0]), False
    values = np.unique(both)
    if len(values) <= FEW:
        gap = float(np.diff(values).min()) if len(values) > 1 else 1.0
        span = float(values[-1] - values[0])
        if span <= 3 * FEW * gap:
            # A bin of its own for each value.
            return np.arange(values[0] - gap / 2, values[-1] + gap, gap), False
    seen = rows if len(rows) else both
    low, middle, high = np.quantile(seen, [0.002, 0.5, 0.998])
    if not high > low:
        low, high = float(both.min()), float(both.max())
    if not high > low:
        return np.array([low - 0.5, low + 0.5]), False
    if low > 0 and high > _LONG_TAIL * middle:
        return np.geomspace(low, high, BINS + 1), True
    if step:
        # On a lattice bins of equal numbers of its points, or the outline has a comb's teeth.
        width = step * max(1.0, np.ceil((high - low) / step / BINS))
        return np.arange(low - step / 2, high + width, width), False
    return np.linspace(low, high, BINS + 1), False
