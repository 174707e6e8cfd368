"""The scikit-learn estimators: scikit-learn's checks and tools, frames, files, what is refused."""

import subprocess
import sys
import tracemalloc
from dataclasses import replace
from datetime import date, timedelta

import equinox as eqx
import jax
import joblib
import numpy as np
import pandas
import polars
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from pushforward.architectures import (
    FFJORD,
    MAF,
    NICE,
    NSF,
    RNODE,
    FlowMatching,
    Glow,
    OTFlow,
    PlanarCNF,
    RadialFlow,
    RealNVP,
)
from pushforward.bijections import initialised
from pushforward.cli import main
from pushforward.columns import Whole
from pushforward.distributions import Flow
from pushforward.errors import InputError
from pushforward.estimators import (
    ConditionalFlowDensity,
    FlowDensity,
    NeuralODERegressor,
    TableModel,
    fit_table,
    load,
)
from pushforward.models.table_flow import table_flow
from pushforward.training import Training, fit

SMALL = RealNVP(layers=1, width=8, depth=1)
# One batch size for all: rows are padded, so that fits of one width share one compiled program.
QUICK = Training(batch=16, max_epochs=2, patience=1.0)
LEARNT = Training(batch=64, max_epochs=40, learning_rate=1e-2)


def density(**parameters):
    return FlowDensity(**{"architecture": SMALL, "training": QUICK, "random_state": 0} | parameters)


def conditional(**parameters):
    parameters = {"architecture": SMALL, "training": QUICK, "random_state": 0} | parameters
    return ConditionalFlowDensity(**parameters)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    return np.stack([100 + 20 * x[:, 0], x[:, 0] + 0.3 * x[:, 1], rng.poisson(4.0, 200)], axis=1)


