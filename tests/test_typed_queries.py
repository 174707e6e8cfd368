"""Questions to a typed table: ranges and their probability, gaps filled, rows explained, some columns alone."""

import io
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from scipy.stats import kstest

import pushforward as pf
from pushforward.architectures.typed import Typed
from pushforward.cli import main
from pushforward.columns.marginal import Marginal
from pushforward.columns.marginal_circular import CircularMarginal
from pushforward.columns.where import conditions_of
from pushforward.errors import InputError
from pushforward.estimators import table_density
from pushforward.fitting.fit_typed import fit_typed
from pushforward.heads import Cut, Logistics, Softmax, WrappedCauchy
from pushforward.models.explanation import explained
from pushforward.models.imputation import imputed, imputed_intervals
from pushforward.models.table_file import load_table_model
from pushforward.models.typed_file import load_typed_table, save_typed_table
from pushforward.models.where import probability, sample_where

SMALL = Typed(width=24, blocks=1, context=16, context_blocks=1, components=4, dropout=0.0)
TRAINING = pf.Training(max_steps=100, batch=64)


def trips(n=400, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.choice(["bus", "tram", "rail"], n, p=[0.5, 0.3, 0.2])
    rain = np.where(rng.uniform(size=n) < 0.5, 0.0, rng.gamma(2.0, 3.0, n))
    stops = np.where(kind == "rail", 2, 5) + rng.integers(0, 3, n)
    days = np.datetime64("2024-01-01") + rng.integers(0, 300, n)
    gone = rng.uniform(size=n) < 0.2
    return pl.DataFrame(
        {
            "kind": kind,
            "stops": pl.Series(np.where(gone, 0, stops)).set(pl.Series(gone), None),
            "rain": rain,
            "cost": np.rint(rng.gamma(9.0, 400.0, n) * (1 + (kind == "rail"))).astype(int),
            "day": np.datetime_as_string(days, unit="D"),
            "late": rng.choice(["yes", "no"], n),
            "size": rng.choice(["low", "mid", "high"], n),
            "wind": np.mod(rng.normal(350, 40, n), 360),
        }
    )


@pytest.fixture(scope="module")
def model():
    declared = {"size": "ordinal:low,mid,high", "wind": "circular:360"}
    return fit_typed(trips(), declared=declared, architecture=SMALL, training=TRAINING, seed=1)


@pytest.fixture(scope="module")
def labels():
    """A table of labels with gaps, which can be enumerated."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, 300)
    b = np.array(["x", "y", "z"])[(a + rng.integers(0, 2, 300)) % 3]
    frame = pl.DataFrame(
        {
            "a": a == 1,
            "b": pl.Series(b).set(pl.Series(rng.uniform(size=300) < 0.2), None),
            "c": (rng.integers(0, 2, 300) == a).astype(int) + 2 * a,
        }
    )
    return fit_typed(frame, architecture=SMALL, training=TRAINING, seed=0)


def params_of(head, n, seed=0, size=1.0):
    one = size * np.random.default_rng(seed).normal(size=(head.size, 1))
    return jnp.asarray(np.repeat(one, n, axis=1), jnp.float32)


def between(low, high):
    low, high = np.atleast_1d(low).astype(float), np.atleast_1d(high).astype(float)
    return Cut(np.ones(1, np.float32), *(a.astype(np.float32) for a in (low, high, high - low)))


class TestCutHeads:
    @pytest.mark.parametrize(
        "ends", [(-1.0, 0.5), (1.5, np.inf), (-np.inf, -4.0), (12.0, 12.5), (0.3, 0.3001)]
    )
    def test_logistics_within_an_interval(self, ends):
        head, n = Logistics(4), 4000
        params = params_of(head, n)
        drawn, log_mass = head.sample_within(params, between(*ends), jax.random.key(0))
        z = np.asarray(drawn.z, float)
        assert (z >= np.float32(ends[0])).all()
        assert (z <= np.float32(ends[1])).all()
        with jax.enable_x64(True):
            weights, means, scales = head.mixture(jnp.asarray(params[:, :1], jnp.float64))
        # From the nearer end, so that nothing cancels.
        side = 1 if ends[0] < 0 else -1

        def mass_below(at):
            each = 1 / (1 + np.exp(-side * (at - np.asarray(means)) / np.exp(np.asarray(scales))))
            return side * (np.exp(np.asarray(weights)) * each).sum(0)

        first, last = mass_below(ends[0])[0], mass_below(ends[1])[0]
        assert float(log_mass[0]) == pytest.approx(np.log(last - first), abs=2e-3)
        if ends[1] - ends[0] > 0.01:
            shares = (mass_below(z) - first) / (last - first)
            assert kstest(shares, "uniform").pvalue > 1e-3

    def test_logistics_within_several(self):
        head, n = Logistics(4), 20_000
        params = params_of(head, n)
        cut = between([-2.0, 0.5], [-1.0, 0.8])
        drawn, log_mass = head.sample_within(params, cut, jax.random.key(0))
        parts = [float(head.sample_within(params, between(*ends), jax.random.key(0))[1][0])
                 for ends in ((-2.0, -1.0), (0.5, 0.8))]  # fmt: skip
        assert float(log_mass[0]) == pytest.approx(np.logaddexp(parts[0], parts[1]), abs=1e-5)
        share = float((drawn.z < 0).mean())
        assert share == pytest.approx(np.exp(parts[0] - float(log_mass[0])), abs=0.02)

    @pytest.mark.parametrize("ends", [(-2.0, 0.5), (1.5, np.inf), (-np.inf, -3.0), (0.3, 0.31)])
    def test_angles_within_an_arc(self, ends):
        head, n = WrappedCauchy(4), 4000
        params = params_of(head, n, size=2.0)
        drawn, log_mass = head.sample_within(params, between(*ends), jax.random.key(0))
        z = np.asarray(drawn.z, float)
        first, last = (np.float32(np.clip(end, -3.14159, 3.14159)) for end in ends)
        assert (first - 1e-5 <= z).all()
        assert (z <= last + 1e-5).all()
        below, above = (np.asarray(head.cdf(params, jnp.full(n, end))) for end in (first, last))
        assert float(log_mass[0]) == pytest.approx(np.log(above - below)[0], abs=2e-3)
        shares = (np.asarray(head.cdf(params, drawn.z)) - below) / (above - below)
        assert kstest(shares, "uniform").pvalue > 1e-3

    def test_softmax_within(self):
        head, n = Softmax(5, open=True), 20_000
        params = params_of(head, n)
        p = np.asarray(jax.nn.softmax(params[:, 0]))
        shares = np.array([1, 0, 1, 0, 0.25], np.float32)
        none = np.zeros(1, np.float32)
        drawn, log_mass = head.sample_within(
            params, Cut(shares, none, none, none), jax.random.key(0)
        )
        assert float(jnp.exp(log_mass[0])) == pytest.approx(p[0] + p[2] + 0.25 * p[4], rel=1e-5)
        found = np.bincount(np.asarray(drawn.code), minlength=5) / n
        np.testing.assert_allclose(
            found, [p[0] / (p[0] + p[2]), 0, p[2] / (p[0] + p[2]), 0, 0], atol=0.02
        )


class TestConditions:
    def test_are_read(self, model):
        found = conditions_of(
            "cost >= 1500 and cost<2000, kind in bus,rail and day > 2024-03-01, late = yes, size>=mid",
            model.columns,
        )
        assert list(found) == ["cost", "kind", "day", "late", "size"]
        assert found["cost"].intervals == ((1500.0, 1999.0),)
        assert found["kind"].holds(np.array(["bus", "tram", "rail", None], object)).tolist() == [
            True,
            False,
            True,
            False,
        ]
        later = (trips()["day"] > "2024-03-01").to_numpy()
        assert (found["day"].holds(model.columns.read(trips())["day"]) == later).all()
        assert found["size"].holds(np.array(["low", "mid", "high"], object)).tolist() == [
            False,
            True,
            True,
        ]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("cost", "is expected"),
            ("costs > 3", "did you mean 'cost'"),
            ("cost > much", "a number is expected"),
            ("kind = boat", "no label 'boat'"),
            ("kind > bus", "no order"),
            ("rain = 3.7", "no probability, give a range"),
            ("cost > 5 and cost < 5", "no such value"),
            ("cost = 3.5", "no such value"),
            ("late = perhaps", "yes or no"),
            ("day > spring", "a date is expected"),
            ("kind is missing", "not modelled"),
            ("stops is 3", "is missing"),
        ],
    )
    def test_mistakes_get_one_line(self, model, text, message):
        with pytest.raises(InputError, match=message) as caught:
            conditions_of(text, model.columns)
        assert "\n" not in str(caught.value)

    def test_the_share_of_unseen_angles(self, rng):
        hours = np.concatenate([np.repeat([0.0, 3.0], 300), np.arange(5.0, 20.0)])
        circle = CircularMarginal.fit(hours, 24.0, 1.0)
        grid = np.arange(24.0)
        grid = grid[~circle.is_atom(grid)]
        for low, high in ((-np.inf, np.inf), (2, 9), (15, np.inf), (3, 3)):
            exact = np.exp(circle.log_share(grid[(grid >= low) & (grid <= high)])).sum()
            assert circle.share_between(low, high) == pytest.approx(exact, abs=1e-6)

    def test_the_share_of_unseen_numbers(self, rng):
        values = np.concatenate([np.repeat([0.0, 3.0], 300), np.arange(10.0, 60.0)])
        numbers = Marginal.fit(values, 1.0)
        grid = np.arange(-2000.0, 2000.0)
        grid = grid[~numbers.is_atom(grid)]
        for low, high in ((-np.inf, 20), (2, 30), (15, np.inf), (3, 3)):
            exact = np.exp(numbers.log_share(grid[(grid >= low) & (grid <= high)])).sum()
            assert numbers.share_between(low, high) == pytest.approx(exact, abs=1e-3)


class TestWhere:
    def rows(self):
        cells = list(
            itertools.product([False, True], ["x", "y", "z", "never seen", None], [0, 1, 2, 3])
        )
        return pl.DataFrame(cells, schema=["a", "b", "c"], orient="row")

    @pytest.mark.parametrize(
        "where", ["a = yes", "b in x,z", "c >= 2 and b = y", "b is missing, a=false", "c<3"]
    )
    def test_probability_is_that_of_the_enumeration(self, labels, where):
        rows = self.rows()
        p = np.exp(labels.log_prob(rows, gaps=True))
        assert p.sum() == pytest.approx(1.0, abs=3e-3)
        inside = np.ones(len(rows), bool)
        for name, condition in conditions_of(where, labels.columns).items():
            inside &= condition.holds(labels.columns.read(rows)[name])
        found = probability(labels, where, draws=4096)
        exact = p[inside].sum()
        assert found.error[0] < 0.02
        assert found.value[0] == pytest.approx(exact, abs=4 * found.error[0] + 1e-3)
        # And the rows follow the model within the range.
        n = 8000
        drawn, again = sample_where(labels, n, 0, where)
        assert again.value[0] == pytest.approx(exact, abs=4 * again.error[0] + 1e-3)
        counts = drawn.group_by("a", "b", "c").len()
        share = (
            rows.join(counts, on=["a", "b", "c"], how="left", nulls_equal=True)["len"]
            .fill_null(0)
            .to_numpy()
            / n
        )
        np.testing.assert_allclose(share, np.where(inside, p, 0) / exact, atol=0.025)

    def test_given_some_cells(self, labels):
        given = pl.DataFrame(
            {"a": [True, False], "b": [None, None], "c": [None, None]},
            schema={"a": pl.Boolean, "b": pl.String, "c": pl.Int64},
        )
        found = probability(labels, "c >= 2", given, draws=4096)
        rows = self.rows()
        for value, error, a in zip(found.value, found.error, (True, False), strict=True):
            some = rows.filter((pl.col("a") == a) & (pl.col("b") == "x"))
            # The others are left out of the row.
            p = np.exp(labels.log_prob(some, ["a"], targets=["c"]))
            assert value == pytest.approx(p[some["c"].to_numpy() >= 2].sum(), abs=0.1 + 4 * error)
        drawn, _ = sample_where(labels, 50, 0, "c >= 2", given[:1])
        assert drawn["a"].all()
        assert (drawn["c"] >= 2).all()
        with pytest.raises(InputError, match="given row 2"):
            sample_where(labels, 5, 0, "a = true", given)

    def test_draws_of_numbers_lie_in_the_range(self, model):
        where = "cost > 3000, rain <= 2.5 and rain > 0, day < 2024-05-01, stops > 4, wind > 300"
        drawn, found = sample_where(model, 300, 0, where)
        inside = (pl.col("cost") > 3000) & (pl.col("rain") <= 2.5) & (pl.col("rain") > 0)
        inside &= (pl.col("day") < "2024-05-01") & (pl.col("stops") > 4) & (pl.col("wind") > 300)
        assert len(drawn.filter(inside)) == 300
        assert drawn.schema == trips().schema
        plain = model.sample(20_000, 1)
        share = len(plain.filter(inside)) / 20_000
        error = np.sqrt(share / 20_000 + found.error[0] ** 2)
        assert found.value[0] == pytest.approx(share, abs=4 * error)
        assert drawn.equals(sample_where(model, 300, 0, where)[0])

    def test_a_range_without_mass(self, model):
        with pytest.raises(InputError, match="below 1e-12"):
            sample_where(model, 5, 0, "cost > 1e12")


def with_holes(frame, share=0.2, seed=3):
    """Text as a file has it, with cells hidden."""
    rng = np.random.default_rng(seed)
    text = frame.with_columns(pl.all().cast(pl.String))
    return text.with_columns(
        pl.when(pl.Series(rng.uniform(size=len(frame)) < share))
        .then(None)
        .otherwise(pl.col(name))
        .alias(name)
        for name in frame.columns
    )


class TestImpute:
    def test_what_is_there_stays_as_it_is(self, model):
        frame = with_holes(trips(60, seed=5)).with_columns(note=pl.lit("kept"))
        # Spelled in other ways, a missing cell by a word, a row without anything.
        frame = frame.with_columns(
            pl.when(pl.int_range(60) == 3).then(pl.lit(" 007 ")).otherwise("stops").alias("stops"),
            pl.when(pl.int_range(60) == 4).then(pl.lit("NA")).otherwise("rain").alias("rain"),
        )
        empty = pl.DataFrame({name: [None] for name in frame.columns}, schema=frame.schema)
        frame = pl.concat([frame[:10], empty, frame[10:]])
        filled = imputed(model, frame, 0)
        assert filled.columns == frame.columns
        gaps = {name: frame[name].is_null() | (frame[name] == "NA") for name in model.columns.names}
        for name, gone in gaps.items():
            assert filled[name].filter(~gone).equals(frame[name].filter(~gone))
            assert filled[name].null_count() == 0
            assert not (filled[name] == "NA").any()
        assert set(filled["kind"]) <= {"bus", "tram", "rail"}
        assert filled["note"].equals(frame["note"])
        assert filled["stops"][3] == " 007 "
        assert filled["day"].str.to_date(strict=True).len() == 61
        assert filled.equals(imputed(model, frame, 0))
        assert not filled.equals(imputed(model, frame, 1))

    def test_types_stay(self, model):
        table = trips(50, seed=6)
        holes = table.with_columns(
            pl.when(pl.int_range(50) % 4 == 0).then(None).otherwise(pl.col(name)).alias(name)
            for name in table.columns
        )
        filled = imputed(model, holes, 0, draws=3)
        assert filled.columns[0] == "draw"
        assert filled.drop("draw").schema == table.schema
        assert filled["draw"].to_list() == [1] * 50 + [2] * 50 + [3] * 50
        assert filled.null_count().sum_horizontal()[0] == 0
        there = pl.int_range(50) % 4 != 0
        for part in filled.partition_by("draw", include_key=False):
            assert part.drop("stops").filter(there).equals(holes.drop("stops").filter(there))

    def test_draws_follow_the_conditional(self, labels):
        n = 4000
        gaps = pl.DataFrame(
            {"a": [True] * n, "b": ["x"] * n, "c": [None] * n}, schema_overrides={"c": pl.Int64}
        )
        shares = imputed(labels, gaps, 0)["c"].value_counts().sort("c")
        rows = pl.DataFrame({"a": [True] * 4, "b": ["x"] * 4, "c": [0, 1, 2, 3]})
        p = np.exp(labels.log_prob(rows, ["a", "b"]))
        found = np.zeros(4)
        found[shares["c"].to_numpy()] = shares["count"].to_numpy() / n
        np.testing.assert_allclose(found, p, atol=0.03)

    def test_intervals(self, model, labels):
        table = trips(80, seed=7)
        hidden = pl.int_range(80) < 40
        holes = table.with_columns(
            pl.when(hidden).then(None).otherwise(pl.col("cost")).alias("cost"),
            pl.when(hidden).then(None).otherwise(pl.col("kind")).alias("kind"),
        )
        filled = imputed_intervals(model, holes.drop("stops").with_columns(stops=pl.lit(5)), 0)
        assert filled.columns[:2] == ["kind", "kind_probability"]
        assert {"cost_lower", "cost_upper"} < set(filled.columns)
        assert "rain_lower" not in filled.columns
        ends = filled.select("cost_lower", "cost", "cost_upper")
        assert ends.dtypes == [pl.Int64] * 3
        assert ends[40:].drop("cost").null_count().row(0) == (40, 40)
        low, middle, high = (ends[:40][name].to_numpy() for name in ends.columns)
        assert ((low <= middle) & (middle <= high)).all()
        covered = (low <= table["cost"][:40].to_numpy()) & (table["cost"][:40].to_numpy() <= high)
        assert covered.mean() > 0.7
        # Of a table that can be enumerated: the most probable label and its probability.
        some = pl.DataFrame(
            {"a": [True, False], "b": [None, None], "c": [2, 0]}, schema_overrides={"b": pl.String}
        )
        best = imputed_intervals(labels, some, 0, 2000)
        for row in range(2):
            each = pl.concat([some[row].with_columns(b=pl.lit(b)) for b in "xyz"])
            p = np.exp(labels.log_prob(each, ["a", "c"]))
            chosen = p["xyz".index(best["b"][row])]
            assert chosen > p.max() - 0.05
            assert best["b_probability"][row] == pytest.approx(chosen, abs=0.04)

    @pytest.mark.parametrize(
        ("change", "draws", "message"),
        [
            (lambda f: f.drop("rain"), 1, "lacks column 'rain'"),
            (lambda f: f.with_columns(rain=pl.lit("wet")), 1, "'wet' in row 1"),
            (lambda f: f.with_columns(draw=pl.lit(1)), 2, "column 'draw'"),
            (lambda f: f, 0, "draws=0"),
        ],
    )
    def test_mistakes_get_one_line(self, model, change, draws, message):
        with pytest.raises(InputError, match=message) as caught:
            imputed(model, change(trips(5)), 0, draws)
        assert "\n" not in str(caught.value)


class TestExplain:
    def test_is_what_leaving_one_out_gives(self, labels):
        """Of a table of labels, every cell's sums by enumeration."""
        rows = pl.DataFrame({"a": [True, False, None], "b": ["x", None, "never"], "c": [2, 0, 1]})
        lines = explained(labels, rows, cells=True)
        assert lines.select("row", "column").rows() == [
            (1, "a"), (1, "b"), (1, "c"), (2, "a"), (2, "c"), (3, "b"), (3, "c"),
        ]  # fmt: skip
        others = {"a": [False, True], "b": ["x", "y", "z"], "c": [0, 1, 2, 3]}
        for line in lines.iter_rows(named=True):
            row, name = rows[line["row"] - 1], line["column"]
            given = [other for other in rows.columns if other != name and row[other][0] is not None]
            own = labels.log_prob(row, given)[0]
            assert line["surprise"] == pytest.approx(-own, abs=1e-4)
            each = pl.concat(
                [row.with_columns(pl.lit(v, row.schema[name]).alias(name)) for v in others[name]]
            )
            log_p = labels.log_prob(each, given)
            if name == "b":
                log_p = np.append(
                    log_p, labels.log_prob(row.with_columns(b=pl.lit("never")), given)
                )
            # Numbers of c beyond those of the fit have some probability, too.
            near = 0.03 if name == "c" else 1e-3
            assert line["expected"] == pytest.approx(-(np.exp(log_p) * log_p).sum(), abs=near)
            assert line["tail"] == pytest.approx(np.exp(log_p[log_p <= own + 1e-4]).sum(), abs=near)
        assert lines["usual"][1].split(" (")[0] in "xyz"

    def test_expectations_of_numbers_are_those_of_draws(self, model):
        """A column at a time: the mean of the surprise over draws given the other cells of a row."""
        table = trips(6, seed=8).with_columns(stops=pl.lit(4, pl.Int64))
        lines = explained(model, table, cells=True)
        n = 1500
        for name in ("rain", "cost", "wind"):
            found = lines.filter(column=name)
            given = [other for other in table.columns if other != name]
            drawn = model.sample(n, 1, given=table.drop(name))
            log_p = model.log_prob(drawn, given).reshape(6, n)
            error = log_p.std(1) / np.sqrt(n)
            assert (
                np.abs(found["expected"].to_numpy() + log_p.mean(1)) < 5 * error + 0.05
            ).all(), name
            ends = np.array([usual.split(" to ") for usual in found["usual"]])
            values = drawn[name].to_numpy().reshape(6, n)
            low, high = ends.astype(float).T
            inside = ((values >= low[:, None] - 1e-6) & (values <= high[:, None] + 1e-6)).mean(1)
            assert (inside > 0.87).all(), name

    @pytest.mark.parametrize("name", ["cost", "day", "rain", "wind"])
    def test_tails_of_numbers_are_sums_and_integrals(self, model, name):
        """Over all values that the cell might have, given the other cells of its row."""
        table = trips(8, seed=8).with_columns(stops=pl.lit(4, pl.Int64))[[0, 3, 6]]
        found = explained(model, table, cells=True).filter(column=name)
        numbers = next(column.numbers for column in model.columns.modelled if column.name == name)
        if name == "cost":
            values = pl.Series(range(0, 18_000, 3))
            size = np.full(len(values), 3.0)
        elif name == "day":
            days = np.datetime64("2024-01-01") + np.arange(-300, 900)
            values = pl.Series(np.datetime_as_string(days, unit="D"))
            size = np.ones(len(values))
        else:
            end = 14.0 if name == "rain" else np.pi
            x = np.sort(numbers.decode(np.linspace(-end, end, 6001)))
            x = np.unique(x[~numbers.is_atom(x)])
            # Atoms have a probability.
            values = pl.Series(np.concatenate([x, numbers.atoms]))
            size = np.concatenate([np.gradient(x), np.ones(len(numbers.atoms))])
        given = [other for other in table.columns if other != name]
        for i, line in enumerate(found.iter_rows(named=True)):
            rows = pl.concat([table[i].drop(name)] * len(values)).with_columns(values.alias(name))
            log_p = model.log_prob(rows, given)
            weights = size * np.exp(log_p)
            assert weights.sum() == pytest.approx(1, abs=2e-3)
            tail = weights[log_p <= 1e-4 - line["surprise"]].sum()
            assert line["tail"] == pytest.approx(tail, abs=0.01)
            assert line["expected"] == pytest.approx(-(weights * log_p).sum(), abs=0.01)

    def test_blames_the_column_that_was_changed(self, model):
        table = trips(40, seed=9)
        strange = table.with_columns(
            cost=pl.when(pl.int_range(40) == 7).then(100_000).otherwise("cost"),
            day=pl.when(pl.int_range(40) == 11).then(pl.lit("2031-01-01")).otherwise("day"),
        )
        lines = explained(model, strange)
        assert lines["row"].to_list() == list(range(1, 41))
        assert (lines["column"][7], lines["value"][7], lines["column"][11]) == (
            "cost",
            "100000",
            "day",
        )
        assert lines["tail"][7] < 0.01
        worst = explained(model, strange, worst=2)
        assert set(worst["row"]) == {8, 12}
        assert worst["excess"].is_sorted(descending=True)
        np.testing.assert_allclose(lines["log_prob"], model.log_prob(strange))
        # One row scores as it does among others.
        np.testing.assert_allclose(
            explained(model, strange[7])["surprise"], lines["surprise"][7:8], rtol=1e-4
        )

    def test_a_row_without_cells(self, model):
        rows = pl.concat(
            [trips(1), pl.DataFrame({n: [None] for n in trips(1).columns}, schema=trips(1).schema)]
        )
        lines = explained(model, rows)
        assert lines["column"].is_null().to_list() == [False, True]
        assert lines["log_prob"][1] == 0


class TestManyLabels:
    def test_ranges_and_explanations(self):
        """Of a column whose logits are of low rank, beside the labels of another."""
        rng = np.random.default_rng(0)
        plane = np.repeat(np.arange(280), 9)
        frame = pl.DataFrame(
            {
                "plane": [f"p{i}" for i in plane],
                "carrier": np.array(["AA", "BB", "CC"])[
                    (plane + (rng.uniform(size=len(plane)) < 0.2)) % 3
                ],
            }
        )
        model = fit_typed(frame, architecture=SMALL, training=pf.Training(max_steps=20), seed=0)
        assert len(model.model.layout.columns.many) == 1
        levels = model.columns.modelled[0].labels.levels
        drawn, found = sample_where(model, 50, 0, "plane in p7,p9 and carrier in AA,BB")
        assert set(drawn["plane"]) <= {"p7", "p9"}
        pairs = list(itertools.product(["p7", "p9"], ["AA", "BB"]))
        p = np.exp(model.log_prob(pl.DataFrame(pairs, schema=["plane", "carrier"], orient="row")))
        assert found.value[0] == pytest.approx(p.sum(), abs=4 * found.error[0] + 1e-4)
        row = pl.DataFrame({"plane": ["p7"], "carrier": ["AA"]})
        line = explained(model, row, cells=True).row(0, named=True)
        every = pl.DataFrame({"plane": [*levels, "never"], "carrier": ["AA"] * (len(levels) + 1)})
        log_p = model.log_prob(every, ["carrier"])
        assert line["surprise"] == pytest.approx(-log_p[levels.index("p7")], abs=1e-4)
        weights = np.exp(log_p)
        # The rarest labels are one together.
        weights[-1] = 1 - weights[:-1].sum()
        assert line["expected"] == pytest.approx(-(weights * log_p).sum(), abs=2e-3)


@pytest.fixture(scope="module")
def density(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("density") / "m.st"
    save_typed_table(model, path)
    return pf.TableDensity.load(path)


class TestEstimator:
    def test_some_columns_alone(self, density):
        alone = density.marginal(["kind"])
        table = trips(30, seed=2)
        p = np.exp(alone.score_samples(pl.DataFrame({"kind": ["bus", "tram", "rail"]})))
        assert p.sum() == pytest.approx(1, abs=3e-3)
        drawn = alone.sample(5000, 0)
        assert drawn.columns == ["kind"]
        for label, share in zip(["bus", "tram", "rail"], p, strict=True):
            assert (drawn["kind"] == label).mean() == pytest.approx(share, abs=0.03)
        np.testing.assert_allclose(
            density.marginal(["kind", "cost"]).score_samples(table),
            density.log_prob(table, targets=["kind", "cost"]),
        )
        for names, message in (([], "at least one"), (["colour"], "no column 'colour'")):
            with pytest.raises(InputError, match=message):
                density.marginal(names)
        with pytest.raises(InputError, match="'kind'"):
            alone.score_samples(table.drop("kind"))

    def test_warns_of_unseen_labels_once(self, density):
        table = trips(10).with_columns(kind=pl.lit("boat"))
        with pytest.warns(pf.InputWarning, match="10 cells hold labels .*10 in 'kind'") as caught:
            density.score_samples(table)
        assert len(caught) == 1

    def test_warnings_point_at_the_line_that_asked(self, density):
        table = trips(3).with_columns(kind=pl.lit("boat"))
        given = pl.DataFrame({"cost": [10**9]})
        for ask in (
            lambda: density.score_samples(table),
            lambda: density.score(table),
            lambda: density.log_prob(table),
            lambda: density.log_prob(table[:1], ["kind"], exact=2),
            lambda: density.sample(1, 0, given=given),
        ):
            with pytest.warns(pf.InputWarning) as caught:
                ask()
            # `make test-shapes` wraps functions, which puts frames between.
            if not hasattr(density.score_samples, "__wrapped__"):
                assert {line.filename for line in caught} == {__file__}

    def test_warns_of_an_all_but_impossible_condition(self, density):
        with pytest.warns(pf.InputWarning, match="1 row for all but impossible .*row 2"):
            density.sample(2, 0, given=pl.DataFrame({"cost": [4000, 10**9], "rain": [0.0, 1.5]}))

    def test_pandas_frames_stay_what_they_are(self, density):
        pd = pytest.importorskip("pandas")
        whole = trips(3).drop("kind", "stops", "rain").to_dict(as_series=False)
        frame = pd.DataFrame(whole, index=["u", "v", "w"])
        frame["kind"] = pd.Categorical(["bus", None, "bus"])
        frame["stops"] = pd.array([None, 4, 5], "Int64")
        frame["rain"] = [0.0, np.nan, 3.5]
        filled = density.impute(frame, 0)
        assert list(filled.index) == ["u", "v", "w"]
        assert list(filled.dtypes) == list(frame.dtypes)
        assert not filled.isna().any().any()
        assert filled.loc["w"].equals(frame.loc["w"])
        assert len(density.impute(frame, 0, draws=2)) == 6
        assert list(density.explain(trips(4))["row"]) == [1, 2, 3, 4]
        drawn = density.sample(3, 0, where="kind in bus,rail")
        assert set(drawn["kind"]) <= {"bus", "rail"}
        assert density.probability("kind = bus", 0).error[0] < 0.1

    def test_options_reach_the_fit(self, model, monkeypatch):
        asked = {}
        monkeypatch.setattr(
            table_density, "fit_typed", lambda *_, **more: asked.update(more) or model
        )
        pf.TableDensity(gaps="ignored", min_count=20, ignore=["day"]).fit(trips(5))
        assert (asked["gaps"], asked["least"], asked["ignore"]) == (False, 20, ("day",))
        pf.TableDensity().fit(trips(5))
        assert (asked["gaps"], asked["least"], asked["ignore"]) == (True, 5, ())
        with pytest.raises(InputError, match="gaps='kept'"):
            pf.TableDensity(gaps="kept").fit(trips(5))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("queries")
    save_typed_table(model, folder / "m.st")
    with_holes(trips(12, seed=4)).write_csv(folder / "gaps.csv")
    trips(12, seed=4).write_csv(folder / "new.csv")
    numbers = {"a": np.arange(50.0) ** 2, "b": np.arange(50.0) % 7, "t": ["u"] * 50}
    pl.DataFrame(numbers).write_csv(folder / "numbers.csv")
    words = [
        "--ignore",
        "t",
        "--flow",
        "realnvp",
        "--set",
        "layers=1",
        "--max-epochs",
        "1",
        "--quiet",
    ]
    assert main(["fit", str(folder / "numbers.csv"), "-o", str(folder / "flow.st"), *words]) == 0
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


class TestCommands:
    def test_impute(self, run, folder):
        code, out, err = run("impute", "m.st", "gaps.csv")
        assert code == 0
        before, after = (folder / "gaps.csv").read_text(), out
        assert len(before.splitlines()) == len(after.splitlines()) == 13
        for old, new in zip(before.splitlines(), after.splitlines(), strict=True):
            pairs = list(zip(old.split(","), new.split(","), strict=True))
            assert all(was in (now, "") and now for was, now in pairs)
        assert "missing cells filled in" in err
        code, _, _ = run(
            "impute", "m.st", "gaps.csv", "--draws", 3, "--seed", 1, "-o", "three.parquet"
        )
        assert code == 0
        three = pl.read_parquet(folder / "three.parquet")
        assert (len(three), three.columns[0]) == (36, "draw")
        code, out, _ = run("impute", "m.st", "gaps.csv", "--intervals", "--draws", 20)
        assert code == 0
        assert "cost,cost_lower,cost_upper," in out.splitlines()[0]

    def test_explain(self, run):
        code, out, err = run("explain", "m.st", "new.csv", "--worst", 3)
        lines = out.splitlines()
        assert (code, len(lines)) == (0, 4)
        assert lines[0] == "row,log_prob,excess,column,value,surprise,expected,tail,usual"
        assert "3 lines on 12 rows" in err
        code, out, _ = run("explain", "m.st", "gaps.csv", "--cells")
        cells = pl.read_csv(io.StringIO(out))
        there = pl.read_csv("gaps.csv", infer_schema=False).count().sum_horizontal()[0]
        assert (code, len(cells)) == (0, there)

    def test_sample_where(self, run, model):
        code, out, err = run(
            "sample", "m.st", "-n", 20, "--where", "cost>4000 and kind in bus,tram", "--seed", 3
        )
        drawn = pl.read_csv(io.StringIO(out))
        assert (code, len(drawn)) == (0, 20)
        assert (drawn["cost"] > 4000).all()
        assert set(drawn["kind"]) <= {"bus", "tram"}
        assert "probability of cost>4000 and kind in bus,tram: 0." in err
        code, out, _ = run(
            "score", "m.st", "new.csv", "--where", "cost>4000", "--given", "kind,day"
        )
        found = pl.read_csv(io.StringIO(out))
        assert found.columns == ["probability", "standard_error", "effective_draws"]
        assert (code, len(found)) == (0, 12)
        exact = probability(model, "cost>4000", trips(12, seed=4).select("kind", "day"), draws=4096)
        assert (
            np.abs(found["probability"] - exact.value) < 5 * found["standard_error"] + 0.01
        ).all()

    def test_score(self, run, model, folder):
        table = trips(12, seed=4).with_columns(
            kind=pl.Series(["boat", *["bus"] * 11]), extra=pl.lit(1)
        )
        table.drop("day").write_csv(folder / "odd.csv")
        code, _, err = run("score", "m.st", "odd.csv")
        assert (code, "lacks column 'day'" in err) == (2, True)
        words = ["--allow-absent", "--per-column", "--gaps"]
        code, out, err = run("score", "m.st", "odd.csv", *words)
        assert code == 0
        assert "warning: 1 column unknown to the model and not used: 'extra'" in err
        assert err.count("1 cell holds a label that the fit did not see") == 1
        found = pl.read_csv(io.StringIO(out))
        assert found["unseen"].to_list() == [1] + [0] * 11
        plain = model.log_prob(table.drop("day"), absent=True)
        np.testing.assert_allclose(found["log_prob"], plain, atol=1e-6)
        parts = found.select(*model.columns.names).sum_horizontal()
        np.testing.assert_allclose(found["log_prob_with_gaps"], parts, atol=1e-6)
        both = model.log_prob(table.drop("day"), absent=True, gaps=True)
        np.testing.assert_allclose(parts, both, atol=1e-6)
        assert (found["day"] == 0).all()

    def test_mistakes_get_one_line(self, run, folder):
        trips(5).with_columns(day=pl.lit(None)).write_csv(folder / "blank.csv")
        trips(5).select(pl.col("cost") + 10**9).write_csv(folder / "far.csv")
        cases = {
            (
                "impute",
                "flow.st",
                "new.csv",
            ): "holds a flow, which cannot fill gaps; refit with --flow typed",
            ("explain", "flow.st", "new.csv"): "refit with --flow typed",
            ("sample", "flow.st", "-n", "1", "--where", "x>1"): "refit with --flow typed",
            ("score", "flow.st", "new.csv", "--gaps"): "--gaps is for typed models",
            ("score", "m.st", "blank.csv", "--given", "day"): "every cell of it is missing",
            ("score", "m.st", "new.csv", "--where", "cost>1"): "--given",
            ("sample", "m.st", "-n", "1", "--where", "cost>1e15"): "below 1e-12",
            ("sample", "m.st", "-n", "1", "--where", "costs>1"): "did you mean 'cost'",
            ("impute", "m.st", "new.csv", "-o", "new.npy"): "CSV, TSV or Parquet",
            ("impute", "m.st", "new.csv", "--intervals", "--draws", "1"): "at least 2 draws",
            ("fit", "new.csv", "-o", "x.st", "--ignore", "costs"): "no column 'costs'",
            (
                "fit",
                "new.csv",
                "-o",
                "x.st",
                "--flow",
                "maf",
                "--gaps",
                "ignored",
            ): "for typed tables",
        }
        for words, message in cases.items():
            code, out, err = run(*words)
            assert (code, out, message in err) == (2, "", True), (words, err)
            assert err.splitlines()[-1].startswith("pushforward: ")
        code, _, err = run("sample", "m.st", "-n", 1, "--given", "far.csv", "-o", "y.csv")
        assert (code, "5 rows for all but impossible" in err) == (0, True)

    def test_missing_cells_are_written_without_quotes(self, run, folder):
        assert run("sample", "m.st", "-n", 50, "-o", "q.csv")[0] == 0
        text = (folder / "q.csv").read_text()
        assert '""' not in text
        assert ",," in text
        assert pl.read_csv(folder / "q.csv", infer_schema_length=None)["stops"].dtype.is_integer()

    def test_fit_with_options(self, run, folder):
        words = ["--set", "width=16", "--set", "blocks=1", "--train", "max_steps=2", "-o", "o.st"]
        more = ["--ignore", "day,late", "--min-count", "20", "--gaps", "ignored", "--flow", "typed"]
        assert run("fit", "new.csv", *words, *more)[0] == 0
        columns = load_typed_table(folder / "o.st").columns
        assert [c.name for c in columns.every] == ["kind", "stops", "rain", "cost", "size", "wind"]
        assert columns.gaps == ()
        # Left out of a flow's table as well, where it may hold text.
        assert load_table_model(folder / "flow.st").columns.names == ("a", "b")
