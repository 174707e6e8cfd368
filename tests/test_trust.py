"""The trust report: right numbers for right models, warnings for wrong ones."""

import json
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from pushforward.architectures import ARCHITECTURES, MAF
from pushforward.bijections import AbstractBijection, Chain, SoftTails
from pushforward.columns import Columns
from pushforward.distributions import Flow, StandardNormal, StudentT
from pushforward.errors import InputError
from pushforward.models.table_flow import table_flow
from pushforward.models.table_model import TableModel
from pushforward.rows import Shape
from pushforward.testing import tiny
from pushforward.trust.probes import _EMITTERS, _known
from pushforward.trust.report import trust_report
from pushforward.trust.verdict import format_trust

TINY = MAF(layers=1, width=4, depth=1)
ROWS = np.random.default_rng(5).normal(size=(400, 2)) @ np.array([[2.0, 1.0], [0.0, 0.5]]) + 3
TRAIN, HELD = ROWS[:300], ROWS[300:]


def model_of(values, given=None, flow=None, precision=32) -> TableModel:
    d = values.shape[1]
    columns = Columns.fit(values)
    condition = None if given is None else Columns.fit(given)
    with jax.enable_x64(precision == 64):
        shape = None if given is None else (given.shape[1],)
        flow = flow or table_flow(TINY, d, shape, jax.random.key(0))
    return TableModel(flow, TINY, columns, condition, precision)


class Scaled(AbstractBijection):
    """x = 2 z, with a log-det off by `error`, and back with a factor off by `slip`."""

    event_shape: Shape = eqx.field(static=True)
    error: float = eqx.field(static=True, default=0.0)
    slip: float = eqx.field(static=True, default=0.0)
    condition_shape: None = eqx.field(static=True, default=None)

    def forward_rows(self, z, condition, key):
        return 2 * (1 + self.slip) * z, jnp.full(z.shape[0], z.shape[1] * np.log(2), z.dtype)

    def inverse_rows(self, x, condition, key):
        log_det = -x.shape[1] * np.log(2) + self.error
        return x / 2, jnp.full(x.shape[0], log_det, x.dtype)


def scaled(d=2, base=None, **faults) -> Flow:
    return Flow(base or StandardNormal(d), Chain([Scaled((d,), **faults), SoftTails(d)]))


class TestNumbers:
    def test_the_flow_s_own_log_prob(self):
        model = model_of(TRAIN)
        report = trust_report(model, HELD, TRAIN)
        expected = model.log_prob(HELD)
        assert report["rows"] == 100
        assert report["nats"] == pytest.approx(expected.mean(), abs=1e-5)
        assert report["nats_error"] == pytest.approx(expected.std(ddof=1) / 10, rel=1e-4)
        assert report["round_trip"] < 1e-5
        assert report["log_det"] < 1e-5
        assert (report["round_trip_rows"], report["log_det_rows"]) == (100, 16)
        assert json.loads(json.dumps(report)) == report

    @pytest.mark.parametrize("name", ["ffjord", "ot_flow"])
    def test_of_an_ode(self, name):
        """Its log-det stands beside a solve with more digits."""
        flow = table_flow(tiny(ARCHITECTURES[name]), 2, None, jax.random.key(0))
        report = trust_report(model_of(TRAIN, flow=flow), HELD, TRAIN)
        assert 0 < report["log_det"] < 1e-3
        assert report["round_trip"] < 1e-3

    def test_the_gaussian_is_the_one_of_maximum_likelihood(self):
        report = trust_report(model_of(TRAIN), HELD, TRAIN)
        gaussian = multivariate_normal(TRAIN.mean(0), np.cov(TRAIN.T, ddof=0))
        logs = gaussian.logpdf(HELD)
        assert report["gaussian_nats"] == pytest.approx(logs.mean(), abs=1e-5)
        assert report["gaussian_nats_error"] == pytest.approx(logs.std(ddof=1) / 10, rel=1e-4)
        assert report["gain"] == pytest.approx(report["nats"] - report["gaussian_nats"])

    def test_the_conditional_gaussian_is_linear_regression(self):
        given, values = ROWS[:, :1], ROWS[:, 1:]
        report = trust_report(
            model_of(values[:300], given[:300]), values[300:], values[:300],
            heldout_condition=given[300:], train_condition=given[:300],
        )  # fmt: skip
        slope, shift = np.polyfit(given[:300, 0], values[:300, 0], 1)
        deviation = (values[:300, 0] - slope * given[:300, 0] - shift).std()
        away = (values[300:, 0] - slope * given[300:, 0] - shift) / deviation
        logs = -0.5 * away**2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)
        assert report["gaussian_nats"] == pytest.approx(logs.mean(), abs=1e-4)

    def test_whole_numbers_fill_their_cells(self, rng):
        counts = rng.poisson(3, (500, 1)).astype(float)
        report = trust_report(model_of(counts), counts[400:], counts[:400])
        gaussian = multivariate_normal(counts[:400].mean(), counts[:400].var() + 1 / 12)
        assert report["gaussian_nats"] == pytest.approx(gaussian.logpdf(counts[400:]).mean())
        assert report["integer_columns"] == ["x0"]
        assert any("x0" in text and "whole number" in text for text in format_trust(report))

    def test_tails(self, rng):
        values = np.append(rng.normal(size=998), [1e5, -1e7])[:, None]
        report = trust_report(model_of(values), values, values)
        assert report["tail_start"] == 10
        assert report["tail_rows"] == pytest.approx(0.002)
        assert report["round_trip"] < 1e-4

    def test_latent_share(self, rng):
        values = rng.normal(size=(8000, 2))
        model = replace(model_of(values), flow=scaled(error=-0.1))
        # Standard rows halved: none lies beyond.
        assert trust_report(model, values, values)["latent_beyond"] == 0
        # A latent four times too wide: exp(-13.8 / 32) of the rows do.
        share = trust_report(model, 8 * values, values)["latent_beyond"]
        assert share == pytest.approx(np.exp(-np.log(1000) / 16), abs=0.02)
        other = replace(model, flow=scaled(base=StudentT(2)))
        assert trust_report(other, values[:50], values)["latent_beyond"] is None

    def test_64_bits(self):
        report = trust_report(model_of(TRAIN, precision=64), HELD, TRAIN)
        assert report["round_trip"] < 1e-12
        assert report["log_det"] < 1e-12

    def test_wide_and_degenerate_tables(self, rng):
        wide = rng.normal(size=(40, 130))
        report = trust_report(model_of(wide, flow=scaled(130)), wide[30:], wide[:30])
        assert (report["log_det"], report["log_det_rows"]) == (None, 0)
        assert np.isfinite(report["gaussian_nats"])
        assert any("not checked" in text for text in format_trust(report))
        one = trust_report(model_of(TRAIN), HELD[:1], TRAIN[:1])
        assert one["nats_error"] is None
        assert format_trust(one)