@pytest.fixture(scope="module")
def regression():
    """y = 5 x0 + noise of 0.5, with x1 as idle company."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1000, 2))
    return x, 5 * x[:, 0] + 0.5 * rng.normal(size=1000)


@pytest.fixture(scope="module")
def fitted_conditional(regression):
    return conditional(architecture=RealNVP(layers=2, width=16), training=LEARNT).fit(*regression)


class TestScikitLearnChecks:
    @pytest.fixture(autouse=True)
    def _array_api(self, monkeypatch):
        # Without it scikit-learn skips one of its checks.
        monkeypatch.setenv("SCIPY_ARRAY_API", "1")

    @parametrize_with_checks([density(random_state=None), conditional(random_state=None)])
    def test_passes(self, estimator, check):
        check(estimator)


class TestScikitLearnTools:
    def test_clone_copies_parameters_and_no_fit(self, rows):
        fitted = density(max_epochs=1).fit(rows)
        again = clone(fitted)
        assert again.get_params() == fitted.get_params()
        assert not hasattr(again, "model_")

    @pytest.mark.parametrize("step", [StandardScaler(), PCA(n_components=2)])
    def test_pipeline_scores_as_its_last_step_on_transformed_rows(self, step, rows):
        pipeline = make_pipeline(step, density()).fit(rows)
        inside = pipeline[-1].score_samples(pipeline[0].transform(rows))
        np.testing.assert_array_equal(pipeline.score_samples(rows), inside)
        assert pipeline.score(rows) == pytest.approx(inside.mean())

    def test_grid_search_over_architectures_takes_the_best_held_out_density(self, rows):
        candidates = [SMALL, MAF(layers=1, width=8)]
        search = GridSearchCV(density(), {"architecture": candidates}, cv=2)
        search.fit(rows)
        scores = search.cv_results_["mean_test_score"]
        assert np.isfinite(scores).all()
        assert search.best_params_["architecture"] == candidates[int(np.argmax(scores))]
        assert search.best_score_ == scores.max()

    def test_grid_search_reaches_the_fields_of_records(self, rows):
        grid = {"architecture__width": [8], "training__learning_rate": [1e-9, 1e-2]}
        search = GridSearchCV(
            density(architecture="maf").set_params(architecture__layers=1), grid, cv=2
        )
        search.fit(rows)
        best = search.best_estimator_
        assert best.architecture == MAF(layers=1, width=8)
        # Nothing is learnt with the small one.
        assert search.best_params_["training__learning_rate"] == best.training.learning_rate == 1e-2

    def test_processes_of_joblib_give_the_same_scores(self, regression, monkeypatch):
        # The processes compile as this one does, and share what it has compiled.
        for name in (
            "jax_compilation_cache_dir",
            "jax_persistent_cache_min_compile_time_secs",
            "jax_persistent_cache_min_entry_size_bytes",
            "jax_disable_most_optimizations",
        ):
            monkeypatch.setenv(name.upper(), str(jax.config.values[name]))
        here, there = (cross_val_score(conditional(), *regression, cv=2, n_jobs=n) for n in (1, 2))
        assert np.isfinite(here).all()
        np.testing.assert_allclose(here, there, rtol=1e-5)

    def test_parameters_within_parameters(self):
        one = FlowDensity("nsf", max_epochs=3)
        deep = one.get_params()
        assert deep["architecture__width"] == NSF().width
        assert deep["training__patience"] == Training().patience
        assert not [name for name in one.get_params(deep=False) if "__" in name]
        assert clone(one).get_params() == deep
        one.set_params(architecture="maf", architecture__width=8, training__batch=64, max_epochs=1)
        assert (one.architecture, one.training) == (MAF(width=8), Training(batch=64))
        series = NeuralODERegressor().set_params(solver__rtol=1e-3, training__batch=32)
        assert (series.solver.rtol, series.solver.atol) == (1e-3, 1e-4)
        assert (series.training.max_steps, series.training.batch) == (700, 32)
        pipeline = make_pipeline(StandardScaler(), one)
        assert pipeline.get_params()["flowdensity__training__batch"] == 64
        for wrong, said in (
            (
                {"architecture__bins": 3},
                r"architecture__bins: architecture is MAF\(.*it has layers",
            ),
            ({"training__rate": 1}, "it has batch, max_epochs"),
            ({"max_epochs__x": 1}, "max_epochs is 1; it has no fields"),
            ({"architecture": "auto", "architecture__width": 1}, "is 'auto'; it has no fields"),
            ({"training__batch": 0}, "batch=0: a whole number"),
            ({"width": 3}, "Invalid parameter 'width'"),
        ):
            with pytest.raises(ValueError, match=said):
                one.set_params(**wrong)

    def test_joblib_keeps_the_density(self, rows, tmp_path):
        fitted = density().fit(rows)
        joblib.dump(fitted, tmp_path / "density.joblib")
        again = joblib.load(tmp_path / "density.joblib")
        np.testing.assert_array_equal(again.score_samples(rows), fitted.score_samples(rows))
        np.testing.assert_array_equal(again.sample(5, 0), fitted.sample(5, 0))


class TestSettingsOfJax:
    """`JAX_NUMPY_RANK_PROMOTION=raise` is for a user's own code."""

    CONTINUOUS = (PlanarCNF(), FFJORD(), RNODE(), OTFlow(), FlowMatching())

    @pytest.mark.parametrize("architecture", [NSF(), MAF(), Glow(layers=1), RealNVP(), *CONTINUOUS])
    @pytest.mark.parametrize("condition", [pytest.param(None, marks=pytest.mark.nightly), (3,)])
    def test_broadcasting_refused(self, architecture, condition):
        """All that is traced for a fit, a score and a draw."""
        x, given = np.zeros((5, 2)), None if condition is None else np.zeros((5, 3))

        def loss(flow, key=None):
            return -flow.log_prob(x, given, key=key).sum()

        with jax.numpy_rank_promotion("raise"):
            flow = table_flow(architecture, 2, condition, jax.random.key(0))
            flow = Flow(flow.base, initialised(flow.bijection, x, given))
            eqx.filter_eval_shape(eqx.filter_grad(loss), flow)
            eqx.filter_eval_shape(eqx.filter_grad(lambda f: loss(f, jax.random.key(2))), flow)
            shape = (5,) if condition is None else ()
            drawn = eqx.filter_eval_shape(lambda f: f.sample(jax.random.key(1), shape, given), flow)
            assert drawn.shape == (5, 2)
            assert eqx.filter_eval_shape(lambda f: f.grad_log_prob(x, given), flow).shape == (5, 2)
            # The user's own code is still refused.
            with pytest.raises(ValueError, match="rank_promotion"):
                jax.numpy.ones((2, 3)) + jax.numpy.ones(3)

    @pytest.mark.parametrize("architecture", CONTINUOUS)
    def test_a_fit_of_a_continuous_flow(self, architecture):
        x = np.random.default_rng(0).normal(size=(20, 2))
        flow = table_flow(replace(architecture, width=8), 2, None, jax.random.key(0))
        training = Training(max_epochs=1, batch=16)
        options = {"loss": architecture.loss} if hasattr(architecture, "loss") else {}
        with jax.numpy_rank_promotion("raise"):
            fitted = fit(flow, x, key=jax.random.key(1), training=training, **options)
        assert np.isfinite(fitted.best_loss)

    def test_an_equation_of_series(self):
        times = np.linspace(0, 3, 20)
        series = np.stack([np.cos(times), np.sin(times)], 1)
        with jax.numpy_rank_promotion("raise"):
            fitted = NeuralODERegressor(training=Training(max_steps=5), random_state=0, width=8)
            assert fitted.fit(times, series).predict(times, series[0]).shape == (20, 2)

    def test_a_fit_and_its_file(self, regression, tmp_path):
        x, y = regression
        with jax.numpy_rank_promotion("raise"):
            fitted = conditional(max_epochs=1).fit(x[:100], y[:100])
            fitted.save(tmp_path / "m.safetensors")
            again = load(tmp_path / "m.safetensors")
            scores = again.log_prob(x[:9], y[:9])
            assert again.sample(x[:2], 3, random_state=0).shape == (2, 3)
        np.testing.assert_allclose(scores, fitted.log_prob(x[:9], y[:9]), rtol=1e-6)


