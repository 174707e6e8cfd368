"""Tables as they come: kinds and spelling of columns, one joint density, any conditional, draws as they came in."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import pushforward as pf
from pushforward.architectures.typed import Typed, random_contexts
from pushforward.columns.guess_spelling import spelled
from pushforward.columns.pairs import best_parent
from pushforward.columns.spelling import as_polars
from pushforward.columns.typed import TypedColumn
from pushforward.columns.typed_columns import TypedColumns, empty_rows
from pushforward.distributions import typed_layout
from pushforward.errors import InputError
from pushforward.fitting.fit_typed import fit_typed
from pushforward.models.exact import exact_log_prob
from pushforward.models.explanation import explained
from pushforward.models.typed_file import load_typed_table, save_typed_table
from pushforward.models.typed_table import TypedTable
from pushforward.models.unfamiliar import improbable
from pushforward.networks.context_made import ContextMADE

SMALL = {
    "width": 24,
    "blocks": 1,
    "context": 16,
    "context_blocks": 1,
    "components": 4,
    "dropout": 0.0,
}


def mixed(n=400, seed=0):
    """Of every kind, with gaps."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["bus", "tram", "rail"], n, p=[0.5, 0.3, 0.2])
    delay = np.where(rng.uniform(size=n) < 0.6, 0, rng.poisson(12, n))
    distance = rng.gamma(3.0, 5.0, n) * np.where(kind == "rail", 4, 1)
    days = np.datetime64("2024-01-01") + rng.integers(0, 90, n)
    return pl.DataFrame(
        {
            "kind": kind,
            "delay": delay,
            "distance": distance,
            "price": np.round(rng.uniform(1, 4, n) * 10) / 10,
            "day": days.astype("datetime64[ms]"),
            "late": delay > 5,
            "stop": pl.Series([None if u < 0.2 else int(10 * u) for u in rng.uniform(size=n)]),
            "id": [f"t{i}" for i in range(n)],
            "net": ["north"] * n,
        }
    ).with_columns(pl.col("day").cast(pl.Date))


@pytest.fixture(scope="module")
def fitted():
    return fit_typed(
        mixed(), architecture=Typed(**SMALL), training=pf.Training(max_steps=120, batch=64), seed=1
    )


@pytest.fixture(scope="module")
def enumerable():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, 300)
    frame = pl.DataFrame(
        {
            "a": a == 1,
            "b": np.array(["x", "y", "z"])[(a + rng.integers(0, 2, 300)) % 3],
            "c": rng.integers(0, 2, 300) == a,
        }
    )
    return fit_typed(frame, architecture=Typed(**SMALL), training=pf.Training(max_steps=60), seed=0)