class TestWarnings:
    def warnings(self, flow):
        report = trust_report(model_of(TRAIN, flow=flow), HELD, TRAIN)
        return [text for text in format_trust(report) if text.startswith("warning: ")]

    def test_a_wrong_log_det(self):
        assert any("log-determinant is wrong" in text for text in self.warnings(scaled(error=0.02)))

    def test_a_wrong_inverse(self):
        assert any("does not lead back" in text for text in self.warnings(scaled(slip=0.01)))

    def test_no_better_than_a_gaussian(self):
        assert self.warnings(scaled()) == [
            "warning: the flow is not better than the Gaussian on held-out rows"
        ]

    def test_a_value_that_repeats(self):
        spiked = np.where(np.arange(len(TRAIN))[:, None] % 4 == 0, 0.5, TRAIN)
        report = trust_report(model_of(spiked, flow=scaled()), HELD, spiked)
        assert {tuple(found) for found in report["repeated"].values()} == {(0.5, 0.25)}
        assert any("holds 0.5 in 25% of rows" in text for text in format_trust(report))
        assert trust_report(model_of(TRAIN, flow=scaled()), HELD, TRAIN)["repeated"] == {}
        # Files of earlier versions have no such entry.
        del report["repeated"]
        assert format_trust(report)

    def test_nan_warns(self):
        assert len(self.warnings(scaled(error=float("nan"), slip=float("nan")))) == 3


def test_no_warning_for_a_good_model(rng):
    # A Gaussian cannot follow two clusters; a mixture base with its components there can.
    values = np.concatenate([rng.normal(-3, 0.1, (200, 1)), rng.normal(3, 0.1, (200, 1))])
    model = model_of(values)
    base = MAF(layers=1, width=4, depth=1, base="mixture").build(1, key=jax.random.key(0)).base
    encoded = model.columns.encode(np.array([[-3.0], [3.0]]))
    base = eqx.tree_at(lambda b: b.means, base, jnp.asarray(np.tile(encoded, (4, 1)), jnp.float32))
    width = np.log(0.1 / model.columns.kinds[0].scale)
    base = eqx.tree_at(lambda b: b.log_scales, base, jnp.full((8, 1), width, jnp.float32))
    report = trust_report(replace(model, flow=Flow(base, SoftTails(1))), values, values)
    assert report["gain"] > 1
    assert not [text for text in format_trust(report) if "warning" in text]


@pytest.mark.mistyped
def test_tables_of_different_columns():
    with pytest.raises(InputError, match="2 columns"):
        trust_report(model_of(TRAIN), HELD[:, :1], TRAIN)


def test_mistakes():
    model = model_of(TRAIN)
    with pytest.raises(InputError, match="at least 1 held-out row"):
        trust_report(model, HELD[:0], TRAIN)
    with pytest.raises(InputError, match="a condition was given, but this model has none"):
        trust_report(model, HELD, TRAIN, heldout_condition=HELD, train_condition=TRAIN)
    assert format_trust({}) == ["no trust report: nothing was held out"]


def test_options_that_the_compiler_does_not_know_are_left_out():
    assert _known(_EMITTERS) == dict(_EMITTERS), "the pinned version has them"
    assert _known((*_EMITTERS, ("xla_no_such_option", 1))) == {}
