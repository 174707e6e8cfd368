"""The pictures of the guides, from fits of the data on their pages, and the heat map of the zoo's results.

Run: python docs/guide_figures.py table            a table, draws from its density, scores and a threshold
     python docs/guide_figures.py python           a flow fitted to rows, and one fitted to a density
     python docs/guide_figures.py sklearn          a conditional density and its interval
     python docs/guide_figures.py series           a spring between and beyond its observations
     python docs/guide_figures.py architecture     the guide's own architecture, layer by layer
     python docs/guide_figures.py densities        whole numbers, and tails by base
     python docs/guide_figures.py file             the parts of a model file
     python docs/guide_figures.py heat             benchmarks/results/zoo.jsonl as a heat map
Each takes a minute or two.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from figures import IMAGES, POINTS
from matplotlib.colors import SymLogNorm

import pushforward as pf
from pushforward.data.toys import TOYS, toy

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
TABLES = ("gas30k", "miniboone7k", "gw150914_posterior")


def saved(figure: Any, name: str) -> None:
    figure.tight_layout(pad=0.6)
    figure.savefig(IMAGES / name, dpi=110)


def table() -> None:
    """The flights of the guide: rows, draws, and the log-densities of the rows."""
    rng = np.random.default_rng(0)
    hour = rng.integers(5, 23, 2000)
    delay = np.rint(rng.gamma(2.0, 6.0, 2000) * (0.5 + hour / 20) - 8)
    rows = np.stack([hour, delay, rng.normal(150, 40, 2000).round(2)], 1)
    density = pf.FlowDensity("nsf", max_epochs=60, random_state=0).fit(rows)
    scores = density.score_samples(rows)
    threshold = np.quantile(scores, 0.01)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9, 2.9))
    draws = density.sample(2000, random_state=1)
    rare = scores < threshold
    shift = rng.uniform(-0.3, 0.3, 2000)  # hours are whole: set the points apart
    for axis, some, title in ((left, rows, "2,000 flights"), (middle, draws, "2,000 draws")):
        axis.scatter(some[:, 0] + shift, some[:, 1], s=3, color="0.45", lw=0)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("hour")
        axis.set_xlim(4, 23)
        axis.set_ylim(-12, 90)
    left.scatter(rows[rare, 0] + shift[rare], rows[rare, 1], s=10, color="tab:red", lw=0)
    left.set_ylabel("delay, minutes")
    right.hist(scores, 60, color="0.75")
    right.axvline(threshold, color="tab:red", lw=1)
    right.set_title("log-density of the flights", fontsize=9)
    right.set_xlabel("nats; red: the lowest 1%")
    saved(figure, "guide_table.png")


def python() -> None:
    """The guide's banana of rows and the density of a flow fitted to it; its known density and draws of a sampler."""
    key = jax.random.key(0)
    noise = jax.random.normal(key, (4000, 2))
    rows = jnp.stack([noise[:, 0], noise[:, 0] ** 2 + 0.1 * noise[:, 1]], axis=1)
    flow = pf.architectures.NSF(layers=4, width=32).build(2, key=key)
    flow = pf.fit(flow, rows, key=key, training=pf.Training(max_steps=1500, batch=200)).model

    def log_target(x: Any) -> Any:
        return -0.5 * x[:, 0] ** 2 - 2.0 * (x[:, 1] - x[:, 0] ** 2) ** 2

    def reverse_kl(model: Any, batch: Any, key: Any) -> Any:
        draws, log_prob = model.sample_and_log_prob(key, (200,))
        return log_prob - log_target(draws)

    sampler = pf.architectures.IAF(layers=4, width=32).build(2, key=key)
    sampler = pf.fit(sampler, steps=1500, key=key, loss=reverse_kl).model
    box = (-3.0, 3.0, -2.0, 7.0)
    at = (np.arange(POINTS) + 0.5) / POINTS
    grid = np.stack(np.meshgrid(box[0] + 6 * at, box[2] + 9 * at), -1).reshape(-1, 2)
    grid = jnp.asarray(grid, jnp.float32)
    learned, known = np.exp(flow.log_prob(grid)), np.exp(log_target(grid))
    draws = sampler.sample(key, (1500,))
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.6))
    panels = ("rows", "the density fitted to them", "a known density", "draws of a fitted flow")
    for axis, title, what in zip(axes, panels, (rows[:1500], learned, known, draws), strict=True):
        if what.ndim == 1:
            picture = what.reshape(POINTS, POINTS)
            axis.imshow(picture, origin="lower", extent=box, aspect="auto", cmap="magma")
        else:
            axis.scatter(*what.T, s=1, color="0.4")
        axis.set(title=title, xlim=box[:2], ylim=box[2:], xticks=[], yticks=[])
        axis.title.set_fontsize(9)
    saved(figure, "guide_python.png")


