"""The pictures of the guides to typed tables, from one small fit of the rides on their pages.

Run: python docs/typed_figures.py     (two minutes)
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from guide_figures import blocks, saved

import pushforward as pf
from pushforward.architectures.typed import Typed
from pushforward.trust.privacy import _closest, _points

DATA, DRAWN, ODD = "#30506b", "#b4532a", "tab:red"


def rides() -> pl.DataFrame:
    """The table of the pages, read from its file."""
    names: dict[str, Any] = {}
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        exec(blocks("guide-typed.md")[0], names)
        table = pl.read_csv("rides.csv")
        os.chdir(before)
    return table


def typed(table: pl.DataFrame, density: pf.TableDensity) -> None:
    """Fares by distance and delays by line, data beside draws."""
    draws = density.sample(len(table), random_state=1)
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.9))
    for axis, rows, colour, title in (
        (axes[0], table, DATA, "2,000 rides"),
        (axes[1], draws, DRAWN, "2,000 draws"),
    ):
        axis.scatter(rows["distance"], rows["fare"], s=3, lw=0, color=colour)
        axis.set(xlabel="distance", ylabel="fare", xlim=(0, 120), ylim=(0, 40))
        axis.set_title(title, fontsize=9)
    for shift, rows, colour, label in ((-0.2, table, DATA, "rides"), (0.2, draws, DRAWN, "draws")):
        for i, line in enumerate(("bus", "tram", "rail")):
            own = rows.filter(pl.col("line") == line)["delay"]
            axes[2].bar(
                i + shift, (own > 0).mean(), 0.38, color=colour, label=label if i == 0 else ""
            )
    axes[2].set_xticks(range(3), ["bus", "tram", "rail"])
    axes[2].set_title("share of rides that are late", fontsize=9)
    axes[2].legend(frameon=False, fontsize=8)
    saved(figure, "guide_typed.png")


def gaps(test: pl.DataFrame, density: pf.TableDensity) -> None:
    """Fares that were hidden, their medians and intervals given the other cells."""
    known = test.filter(pl.col("fare").is_not_null()).head(60)
    hidden = known.with_columns(fare=pl.lit(None, pl.Float64))
    filled = density.impute(hidden, random_state=0, intervals=True)
    figure, axis = plt.subplots(figsize=(6, 3.2))
    low, high = filled["fare_lower"].to_numpy(), filled["fare_upper"].to_numpy()
    axis.vlines(known["fare"], low, high, color="0.75", lw=2)
    axis.plot(known["fare"], filled["fare"], "o", ms=3, color=DRAWN)
    axis.axline((5, 5), slope=1, color="0.4", lw=0.8, ls=":")
    axis.set(xlabel="fare, hidden", ylabel="fare, filled in, with interval of 0.9")
    saved(figure, "guide_gaps.png")


def strange(test: pl.DataFrame, density: pf.TableDensity) -> None:
    """Rides of which ten got the fare of another one, and the cell to blame."""
    known = test.filter(pl.col("fare").is_not_null())
    fare = known["fare"].to_numpy().copy()
    fare[:10] = fare[-10:]
    why = density.explain(known.with_columns(fare=pl.Series(fare)), worst=10)
    found = why.filter(pl.col("column") == "fare")["row"].to_numpy() - 1
    figure, axis = plt.subplots(figsize=(6, 3.2))
    distance = known["distance"].to_numpy()
    axis.scatter(distance, fare, s=6, lw=0, color="0.6")
    axis.scatter(distance[found], fare[found], s=16, lw=0, color=ODD)
    axis.scatter(distance[:10], fare[:10], s=60, facecolor="none", edgecolor="0.3", lw=0.8)
    axis.set(xlabel="distance", ylabel="fare")
    axis.set_title(
        "circles: changed; red: the ten strangest, where the fare is to blame", fontsize=9
    )
    saved(figure, "guide_strange.png")


def made_up(train: pl.DataFrame, test: pl.DataFrame, density: pf.TableDensity) -> None:
    """How far draws, and rows that the fit never saw, are from the closest training row."""
    columns = density.model_.columns
    draws = density.sample(len(test), random_state=1)
    points = [_points(columns, columns.read(rows)) for rows in (train, draws, test)]
    figure, axis = plt.subplots(figsize=(6, 3.2))
    for some, colour, label in ((points[1], DRAWN, "draws"), (points[2], DATA, "held-out rows")):
        closest, _ = _closest(some, points[0])
        axis.plot(np.sort(closest), np.linspace(0, 1, len(closest)), color=colour, label=label)
    axis.set(xlabel="distance to the closest training row", ylabel="share of rows within")
    axis.legend(frameon=False)
    saved(figure, "guide_made_up.png")


def main() -> None:
    table = rides()
    train, test = table[:1600], table[1600:]
    architecture = Typed(width=64, blocks=2, context=64, dropout=0.1)
    density = pf.TableDensity(architecture, random_state=0).fit(train)
    typed(table, density)
    gaps(test, density)
    strange(test, density)
    made_up(train, test, density)


if __name__ == "__main__":
    main()