class TestFlowDensity:
    def test_score_is_the_mean(self, rows):
        fitted = density().fit(rows)
        assert fitted.score_samples(rows).shape == (200,)
        assert isinstance(fitted.score(rows), float)
        assert fitted.score(rows) == pytest.approx(fitted.score_samples(rows).mean())

    def test_densities_are_per_unit_of_the_data(self, rows):
        metres = rows[:, :2]
        millimetres = metres * [1000, 1]
        shift = density().fit(millimetres).score(millimetres) - density().fit(metres).score(metres)
        # Equal but for the rounding of the encoded values, which training carries on.
        assert shift == pytest.approx(-np.log(1000), abs=1e-3)

    def test_learns_the_density(self, rows):
        x = rows[:, :2]
        fitted = density(architecture=RealNVP(layers=2, width=16), training=LEARNT).fit(x)
        # Rows that break the correlation are as likely as others by their columns alone.
        assert fitted.score(x) > fitted.score(np.stack([x[:, 0], -x[:, 1]], 1)) + 3
        draws = fitted.sample(2000, random_state=0)
        assert np.corrcoef(draws.T)[0, 1] > 0.8
        assert draws.mean(0) == pytest.approx(x.mean(0), abs=4)

    def test_integer_columns_are_whole_in_samples(self, rows):
        draws = density().fit(rows).sample(100, random_state=0)
        np.testing.assert_array_equal(draws[:, 2], np.rint(draws[:, 2]))
        assert (draws[:, 0] != np.rint(draws[:, 0])).all()

    def test_draws_repeat_only_where_asked(self, rows):
        fitted = density().fit(rows)
        np.testing.assert_array_equal(fitted.sample(5, 3), fitted.sample(5, 3))
        assert (fitted.sample(5) != fitted.sample(5)).any()
        state = np.random.RandomState(3)
        assert (fitted.sample(5, state) != fitted.sample(5, state)).any()
        np.testing.assert_array_equal(fitted.sample(2, 3), fitted.sample(5, 3)[:2])

    def test_generators_are_taken(self, rows):
        first, again = (density(random_state=np.random.default_rng(3)).fit(rows) for _ in range(2))
        assert first.score(rows) == again.score(rows)
        rng = np.random.default_rng(4)
        one, other = first.sample(5, rng), first.sample(5, rng)
        assert (one != other).any()
        np.testing.assert_array_equal(again.sample(5, np.random.default_rng(4)), one)

    @pytest.mark.mistyped
    @pytest.mark.parametrize("wrong", ["a", 1.5, -1, 2**32, jax.random.key(0), [1, 2]])
    def test_other_states_are_named(self, wrong, rows, fitted_conditional):
        fitted = density(max_epochs=1).fit(rows)
        for call in (
            lambda: density(random_state=wrong).fit(rows),
            lambda: fitted.sample(2, wrong),
            lambda: fitted_conditional.sample(np.zeros((2, 2)), 2, random_state=wrong),
            lambda: NeuralODERegressor(random_state=wrong).fit([0.0, 1.0], [1.0, 2.0]),
        ):
            with pytest.raises(InputError, match=r"random_state=.*a whole number from 0 to"):
                call()

    @pytest.mark.mistyped
    def test_seeds_of_the_functions_are_whole_numbers(self, rows):
        fitted = density(max_epochs=1).fit(rows)
        for seed in (np.random.default_rng(0), np.random.RandomState(0), 0.5, -1, 2**64):
            for call in (
                lambda seed=seed: fit_table(rows, architecture=SMALL, training=QUICK, seed=seed),
                lambda seed=seed: fitted.model_.sample(2, seed),
            ):
                with pytest.raises(InputError, match=r"seed=.*: a whole number .* is needed"):
                    call()

    def test_a_fit_repeats_for_a_seed(self, rows):
        first, again, other = (density(random_state=seed).fit(rows) for seed in (0, 0, 1))
        assert first.score(rows) == again.score(rows) != other.score(rows)

    @pytest.mark.mistyped
    def test_an_int_is_the_seed_of_the_functions_below(self, rows):
        fitted = density(random_state=5).fit(rows)
        model = fit_table(rows, architecture=SMALL, training=QUICK, seed=5)
        np.testing.assert_array_equal(fitted.score_samples(rows), model.log_prob(rows))
        np.testing.assert_array_equal(fitted.sample(4, np.int64(7)), model.sample(4, 7))
        assert np.isfinite(fitted.sample(4, 2**32 - 1)).all()

    def test_far_rows_are_finite(self, rows):
        far = np.array([[1e300, 0, 0], [-1e30, 1e30, 1e12]])
        scores = density().fit(rows).score_samples(far)
        assert np.isfinite(scores).all()
        assert (scores < -30).all()

    def test_limits_replace_those_of_the_training(self, rows, capsys):
        density(max_epochs=3, verbose=True).fit(rows)
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 3
        assert "epoch 3/3" in err

    def test_an_architectures_own_learning_rate(self, rows):
        """It is taken unless another is given."""
        plans = [
            replace(QUICK, learning_rate=rate) for rate in (None, RadialFlow.learning_rate, 6e-3)
        ]
        fits = [
            density(architecture=RadialFlow(layers=1), training=plan).fit(rows) for plan in plans
        ]
        assert fits[0].score(rows) == fits[1].score(rows) != fits[2].score(rows)

    def test_double_precision(self, rows):
        fitted = density(precision=64).fit(rows)
        assert fitted.model_.precision == 64
        assert np.isfinite(fitted.score(rows))


