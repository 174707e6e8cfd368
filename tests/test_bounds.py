"""Bounded and constant columns as parts of a density: nothing lies where nothing can be."""

import warnings
from pathlib import Path

import jax
import numpy as np
import pandas
import pytest
from scipy.special import expit

import pushforward as pf
from pushforward.architectures import MAF, RealNVP
from pushforward.columns import Bounded, Columns
from pushforward.errors import InputWarning
from pushforward.models.table_file import load_table_model, save_table_model
from pushforward.models.table_flow import table_flow
from pushforward.models.table_model import TableModel
from pushforward.testing import perturbed

GOLDEN = Path(__file__).parent / "golden"
TINY = MAF(layers=1, width=4, depth=1)


def model_of(values, names, declared) -> TableModel:
    """A density that is not fitted, perturbed so that it is not a product."""
    columns = Columns.fit(values, names, declared=declared)
    flow = table_flow(TINY, columns.width, None, jax.random.key(0))
    return TableModel(perturbed(flow, jax.random.key(1), 0.2), TINY, columns)


@pytest.mark.parametrize("kind", [Bounded(0, 1), Bounded(low=2), Bounded(high=-1)])
def test_the_density_within_bounds_integrates_to_one(kind, rng):
    """On a grid that is even in the free variable, where the density is smooth."""
    v = np.linspace(-120, 120, 40_001)
    x = {"0,1": expit(v), "2,": 2 + np.exp(v), ",-1": -1 - np.exp(-v)}[kind.declaration[8:]]
    slope = {"0,1": expit(v) * expit(-v), "2,": np.exp(v), ",-1": np.exp(-v)}
    model = model_of(kind.decode(rng.normal(size=300))[:, None], ["x"], {"x": kind})
    inside = np.isfinite(model.columns.log_det(x[:, None]))
    density = np.exp(model.log_prob(x[inside, None])) * slope[kind.declaration[8:]][inside]
    assert np.trapezoid(density, v[inside]) == pytest.approx(1, abs=2e-3)


def test_impossible_rows_have_density_zero(rng, tmp_path):
    values = np.stack([rng.beta(2, 1, 300), np.full(300, 2013.0), rng.normal(size=300)], 1)
    model = model_of(values, ["share", "year", "x"], {"share": Bounded(0, 1)})
    asked = np.array([[0.5, 2013, 0], [1.5, 2013, 0], [0, 2013, 0], [0.5, 2014, 0]])
    assert np.isfinite(model.log_prob(asked)).tolist() == [True, False, False, False]
    drawn = model.sample(4000, 0)
    assert drawn.shape == (4000, 3)
    assert ((drawn[:, 0] > 0) & (drawn[:, 0] < 1)).all()
    assert (drawn[:, 1] == 2013).all()
    assert np.isfinite(model.log_prob(drawn)).all()
    save_table_model(model, tmp_path / "m.safetensors")
    again = load_table_model(tmp_path / "m.safetensors")
    assert again.columns == model.columns
    np.testing.assert_array_equal(again.log_prob(asked), model.log_prob(asked))


def test_a_constant_takes_nothing_from_the_density(rng):
    values = rng.normal(size=(300, 2))
    alone = model_of(values, ["a", "b"], {})
    beside = model_of(np.insert(values, 1, 7.5, axis=1), ["a", "c", "b"], {})
    np.testing.assert_array_equal(
        beside.log_prob(np.insert(values, 1, 7.5, axis=1)), alone.log_prob(values)
    )


class TestEstimator:
    @pytest.fixture(scope="class")
    @staticmethod
    def fitted():
        rng = np.random.default_rng(0)
        frame = pandas.DataFrame(
            {
                "share": rng.beta(1, 4, 400),
                "year": np.full(400, 2013),
                "wait": rng.exponential(5, 400),
            }
        )
        columns = {"share": Bounded(0, 1), "wait": "bounded:0,"}
        flow = RealNVP(layers=2, width=16, depth=1)
        density = pf.FlowDensity(flow, columns=columns, max_epochs=3, random_state=0)
        return density.fit(frame), frame

    @pytest.mark.filterwarnings("ignore:draws reach too far")
    def test_draws_are_possible(self, fitted):
        density, _ = fitted
        drawn = density.sample(1000, random_state=0)
        assert drawn["year"].dtype == np.int64
        assert (drawn["year"] == 2013).all()
        assert drawn["share"].between(0, 1, inclusive="neither").all()
        assert (drawn["wait"] > 0).all()

    def test_impossible_rows_are_counted_in_one_line(self, fitted):
        density, frame = fitted
        asked = frame.head(5).copy()
        asked.loc[2, "year"], asked.loc[3, "wait"] = 2014, -1.0
        with pytest.warns(InputWarning) as caught:
            scores = density.score_samples(asked)
        assert np.isneginf(scores).tolist() == [False, False, True, True, False]
        (line,) = caught
        assert str(line.message) == (
            "2 of 5 rows are impossible (log-density -inf), the first in row 3: column 'year' holds 2014, not the "
            "constant 2013"
        )
        # `make test-shapes` wraps functions, which puts frames between.
        if not hasattr(density.score_samples, "__wrapped__"):
            assert line.filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error", InputWarning)
            density.score_samples(frame.head(5))

    def test_the_trust_report_is_in_the_table_s_units(self, fitted):
        density, frame = fitted
        trust = density.model_.trust
        assert trust["nats"] == pytest.approx(density.score(frame), abs=0.5)
        assert density.model_.summary["validation_nats"] == pytest.approx(trust["nats"], abs=1e-3)
        assert trust["repeated"] == {}
        assert trust["log_det"] < 1e-3