class TestSpelling:
    @pytest.mark.parametrize(
        ("cells", "form", "back"),
        [
            (["1.50", "NA", " 3.25"], "number", ["1.5", "NA", "3.25"]),
            (["1", "?", "30"], "number", ["1", "?", "30"]),
            (["Yes", "no", ""], "truth", ["Yes", "no", ""]),
            (["2024-01-31", "2024-02-01"], "date", ["2024-01-31", "2024-02-01"]),
            (["31.01.2024", "01.02.2024"], "date", ["31.01.2024", "01.02.2024"]),
            (["2024-01-31 10:20:30"], "time", ["2024-01-31 10:20:30"]),
            (["low", "null", "high"], "text", ["low", "null", "high"]),
        ],
    )
    def test_comes_back_as_it_came(self, cells, form, back):
        values, spelling = spelled(pl.Series("x", cells))
        assert spelling.form == form
        assert type(spelling).from_json(json.loads(json.dumps(spelling.to_json()))) == spelling
        assert spelling.write(values, "x", text=True).to_list() == back

    @pytest.mark.parametrize(
        "series",
        [
            pl.Series("x", [1, None, 3], pl.Int16),
            pl.Series("x", [True, None, False]),
            pl.Series("x", ["a", None, "b"]),
            pl.Series("x", [1.5, None], pl.Float32),
            pl.Series("x", ["2024-01-31 10:20"]).str.to_datetime(time_unit="ns"),
            pl.Series("x", ["2024-01-31"]).str.to_date(),
        ],
        ids=lambda s: str(s.dtype),
    )
    def test_types_come_back(self, series):
        values, spelling = spelled(series)
        assert spelling.write(values, "x").equals(series, check_dtypes=True, null_equal=True)

    @pytest.mark.parametrize(
        ("cells", "message"),
        [
            (["1", "2", "twelve", "4"], "'twelve' in row 3"),
            (["01/02/2024", "03/04/2024"], "x=date:%m/%d/%Y or x=date:%d/%m/%Y"),
            (["1,5", "2", "3"], "'1,5' in row 1, with a decimal comma: write 1.5"),
        ],
    )
    def test_doubtful_text_gets_one_line(self, cells, message):
        with pytest.raises(InputError, match=message) as caught:
            spelled(pl.Series("x", cells))
        assert "\n" not in str(caught.value)

    def test_frames_of_pandas(self):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame(
            {
                "a": [1.0, np.nan],
                "b": pd.array([1, None], "Int64"),
                "c": ["x", None],
                "d": pd.to_datetime(["2024-01-01", None]),
                "e": pd.Categorical(["u", "v"]),
            }
        )
        found = as_polars(frame)
        assert found["b"].to_list() == [1, None]
        assert found["c"].to_list() == ["x", None]
        assert [str(t) for t in found.dtypes][3:] == [
            "Datetime(time_unit='us', time_zone=None)",
            "String",
        ]


class TestKinds:
    def test_of_a_mixed_table(self):
        columns = TypedColumns.fit(mixed())
        assert {c.name: c.kind for c in columns.every} == {
            "kind": "category", "delay": "whole", "distance": "continuous", "price": "decimals", "day": "date",
            "late": "boolean", "stop": "whole", "id": "identifier", "net": "constant",
        }  # fmt: skip
        assert columns.gaps == ("stop",)
        assert columns.names == ("kind", "delay", "distance", "price", "day", "late", "stop")
        again = TypedColumns.from_json(json.loads(json.dumps(columns.to_json())))
        assert again.to_json() == columns.to_json()

    @pytest.mark.parametrize(
        ("declared", "message"),
        [
            ({"distance": "whole"}, "declared whole, but row 1 holds"),
            ({"kind": "ordinal:bus,tram"}, "holds 'rail'"),
            ({"kind": "whole"}, "declared whole, but row 1 holds"),
            ({"kind": "colour"}, "kind 'colour' is unknown"),
            ({"nothing": "whole"}, "nothing"),
        ],
    )
    def test_kinds_that_the_data_contradict(self, declared, message):
        with pytest.raises(InputError, match=message) as caught:
            TypedColumns.fit(mixed(), declared=declared)
        assert "\n" not in str(caught.value)

    def test_rare_labels_are_not_kept(self):
        column = TypedColumn.fit(pl.Series("x", ["a"] * 50 + ["b"] * 20 + ["c"] * 3))
        assert column.labels.levels == ("a", "b")
        assert "'c'" not in json.dumps(column.to_json())

    def test_nothing_left_to_model(self):
        frame = mixed().select("id", "net")
        with pytest.raises(InputError, match="no column is left"):
            TypedColumns.fit(frame)

    def test_empty_rows_are_found(self):
        frame = pl.DataFrame(
            {"a": ["1", "", None], "b": ["x", " ", "y"], "c": [1.0, float("nan"), None]}
        )
        assert empty_rows(frame).tolist() == [False, True, False]