class TestFrames:
    @pytest.mark.parametrize("kind", [pandas.DataFrame, polars.DataFrame])
    def test_names_and_kind_come_back(self, kind, rows):
        frame = kind({"mass": rows[:, 0], "size": rows[:, 1], "count": rows[:, 2].astype(int)})
        fitted = density().fit(frame)
        assert list(fitted.feature_names_in_) == ["mass", "size", "count"]
        draws = fitted.sample(4, random_state=0)
        assert isinstance(draws, kind)
        assert list(draws.columns) == ["mass", "size", "count"]
        assert draws.shape == (4, 3)
        plain = density().fit(rows)
        np.testing.assert_array_equal(fitted.score_samples(frame), plain.score_samples(rows))
        np.testing.assert_array_equal(np.asarray(draws), plain.sample(4, random_state=0))

    def test_types_come_back(self, rows, tmp_path):
        """Whatever a frame stores its numbers as, in a file too."""
        count, flag, x = rows[:, 2].astype(int), rows[:, 0] > 100, rows[:, 1]
        wide = np.random.default_rng(0).integers(-(2**62), 2**62, 200)
        plain = {
            "long": count, "short": count.astype(np.int8), "flag": flag, "wide": wide,
            "single": x.astype(np.float32) ** 2, "double": x,
        }  # fmt: skip
        plain["short"] = np.roll(plain["short"], 1)
        nullable = {
            "whole": pandas.array(np.roll(count, 2), dtype="Int64"),
            "maybe": pandas.array(np.roll(flag, 1), dtype="boolean"),
            "real": pandas.array(x**3, dtype="Float32"),
        }
        for frame in (pandas.DataFrame(plain | nullable), polars.DataFrame(plain)):
            fitted = density(max_epochs=1).fit(frame)
            draws = fitted.sample(6, random_state=0)
            assert list(draws.dtypes) == list(frame.dtypes)
            numbers = fitted.model_.sample(6, 0)
            assert np.asarray(draws["short"]).tolist() == numbers[:, 1].tolist()
            assert np.asarray(draws["flag"]).tolist() == (numbers[:, 2] == 1).tolist()
            np.testing.assert_array_equal(draws["double"], numbers[:, 5])
            assert np.isfinite(fitted.score_samples(draws)).all()
            fitted.save(tmp_path / "m.st")
            assert list(load(tmp_path / "m.st").sample(6, 0).dtypes) == list(frame.dtypes)
            # Files of earlier versions do not say.
            notes = fitted.model_.summary["estimator"]
            del notes["types"]
            drawn = fitted.sample(6, random_state=0)
            np.testing.assert_array_equal(np.asarray(drawn), numbers)

    def test_objects_and_categories_of_numbers_are_drawn_as_numbers(self, rows):
        frame = pandas.DataFrame(
            {
                "objects": pandas.Series([int(n) for n in rows[:, 2]], dtype=object),
                "category": pandas.Series(np.roll(rows[:, 2], 1).astype(int)).astype("category"),
                "x": rows[:, 1],
            }
        )
        draws = density(max_epochs=1).fit(frame).sample(3, random_state=0)
        assert [str(dtype) for dtype in draws.dtypes] == ["int64", "int64", "float64"]

    @pytest.mark.parametrize("library", [pandas, polars])
    def test_targets_keep_their_type(self, library, rows, tmp_path):
        x, count = rows[:, :1], rows[:, 2].astype(np.int16)
        frame = library.DataFrame({"n": count, "flag": rows[:, 0] > 100, "x": rows[:, 1]})
        for y, expected in (
            (frame["n"], np.int16),
            (frame["flag"], bool),
            (frame[["n", "flag"]], np.int16),
            (frame[["n", "x"]], np.float64),
            (rows[:, 2], np.float64),
        ):
            fitted = conditional(max_epochs=1).fit(x, y)
            draws = fitted.sample(x[:3], 2, random_state=0)
            assert draws.dtype == expected
            fitted.save(tmp_path / "m.st")
            np.testing.assert_array_equal(load(tmp_path / "m.st").sample(x[:3], 2, 0), draws)

    @pytest.mark.parametrize("kind", [pandas.DataFrame, polars.DataFrame])
    def test_other_names_and_other_order_are_refused(self, kind, rows):
        fitted = density().fit(kind({"a": rows[:, 0], "b": rows[:, 1]}))
        with pytest.raises(ValueError, match="same order"):
            fitted.score_samples(kind({"b": rows[:, 1], "a": rows[:, 0]}))
        with pytest.raises(ValueError, match="unseen at fit time:\n- c"):
            fitted.score_samples(kind({"a": rows[:, 0], "c": rows[:, 1]}))

    def test_a_frame_without_string_names_counts_as_an_array(self, rows):
        fitted = density().fit(pandas.DataFrame(rows))
        assert not hasattr(fitted, "feature_names_in_")
        assert isinstance(fitted.sample(2), np.ndarray)

    @pytest.mark.parametrize("kind", [pandas.DataFrame, polars.DataFrame])
    def test_text_and_missing_cells_are_named(self, kind):
        with pytest.raises(InputError, match="'colour' is not numeric"):
            density().fit(kind({"size": [1.5, 2.0], "colour": ["red", "blue"]}))
        with pytest.raises(InputError, match="row 2, column 'size'"):
            density().fit(kind({"size": [1.5, None], "mass": [1.0, 2.0]}))

    @pytest.mark.parametrize("library", [pandas, polars])
    def test_targets_keep_their_names(self, library, regression):
        x, y = regression
        frame = library.DataFrame({"a": x[:, 0], "b": x[:, 1]})
        pair = library.DataFrame({"height": y, "noise": x[:, 1] ** 2})
        fitted = conditional().fit(frame, pair["height"])
        assert fitted.target_names_ == ("height",)
        assert fitted.model_.columns.names == ("height",)
        assert fitted.model_.condition.names == ("a", "b")
        fitted = conditional().fit(frame, pair)
        assert fitted.target_names_ == ("height", "noise")
        assert np.isfinite(fitted.score(frame, pair))
        with pytest.raises(InputError, match="fitted were 'height', 'noise', in this order"):
            fitted.score(frame, pair[["noise", "height"]])