def sklearn() -> None:
    """The guide's weights given heights: density, interval and rows."""
    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(1.7, 0.1, 400), rng.poisson(3.0, 400)], 1)
    y = 60 * X[:, 0] - 30 + rng.normal(0, 5, 400)
    model = pf.ConditionalFlowDensity("maf", max_epochs=60, random_state=0).fit(X, y)
    heights, weights = np.linspace(1.42, 1.98, POINTS), np.linspace(45, 100, POINTS)
    asked = np.stack([heights, np.full(POINTS, 3.0)], 1)
    pairs = np.repeat(asked, POINTS, 0)
    picture = np.exp(model.log_prob(pairs, np.tile(weights, POINTS))).reshape(POINTS, POINTS).T
    low, high = np.quantile(model.sample(asked, 2000, random_state=1), [0.05, 0.95], axis=1)
    figure, axis = plt.subplots(figsize=(5.2, 3.2))
    extent = (heights[0], heights[-1], weights[0], weights[-1])
    shown = axis.imshow(picture, origin="lower", extent=extent, aspect="auto", cmap="magma")
    figure.colorbar(shown, label="p(weight | height, visits = 3)")
    axis.plot(heights, low, color="white", lw=0.8)
    axis.plot(heights, high, color="white", lw=0.8)
    axis.scatter(X[:, 0], y, s=3, color="0.75", lw=0)
    axis.set(xlim=extent[:2], ylim=extent[2:], xlabel="height", ylabel="weight")
    saved(figure, "guide_sklearn.png")


def series() -> None:
    """The guide's spring: two series with gaps, the fitted equation between and beyond the observations."""
    code = blocks("guide-series.md")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    model = names["model"]
    later = np.linspace(0.1, 7.9, 400)
    figure, axes = plt.subplots(2, 1, figsize=(8.5, 3.6), sharex=True)
    both = zip(names["times"], names["series"], model.predict(later), axes, strict=True)
    for i, (t, seen, path, axis) in enumerate(both):
        for column, colour, label in ((0, "tab:blue", "place"), (1, "tab:red", "speed")):
            axis.plot(later, path[:, column], color=colour, lw=1, label=label)
            axis.plot(t, seen[:, column], "o", color=colour, ms=3)
        axis.plot(later, np.cos(3 * later + i), ":", color="0.4", lw=1, label="true place")
        axis.set_ylabel(f"series {i + 1}")
    axes[0].legend(frameon=False, fontsize=8, ncols=3, loc="upper right")
    axes[1].set_xlabel(f"time; stiffness {model.params_['stiffness']:.2f}, true 9, begun at 20")
    saved(figure, "guide_series.png")


def architecture() -> None:
    """Draws of the base, after some layers of the guide's architecture fitted to two moons, and the data."""
    module = sys.modules["rotated"] = ModuleType("rotated")
    exec(blocks("guide-architecture.md")[0], module.__dict__)
    x = toy("moons", 10_000)
    scaled = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    flow = module.Rotated(layers=8).build((2,), key=jax.random.key(0))
    training = pf.Training(max_steps=3000)
    flow = pf.fit(flow, jnp.asarray(scaled), key=jax.random.key(1), training=training).model
    z = flow.base.sample(jax.random.key(2), (4000,))
    stages, at = [("base", z)], z
    for i, layer in enumerate(flow.bijection.unstack(), 1):
        at = layer.forward(at)[0]
        if i % 2 == 0:
            stages.append((f"after {i} layers", at))
    stages.append(("data", scaled[:4000]))
    figure, axes = plt.subplots(1, len(stages), figsize=(1.7 * len(stages), 2))
    colour = np.arctan2(np.asarray(z)[:, 1], np.asarray(z)[:, 0])
    for axis, (name, rows) in zip(axes, stages, strict=True):
        own = {"c": "0.4"} if name == "data" else {"c": colour, "cmap": "twilight"}
        axis.scatter(*np.asarray(rows).T, s=1, **own)
        axis.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), xticks=[], yticks=[])
        axis.set_title(name, fontsize=9)
    saved(figure, "guide_architecture.png")


