"""Marginals and heads: every distribution of a cell sums or integrates to one, and draws follow it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from pushforward.columns.labels import Labels
from pushforward.columns.marginal import Marginal
from pushforward.heads import HEADS, Cell, Logistics, Softmax

LATTICES = {
    "counts": (lambda rng: rng.poisson(4.0, 2000).astype(float), 1.0),
    "mostly zero": (lambda rng: np.where(rng.uniform(size=2000) < 0.95, 0.0, rng.poisson(900.0, 2000)), 1.0),
    "steps of five": (lambda rng: 5.0 * rng.integers(-40, 40, 2000), 5.0),
    "tenths": (lambda rng: np.rint(rng.normal(20, 3, 2000) * 10) / 10, 0.1),
    "two values": (lambda rng: rng.integers(0, 2, 50).astype(float), 1.0),
}  # fmt: skip
REAL = {
    "normal": lambda rng: rng.normal(5.0, 2.0, 500),
    "heavy": lambda rng: rng.standard_t(2, 500),
    "rain": lambda rng: np.where(rng.uniform(size=2000) < 0.6, 0.0, rng.gamma(2.0, 3.0, 2000)),
    "heaps": lambda rng: np.where(rng.uniform(size=900) < 0.5, rng.choice([1.0, 7.5], 900), rng.normal(4, 2, 900)),
}  # fmt: skip


def lattice(name, rng):
    make, step = LATTICES[name]
    values = make(rng)
    marginal = Marginal.fit(values, step)
    reach = 40 * (np.ptp(values) + step)
    grid = marginal.offset + step * np.arange(
        np.floor((values.min() - reach) / step), np.ceil((values.max() + reach) / step)
    )
    return marginal, values, grid


def cell_of(place, dtype=jnp.float32):
    z, width, log_slope = (jnp.asarray(a, dtype) for a in place)
    return Cell(jnp.zeros(z.shape, jnp.int32), z, width, log_slope)


def some_params(head, n, seed=0, size=1.0):
    one = size * np.random.default_rng(seed).normal(size=(head.size, 1))
    return jnp.asarray(np.repeat(one, n, axis=1), jnp.float32)


class TestMarginal:
    @pytest.mark.parametrize("name", LATTICES)
    def test_of_a_lattice_sums_to_one(self, name, rng):
        marginal, values, grid = lattice(name, rng)
        assert np.exp(marginal.log_prob(grid)).sum() == pytest.approx(1.0, abs=2e-3)
        # It is near the frequencies.
        distinct, counts = np.unique(values, return_counts=True)
        often = counts > 50
        shares = counts[often] / len(values)
        np.testing.assert_allclose(np.exp(marginal.log_prob(distinct[often])), shares, rtol=0.1)

    @pytest.mark.parametrize("name", REAL)
    def test_of_real_numbers_integrates_to_one(self, name, rng):
        values = REAL[name](rng)
        marginal = Marginal.fit(values)
        u = (np.arange(200_000) + 0.5) / 200_000
        # Far out the density falls as slowly as an exponential: points at the quantiles of a wide Cauchy.
        x = np.median(values) + 3 * marginal.spread * np.tan(np.pi * (u - 0.5))
        weight = 3 * marginal.spread * np.pi * (1 + np.tan(np.pi * (u - 0.5)) ** 2)
        x, weight = x[~marginal.is_atom(x)], weight[~marginal.is_atom(x)]
        total = (np.exp(marginal.log_prob(x)) * weight).mean()
        assert total + np.exp(marginal.log_prob(marginal.atoms)).sum() == pytest.approx(1, abs=2e-3)

    @pytest.mark.parametrize("name", LATTICES)
    def test_values_come_back_from_anywhere_in_their_cells(self, name, rng):
        marginal, values, _ = lattice(name, rng)
        place = marginal.encode(values)
        for share in (0.02, 0.5, 0.98):
            np.testing.assert_allclose(
                marginal.decode(place.z + share * place.width), values, atol=1e-9
            )

    @pytest.mark.parametrize("name", REAL)
    def test_real_values_come_back(self, name, rng):
        values = REAL[name](rng)
        marginal = Marginal.fit(values)
        place = marginal.encode(values)
        np.testing.assert_allclose(
            marginal.decode(place.z + place.width / 2), values, rtol=1e-9, atol=1e-9
        )
        assert (place.width > 0).sum() == marginal.is_atom(values).sum()

    def test_rare_values_are_not_kept(self, rng):
        values = np.concatenate([np.repeat([1.0, 2.0], 200), np.arange(1000.0, 1300.0)])
        marginal = Marginal.fit(values, 1.0)
        assert marginal.atoms.tolist() == [1.0, 2.0]
        assert Marginal.fit(values, 1.0, least=1).atoms.size == 302

    def test_is_kept_by_json(self, rng):
        marginal = Marginal.fit(REAL["rain"](rng))
        again = Marginal.from_json(marginal.to_json())
        x = np.linspace(-5, 50, 101)
        assert (again.log_prob(x) == marginal.log_prob(x)).all()

    def test_shares_of_unseen_numbers_sum_to_one(self, rng):
        marginal, _, grid = lattice("mostly zero", rng)
        unseen = grid[~marginal.is_atom(grid)]
        assert np.exp(marginal.log_share(unseen)).sum() == pytest.approx(1.0, abs=2e-3)


class TestHeads:
    def test_the_registry_names_every_head(self):
        assert set(HEADS.values()) == {Logistics, Softmax}

    @pytest.mark.parametrize("name", LATTICES)
    @pytest.mark.parametrize("size", [0.0, 1.0, 4.0])
    def test_logistics_over_cells_sum_to_one(self, name, size, rng):
        marginal, _, grid = lattice(name, rng)
        head = Logistics(8)
        with jax.enable_x64(True):
            params = jnp.asarray(some_params(head, len(grid), size=size), jnp.float64)
            log_prob = head.log_prob(params, cell_of(marginal.encode(grid), jnp.float64))
            total = float(jnp.exp(log_prob).sum())
        assert total == pytest.approx(1.0, abs=5e-3)

    @pytest.mark.parametrize("size", [0.0, 1.0, 4.0])
    def test_the_density_of_logistics_is_the_slope_of_their_distribution(self, size):
        head = Logistics(8)
        with jax.enable_x64(True):
            z = jnp.linspace(-40.0, 40.0, 501)
            none, params = (
                jnp.zeros(501),
                jnp.asarray(some_params(head, 501, size=size), jnp.float64),
            )
            slope = jax.grad(lambda z: head.cdf(params, z).sum())(z)
            density = jnp.exp(head.log_prob(params, cell_of((z, none, none), jnp.float64)))
            np.testing.assert_allclose(density, slope, rtol=1e-9, atol=1e-14)
            ends = head.cdf(params[:, :2], jnp.array([-1e6, 1e6]))
            np.testing.assert_allclose(ends, [0.0, 1.0], atol=1e-12)

    def test_a_narrow_cell_has_its_width_times_the_density(self):
        head, z = Logistics(4), np.linspace(-3, 3, 7)
        params, none = some_params(head, 7), np.zeros(7)
        at = head.log_prob(params, cell_of((z, none, none)))
        cell = head.log_prob(params, cell_of((z - 5e-7, np.full(7, 1e-6), none)))
        np.testing.assert_allclose(cell, at + np.log(1e-6), atol=1e-3)

    def test_draws_of_logistics_follow_their_distribution(self):
        head, n = Logistics(8), 4000
        params = some_params(head, n)
        drawn = head.sample(params, jax.random.key(0))
        assert kstest(np.asarray(head.cdf(params, drawn.z)), "uniform").pvalue > 1e-3
        shifted = head.cdf(params, drawn.z + 0.3)
        assert kstest(np.asarray(shifted), "uniform").pvalue < 1e-3

    def test_softmax_scores_and_draws(self):
        head, n = Softmax(3), 20_000
        params = some_params(head, n)
        drawn = head.sample(params, jax.random.key(1))
        shares = np.bincount(np.asarray(drawn.code), minlength=3) / n
        zero = jnp.zeros(3)
        codes = Cell(jnp.arange(3), zero, zero, zero)
        exact = np.exp(np.asarray(head.log_prob(params[:, :3], codes)))
        assert exact.sum() == pytest.approx(1.0, abs=1e-6)
        np.testing.assert_allclose(shares, exact, atol=0.02)

    def test_the_label_for_all_others_is_never_drawn_and_is_shared(self):
        head = Softmax(3, open=True)
        params = jnp.zeros((3, 500)).at[2].set(10.0)
        assert int(head.sample(params, jax.random.key(0)).code.max()) < 2
        labels = Labels.fit(["a"] * 50 + ["b"] * 40 + ["c", "d", "e"], least=5)
        assert (len(labels), labels.unseen, labels.others) == (2, 3, 3)
        code, zero = jnp.asarray(labels.codes(["a", "b", "c", "d", "x"])), jnp.zeros(5)
        share = jnp.where(code == 2, -np.log(labels.unseen), 0.0)
        p = np.exp(np.asarray(head.log_prob(params[:, :5], Cell(code, zero, zero, share))))
        assert p.sum() == pytest.approx(1.0, abs=1e-6)