class TestConditionalFlowDensity:
    def test_the_density_follows_the_features(self, fitted_conditional, regression):
        x, y = regression
        score = fitted_conditional.score(x, y)
        assert score == pytest.approx(fitted_conditional.log_prob(x, y).mean())
        # The truth is -0.73; y without x would be -3.0.
        assert -1.2 < score < -0.5
        assert score > fitted_conditional.score(x[::-1], y) + 2

    def test_draws_follow_the_features(self, fitted_conditional):
        x = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
        draws = fitted_conditional.sample(x, 500, random_state=0)
        assert draws.shape == (3, 500)
        assert draws.mean(1) == pytest.approx([-5, 0, 5], abs=0.5)
        assert draws.std(1) == pytest.approx([0.5] * 3, abs=0.25)
        assert fitted_conditional.sample(x).shape == (3, 1)
        assert (fitted_conditional.sample(x) != fitted_conditional.sample(x)).all()

    @pytest.mark.parametrize("width", [1, 2])
    def test_two_dimensional_targets_keep_their_axis(self, width, regression):
        x, y = regression
        y = np.stack([y, y**2], axis=1)[:, :width]
        fitted = conditional().fit(x, y)
        assert fitted.log_prob(x, y).shape == (1000,)
        assert fitted.sample(x[:4], 3).shape == (4, 3, width)

    def test_a_target_named_as_a_feature_is_told_from_it_in_a_file(self, regression, tmp_path):
        x, y = regression
        frame = pandas.DataFrame(x, columns=["height", "y0"])
        fitted = conditional().fit(frame, pandas.Series(y, name="height"))
        assert fitted.model_.columns.names == ("y_0",)
        assert fitted.score(frame, pandas.Series(y, name="height")) == fitted.score(frame, y)
        fitted.save(tmp_path / "m.st")
        frame.assign(y_0=y).to_csv(tmp_path / "t.csv", index=False)
        assert main(["score", str(tmp_path / "m.st"), str(tmp_path / "t.csv"), "-q"]) == 0

    def test_integer_targets_are_whole_in_samples(self, regression):
        x, y = regression
        draws = conditional().fit(x, np.rint(y)).sample(x[:5], 20)
        np.testing.assert_array_equal(draws, np.rint(draws))

    def test_refused(self, fitted_conditional, regression):
        x, y = regression
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            fitted_conditional.score(x, y[:-1])
        with pytest.raises(ValueError, match="expecting 2 features"):
            fitted_conditional.score(x[:, :1], y)
        with pytest.raises(InputError, match="y0"):
            fitted_conditional.score(x, np.stack([y, y], axis=1))
        with pytest.raises(InputError, match="y: 1 cell missing, NaN or infinite"):
            conditional().fit(x, np.where(np.arange(1000) == 7, np.nan, y))
        with pytest.raises(InputError, match="y: could not convert string"):
            conditional().fit(x, ["a"] * 1000)
        with pytest.raises(InputError, match="constant"):
            conditional().fit(x, np.ones(1000))


