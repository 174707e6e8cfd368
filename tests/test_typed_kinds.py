"""Columns of typed tables in every kind: bounds, angles, declared kinds, bad input, types that come back."""

import datetime
import json
import pickle
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import pushforward as pf
from pushforward.architectures.typed import Typed
from pushforward.cli import main
from pushforward.columns.declared import Declared
from pushforward.columns.spelling import as_polars
from pushforward.columns.typed import TypedColumn
from pushforward.columns.typed_columns import TypedColumns
from pushforward.errors import InputError, InputWarning
from pushforward.estimators.frames import as_it_came
from pushforward.fitting.fit_typed import fit_typed
from pushforward.heads import Logistics, Softmax, WrappedCauchy
from pushforward.models.typed_file import load_typed_table, save_typed_table

SMALL = Typed(width=16, blocks=1, context=8, context_blocks=1, components=4, dropout=0.0)
FEW = pf.Training(max_steps=40, batch=64)


def every_kind(n=240, seed=0):
    """Types of all sorts, with gaps."""
    rng = np.random.default_rng(seed)
    sites = pl.Enum(["quay", "mole", "pier", "buoy"])
    gaps = rng.uniform(size=n) > 0.1
    begin = datetime.datetime(2024, 3, 1)
    minutes = rng.integers(0, 24 * 60, n).tolist()
    zoned = [begin + datetime.timedelta(minutes=m) for m in minutes]
    quarters = [Decimal(int(v)) / 4 for v in rng.integers(0, 40, n)]

    def gappy(values, dtype):
        return pl.Series([v if g else None for g, v in zip(gaps, values, strict=True)], dtype=dtype)

    return pl.DataFrame(
        {
            "share": np.clip(rng.normal(0.6, 0.4, n), 0, 1),
            "wind": np.mod(rng.normal(340, 40, n), 360),
            "hour": rng.integers(0, 24, n) // 6 * 6,
            "site": pl.Series(rng.choice(["quay", "mole", "pier"], n)).cast(sites),
            "crew": pl.Series(rng.choice(["ann", "bob"], n)).cast(pl.Categorical),
            "price": pl.Series(quarters).cast(pl.Decimal(10, 2)),
            "took": pl.Series([datetime.timedelta(minutes=m % 90) for m in minutes]),
            "at": pl.Series([datetime.time(m // 60, m % 60) for m in minutes]),
            "zoned": pl.Series(zoned).dt.replace_time_zone("Europe/Rome"),
            "count": gappy(rng.poisson(2, n).tolist(), pl.UInt8),
            "open": gappy((rng.uniform(size=n) < 0.5).tolist(), pl.Boolean),
        }
    )


@pytest.fixture(scope="module")
def fitted():
    return fit_typed(
        every_kind(),
        declared={"share": "bounded:0,1", "wind": "circular:360", "hour": "angle:24"},
        architecture=SMALL,
        training=FEW,
        seed=0,
    )


class TestModel:
    def test_heads_by_kind(self, fitted):
        kinds = {column.name: column.kind for column in fitted.columns.every}
        assert kinds == {
            "share": "bounded", "wind": "circular", "hour": "circular", "site": "category", "crew": "category",
            "price": "decimals", "took": "whole", "at": "circular", "zoned": "time", "count": "whole",
            "open": "boolean",
        }  # fmt: skip
        heads = {
            column.name: type(head)
            for (column, gap), head in zip(
                fitted.columns.places, fitted.model.layout.columns.heads, strict=True
            )
            if not gap
        }
        assert heads["share"] is Logistics
        assert heads["wind"] is heads["at"] is WrappedCauchy
        # Few whole hours are labels, whose ends meet in what the network reads.
        assert heads["hour"] is Softmax
        assert len(fitted.columns.every[2].harmonics) == 4

    def test_types_come_back_and_draws_stay_where_values_can_be(self, fitted, tmp_path):
        table = every_kind()
        drawn = fitted.sample(400, 1)
        assert drawn.schema == table.schema
        assert 0 < drawn["count"].null_count() < 120
        assert drawn["share"].is_between(0, 1).all()
        assert (drawn["share"] == 1).any()
        assert drawn["wind"].is_between(0, 360, closed="left").all()
        assert set(drawn["hour"]) == {0, 6, 12, 18}
        assert (drawn["price"] * 4 == (drawn["price"] * 4).round()).all()
        path = tmp_path / "m.safetensors"
        save_typed_table(fitted, path)
        again = load_typed_table(path)
        assert again.sample(30, 2).equals(fitted.sample(30, 2))
        assert (again.log_prob(table) == fitted.log_prob(table)).all()

    @pytest.mark.parametrize("name", ["share", "wind"])
    @pytest.mark.parametrize("given", [(), ("crew", "hour")])
    def test_conditional_densities_integrate_to_one(self, fitted, name, given):
        n = 4000
        rows = every_kind()[:1].select("crew", "hour", name)
        rows = pl.concat([rows] * (n + 2))
        x, weight = 360 * (np.arange(n) + 0.5) / n, np.full(n, 360 / n)
        if name == "share":
            # The density may rise without end towards a bound.
            x = 1 / (1 + np.exp(-np.linspace(-30, 30, n)))
            weight = x * (1 - x) * 60 / n
        x = np.append(x, [0.0, 1.0] if name == "share" else [5.0, 5.0])
        weight = np.append(weight, [1.0, 1.0] if name == "share" else [0.0, 0.0])
        rows = rows.with_columns(pl.Series(name, x))
        p = np.exp(fitted.log_prob(rows, given, targets=[name], absent=True))
        assert (p * weight).sum() == pytest.approx(1.0, abs=3e-3)
        if name == "share":
            assert p[-2:].min() > 0.01

    def test_an_angle_is_what_it_is_after_a_turn(self, fitted):
        table = every_kind(50, seed=4)
        turned = table.with_columns(pl.col("wind") - 720, pl.col("hour") + 24)
        np.testing.assert_allclose(fitted.log_prob(turned), fitted.log_prob(table), atol=2e-4)
        # Also as what is given, just beside the seam.
        beside = [table.with_columns(pl.lit(v).alias("wind")) for v in (1e-4, 360 - 1e-4)]
        found = [fitted.log_prob(rows, ["wind"]) for rows in beside]
        np.testing.assert_allclose(found[0], found[1], atol=1e-3)

    def test_a_value_outside_is_impossible_and_counted(self, fitted):
        table = every_kind(6, seed=5).with_columns(share=pl.Series([0.1, 1.2, 0.3, -0.1, 0.5, 1.0]))
        with pytest.warns(InputWarning, match=r"2 of 6 rows .* row 2: column 'share' holds 1\.2"):
            found = fitted.log_prob(table)
        assert np.isneginf(found).tolist() == [False, True, False, True, False, False]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isfinite(fitted.log_prob(table, targets=["wind"])).all()

    def test_text_of_dates_and_truths_is_read_beside_stored_ones(self, fitted):
        table = every_kind(20, seed=6)
        text = table.with_columns(
            pl.col("at", "open").cast(pl.String),
            pl.col("zoned").dt.replace_time_zone(None).cast(pl.String),
        )
        own = table.with_columns(pl.col("zoned").dt.replace_time_zone(None))
        np.testing.assert_array_equal(fitted.log_prob(text), fitted.log_prob(own))


def column(cells, declared=None, name="x"):
    return TypedColumn.fit(pl.Series(name, cells), declared)


class TestDeclared:
    @pytest.mark.parametrize(
        ("declared", "cells", "message"),
        [
            ("bounded:0,1", ["0.5", "", "1.2"], "declared bounded:0,1, but row 3 holds 1.2"),
            ("bounded:,10", ["3", "11"], "declared bounded:,10, but row 2 holds 11"),
            ("whole", ["1", "2", "3.5"], "declared whole, but row 3 holds 3.5"),
            ("whole", ["a", "b"], "declared whole, but row 1 holds 'a'"),
            ("decimals", ["0.5", "0.123456"], "declared decimals, but row 2 holds 0.123456"),
            ("decimals", ["no", "yes"], "declared decimals, but row 1 holds no"),
            ("continuous", ["2024-01-31", "2024-02-01"], "but row 1 holds 2024-01-31"),
            ("date", ["", "3.5", "4"], "declared date, but row 2 holds 3.5"),
            ("date", ["2024-01-31 10:20", "2024-01-31 11:00"], "with a time of day"),
            ("time", ["2024-01-31", "2024-02-01"], "it holds dates"),
            ("date:%d/%m/%Y", ["01/02/2024", "2024-02-01"], "row 2, which is not a date like %d/%m/%Y"),
            ("boolean", ["1", "0", "2"], "declared boolean, but row 3 holds 2"),
            ("boolean", ["a", "b"], "declared boolean, but row 1 holds 'a'"),
            ("constant", ["a", "", "b"], "declared constant, but row 3 holds 'b' and row 1 holds 'a'"),
            ("ordinal:low,high", ["low", "mid"], "but row 2 holds 'mid'"),
            ("ordinal", ["low"], "ordinal:low,mid,high"),
            ("bounded:1,0", ["1"], "is not below"),
            ("bounded", ["1"], "at least one bound"),
            ("circular:-3", ["1"], "circular:24"),
            ("whole:3", ["1"], "whole stands alone"),
            ("date:%Q", ["2024-01-31"], "is not a"),
            ("colour", ["1"], "kind 'colour' is unknown"),
        ],
    )  # fmt: skip
    def test_what_the_data_contradict_gets_one_line(self, declared, cells, message):
        with pytest.raises(InputError) as caught:
            column(cells, declared)
        assert message in str(caught.value)
        assert "'x'" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_rows_are_those_of_the_file(self):
        # Row 2 is empty, and whatever rows are held out, row 6 is found.
        frame = pl.DataFrame(
            {"a": ["1", "", "3", "4", "5", "6.5"], "b": ["x", "", "y", "x", "y", "x"]}
        )
        with (
            pytest.warns(InputWarning, match=r"1 row without any cell .* row 2$"),
            pytest.raises(InputError, match=r"row 6 holds 6\.5"),
        ):
            fit_typed(frame, declared={"a": "whole"})

    @pytest.mark.parametrize(
        ("declared", "cells", "kind", "measure"),
        [
            ("date:%d/%m/%Y", ["01/02/2024", "03/04/2024"], "date", "probability"),
            ("time:%d/%m/%y %H:%M", ["01/02/24 10:00", "03/04/24 11:30"], "time", "probability"),
            ("boolean", [1, 0, 1], "boolean", "probability"),
            ("decimals", ["0.25", "0.5", "0.75"], "decimals", "probability"),
            ("bounded:0,", ["0.2517", "0.5", "31.415926"], "bounded", "density"),
            (pf.columns.Bounded(0, 1), [0.25, 0.5, 0.6], "bounded", "density"),
            (pf.columns.Angle(360), [350.17, 5.25, 10.125631], "circular", "density"),
            ("ordinal:low,mid,high", ["high", "low"], "ordinal", "probability"),
            ("category", [1, 2, 1, 1, 1, 1], "category", "probability"),
        ],
    )  # fmt: skip
    def test_what_the_data_allow(self, declared, cells, kind, measure):
        found = column(cells, declared)
        assert (found.kind, found.reason) == (kind, "declared")
        assert found.measure == measure
        again = TypedColumn.from_json(json.loads(json.dumps(found.to_json())))
        assert again.to_json() == found.to_json()

    def test_labels_of_a_closed_column_are_all_kept(self):
        found = TypedColumn.fit(
            pl.Series("x", ["low"] * 9 + ["high"]), "ordinal:low,mid,high",
            measured=np.arange(10) < 9,
        )  # fmt: skip
        assert found.labels.levels == ("low", "mid", "high")
        assert found.labels.counts == (9, 0, 0)
        truth = TypedColumn.fit(pl.Series("x", [True] * 9 + [False]), measured=np.arange(10) < 9)
        assert truth.labels.levels == (0.0, 1.0)

    def test_codes_declared_as_labels_come_back_as_numbers(self):
        found = column([7, 7, 7, 9, 9, 9, 9, 9, 7, 7], "category")
        back = found.spelling.write(np.array(["7", None], object), "x")
        assert back.equals(pl.Series("x", [7, None]))

    @pytest.mark.parametrize(
        ("name", "cells", "hint"),
        [
            ("share", np.append(np.linspace(0.001, 0.99, 50) ** 2, [0, 1, 1]), "4% at 1, so maybe bounded:0,1"),
            ("rain", np.append(np.linspace(0.1, 9, 50) ** 2, [0, 0]), "4% at 0, so maybe bounded:0,"),
            ("hour", np.repeat(np.arange(24), 3), "circular:24"),
            ("wind_dir", np.linspace(0, 359.5, 77) ** 0.99, "circular:360"),
            ("phase", np.linspace(-3.1, 3.1, 77) * 0.9987, "; its ends would meet as circular"),
        ],
    )  # fmt: skip
    def test_bounds_and_circles_are_suggested(self, name, cells, hint):
        found = column(cells, name=name)
        assert found.reason.endswith(hint)
        assert found.kind not in ("bounded", "circular")

    def test_other_columns_get_no_suggestion(self):
        for name, cells in (("share", np.linspace(0.01, 0.99, 50) ** 2), ("hours", [51.5, 40.25])):
            assert "maybe" not in column(cells, name=name).reason
            assert "circular" not in column(cells, name=name).reason


class TestBadInput:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "x.csv: is empty"),
            (b"a,b\n", "no rows"),
            (b"a,b\nx,1\n", "1 row given; at least 3 are needed"),
            (b"a,b\nx,1\ny,2\n,\n,\n", "2 rows given; at least 3 are needed"),
            (b"a,b,a\nx,1,2\ny,3,4\nz,5,6\n", "'a' occurs more than once"),
            (b"a;b\nx;1,5\ny;2\n", "seems to be separated by semicolons"),
            (b"a,b\nx,1\ny,2\nx,inf\n", "column 'b' holds inf in row 3"),
            (b"a,b\nx,1\ny,2\nx,twelve\nx,12\n", "column 'b' holds numbers, but 'twelve' in row 3"),
            (b'a,b\nx,"1,5"\ny,"2,25"\nx,3\n', "'1,5' in row 1, with a decimal comma: write 1.5"),
            (b'a,b\nx,3\ny,"1.234,5"\nx,"12,5"\n', "'1.234,5' in row 2, with a decimal comma: write 1234.5"),
            (b'a,b\nx,3\ny,"1,234.5"\nx,"1,000"\n', "'1,234.5' in row 2, with a thousands separator: write 1234.5"),
            (b'a,b\nx,3\ny,"1,234"\nx,"1,000"\n', "or a thousands separator: write 1234 or 1.234"),
            (b"a,b\nx,01/02/2020\ny,03/04/2020\nx,\n", "in row 1: declare b=date:%m/%d/%Y or b=date:%d/%m/%Y"),
            (b"a,b\nx,2020-01-31\ny,2020-02-30\nx,2020-03-01\n", "dates like %Y-%m-%d, but '2020-02-30' in row 2"),
            (b"a,b\nx,9007199254740993\ny,1\nx,2\n", "column 'b' holds 9007199254740993 in row 1, beyond 2^53"),
            ("a,b\nx,é\ny,1\nx,2\n".encode("latin-1"), "x.csv: is not UTF-8 text; save it as UTF-8"),
            ("a,b\nx,1\ny,1\nx,2\n".encode("utf-16"), "x.csv: is not UTF-8 text; save it as UTF-8"),
            (b"a,b\nx,1\ny,2,3\nx,4\n", "line 3 has 3 cells, the header has 2"),
            (b"a,b\nx,1\nx,1\nx,1\nx,1\n", "no column is left to model: 'a': constant"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("flow", ["auto", "typed"])
    def test_one_line_and_exit_code_2(self, content, message, flow, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "x.csv").write_bytes(content)
        assert main(["fit", "x.csv", "-o", "m.safetensors", "--flow", flow]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert "Traceback" not in said
        assert (
            said.splitlines()[-1].startswith("pushforward: error: ")
            or message in said.splitlines()[-1]
        )
        assert not (tmp_path / "m.safetensors").exists()

    def test_what_is_read_all_the_same(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        rows = "".join(f"{'ab'[i % 2]}, {i % 3}, ,?\n" for i in range(60))
        (tmp_path / "x.csv").write_text("\ufeffkind, n, none, q\n" + rows + ",,,\n,,,\n")
        small = [part for k, v in SMALL.__dict__.items() for part in ("--set", f"{k}={v}")]
        fit = ["fit", "x.csv", "-o", "m.safetensors", "--flow", "typed", *small]
        assert main([*fit, "--train", "max_steps=2", "--column", "n=circular:3"]) == 0
        said = capsys.readouterr().err
        assert "2 rows without any cell left out, the first is row 61" in said
        assert "column 'none' is not modelled: constant, every cell is missing" in said
        model = load_typed_table("m.safetensors")
        assert {c.name: c.kind for c in model.columns.every} == {
            "kind": "category", "n": "circular", "none": "constant", "q": "constant",
        }  # fmt: skip
        assert model.columns.every[3].spelling.null == "?"

    def test_large_whole_numbers_that_differ_are_identifiers(self):
        assert column([2**60 + i for i in range(50)]).kind == "identifier"
        assert column(["9007199254740993"] * 3 + ["5"] * 9, "continuous").kind == "continuous"
        assert column([2**60] * 6 + [2**60 + 1] * 6, "category").labels.levels == (
            str(2**60),
            str(2**60 + 1),
        )

    def test_too_many_levels(self):
        cells = [f"v{i}" for i in range(100_001)]
        with pytest.raises(InputError, match="column 'x' has 100,001 levels"):
            TypedColumn.fit(pl.Series("x", cells), "category", 1)

    def test_codes_and_words_are_labels(self):
        assert column(["A1", "B2", "12", "A1", "B2", "A1"] * 9).kind == "category"
        assert column(["123 456", "987 654"] * 9).kind == "category"


def tiny(**parameters):
    return pf.TableDensity(SMALL, training=pf.Training(max_steps=2, batch=16), **parameters)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    return np.stack([rng.normal(size=90), rng.integers(0, 3, 90)], axis=1)


@pytest.fixture(scope="module")
def density(rows):
    return tiny(random_state=0).fit(rows)


class TestScikitLearn:
    """All checks apply: frames are read by their names, labels and gaps are cells like others, and the tags say so."""

    # Some dozen fits of tables, each with programs of its own.
    @pytest.mark.nightly
    @parametrize_with_checks([tiny()])
    def test_passes(self, estimator, check, monkeypatch):
        monkeypatch.setenv("SCIPY_ARRAY_API", "1")
        check(estimator)

    def test_arrays(self, density, rows):
        assert density.n_features_in_ == 2
        assert not hasattr(density, "feature_names_in_")
        drawn = density.sample(30, random_state=0)
        assert (type(drawn), drawn.dtype, drawn.shape) == (np.ndarray, np.float64, (30, 2))
        assert set(drawn[:, 1]) <= {0.0, 1.0, 2.0}
        with pytest.raises(ValueError, match="X has 3 features, but TableDensity is expecting 2"):
            density.score_samples(np.ones((4, 3)))
        with pytest.raises(ValueError, match="minimum of 3 is required"):
            tiny().fit(rows[:2])
        with pytest.raises(InputError, match="column 'x0' holds inf in row 5"):
            tiny().fit(np.where(np.arange(90)[:, None] == 4, np.inf, rows))

    def test_pickles_clones_and_pipelines(self, density, rows):
        again = pickle.loads(pickle.dumps(density))
        np.testing.assert_array_equal(again.score_samples(rows), density.score_samples(rows))
        assert not hasattr(clone(density), "model_")
        assert clone(density).get_params() == density.get_params()
        pipeline = make_pipeline(FunctionTransformer(np.negative), density)
        np.testing.assert_array_equal(pipeline.score_samples(rows), density.score_samples(-rows))

    def test_frames_are_read_by_name(self, density, rows):
        frame = pl.DataFrame(rows, schema=["x0", "x1"])
        turned = frame.select("x1", pl.lit("more").alias("other"), "x0")
        np.testing.assert_array_equal(density.score_samples(turned), density.score_samples(rows))


class TestFrames:
    def frame(self, n=240):
        rng = np.random.default_rng(0)
        gone = rng.uniform(size=n) < 0.2
        text = rng.choice(["u", "v"], n)
        days = pd.to_datetime("2024-01-01") + pd.to_timedelta(rng.integers(0, 50, n), unit="D")
        return pd.DataFrame(
            {
                "int": rng.integers(0, 5, n),
                "Int": pd.array(np.where(gone, None, rng.integers(0, 5, n)), "Int16"),
                "float": np.where(gone, np.nan, rng.normal(size=n)).astype("float32"),
                "bool": rng.integers(0, 2, n) > 0,
                "boolean": pd.array(np.where(gone, None, rng.integers(0, 2, n) > 0), "boolean"),
                "text": pd.Series(np.where(gone, None, text), dtype=object),
                "string": pd.array(np.where(gone, None, text), "string"),
                "cat": pd.Categorical(text, categories=["w", "v", "u"], ordered=True),
                "codes": pd.Categorical(rng.choice([10, 20], n)),
                "day": days.where(~gone),
                "zone": days.tz_localize("Europe/Rome"),
                "span": pd.to_timedelta(rng.integers(0, 9, n), unit="h"),
            }
        )

    def test_types_of_pandas_come_back(self):
        frame = self.frame()
        density = pf.TableDensity(SMALL, training=FEW, random_state=0).fit(frame)
        drawn = density.sample(200, random_state=0)
        pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)
        for name in ("Int", "float", "boolean", "text", "string", "day"):
            assert 0 < drawn[name].isna().sum() < 150
        assert set(drawn["codes"].dropna()) == {10, 20}
        partial = frame.assign(float=np.float32(np.nan))
        filled = density.impute(partial[5:9], random_state=0)
        pd.testing.assert_frame_equal(
            filled[["int", "cat", "span", "zone"]].reset_index(drop=True),
            frame[5:9][["int", "cat", "span", "zone"]].reset_index(drop=True),
        )
        assert filled["float"].notna().all()

    def test_categories_of_pandas(self):
        """Lacking ones are added; those of identifiers, which are numbered anew, do not come back."""
        frame = pl.DataFrame({"kind": ["bus", None, "tram"], "name": ["1", "2", "3"]})
        types = pd.Series(
            {"kind": pd.CategoricalDtype(["bus"]), "name": pd.CategoricalDtype(list("ab"))}
        )
        found = as_it_came(frame, "pandas", types, pd.Index(["u", "v", "w"]))
        assert list(found["kind"].cat.categories) == ["bus", "tram"]
        assert found["kind"].isna().to_list() == [False, True, False]
        assert not isinstance(found["name"].dtype, pd.CategoricalDtype)
        assert found.index.to_list() == ["u", "v", "w"]

    def test_arrow(self):
        class Arrow:
            """As a table of pyarrow offers its columns, dictionaries among them."""

            def __init__(self, frame):
                self.frame = frame

            def __arrow_c_stream__(self, requested_schema=None):
                return self.frame.__arrow_c_stream__(requested_schema)

        frame = every_kind(10).select("site", "crew", "price", "at")
        found = TypedColumns.fit(as_polars(Arrow(frame)), least=1)
        assert [c.spelling.dtype.partition("(")[0] for c in found.every] == [
            "Enum",
            "Categorical",
            "Decimal",
            "Time",
        ]

    def test_words_of_declared_columns(self):
        assert Declared.of(pf.columns.Bounded(None, 3.0), "x").high == 3.0
        assert Declared.of("circular", "x").period == pytest.approx(2 * np.pi)
