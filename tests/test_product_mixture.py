"""Mixtures of products: exact conditionals by all routes, EM, files, and the contest with the network."""

import itertools
import json

import numpy as np
import polars as pl
import pytest

import pushforward as pf
from pushforward import model_file
from pushforward.architectures.products import Products
from pushforward.architectures.typed import Typed
from pushforward.cli.typed import typed_sections
from pushforward.columns.typed_columns import TypedColumns
from pushforward.errors import InputError
from pushforward.fitting import products
from pushforward.fitting.contest import contested
from pushforward.fitting.fit_typed import fit_typed
from pushforward.models.typed_file import load_typed_table, save_typed_table
from pushforward.models.typed_table import TypedTable
from pushforward.training.batches import taken

TINY = Typed(width=24, blocks=1, context=16, context_blocks=1, components=4, dropout=0.0)


def clusters(n=300, seed=0):
    """Three kinds of rows, within which columns are independent: labels, cells, points, repeated values, gaps."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n)
    rain = np.where(rng.uniform(size=n) < 0.4, 0.0, rng.gamma(2.0, 1 + 3 * kind))
    stop = np.where(rng.uniform(size=n) < 0.1 + 0.2 * kind, np.nan, rng.normal(kind, 0.3))
    return pl.DataFrame(
        {
            "sort": np.array(["a", "b", "c"])[np.where(rng.uniform(size=n) < 0.9, kind, 0)],
            "count": rng.poisson(np.array([2, 30, 90])[kind]),
            "size": rng.normal(np.array([-3.0, 0.0, 4.0])[kind], 0.5),
            "rain": rain,
            "stop": pl.Series(stop).fill_nan(None),
        }
    )


def mixture_of(frame, components=None):
    columns = TypedColumns.fit(frame)
    model = products.fit_products(
        columns.encode(columns.read(frame)), columns, components=components
    )
    return TypedTable(model, Products(components=model.components), columns)


@pytest.fixture(scope="module")
def table():
    return mixture_of(clusters(), 3)


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, 300)
    return mixture_of(
        pl.DataFrame(
            {
                "a": a == 1,
                "b": np.array(["x", "y", "z"])[(a + rng.integers(0, 2, 300)) % 3],
                "c": rng.integers(0, 2, 300) == a,
            }
        ),
        2,
    )


@pytest.fixture(scope="module")
def network():
    return fit_typed(clusters(60), architecture=TINY, training=pf.Training(max_steps=2))


def every_row():
    cells = itertools.product([False, True], ["x", "y", "z", "never seen"], [False, True])
    return pl.DataFrame(list(cells), schema=["a", "b", "c"], orient="row")


class TestExact:
    @pytest.mark.parametrize("given", [(), ("b",), ("a", "c")])
    @pytest.mark.parametrize("absent", [(), ("a",)])
    def test_sums_to_one(self, labels, given, absent):
        given = [name for name in given if name not in absent]
        targets = [name for name in "abc" if name not in (*given, *absent)]
        rows = every_row()
        p = np.exp(labels.log_prob(rows, given, targets=targets))
        totals = (
            rows.with_columns(p=pl.Series(p))
            .unique([*given, *targets])
            .group_by(given or pl.lit(0))
            .agg(pl.col("p").sum())
        )
        np.testing.assert_allclose(totals["p"].to_numpy(), 1.0, atol=1e-5)

    def test_numbers_integrate_to_one(self, table):
        """Whole numbers sum to 1; a column with repeated values, its atoms and the density between them."""
        given = pl.DataFrame({"size": [0.5], "sort": ["b"]})
        whole = given.join(pl.DataFrame({"count": np.arange(-500, 2000)}), how="cross")
        p = np.exp(table.log_prob(whole, ["sort"], targets=["count"], absent=True))
        assert p.sum() == pytest.approx(1.0, abs=1e-4)
        x = np.linspace(-30, 300, 30_001)
        rain = given.join(pl.DataFrame({"rain": x + 1e-7}), how="cross")
        density = np.exp(table.log_prob(rain, ["size"], targets=["rain"], absent=True))
        atom = given.with_columns(rain=0.0)
        mass = np.exp(table.log_prob(atom, ["size"], targets=["rain"], absent=True))[0]
        assert mass > 0.1
        assert mass + np.trapezoid(density, x) == pytest.approx(1.0, abs=5e-3)

    def test_routes_agree(self, table):
        """log p(x_U | x_B) is the joint less log p(x_B), whatever stands between; the chain runs in any order."""
        rows = clusters(200, seed=4)
        names = list(rows.columns)
        joint = table.log_prob(rows)
        for size in range(1, len(names)):
            for given in itertools.combinations(names, size):
                direct = table.log_prob(rows, given)
                of_given = table.log_prob(rows, targets=given)
                np.testing.assert_allclose(direct, joint - of_given, atol=2e-4)
        part = ["size", "sort"]
        both = table.log_prob(rows, ["rain"], targets=part)
        chain = table.log_prob(rows, ["rain"], targets=part[:1])
        chain += table.log_prob(rows, ["rain", *part[:1]], targets=part[1:])
        np.testing.assert_allclose(both, chain, atol=1e-4)

    def test_draws_follow_it(self, labels):
        n = 20_000
        counts = labels.sample(n, 0).group_by("a", "b", "c").len()
        rows = every_row().filter(pl.col("b") != "never seen")
        found = rows.join(counts, on=["a", "b", "c"], how="left")["len"].fill_null(0).to_numpy() / n
        np.testing.assert_allclose(found, np.exp(labels.log_prob(rows)), atol=0.015)

    def test_draws_of_numbers_depend_on_what_is_given(self, table):
        given = pl.DataFrame({"size": [-3.0, 4.0], "count": [None, None]})
        drawn = table.sample(500, 1, given=given)
        assert drawn["size"].to_list() == [-3.0] * 500 + [4.0] * 500
        low, high = drawn["count"][:500], drawn["count"][500:]
        # Means of 2 and 90; some of the draws are of the marginal's share in a component.
        assert low.median() < 6
        assert 80 < high.median() < 100
        rows = pl.DataFrame({"size": [4.0] * 2000, "count": np.arange(2000)})
        p = np.exp(table.log_prob(rows, ["size"], targets=["count"], absent=True))
        assert (high < 90).mean() == pytest.approx(p[:90].sum(), abs=0.06)


class TestEM:
    @pytest.mark.parametrize("components", [2, 6])
    def test_the_objective_never_falls(self, components):
        frame = clusters(150, seed=1)
        columns = TypedColumns.fit(frame)
        rows = products.Rows.of(columns.encode(columns.read(frame)), columns)
        first = products._start(rows, components, np.random.default_rng(0))
        found = [objective for objective, _ in itertools.islice(products.steps(rows, first), 60)]
        assert np.diff(found).min() > -1e-10
        assert found[-1] > found[0] + 0.3

    def test_the_blocks_of_rows_do_not_matter(self, monkeypatch):
        frame = clusters(150, seed=1)
        columns = TypedColumns.fit(frame)
        rows = products.Rows.of(columns.encode(columns.read(frame)), columns)
        first = products._start(rows, 3, np.random.default_rng(0))
        whole = list(itertools.islice(products.steps(rows, first), 4))[-1]
        monkeypatch.setattr(products, "_AT_ONCE", 1)
        parts = list(itertools.islice(products.steps(rows, first), 4))[-1]
        assert whole[0] == pytest.approx(parts[0], abs=1e-10)
        np.testing.assert_allclose(whole[1].rates, parts[1].rates, rtol=1e-8)

    def test_what_em_maximises_is_what_the_model_scores(self, table):
        frame = clusters(100, seed=2)
        cells = table.columns.encode(table.columns.read(frame))
        parts = (
            table.model.log_weights,
            table.model.log_labels,
            table.model.means,
            table.model.log_scales,
        )
        weights, labels, means, scales = (np.asarray(a, float) for a in parts)
        p = products.Parameters(weights, np.exp(labels), means.T, np.exp(-scales.T))
        found = products.log_prob(products.Rows.of(cells, table.columns), p)
        np.testing.assert_allclose(found, table.log_prob(frame, gaps=True), atol=1e-4)

    def test_one_component_is_the_marginals(self):
        frame = clusters(100, seed=3)
        one = mixture_of(frame, 1)
        cells = one.columns.encode(one.columns.read(frame))
        alone = np.where(cells.present & one.columns.values, cells.log_marginal, 0.0)
        np.testing.assert_allclose(one.log_prob_cells(frame), alone, atol=1e-5)

    def test_the_number_of_components_is_found(self):
        assert mixture_of(clusters()).model.components >= 3 * products.STARTS
        rng = np.random.default_rng(0)
        independent = pl.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)})
        assert mixture_of(independent).model.components == 1


class TestFile:
    def test_keeps_all(self, table, tmp_path):
        path = tmp_path / "m.safetensors"
        save_typed_table(table, path)
        again = load_typed_table(path)
        rows = clusters(20, seed=5)
        assert again.architecture == table.architecture
        assert (again.log_prob(rows) == table.log_prob(rows)).all()
        assert again.sample(20, 3).equals(table.sample(20, 3))
        assert "mixture of 12 products" in typed_sections(again)["model"][0]
        assert pf.TableDensity.load(path).architecture is None

    def test_without_the_word_it_holds_a_network(self, network, tmp_path):
        path, old = tmp_path / "m.safetensors", tmp_path / "old.safetensors"
        save_typed_table(network, path)
        header = model_file.read_header(path)
        assert header["model"] == "network"
        known = ("kind", "architecture", "columns", "summary", "trust")
        model_file.write_model(old, {name: header[name] for name in known}, network.model)
        rows = clusters(10, seed=1)
        assert (load_typed_table(old).log_prob(rows) == network.log_prob(rows)).all()
        model_file.write_model(old, {**header, "model": "tree"}, network.model)
        with pytest.raises(InputError, match="'tree'"):
            load_typed_table(old)


class TestContest:
    def test_a_mixture_of_products_wins_on_its_own_rows(self):
        frame = clusters(120)
        won = fit_typed(frame, training=pf.Training(max_steps=40), seed=1)
        assert isinstance(won.architecture, Products)
        figures = won.summary["raced"]
        assert list(figures) == ["typed network", won.described, "each column by itself"]
        assert figures[won.described] > figures["each column by itself"] + 1
        assert json.loads(json.dumps(won.summary)) == won.summary
        # Judged before it was fitted to all rows.
        assert won.trust["nats"] == pytest.approx(figures[won.described], abs=1e-4)
        assert won.summary["refitted_to"] == 120
        assert won.log_prob(frame).mean() > won.trust["marginal_nats"] + 1

    def test_the_network_wins_where_columns_follow_from_each_other(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=600)
        y, z = (sign * x + 0.01 * rng.normal(size=600) for sign in (1, -1))
        frame = pl.DataFrame({"x": x, "y": y, "z": z})
        network = fit_typed(frame, architecture=TINY, training=pf.Training(max_steps=400))
        cells = network.columns.encode(network.columns.read(frame))
        train, held = (taken(cells, part) for part in (slice(450), slice(450, None)))
        won = contested(network, train, held, 0)
        assert won.described == "typed network"
        assert won.summary["raced"]["typed network"] == max(won.summary["raced"].values())

    def test_who_asks_for_a_network_gets_one(self, network):
        assert network.described == "typed network"
        assert "raced" not in network.summary
