"""Tables under 500 rows: nats of held-out rows by the default of `TableDensity`, and by simple models.

Log-probability of the cells that are present, mean over the rows of 5 folds with its standard error; a row's figure is
of labels and of whole or rounded numbers, and of densities where numbers are real. All models see a column through the
same marginal. The copula is Gaussian, with labels in the order of their frequency; the tree is that of Chow and Liu on
numbers in 8 bins. "network" and "mixture" are the two that the default chooses from, each asked for by itself.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness

TABLES = ("penguins", "wine", "diabetes", "iris")
FOLDS, BINS, DRAWS = 5, 8, 200
PENGUINS = Path(__file__).resolve().parents[1] / "tests" / "data" / "penguins.csv"
MODELS = ("marginals", "copula", "tree", "mixture", "network", "default")


def frame_of(name: str) -> Any:
    """The table as it comes."""
    import polars as pl
    from sklearn import datasets

    if name == "penguins":
        return pl.read_csv(PENGUINS, infer_schema=False)
    source: Callable[..., Any] = {
        "wine": datasets.load_wine,
        "iris": datasets.load_iris,
        "diabetes": lambda as_frame: datasets.load_diabetes(scaled=False, as_frame=as_frame),
    }[name]
    bunch = source(as_frame=True)
    frame = pl.DataFrame({str(key): bunch.frame[key].to_numpy() for key in bunch.frame})
    if name == "diabetes":
        return frame
    return frame.with_columns(target=pl.Series(bunch.target_names[bunch.target].tolist()))


def dithered(frame: Any) -> tuple[Any, dict[str, str]]:
    """The table, and kinds of its columns. Rounded numbers that hardly repeat get noise within their last digit and are
    declared real: one fold might see a lattice where another does not."""
    import numpy as np
    import polars as pl

    from pushforward.columns.guess_spelling import spelled

    random = np.random.default_rng(0)
    kinds = {}
    for series in frame.get_columns():
        values, spelling = spelled(series)
        if spelling.form != "number":
            continue
        seen = values[~np.isnan(values)]
        if (seen == np.rint(seen)).all() or len(set(seen.tolist())) < len(seen) / 4:
            continue
        digits = next(k for k in range(1, 9) if np.allclose(seen, np.round(seen, k), rtol=1e-12))
        noise = random.uniform(-0.5, 0.5, len(values)) * 10.0**-digits
        real = pl.Series(series.name, values + noise).fill_nan(None)
        frame = frame.with_columns(real)
        kinds[series.name] = "continuous"
    return frame, kinds


class Table:
    """Training and test rows as all models see them."""

    def __init__(self, train: Any, test: Any, kinds: dict[str, str]):
        import numpy as np

        from pushforward.columns.typed_columns import TypedColumns
        from pushforward.distributions.typed_layout import Layout

        self.columns = TypedColumns.fit(train, declared=kinds, gaps=False)
        self.train, self.test = (
            self.columns.encode(self.columns.read(rows)) for rows in (train, test)
        )
        heads = Layout(self.columns.layout(1)).columns.heads
        self.levels = [
            head.size if of.labels is not None else 0
            for head, (of, _) in zip(heads, self.columns.places, strict=True)
        ]
        self.start = self.columns.log_frequencies()
        self.alone = np.where(self.test.present, self.test.log_marginal, 0.0)

    @property
    def measures(self) -> list[str]:
        """Of each column."""
        return [column.measure for column in self.columns.modelled]

    def ends(self, cells: Any, i: int) -> tuple[Any, Any]:
        """The marginal distribution function below and above each cell; of a point the same twice."""
        import numpy as np
        from scipy.special import expit

        if not self.levels[i]:
            z = cells.z[:, i].astype(float)
            return expit(z), expit(z + cells.width[:, i])
        p = np.exp(self.start[i])
        order = np.argsort(-p)
        sums = np.concatenate([[0.0], np.cumsum(p[order])])
        place = np.argsort(order)[cells.code[:, i]]
        return sums[place], sums[place + 1]


def marginals(table: Table) -> Any:
    return table.alone.sum(1)


def copula(table: Table) -> Any:
    import numpy as np
    from scipy.special import logsumexp, ndtri

    random = np.random.default_rng(0)
    d = len(table.levels)

    def normal(ends: list[tuple[Any, Any]]) -> Any:
        u = np.stack([low + (high - low) * random.uniform(size=len(low)) for low, high in ends], 1)
        return ndtri(np.clip(u, 1e-9, 1 - 1e-9))

    g = normal([table.ends(table.train, i) for i in range(d)])
    correlation = np.corrcoef(g[table.train.present.all(1)].T)
    ends, present = [table.ends(table.test, i) for i in range(d)], table.test.present
    found = np.zeros((DRAWS, len(present)))
    for draw in range(DRAWS):
        q = normal(ends)
        for pattern in np.unique(present, axis=0):
            rows = np.flatnonzero((present == pattern).all(1))
            own = correlation[np.ix_(pattern, pattern)]
            some = q[np.ix_(rows, pattern)]
            rest = np.linalg.inv(own) - np.eye(len(own))
            found[draw, rows] = -((some @ rest) * some).sum(1) / 2 - np.linalg.slogdet(own)[1] / 2
    return table.alone.sum(1) + logsumexp(found, axis=0) - np.log(DRAWS)


def tree(table: Table) -> Any:
    import numpy as np
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    d = len(table.levels)
    sizes = [levels or BINS for levels in table.levels]

    def codes(cells: Any) -> Any:
        found = []
        for i in range(d):
            middle = sum(table.ends(cells, i)) / 2
            number = np.minimum((middle * BINS).astype(int), BINS - 1)
            found.append(cells.code[:, i] if table.levels[i] else number)
        return np.stack(found, 1)

    train, seen = codes(table.train), table.train.present
    joint: dict[tuple[int, int], Any] = {}
    information = np.zeros((d, d))
    for i in range(d):
        for j in range(d):
            counts = np.zeros((sizes[i], sizes[j]))
            both = seen[:, i] & seen[:, j]
            np.add.at(counts, (train[both, i], train[both, j]), 1.0)
            p = counts + 5.0 / counts.size
            joint[i, j] = p = p / p.sum()
            information[i, j] = (p * np.log(p / p.sum(1, keepdims=True) / p.sum(0))).sum()
    edges = minimum_spanning_tree(-np.triu(information, 1) - 1e-9 * np.triu(np.ones((d, d)), 1))
    order, parents = breadth_first_order(edges, 0, directed=False)
    # From the leaves to the root: the probability of what is below, for each value.
    test, here = codes(table.test), table.test.present
    below = [
        np.where(here[:, i, None], np.arange(sizes[i]) == test[:, i, None], 1.0) for i in range(d)
    ]
    for j in order[:0:-1].tolist():
        p = joint[int(parents[j]), j]
        below[parents[j]] = below[parents[j]] * (below[j] @ (p / p.sum(1, keepdims=True)).T)
    total = np.log(below[0] @ joint[0, 1].sum(1))
    # A number within its bin is distributed as the marginal is there.
    for i in range(d):
        own = np.full(sizes[i], -np.log(BINS)) if not table.levels[i] else table.start[i]
        total += np.where(here[:, i], table.alone[:, i] - own[test[:, i]], 0.0)
    return total


def run(name: str, fold: int, models: list[str]) -> dict[str, Any]:
    """Nats of the test rows of one fold by each model, and seconds."""
    import numpy as np

    import pushforward as pf
    from pushforward.architectures.typed import Typed
    from pushforward.fitting.products import fit_products

    frame, kinds = dithered(frame_of(name))
    order = np.random.default_rng(0).permutation(len(frame))
    held = np.array_split(order, FOLDS)[fold]
    test, train = frame[np.sort(held)], frame[np.sort(np.setdiff1d(order, held))]
    table = Table(train, test, kinds)

    def fitted(architecture: Any) -> Any:
        density = pf.TableDensity(architecture, columns=kinds, random_state=0).fit(train)
        measures = [column.measure for column in density.model_.columns.modelled]
        if measures != table.measures:
            raise SystemExit(f"{name}: measures differ: {measures}, {table.measures}")
        raced.append(density.model_.summary.get("raced"))
        return density.score_samples(test)

    def mixture() -> Any:
        model = fit_products(table.train, table.columns)
        given = np.zeros_like(table.test.present)
        return np.asarray(model.log_prob(table.test, table.test.present, given)).sum(1)

    raced: list[Any] = []
    tasks: dict[str, Callable[[], Any]] = {
        "marginals": lambda: marginals(table),
        "copula": lambda: copula(table),
        "tree": lambda: tree(table),
        "mixture": mixture,
        "network": lambda: fitted(Typed(width=64, blocks=2, context=64, dropout=0.3)),
        "default": lambda: fitted(None),
    }
    nats, seconds = {}, {}
    for model in models:
        start = time.perf_counter()
        nats[model] = tasks[model]().tolist()
        seconds[model] = time.perf_counter() - start
    return {"rows": len(frame), "nats": nats, "seconds": seconds, "raced": raced}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="*", default=TABLES, choices=TABLES)
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    options = parser.parse_args()

    rows = []
    for name in options.tables:
        folds = [
            harness.worker("small_tables.py", name=name, fold=fold, models=list(options.models))
            for fold in range(FOLDS)
        ]
        answers = [answer for answer in folds if answer is not None]
        if len(answers) < FOLDS:
            raise SystemExit(1)
        harness.record("small_tables", table=name, folds=answers)
        nats = {
            model: [row for answer in answers for row in answer["nats"][model]]
            for model in options.models
        }
        rows.append([f"{name}, {answers[0]['rows']} rows", *(figure(nats[m]) for m in nats)])
        taken = sum(answer["seconds"].get("default", 0.0) for answer in answers) / FOLDS
        rows[-1].append(f"{taken:.0f}")
    print(harness.table(["table", *options.models, "s, default"], rows))


def figure(values: list[float]) -> str:
    """The mean and its standard error."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return f"{mean:.2f} ± {(variance / len(values)) ** 0.5:.2f}"


if __name__ == "__main__" and not harness.is_worker(run):
    main()
