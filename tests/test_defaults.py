"""The default flow: the race, the mixtures it has to beat, and draws that stay where data are."""

import warnings
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.special import logsumexp

import pushforward as pf
from pushforward.architectures import MAF, Mixture
from pushforward.bijections import Chain, SoftTails
from pushforward.columns import Columns
from pushforward.distributions import Flow, StandardNormal
from pushforward.fitting import em
from pushforward.fitting.auto import LEAD, TIE, candidates
from pushforward.fitting.fit_table import fit_table
from pushforward.fitting.race import winner
from pushforward.models.table_file import load_table_model, save_table_model
from pushforward.models.table_flow import has_margins
from pushforward.models.table_model import TableModel
from pushforward.training import Step, Training
from pushforward.trust.draws import draws_report, draws_warnings, format_draws

MEANS = np.random.default_rng(40).uniform(-40, 40, (40, 2))


def of_forty(n, seed):
    rng = np.random.default_rng(seed)
    return MEANS[rng.integers(0, 40, n)] + 1.31 * rng.normal(size=(n, 2))


def log_prob_of_forty(x):
    away = np.square(x[:, None] - MEANS).sum(-1) / 1.31**2
    return logsumexp(-away / 2, axis=1) - np.log(40 * 2 * np.pi * 1.31**2)


def test_a_mixture_by_em_finds_forty_gaussians():
    x, test = of_forty(2000, 1), of_forty(5000, 2)
    columns = Columns.fit(x)
    found = em.best_mixture(columns.encode(x), columns.encode(x[:200]), -10.0, 0)
    assert 36 <= len(found.weights) <= 52
    flow = Mixture(components=len(found.weights), layers=0).build(2, key=jax.random.key(0))
    log_prob = np.asarray(em.starting_from(flow, found).log_prob(columns.encode(test)))
    gap = log_prob_of_forty(test) - log_prob - columns.log_det(test)
    assert gap.mean() < 0.09


def test_a_mixture_that_cannot_come_near_is_left(rng):
    x = rng.uniform(size=(500, 2))
    assert em.best_mixture(x, x, least=100.0, seed=0) is None


def test_one_gaussian_is_one_component(rng):
    x = rng.multivariate_normal([0, 0], [[1, 0.99], [0.99, 1]], 1500)
    assert len(em.best_mixture(x, x, -10.0, 0).weights) <= 2


def test_a_later_entrant_has_to_lead():
    heavy, straight, scores = candidates(3000, 4)

    def wins(*nats):
        return winner((heavy, straight, scores), dict(zip(names, nats, strict=True)), 4)

    names = [entrant.name for entrant in (heavy, straight, scores)]
    assert wins(1.0, 0.0, 0.0) is heavy
    # A tie goes to columns as they are.
    assert wins(1.0, 1.0, 1.0) is straight
    assert wins(1.0, 1.0 - 5 * TIE, 1.0) is heavy
    assert wins(1.0, 1.0, 1.0 + 3 * LEAD) is straight
    assert wins(1.0, 1.0, 1.0 + 5 * LEAD) is scores
    assert winner((heavy, straight, scores), {}, 4) is heavy


def test_few_rows_keep_their_own_ends():
    """Many new rows lie beyond their extremes, where straight margins are steep."""
    assert [e.margins for e in candidates(79, 4)] == ["heavy", "none", "scores"]
    assert [e.margins for e in candidates(80, 4)] == ["heavy", "straight", "scores"]


def test_few_rows_are_fitted_no_worse_than_by_name():
    """142 rows of 13 columns: straight margins cost 7 nats, margins of heavy columns 1.5."""
    from sklearn.datasets import load_wine

    x = load_wine().data
    order = np.random.default_rng(0).permutation(len(x))
    train, test = x[order[:142]], x[order[142:]]
    training = Training(max_steps=600)
    ours = fit_table(train, training=training, trust=False)
    plain = fit_table(
        train, architecture=ours.architecture, training=training, trust=False
    ).log_prob(test)
    assert ours.log_prob(test).mean() > plain.mean() - 0.5
    furthest = np.abs(ours.sample(5000, 1) - np.median(train, 0)).max(0)
    assert (furthest < 3 * np.abs(train - np.median(train, 0)).max(0)).all()


def test_the_default_is_as_good_as_the_mixture(tmp_path):
    """Few rows of many modes: splines over one normal lose 0.6 nats here."""
    x, test = of_forty(1200, 1), of_forty(5000, 2)
    stages = []

    def told(step: Step) -> None:
        stages.append(step.stage)

    model = fit_table(x, training=Training(max_epochs=20), progress=told)
    gap = log_prob_of_forty(test) - model.log_prob(test)
    assert gap.mean() < 0.2
    assert isinstance(model.architecture, Mixture)
    assert {"race: splines", "fitting a Gaussian mixture to compare with"} <= set(stages)
    race = model.summary["race"]
    assert len(race["validation_nats"]) == 3
    assert "Gaussian mixture" in race["at_the_end"]
    assert draws_warnings(model.trust["draws"]) == []
    save_table_model(model, tmp_path / "m")
    again = load_table_model(tmp_path / "m")
    assert has_margins(again.flow)
    assert again.cells
    np.testing.assert_array_equal(again.log_prob(test), model.log_prob(test))


