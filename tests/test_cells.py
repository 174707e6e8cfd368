"""Whole numbers: log-probabilities of cells, which sum to 1."""

from dataclasses import replace
from itertools import product

import jax
import numpy as np
import pytest
from scipy import stats

from pushforward.architectures import MAF
from pushforward.bijections import Chain, SoftTails
from pushforward.columns import Columns
from pushforward.distributions import Flow, StandardNormal
from pushforward.models.cells import Cells
from pushforward.models.table_flow import table_flow
from pushforward.models.table_model import TableModel
from pushforward.trust.report import trust_report
from pushforward.trust.verdict import format_trust


def normal_model(values) -> TableModel:
    """Independent standard normals in the model's units."""
    d = values.shape[1]
    flow = Flow(StandardNormal(d), Chain([SoftTails(d)]))
    return TableModel(flow, MAF(), Columns.fit(values), cells=True)


def cell(model, column, k):
    """The exact probability of whole numbers under that model."""
    kind = model.columns.kinds[column]
    center, scale, grid = kind.center, kind.scale, kind.grid
    ends = (np.asarray(k)[:, None] + grid * np.array([-0.5, 0.5]) - center) / scale
    return np.diff(stats.norm.cdf(ends), axis=1)[:, 0]


def test_a_count_s_log_prob_is_that_of_its_cell(rng):
    counts = rng.poisson(1.0, (500, 1)).astype(float)
    model, k = normal_model(counts), np.arange(-4.0, 8)
    found = np.exp(model.log_prob(k[:, None]))
    assert found == pytest.approx(cell(model, 0, k), rel=1e-6)
    assert np.exp(model.log_prob(np.arange(-40.0, 40)[:, None])).sum() == pytest.approx(1, abs=1e-3)
    # Without cells the density at the number is far off.
    at_number = np.exp(replace(model, cells=False).log_prob(k[:, None]))
    assert np.abs(at_number - cell(model, 0, k)).max() > 0.01


@pytest.mark.parametrize(("columns", "rel"), [(2, 1e-4), (3, 1e-2), (4, 0.3)])
def test_several_counts(rng, columns, rel):
    counts = rng.poisson(2.0, (500, columns)).astype(float)
    model = normal_model(counts)
    assert Cells.of(model.columns).exact == (columns < 4)
    some = np.array(list(product([0.0, 2.0, 5.0], repeat=columns)))
    exact = np.prod([cell(model, i, some[:, i]) for i in range(columns)], axis=0)
    assert np.exp(model.log_prob(some)) == pytest.approx(exact, rel=rel)
    every = np.array(list(product(np.arange(-4.0, 10), repeat=columns)))
    if len(every) < 10_000:
        assert np.exp(model.log_prob(every)).sum() == pytest.approx(1, abs=1e-3)


def test_a_count_beside_a_real_column_and_values_between_numbers(rng):
    values = np.c_[rng.normal(size=400), rng.poisson(1.0, 400)]
    model = normal_model(values)
    assert model.columns.whole == (False, True)
    real = model.columns.kinds[0].center
    log_density = stats.norm.logpdf(0) - np.log(model.columns.kinds[0].scale)
    found = model.log_prob(np.array([[real, 1.0], [real, 1.25]]))
    assert found[0] == pytest.approx(log_density + np.log(cell(model, 1, [1.0]))[0], abs=1e-5)
    between = replace(model, cells=False).log_prob(np.array([[real, 1.25]]))
    assert found[1] == pytest.approx(between[0], abs=1e-6)


def test_a_grid_of_tens_is_per_unit(rng):
    tens = 10.0 * rng.poisson(1.0, (500, 1))
    model = normal_model(tens)
    k = np.arange(-400.0, 400, 10)
    assert 10 * np.exp(model.log_prob(k[:, None])).sum() == pytest.approx(1, abs=1e-3)


def test_fine_cells_are_read_once(rng):
    distances = rng.integers(0, 3000, (500, 1)).astype(float)
    assert Cells.of(normal_model(distances).columns) is None


def test_trust_says_so(rng):
    counts = rng.poisson(1.0, (600, 1)).astype(float)
    report = trust_report(normal_model(counts), counts[500:], counts[:500])
    assert report["cells"]
    assert report["cell_error"] < 1e-5
    assert any("means over the cell" in line for line in format_trust(report))


def test_conditional(rng):
    given, counts = rng.normal(size=(300, 1)), rng.poisson(1.0, (300, 1)).astype(float)
    flow = table_flow(MAF(layers=1, width=4, depth=1), 1, (1,), jax.random.key(0))
    columns = Columns.fit(counts), Columns.fit(given)
    model = TableModel(flow, MAF(), *columns, cells=True)
    every = np.arange(-30.0, 40)[:, None]
    mass = np.exp(model.log_prob(every, np.full_like(every, 0.3))).sum()
    assert mass == pytest.approx(1, abs=1e-3)