def test_functions_for_tables_leave_scikit_learn_alone():
    # It takes longer to import than the rest together; the command line would wait for it.
    code = "import sys; from pushforward.estimators import fit_table, load; "
    code += "sys.exit('sklearn' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


DATES = np.datetime64("2026-01-01") + np.arange(200).astype("m8[D]")
DAYS = [date(2026, 1, 1) + timedelta(i) for i in range(200)]
# Columns of dates and spans of time, as the libraries spell them.
WHEN = {
    "zone": pandas.Series(pandas.date_range("2024-01-01", periods=200, tz="UTC"), name="when"),
    "index": pandas.date_range("2024-01-01", periods=200, name="when"),
    "objects": pandas.Series(DAYS, name="when"),
    "late": pandas.Series([*range(199), DAYS[0]], dtype=object, name="when"),
    "period": pandas.period_range("2024-01-01", periods=200, freq="D", name="when"),
    "category": pandas.Series(DATES, name="when").astype("category"),
    "span": pandas.Series(DATES - DATES[0], name="when"),
    "polars": polars.Series("when", DAYS),
    "polars span": polars.Series("when", [day - DAYS[0] for day in DAYS]),
}
IDS = 2**60 + np.random.default_rng(3).integers(0, 5000, 200)
# Whole numbers beyond 2**53, in every way of storing them.
HUGE = {
    "int64": IDS,
    "uint64": IDS.astype(np.uint64) + np.uint64(2**63),
    "nullable": pandas.Series(IDS, name="id", dtype="Int64"),
    "objects": pandas.Series([int(i) for i in IDS], name="id", dtype=object),
    "list": IDS.tolist(),
    "polars": polars.Series("id", IDS),
    "polars uint64": polars.Series("id", IDS, dtype=polars.UInt64),
}
TOO_CLOSE = "column '{}' holds whole numbers up to .* beyond 2..53, too close together"


def frame_with(column, numbers):
    """A frame of that column and one of numbers, by the column's library."""
    if isinstance(column, polars.Series):
        return polars.DataFrame([column, polars.Series("a", numbers)])
    return pandas.DataFrame({getattr(column, "name", "id") or "id": column, "a": numbers})