class TestNetwork:
    ranks = (2, 2, 0, 1, 1, 3)
    outputs = (0, 0, 1, 2, 2, 2, 3)

    @pytest.fixture
    def network(self):
        net = ContextMADE(
            self.ranks, self.outputs, width=16, blocks=2, context=8, key=jax.random.key(0)
        )
        noise = iter(jax.random.split(jax.random.key(1), 64))
        return jax.tree.map(
            lambda a: a + 0.3 * jax.random.normal(next(noise), a.shape) if a.ndim else a, net
        )

    def test_an_output_reads_columns_of_lower_rank(self, network):
        x, context = jnp.ones((6, 1)), jnp.ones((6, 1))
        slopes = jax.jacobian(lambda x: network(x, context)[:, 0])(x)[:, :, 0]
        reads = np.abs(slopes) > 1e-9
        np.testing.assert_array_equal(
            reads, np.array(self.ranks)[None, :] < np.array(self.outputs)[:, None]
        )
        of_context = jax.jacobian(lambda c: network(x, c)[:, 0])(context)[:, :, 0]
        assert (np.abs(of_context) > 1e-9).all()

    def test_column_by_column_is_the_parallel_pass(self, network):
        x, context = jax.random.normal(jax.random.key(2), (2, 6, 5))
        whole, known = network(x, context), network.start(context, 5)
        for rank in range(4):
            own = np.flatnonzero(np.array(self.outputs) == rank)
            found = network.outputs(known, jnp.asarray(own[0]), len(own))
            np.testing.assert_allclose(found, whole[own], rtol=1e-5, atol=1e-5)
            own = np.array(self.ranks) == rank
            known = network.reveal(known, jnp.asarray(rank), network.first[:, own] @ x[own])

    def test_rows_without_a_context_come_first(self, network):
        x, context = jax.random.normal(jax.random.key(2), (2, 6, 5))
        blank = context.at[:, :2].set(0.0)
        np.testing.assert_allclose(network(x, context[:, 2:]), network(x, blank), rtol=1e-5)
        np.testing.assert_allclose(network(x, context[:, :0]), network(x, 0 * context), rtol=1e-5)


class TestManyLabels:
    """Columns of many labels, with few that count as many."""

    @pytest.fixture
    def model(self, monkeypatch):
        monkeypatch.setattr(typed_layout, "MANY", 5)
        rng = np.random.default_rng(0)
        carrier = rng.integers(0, 3, 600)
        frame = pl.DataFrame(
            {
                "plane": [f"N{3 * rng.integers(0, 3) + c}" for c in carrier],
                "carrier": [f"c{c}" for c in carrier],
                "late": rng.uniform(size=600) < 0.3,
            }
        )
        return fit_typed(
            frame,
            architecture=Typed(width=12, blocks=1, context=8, context_blocks=1, dropout=0.0),
            training=pf.Training(max_epochs=2),
        )

    def test_are_counted_beside_the_best_column(self, model):
        (parent,) = model.columns.parents
        assert model.columns.places[parent][0].name == "carrier"
        assert model.model.layout.columns.ranks == (2, 1, 0)
        # 9 planes of 3 carriers: log 3 instead of log 9 nats.
        rows = pl.DataFrame({"plane": ["N4"], "carrier": ["c1"], "late": [False]})
        assert model.log_prob(rows, ["carrier"], targets=["plane"])[0] > -1.6
        assert model.log_prob(rows, targets=["plane"])[0] < -1.9

    def test_sum_to_one_and_draws_follow(self, model):
        planes = [f"N{i}" for i in range(9)] + ["never seen"]
        rows = pl.DataFrame(
            list(itertools.product(planes, ["c0", "c1", "c2", "never seen"], [False, True])),
            schema=["plane", "carrier", "late"], orient="row",
        )  # fmt: skip
        p = np.exp(model.log_prob(rows))
        assert p.sum() == pytest.approx(1, abs=1e-4)
        drawn = model.sample(8000, 0)
        of_carrier = drawn["plane"].str.slice(1).cast(pl.Int64) % 3
        agree = (pl.Series(rows["plane"].str.slice(1).cast(pl.Int64, strict=False) % 3)) == rows[
            "carrier"
        ].str.slice(1).cast(pl.Int64, strict=False)
        share = (of_carrier == drawn["carrier"].str.slice(1).cast(pl.Int64)).mean()
        assert share == pytest.approx(p[agree.fill_null(False).to_numpy()].sum(), abs=0.03)
        assert share > 0.8

    def test_pairs_that_are_rare_are_not_counted(self):
        codes, labels = np.array([0] * 40 + [1] * 40 + [-1]), np.array([0] * 43 + [1] * 38)
        parent, table = best_parent(codes, np.array([0.5, 0.5]), {7: (labels, 2)}, least=5)
        assert parent == 7
        np.testing.assert_allclose(np.exp(table).sum(1), 1)
        # Three of 43 are not kept: 40 and none are.
        np.testing.assert_allclose(np.exp(table[0]), [(40 + 10) / 60, 10 / 60])
        np.testing.assert_allclose(np.exp(table[2]), 0.5)
        noise = np.arange(80) % 2
        assert best_parent(codes[:80], np.array([0.5, 0.5]), {0: (noise, 2)}, 5)[0] is None


