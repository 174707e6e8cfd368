"""Draws for other libraries: ArviZ and matplotlib, imported when they are asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pushforward.errors import InputError

SHOWN = 6


def arviz_of(
    draws: Mapping[str, Any],
    stats: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
    chains: int,
    each: int,
) -> Any:
    """Draws in chains as the installed ArviZ takes them: 0.x by groups as arguments, 1.x by one dictionary of them."""
    try:
        import arviz
    except ImportError:
        raise InputError("ArviZ is not installed: pip install arviz") from None

    def chained(value: Any) -> np.ndarray:
        array = np.asarray(value)
        return array.reshape(chains, each, *array.shape[1:])

    posterior = {name: chained(value) for name, value in draws.items()}
    sample_stats = {name: chained(value) for name, value in stats.items()}
    if int(arviz.__version__.split(".")[0]) < 1:
        return arviz.from_dict(
            posterior=posterior, sample_stats=sample_stats, posterior_attrs=dict(attributes)
        )
    tree = arviz.from_dict({"posterior": posterior, "sample_stats": sample_stats})
    tree["posterior"].attrs.update(attributes)
    return tree


def corner_plot(
    columns: Mapping[str, np.ndarray], numbers: Sequence[str] | None, title: str
) -> Any:
    """Histograms on the diagonal, pairs below it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("matplotlib is not installed: pip install matplotlib") from None
    shown = list(columns)[:SHOWN] if numbers is None else list(numbers)
    for name in shown:
        if name not in columns:
            raise InputError(f"numbers: {name!r} is unknown; known: {', '.join(columns)}")
    k = len(shown)
    figure = Figure(figsize=(1.8 * k + 0.6, 1.8 * k + 0.6), layout="constrained")
    axes = figure.subplots(k, k, squeeze=False)
    for i, below in enumerate(shown):
        for j, name in enumerate(shown):
            axis = axes[i][j]
            if j > i:
                axis.axis("off")
                continue
            if i == j:
                axis.hist(columns[name], bins=40, color="0.4")
                axis.set_yticks([])
            else:
                axis.plot(columns[name], columns[below], ",", color="0.2", alpha=0.5)
            if i == k - 1:
                axis.set_xlabel(name)
            if j == 0 and i:
                axis.set_ylabel(below)
    figure.suptitle(title)
    return figure