class TestCells:
    """What cells are before they become floats."""

    @pytest.mark.parametrize("name", WHEN)
    def test_dates_are_named(self, name, regression):
        when, a = WHEN[name], regression[1][:200]
        with pytest.raises(InputError, match="X: column 'when' holds dates or spans of time"):
            density().fit(frame_with(when, a))
        with pytest.raises(InputError, match="X: column 'when' holds dates"):
            conditional().fit(frame_with(when, a), a)
        y = pandas.Series(when, name="when") if isinstance(when, pandas.Index) else when
        with pytest.raises(InputError, match="y: column 'when' holds dates"):
            conditional().fit(a[:, None], y)

    @pytest.mark.parametrize("name", HUGE)
    def test_whole_numbers_that_floats_merge_are_named(self, name, regression):
        ids, a = HUGE[name], regression[1][:200]
        with pytest.raises(InputError, match="X: " + TOO_CLOSE.format("id")):
            density().fit(frame_with(ids, a))
        target = getattr(ids, "name", "y0")
        with pytest.raises(InputError, match="y: " + TOO_CLOSE.format(target)):
            conditional().fit(a[:, None], ids)

    def test_arrays_and_lists_of_dates_and_huge_numbers(self, rows):
        for x in (np.stack([IDS, np.arange(200)], 1), [[int(i), 0.5 * int(i)] for i in IDS]):
            with pytest.raises(InputError, match="X: " + TOO_CLOSE.format("x0")):
                density().fit(x)
        with pytest.raises(InputError, match="X: column 'x1' holds dates"):
            density().fit([[1.5, day] for day in DAYS])
        with pytest.raises(InputError, match="y: column 'y0' holds dates"):
            conditional().fit(rows, DAYS)

    def test_rows_to_score_are_looked_at_too(self, regression):
        """A model of floats 256 apart is asked for whole numbers between them."""
        a = regression[1][:200]
        apart = pandas.DataFrame({"id": 2.0**60 + 256.0 * np.arange(200)})
        ids = apart.astype(np.int64) + 1
        fitted = conditional(max_epochs=1).fit(apart, a)
        for call in (lambda: fitted.log_prob(ids, a), lambda: fitted.sample(ids)):
            with pytest.raises(InputError, match="X: " + TOO_CLOSE.format("id")):
                call()
        fitted = conditional(max_epochs=1).fit(a[:, None], apart)
        with pytest.raises(InputError, match="y: " + TOO_CLOSE.format("id")):
            fitted.log_prob(a[:, None], ids)
        # Where the column spans far more than rounding, or is far from the number, nothing merges.
        for column in (np.random.default_rng(0).integers(-(2**62), 2**62, 200), np.arange(200)):
            x = pandas.DataFrame({"id": column, "a": a})
            fitted = density(max_epochs=1).fit(x)
            assert np.isfinite(fitted.score_samples(x[:1])).all()
            assert np.isfinite(fitted.score_samples(x[:1].assign(id=2**60 + 1))).all()


class TestRefused:
    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda x: x[:1], "minimum of 2 is required"),
            (lambda x: x[:2], "2 rows given; at least 3 are needed"),
            (lambda x: pandas.DataFrame({"a": x[:, 0], "d": DATES}), "X: column 'd' holds dates"),
            (lambda x: polars.DataFrame({"d": DATES}), "X: column 'd' holds dates"),
            (lambda x: np.stack([DATES, DATES], 1), "X: the array holds dates"),
            (lambda x: x[:0], "0 sample"),
            (lambda x: x[:, 0], "1D array"),
            (lambda x: np.where(x == x[3, 1], np.nan, x), "X: 1 cell .* row 4, column 'x1'"),
            (lambda x: np.where(x == x[3, 1], np.inf, x), r"row 4, column 'x1' \(inf\)"),
            (lambda x: np.ones((len(x), 2)), "columns 'x0', 'x1' are constant"),
            (lambda x: np.column_stack([x, x[:, 0]]), "'x0' and 'x3' are equal"),
            (lambda x: [["red"]] * 5, "could not convert string|not numeric"),
            (lambda x: np.ma.masked_array(x, x == x[3, 1]), "X: 1 cell .* row 4, column 'x1'"),
            (
                lambda x: pandas.DataFrame(x, columns=list("aba")),
                "X: the column name 'a' occurs more",
            ),
            (lambda x: polars.DataFrame(x, schema=list("abc")).lazy(), r"give X\.collect\(\)"),
        ],
    )
    def test_rows(self, spoil, message, rows):
        with pytest.raises(ValueError, match=message):
            density().fit(spoil(rows))

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"training": {"batch": 3}}, "Training is expected"),
            ({"max_epochs": 0}, "max_epochs=0: a whole number of at least 1"),
            ({"precision": 16}, "precision=16: 32 or 64"),
            ({"architecture": "nosuch"}, "nosuch"),
            ({"architecture": RealNVP}, "an instance such as"),
            ({"architecture": "tarflow"}, "TarFlow models pictures, not the rows of a table: Im"),
            ({"architecture": 3}, "architecture=3: 'auto', a name or an instance"),
            ({"columns": ["whole"]}, "columns=.'whole'.: kinds by name are expected"),
            ({"columns": {"x7": "whole"}}, "X: no column 'x7'"),
            ({"columns": {"x0": "real"}}, "kind 'real' of a column is unknown"),
            ({"columns": {"x0": Whole()}}, "declared whole, but row 1 holds"),
        ],
    )
    def test_parameters(self, parameters, message, rows):
        with pytest.raises(ValueError, match=message):
            density(**parameters).fit(rows)

    @pytest.mark.parametrize("n", [0, -1, 2.5, True, "3"])
    def test_numbers_of_draws(self, n, fitted_conditional, rows):
        with pytest.raises(InputError, match="a whole number of at least 1"):
            fitted_conditional.sample([[0.0, 0.0]], n)
        with pytest.raises(InputError, match="a whole number of at least 1"):
            density(max_epochs=1).fit(rows).sample(n)