class TestExact:
    """A small table of labels, enumerated: every conditional of every set of cells is a distribution."""

    def rows(self):
        cells = list(itertools.product([False, True], ["x", "y", "z", "never seen"], [False, True]))
        return pl.DataFrame(cells, schema=["a", "b", "c"], orient="row")

    @pytest.mark.parametrize(
        ("targets", "given"),
        [
            ("abc", ""), ("bc", "a"), ("ac", "b"), ("ab", "c"), ("b", "ac"), ("c", "ab"),
            ("bc", ""), ("c", "b"), ("b", "c"), ("ab", ""), ("b", "a"), ("a", "b"),
        ],
    )  # fmt: skip
    def test_sums_to_one(self, enumerable, targets, given):
        targets, given = list(targets), list(given)
        rows = self.rows()
        p = np.exp(enumerable.log_prob(rows, given, targets=targets))
        totals = (
            rows.with_columns(p=pl.Series(p))
            .unique([*given, *targets])
            .group_by(given or pl.lit(0))
            .agg(pl.col("p").sum())
        )
        np.testing.assert_allclose(totals["p"].to_numpy(), 1.0, atol=1e-4)

    def test_draws_follow_it(self, enumerable):
        n = 20_000
        counts = enumerable.sample(n, 0).group_by("a", "b", "c").len()
        rows = self.rows().filter(pl.col("b") != "never seen")
        found = rows.join(counts, on=["a", "b", "c"], how="left")["len"].fill_null(0).to_numpy() / n
        np.testing.assert_allclose(found, np.exp(enumerable.log_prob(rows)), atol=0.02)

    def test_draws_keep_what_is_given(self, enumerable):
        given = pl.DataFrame({"a": [True, None], "b": [None, "z"], "c": [None, None]})
        drawn = enumerable.sample(4000, 0, given=given)
        assert drawn["a"][:4000].all()
        assert (drawn["b"][4000:] == "z").all()
        rows = self.rows().filter(pl.col("b") == "z")
        p = np.exp(enumerable.log_prob(rows, ["b"]))
        share = (drawn[4000:]["a"] & drawn[4000:]["c"]).mean()
        assert share == pytest.approx(
            p[rows["a"].to_numpy() & rows["c"].to_numpy()].sum(), abs=0.03
        )