def test_draws_of_heavy_tails_stay_near_the_data(rng):
    """A column of many far values beside others that follow it: affine layers threw draws beyond 1e30."""
    scale = np.exp(rng.normal(0, 1.2, (700, 1)))
    x = np.c_[scale * rng.normal(size=(700, 4)), scale**2]
    with warnings.catch_warnings():
        warnings.simplefilter("error", pf.InputWarning)
        density = pf.FlowDensity(max_epochs=60, random_state=0).fit(x)
        draws = density.sample(20_000, random_state=1)
    spread = np.quantile(np.abs(x - np.median(x, 0)), 0.68, axis=0)
    furthest = (np.abs(x - np.median(x, 0)) / spread).max(0)
    assert ((np.abs(draws - np.median(x, 0)) / spread).max(0) < 5 * furthest).all()
    assert density.model_.trust["draws"]["beyond"] <= 2


def normal_table(values, stretch=1.0) -> TableModel:
    d = values.shape[1]
    flow = Flow(StandardNormal(d), Chain([SoftTails(d, start=0.5 if stretch > 1 else 10.0)]))
    return TableModel(flow, MAF(), Columns.fit(values))


class TestDraws:
    def test_of_a_right_model(self, rng):
        values = rng.normal(3.0, 2.0, (3000, 2))
        report = draws_report(normal_table(values), values[2000:], values[:2000])
        assert report["draws"] == 3000
        assert report["furthest"] < 2
        assert report["quantiles"] < 0.1
        assert report["c2st"] == pytest.approx(0.5, abs=0.06)
        assert draws_warnings(report) == []
        assert len(format_draws(report)) == 2

    def test_draws_that_reach_too_far(self, rng):
        """Tails that are logarithmic for data are exponential for draws."""
        values = rng.normal(3.0, 2.0, (3000, 2))
        report = draws_report(normal_table(values, 2.0), values[2000:], values[:2000])
        assert report["beyond"] > 3
        found = draws_warnings(report)
        assert any("reach too far" in text for text in found)

    def test_draws_of_another_shape(self, rng):
        values = rng.choice([-1.0, 1.0], (3000, 1)) + 0.01 * rng.normal(size=(3000, 1))
        found = draws_warnings(draws_report(normal_table(values), values[2000:], values[:2000]))
        assert any("not distributed as held-out rows" in text for text in found)

    def test_heavy_tails_of_the_data_are_no_fault(self, rng):
        assert draws_warnings({}) == []
        report = draws_report(
            normal_table(rng.normal(size=(900, 1))), np.zeros((20, 1)), np.ones((20, 1)) * 50
        )
        assert report["c2st"] is None
        assert not any("reach too far" in text for text in draws_warnings(report))

    def test_sample_repeats_the_warning(self, rng, tmp_path, capsys):
        from pushforward.cli import main

        values = rng.normal(size=(60, 2))
        model = fit_table(
            values, architecture=MAF(layers=1, width=4, depth=1), training=Training(max_epochs=1)
        )
        report = {**model.trust["draws"], "beyond": 7, "furthest": 1e9, "furthest_column": "x1"}
        save_table_model(replace(model, trust={**model.trust, "draws": report}), tmp_path / "m")
        assert main(["sample", str(tmp_path / "m"), "-n", "3", "-o", str(tmp_path / "d.csv")]) == 0
        assert "warning: draws reach too far: 7 of" in capsys.readouterr().err
        density = pf.load(tmp_path / "m")
        with pytest.warns(pf.InputWarning, match="reach too far"):
            density.sample(3, random_state=0)


def test_components_that_shrink_to_single_rows_are_no_failure(rng):
    scale = np.exp(rng.normal(0, 3.0, (300, 1)))
    x = np.c_[scale * rng.normal(size=(300, 4)), scale**2].astype(np.float32)
    found = em.best_mixture(x, x, -100.0, 0)
    assert found is None or np.isfinite(found.whitenings).all()
    with pytest.raises(pf.InputError, match="components=99"):
        em.fitted_mixture(x[:50], 99, 0)


def test_a_correction_that_cannot_start_loses_nothing(rng, monkeypatch):
    def fails(*_):
        raise em.NoMixtureError("components=2: EM finds no mixture")

    monkeypatch.setattr(em, "fitted_mixture", fails)
    x = rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 300)
    model = fit_table(x, training=Training(max_epochs=2), trust=False)
    assert "Gaussian mixture" in model.summary["race"]["at_the_end"]
    assert "splines over a Gaussian mixture" not in model.summary["race"]["at_the_end"]
    assert np.isfinite(model.log_prob(x)).all()
