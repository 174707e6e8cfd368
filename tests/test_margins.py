"""Margins: normal scores through the quantiles of data, and what draws beyond them become."""

import numpy as np
import pytest
from scipy import stats

from pushforward.bijections import Margins, SoftTails
from pushforward.errors import InputError


def scores(x, **options):
    margins = Margins(x.shape[1]).following(x, **options)
    return margins, np.asarray(margins.inverse(x[:2000])[0])


def test_skewed_and_heavy_columns_become_nearly_normal(rng):
    x = np.c_[rng.lognormal(0, 1, 20_000), rng.standard_t(2, 20_000), rng.uniform(0, 1, 20_000)]
    _, z = scores(x)
    for column in z.T:
        assert stats.kstest(column, "norm").statistic < 0.05
    assert np.abs(z).max() < 4.5


def test_beyond_the_extremes_straight_lines_go_on(rng):
    x = rng.standard_t(3, (4000, 1))
    margins, _ = scores(x)
    last = x.max()
    at = np.array([[last], [2 * last], [3 * last]])
    z = np.asarray(margins.inverse(at)[0])[:, 0]
    assert z[2] - z[1] == pytest.approx(z[1] - z[0], rel=1e-3)
    # Six latent deviations, which no draw reaches, are a few times the furthest row.
    assert np.asarray(margins.forward(np.array([[6.0]]))[0]).item() < 3 * last


def test_light_columns_stay_straight_where_only_heavy_ones_are_asked_for(rng):
    x = np.c_[rng.normal(size=5000), rng.uniform(-1.5, 1.5, 5000), rng.pareto(1.5, 5000)]
    _, z = scores(x, kind="heavy")
    middle = np.abs(x[:2000]) < 1
    assert z[:, 1][middle[:, 1]] == pytest.approx(x[:2000, 1][middle[:, 1]], abs=1e-5)
    assert z[:, 0][middle[:, 0]] == pytest.approx(x[:2000, 0][middle[:, 0]], abs=0.02)
    assert stats.kstest(z[:, 2], "norm").statistic < 0.05


@pytest.mark.parametrize("rows", [3, 5, 40])
def test_few_rows_and_values_that_repeat(rng, rows):
    x = np.c_[rng.normal(size=rows), np.zeros(rows), np.arange(rows) % 2]
    x[0, 1] = 1e6
    margins, z = scores(x)
    assert np.isfinite(z).all()
    back = np.asarray(margins.forward(z)[0])
    assert back == pytest.approx(x, rel=1e-4, abs=1e-3)


def test_columns_as_they_are_are_drawn_in_beyond_the_extremes(rng):
    x = rng.standard_t(3, (4000, 1))
    margins, z = scores(x, kind="straight")
    inside = np.abs(x[:2000]) < 3
    assert z[inside] == pytest.approx(x[:2000][inside], abs=0.01)
    last = x.max()
    assert np.asarray(margins.forward(np.array([[3 * last]]))[0]).item() < 1.6 * last


def test_too_few_knots():
    with pytest.raises(InputError, match="knots=1"):
        Margins(2, knots=1)
    with pytest.raises(InputError, match="kind='all'"):
        Margins(1).following(np.zeros((5, 1)), kind="all")


def test_root_tails_throw_latent_draws_less_far():
    z = np.array([[30.0]])
    assert np.asarray(SoftTails(1).forward(z)[0]).item() > 1e8
    assert np.asarray(SoftTails(1, root=True).forward(z)[0]).item() == pytest.approx(230.0)
    far = np.array([[1e30, -1e30]])
    assert np.isfinite(np.asarray(SoftTails(2, root=True).inverse(far)[0])).all()