class TestTable:
    def test_draws_have_the_table_s_types_and_gaps(self, fitted):
        table, drawn = mixed(), fitted.sample(500, 0)
        assert drawn.schema == {**table.schema, "id": pl.String}
        assert set(drawn["kind"].unique()) <= set(table["kind"].unique())
        assert (drawn["net"] == "north").all()
        assert 0.05 < drawn["stop"].null_count() / 500 < 0.5
        assert drawn.drop("stop").null_count().sum_horizontal()[0] == 0
        price = drawn["price"].to_numpy()
        np.testing.assert_allclose(price, np.round(price * 10) / 10, atol=1e-9)
        assert drawn.equals(fitted.sample(500, 0))

    def test_scores_what_is_there(self, fitted):
        table = mixed(50, seed=3)
        whole = fitted.log_prob(table)
        parts = fitted.log_prob_cells(table)
        assert np.isfinite(whole).all()
        gone = table["stop"].is_null().to_numpy()
        assert (parts[gone, -1] == 0).all()
        assert (parts[~gone, -1] != 0).all()
        with_gaps = fitted.log_prob_cells(table, gaps=True)
        assert (with_gaps[:, ~fitted.columns.values] < 0).all()
        np.testing.assert_allclose(whole, parts.sum(1))

    def test_an_unseen_label_is_scored(self, fitted):
        table = mixed(3).with_columns(pl.lit("boat").alias("kind"))
        assert np.isfinite(fitted.log_prob(table)).all()

    def test_another_value_of_a_constant_column(self, fitted):
        """Is impossible, which is counted, and the column is to blame."""
        rows = mixed(4, seed=3).with_columns(pl.col("stop").fill_null(5))
        held = rows.with_columns(net=pl.Series(["north", "south", None, "west"]))
        with pytest.warns(
            pf.InputWarning,
            match=r"2 of 4 rows are impossible .* row 2: column 'net' holds 'south'",
        ) as caught:
            found = fitted.log_prob(held)
        assert len(caught) == 1
        np.testing.assert_array_equal(np.isneginf(found), [False, True, False, True])
        usual = fitted.log_prob(rows.drop("net"))
        np.testing.assert_allclose(found[[0, 2]], usual[[0, 2]], rtol=1e-6)
        # Only where the whole row is scored.
        np.testing.assert_array_equal(
            fitted.log_prob(held, targets=["kind"]), fitted.log_prob(rows, targets=["kind"])
        )
        with pytest.warns(pf.InputWarning, match="2 of 4 rows are impossible"):
            estimates = exact_log_prob(fitted, held, draws=5)
        np.testing.assert_array_equal(np.isneginf(estimates.log_prob), np.isneginf(found))
        np.testing.assert_array_equal(improbable(fitted, held), np.isneginf(found))
        with pytest.warns(pf.InputWarning, match="2 of 4 rows are impossible"):
            lines = explained(fitted, held)
        assert lines["column"].to_list()[1::2] == ["net", "net"]
        assert lines.row(1)[4:] == ("south", np.inf, 0.0, 0.0, "north")
        assert "net" not in lines["column"].to_list()[::2]

    def test_a_missing_column_is_asked_for(self, fitted):
        table = mixed(3).drop("day")
        with pytest.raises(InputError, match="lacks column"):
            fitted.log_prob(table)
        assert np.isfinite(fitted.log_prob(table, absent=True)).all()
        with pytest.raises(InputError, match="wrong"):
            fitted.log_prob(mixed(3), ["wrong"])

    def test_a_file_keeps_all(self, fitted, tmp_path):
        path = tmp_path / "m.safetensors"
        save_typed_table(fitted, path)
        again = load_typed_table(path)
        assert isinstance(again, TypedTable)
        table = mixed(20, seed=5)
        assert (again.log_prob(table) == fitted.log_prob(table)).all()
        assert again.sample(20, 3).equals(fitted.sample(20, 3))
        assert b"t17" not in path.read_bytes()

    def test_validation_s_loss_is_the_mean_of_both_uses(self, fitted):
        cells = fitted.columns.encode(fitted.columns.read(mixed(40, seed=6)))
        cells = jax.tree.map(jnp.asarray, cells)
        loss = random_contexts(fitted.model, cells, None)
        joint = fitted.model.log_prob(cells, cells.present, jnp.zeros_like(cells.present)).sum(1)
        assert loss.shape == (40,)
        assert float(loss.mean()) < float(-joint.mean())