def densities() -> None:
    """Whole numbers: the density within cells and the probability of each; tails: two bases on the same rows."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(4.0, (2000, 1))
    whole = pf.FlowDensity("nsf", max_epochs=40, random_state=0).fit(counts)
    heavy = rng.standard_t(2.0, (4000, 1))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3))
    numbers = np.arange(-1, 14)
    share = np.bincount(counts[:, 0], minlength=14)[:14] / len(counts)
    left.bar(np.arange(14), share, width=1, color="0.88", edgecolor="white", label="share of rows")
    between = np.linspace(-1.4, 13.4, 1500)
    between = between[np.abs(between - np.rint(between)) > 0.01]
    left.plot(between, np.exp(whole.score_samples(between[:, None])), lw=1, label="density")
    probability = np.exp(whole.score_samples(numbers[:, None]))
    left.plot(numbers, probability, "o", color="tab:red", ms=4, label="probability of a number")
    left.set(xlabel="a column of whole numbers", ylabel="per unit")
    left.legend(frameon=False, fontsize=8)
    at = np.linspace(-60, 60, 601)[:, None]
    for base, colour in (("normal", "tab:blue"), ("student_t", "tab:red")):
        kind = pf.architectures.NSF(base=base)
        fitted = pf.FlowDensity(kind, max_epochs=30, random_state=0).fit(heavy)
        right.plot(at, fitted.score_samples(at), color=colour, lw=1, label=f"base={base}")
    true = -1.5 * np.log1p(at**2 / 2) - np.log(2 * np.sqrt(2))
    right.plot(at, true, "--", color="0.3", lw=1, label="Student's t, 2 degrees")
    right.plot(heavy, np.full(len(heavy), -24.5), "|", color="0.5", ms=4, label="rows")
    right.set(xlabel="a heavy-tailed column", ylabel="log-density, nats", xlim=(-60, 60))
    right.set_ylim(-26, 0)
    right.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 0.1))
    saved(figure, "guide_densities.png")


def file() -> None:
    """The parts of a model file, with their sizes in one."""
    rows = np.random.default_rng(0).normal(size=(500, 3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        pf.FlowDensity("realnvp", max_epochs=2, random_state=0).fit(rows).save(path)
        whole = path.read_bytes()
    index = int.from_bytes(whole[:8], "little")
    words = len(json.loads(whole[8 : 8 + index])["__metadata__"]["pushforward"])
    parts = [
        ("length", "of the index", 8, 0.1, "0.45"),
        ("JSON", "all that is no array", words, 0.28, "tab:red"),
        ("index", "names, types, shapes, places", index - words, 0.25, "tab:blue"),
        ("arrays", "one after the other, little-endian", len(whole) - 8 - index, 0.37, "0.7"),
    ]
    figure, axis = plt.subplots(figsize=(8.5, 1.3))
    left = 0.0
    for title, what, size, width, colour in parts:
        axis.barh(0, width - 0.006, left=left, color=colour, alpha=0.35, height=0.7)
        middle = left + width / 2
        axis.text(middle, 0.12, title, ha="center", fontsize=9, weight="bold")
        axis.text(middle, -0.16, what, ha="center", fontsize=7.5)
        axis.text(middle, -0.62, f"{size:,} bytes", ha="center", fontsize=7.5, color="0.35")
        left += width
    axis.set(xlim=(0, 1), ylim=(-0.75, 0.4))
    axis.set_axis_off()
    saved(figure, "guide_file.png")


def heat() -> None:
    """Held-out nats of every model on every data set, coloured by their distance to the best of the column."""
    cells: dict[tuple[str, str], float] = {}
    for line in (RESULTS / "zoo.jsonl").read_text().splitlines():
        cell = json.loads(line)
        if cell["budget"] == 30.0 and cell["finite"]:
            cells[cell["model"], cell["data"]] = cell["nats"]
    shown = re.findall(r"^\| (\w[\w ]*) \|", (RESULTS / "zoo.md").read_text(), re.MULTILINE)
    models = sorted({model for model in shown if (model, "moons") in cells})
    data = (*(name for name in TOYS if ("nsf", name) in cells), *TABLES)
    nats = np.array([[cells.get((model, name), np.nan) for name in data] for model in models])
    behind = np.nanmax(nats, 0) - nats
    # From the top: small losses everywhere, whatever the scale of a column.
    order = np.argsort(np.nanmean(np.argsort(np.argsort(behind, 0), 0), 1))
    nats, behind = nats[order], behind[order]
    figure, axis = plt.subplots(figsize=(8, 9.2))
    norm = SymLogNorm(0.05, vmin=0, vmax=5, base=10)
    image = axis.imshow(behind, cmap="YlGnBu_r", norm=norm, aspect="auto")
    for (i, j), value in np.ndenumerate(nats):
        best = behind[i, j] <= 0.05
        dark = np.dot(image.to_rgba(behind[i, j])[:3], (0.3, 0.59, 0.11)) < 0.5
        colour = "white" if dark else "black"
        weight = "bold" if best else "normal"
        text = f"{value:.2f}"
        axis.text(j, i, text, ha="center", va="center", fontsize=7.5, color=colour, weight=weight)
    axis.set_yticks(range(len(models)), [models[i] for i in order], fontsize=8)
    breaks = {
        "_posterior": "",
        "_": "\n",
        "board": "\nboard",
        "miniboone": "mini\nboone",
        "gw": "gw\n",
    }
    labels = list(data)
    for old, new in breaks.items():
        labels = [label.replace(old, new) for label in labels]
    axis.set_xticks(range(len(data)), labels, fontsize=8)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    ticks = [0, 0.05, 0.1, 0.5, 1, 5]
    bar = figure.colorbar(image, ticks=ticks, pad=0.02, fraction=0.03)
    bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks], fontsize=8)
    bar.set_label("nats behind the best of the column", fontsize=8)
    saved(figure, "zoo_heat.png")


def blocks(page: str) -> list[str]:
    """The Python of a page, block by block."""
    pattern = r"^```python.*?\n(.*?)^```$"
    return re.findall(pattern, (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


DRAWN = {
    f.__name__: f for f in (table, python, sklearn, series, architecture, densities, file, heat)
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=DRAWN)
    DRAWN[parser.parse_args().what]()