class TestFiles:
    @pytest.mark.parametrize("kind", [np.asarray, pandas.DataFrame, polars.DataFrame])
    def test_a_density_comes_back(self, kind, rows, tmp_path):
        named = rows if kind is np.asarray else dict(zip("abc", rows.T, strict=True))
        table = kind(named)
        fitted = density(precision=64).fit(table)
        fitted.save(tmp_path / "m.safetensors")
        again = load(tmp_path / "m.safetensors")
        assert isinstance(again, FlowDensity)
        assert isinstance(again.model_, TableModel)
        assert (again.architecture, again.precision) == (SMALL, 64)
        assert again.n_features_in_ == 3
        assert hasattr(again, "feature_names_in_") == (kind is not np.asarray)
        np.testing.assert_array_equal(again.score_samples(table), fitted.score_samples(table))
        draws = again.sample(5, random_state=0)
        assert type(draws) is type(fitted.sample(5))
        np.testing.assert_array_equal(draws, fitted.sample(5, random_state=0))
        with pytest.raises(ValueError, match=r"expecting 3 features|seen at fit time"):
            again.score_samples(kind({"a": [1.0]}) if hasattr(table, "columns") else [[1.0]])

    def test_names_like_stand_ins_are_kept(self, rows, tmp_path):
        fitted = density().fit(pandas.DataFrame(rows, columns=["x0", "x1", "x2"]))
        fitted.save(tmp_path / "m.safetensors")
        assert list(load(tmp_path / "m.safetensors").feature_names_in_) == ["x0", "x1", "x2"]

    @pytest.mark.parametrize("ndim", [1, 2])
    def test_a_conditional_density_comes_back(self, ndim, regression, tmp_path):
        x, y = regression
        y = y if ndim == 1 else pandas.DataFrame({"height": y})
        fitted = conditional().fit(x, y)
        fitted.save(tmp_path / "m.safetensors")
        again = load(str(tmp_path / "m.safetensors"))
        assert isinstance(again, ConditionalFlowDensity)
        assert again.target_names_ == fitted.target_names_ == (None if ndim == 1 else ("height",))
        np.testing.assert_array_equal(again.log_prob(x, y), fitted.log_prob(x, y))
        draws = again.sample(x[:3], 2, random_state=0)
        assert draws.shape == ((3, 2) if ndim == 1 else (3, 2, 1))
        np.testing.assert_array_equal(draws, fitted.sample(x[:3], 2, random_state=0))

    def test_a_loaded_density_can_be_fitted_again(self, rows, tmp_path):
        density().fit(rows).save(tmp_path / "m.safetensors")
        again = load(tmp_path / "m.safetensors").set_params(training=QUICK, random_state=0)
        assert again.fit(rows).score(rows) == density().fit(rows).score(rows)

    def test_a_model_of_the_other_kind_is_refused(self, rows, fitted_conditional):
        with pytest.raises(InputError, match="ConditionalFlowDensity"):
            FlowDensity.from_model(fitted_conditional.model_)
        with pytest.raises(InputError, match="FlowDensity"):
            ConditionalFlowDensity.from_model(density(max_epochs=1).fit(rows).model_)


def test_a_large_table_is_not_copied():
    """Rows are encoded as they are taken: beside the table lie a segment of them, and the rows held out."""
    x = np.random.default_rng(0).normal(size=(1_000_000, 8)).astype(np.float32)
    tiny, peaks = NICE(layers=1, width=2), []

    def fitted(rows):
        tracemalloc.start()
        # Stopped after the first segment: what memory there is to take has been taken.
        model = fit_table(rows, architecture=tiny, progress=lambda step: step.step > 0, trust=False)
        model.log_prob(rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    fitted(x[:100_000])
    fitted(x)
    assert peaks[1] < 0.5 * x.nbytes + peaks[0] + (24 << 20)
