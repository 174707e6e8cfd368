"""Log-densities of rows beside those of draws: a model that is right gives both the same distribution."""

import numpy as np
from jaxtyping import Float
from scipy.stats import ks_2samp

from pushforward.report.findings import Findings
from pushforward.report.html import Html, element
from pushforward.report.svg import Scale, axis, bar, number, picture, steps

BINS = 40


def typical_figure(found: Findings) -> Html | None:
    """Histograms of the figures of rows and of draws on common bins; None for fewer than two finite ones."""
    rows, draws = found.log_prob, found.draws_log_prob
    finite = [part[np.isfinite(part)] for part in (rows, draws)]
    if min(map(len, finite)) < 2:
        return None
    low, high = (float(q) for q in np.quantile(np.concatenate(finite), [0.003, 1.0]))
    apart = float(ks_2samp(*finite, method="asymp").statistic)
    means = " and ".join(f"{part.mean():.2f}" for part in finite)
    text = (
        f"Mean {found.figure} of rows and of draws: {means} nats; the distribution functions differ by {apart:.3f}. "
        "Rows far to the left of all draws are not what the model expects; draws to the left of the rows are too wild."
    )
    title = f"{found.figure.capitalize()} of rows beside that of draws"
    drawn = outlines("typical-picture", title, text, rows, draws, (low, high))
    return element("figure", drawn, element("figcaption", f"{found.unit}. {text}"))


def outlines(
    name: str,
    title: str,
    description: str,
    rows: Float[np.ndarray, " n"],
    draws: Float[np.ndarray, " m"],
    ends: tuple[float, float],
    bins: int = BINS,
) -> Html:
    """A picture of two histograms on common bins: bars of rows, the outline of draws.

    Arguments:
        name, title, description: as of `svg.picture`.
        rows, draws: figures; what is not finite is left out, but counted among all.
        ends: of the bins; what lies beyond is counted in the first or last one.
        bins: how many; default 40.
    """
    low, high = ends
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    heights = [
        np.histogram(np.clip(part[np.isfinite(part)], *ends), edges)[0] / len(part)
        for part in (rows, draws)
    ]
    x = Scale(float(edges[0]), float(edges[-1]), 6, 414)
    y = Scale(0, float(max(h.max() for h in heights)) or 1.0, 140, 6)
    bars = [
        bar(x(left), y(height), x(right) - x(left) + 0.2, y(0) - y(height), "data")
        for left, right, height in zip(edges[:-1], edges[1:], heights[0], strict=True)
        if height > 0
    ]
    outline = steps(edges.tolist(), heights[1].tolist(), x, y, "step")
    return picture(name, title, description, 420, 162, bars, outline, axis(x, 140, number))
