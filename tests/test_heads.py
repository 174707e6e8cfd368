"""Marginals and heads: every distribution of a cell sums or integrates to one, and draws follow it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from pushforward.columns.labels import Labels
from pushforward.columns.marginal import Marginal
from pushforward.columns.marginal_bounded import BoundedMarginal
from pushforward.columns.marginal_circular import CircularMarginal
from pushforward.heads import HEADS, Cell, Logistics, Softmax, WrappedCauchy

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
BOUNDED = {
    "share": (lambda rng: rng.beta(0.7, 2.0, 500), 0.0, (0.0, 1.0)),
    "touched": (lambda rng: np.clip(rng.normal(0.5, 0.5, 900), 0, 1), 0.0, (0.0, 1.0)),
    "above": (lambda rng: np.maximum(rng.gamma(1.0, 3.0, 800) - 1, 0), 0.0, (0.0, np.inf)),
    "below": (lambda rng: 7 - rng.gamma(2.0, 3.0, 800), 0.0, (-np.inf, 7.0)),
    "percent": (lambda rng: np.rint(np.clip(rng.normal(80, 30, 900), 0, 100)), 1.0, (0.0, 100.0)),
    "tenths": (lambda rng: np.rint(10 * rng.beta(2, 2, 900)) / 10, 0.1, (-0.05, 1.0)),
}  # fmt: skip
CIRCLES = {
    "wind": (lambda rng: np.mod(rng.normal(350, 30, 600), 360), 360.0, 0.0),
    "signed": (lambda rng: np.angle(np.exp(1j * rng.normal(3, 1, 600))), 2 * np.pi, 0.0),
    "calm": (lambda rng: np.where(rng.uniform(size=900) < 0.3, 0.0, rng.uniform(0, 360, 900)), 360.0, 0.0),
    "one value": (lambda rng: np.full(5, 2.0), 24.0, 0.0),
    "months": (lambda rng: rng.integers(1, 13, 300).astype(float), 12.0, 1.0),
    "sevens": (lambda rng: 7.0 * rng.integers(0, 50, 900), 360.0, 7.0),
}  # fmt: skip


def of_bounds(name, rng):
    make, step, (low, high) = BOUNDED[name]
    values = make(rng)
    return BoundedMarginal.fit(values, step, low=low, high=high), values


def within(marginal):
    """All that a bounded column can hold: values, and how much of the line each stands for, 1 for cells."""
    if marginal.step:
        values = np.arange(marginal.low, marginal.high + marginal.step / 2, marginal.step)
        return values, np.ones(len(values))
    u = np.linspace(-60, 60, 48_001)
    x = marginal._from_line(u)
    weight = np.exp(-marginal._log_line_slope(x)) * (u[1] - u[0])
    atoms = marginal.atoms
    keep = ~marginal.is_atom(x)
    return np.append(x[keep], atoms), np.append(weight[keep], np.ones(len(atoms)))


def around(circle):
    """All that a column of angles can hold, as `within` gives it."""
    if circle.step:
        first = circle.start + circle.step / 2
        values = np.arange(first, circle.start + circle.period - 1e-9, circle.step)
        return values, np.ones(len(values))
    x = circle.start + circle.period * (np.arange(12_000) + 0.5) / 12_000
    x = x[~circle.is_atom(x)]
    return np.append(x, circle.atoms), np.append(
        np.full(len(x), circle.period / 12_000), np.ones(len(circle.atoms))
    )


def total(head, place, weight, size, seed=0):
    """The head's probability of all that a column can hold, in double precision."""
    # All of one shape: one program for each head.
    spare = 48_064 - len(weight)
    with jax.enable_x64(True):
        cell = cell_of([np.pad(part, (0, spare)) for part in place], jnp.float64)
        params = jnp.asarray(some_params(head, 48_064, seed, size), jnp.float64)
        log_prob = jax.jit(type(head).log_prob, static_argnums=0)(head, params, cell)
        return float((jnp.exp(log_prob) * np.pad(weight, (0, spare))).sum())


def of_circle(name, rng):
    make, period, step = CIRCLES[name]
    values = make(rng)
    return CircularMarginal.fit(values, period, step), values


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
    def test_close_extremes_leave_room_beyond(self):
        """As far beyond the extremes as the 12th percentile is within, a value is improbable and no more."""
        values = np.random.default_rng(0).normal(size=200)
        values = np.concatenate(
            [values, values.max() + np.array([0.0, 1e-4]), [values.min() - 1e-4]]
        )
        marginal = Marginal.fit(values)
        found = marginal.log_prob(np.array([values.min() - 1.5, values.max() + 1.5]))
        assert (found > -25).all()
        assert (found < marginal.log_prob(np.array([values.min(), values.max()]))).all()

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


class TestBounded:
    @pytest.mark.parametrize("name", BOUNDED)
    def test_all_within_sums_to_one(self, name, rng):
        marginal, _ = of_bounds(name, rng)
        values, weight = within(marginal)
        assert (np.exp(marginal.log_prob(values)) * weight).sum() == pytest.approx(1, abs=1e-3)

    @pytest.mark.parametrize("name", BOUNDED)
    @pytest.mark.parametrize("size", [1.0, 2.0])
    def test_a_head_on_it_sums_to_one(self, name, size, rng):
        marginal, _ = of_bounds(name, rng)
        values, weight = within(marginal)
        found = total(Logistics(8), marginal.encode(values), weight, size)
        assert found == pytest.approx(1.0, abs=5e-3)

    def test_ends_are_half_lines(self, rng):
        marginal, _ = of_bounds("touched", rng)
        values, weight = within(marginal)
        place = marginal.encode(values)
        # Cells of the wrong side would be seen.
        wrong = place._replace(width=np.abs(place.width))
        assert total(Logistics(8), wrong, weight, 1.0) != pytest.approx(1.0, abs=5e-2)
        place = marginal.encode(np.array([0.0, 1.0]))
        assert place.width[0] < 0 < place.width[1]
        head, params = Logistics(8), some_params(Logistics(8), 2)
        cell = cell_of(place)
        ends, below = np.exp(head.log_prob(params, cell)), head.cdf(params, cell.z)
        np.testing.assert_allclose(ends, [below[0], 1 - below[1]], rtol=1e-4)
        slopes = jax.grad(lambda p: head.log_prob(p, cell_of(place)).sum())(params)
        assert np.isfinite(slopes).all()
        assert np.abs(slopes).max() > 1e-3

    @pytest.mark.parametrize("name", BOUNDED)
    def test_values_come_back_and_none_is_beyond(self, name, rng):
        marginal, values = of_bounds(name, rng)
        place = marginal.encode(values)
        back = marginal.decode(place.z + np.clip(place.width, -5, 5) / 2)
        np.testing.assert_allclose(back, values, rtol=1e-9, atol=1e-9)
        anywhere = marginal.decode(np.array([-1e30, -1e4, -30.0, 0.0, 30.0, 1e4, 1e30]))
        assert (anywhere >= marginal.low).all()
        assert (anywhere <= marginal.high).all()

    def test_what_lies_beyond_is_impossible(self, rng):
        marginal, _ = of_bounds("share", rng)
        x = np.array([-0.1, 0.0, 0.5, 1.0, 7.0])
        assert np.isneginf(marginal.log_prob(x)).tolist() == [True, True, False, True, True]
        head = Logistics(4)
        found = head.log_prob(some_params(head, 5), cell_of(marginal.encode(x)))
        assert np.isneginf(found).tolist() == [True, True, False, True, True]
        tenths, _ = of_bounds("tenths", rng)
        assert tenths.low == pytest.approx(0.0)
        assert tenths.outside(np.array([-0.1, 0.0, 1.0, 1.1])).tolist() == [
            True,
            False,
            False,
            True,
        ]
        share = tenths.log_share(np.array([0.5, 1.1]))
        assert np.isfinite(share[0])
        assert np.isneginf(share[1])

    def test_is_kept_by_json(self, rng):
        marginal, values = of_bounds("above", rng)
        again = BoundedMarginal.from_json(json.loads(json.dumps(marginal.to_json())))
        assert (again.log_prob(values) == marginal.log_prob(values)).all()


class TestCircular:
    @pytest.mark.parametrize("name", CIRCLES)
    @pytest.mark.parametrize("size", [None, 0.0, 1.0, 4.0])
    def test_a_turn_sums_to_one(self, name, size, rng):
        circle, _ = of_circle(name, rng)
        values, weight = around(circle)
        if size is None:
            found = (np.exp(circle.log_prob(values)) * weight).sum()
        else:
            found = total(WrappedCauchy(5), circle.encode(values), weight, size)
        assert found == pytest.approx(1.0, abs=2e-3)

    @pytest.mark.parametrize("name", ["wind", "signed"])
    def test_is_continuous_over_the_seam(self, name, rng):
        circle, _ = of_circle(name, rng)
        seam = circle.start + 1e-6 * circle.period * np.array([-1.0, 1.0])
        place = circle.encode(seam)
        assert abs(place.z[0] - place.z[1]) > 6

        def jump(head, seed):
            params = some_params(head, 2, seed)
            return float(np.abs(np.diff(head.log_prob(params, cell_of(place))))[0])

        # A head on the line jumps: the check would see it.
        for seed in range(3):
            assert jump(WrappedCauchy(5), seed) < 1e-3 < jump(Logistics(5), seed)
        assert np.abs(np.diff(circle.log_prob(seam))) < 1e-3

    @pytest.mark.parametrize("name", CIRCLES)
    def test_values_come_back_in_the_turn_of_the_data(self, name, rng):
        circle, values = of_circle(name, rng)
        place = circle.encode(values)
        for share in (0.02, 0.5, 0.98):
            back = circle.decode(place.z + share * place.width)
            np.testing.assert_allclose(back, circle.canonical(values), atol=1e-6)
        other = circle.encode(values + 3 * circle.period)
        np.testing.assert_allclose(other.z, place.z, atol=1e-6)
        assert (
            set(np.round(circle.decode(np.linspace(-9, 9, 99)), 9))
            <= set(np.round(around(circle)[0], 9))
            or not circle.step
        )
        if name == "months":
            assert circle.canonical(np.array([0.0, 12.0, 13.0])).tolist() == [12.0, 12.0, 1.0]

    def test_shares_of_unseen_values_sum_to_one(self, rng):
        circle = CircularMarginal.fit(np.repeat([0.0, 3.0, 23.0], 40), 24.0, 1.0)
        unseen = np.setdiff1d(np.arange(24.0), circle.atoms)
        assert np.exp(circle.log_share(unseen)).sum() == pytest.approx(1.0, abs=1e-3)

    def test_the_density_is_the_slope_of_the_distribution_and_draws_follow_it(self):
        head, n = WrappedCauchy(4), 4000
        with jax.enable_x64(True):
            z, none = jnp.linspace(-3.1, 3.1, 301), jnp.zeros(301)
            params = jnp.asarray(some_params(head, 301, size=2.0), jnp.float64)
            slope = jax.grad(lambda z: head.cdf(params, z).sum())(z)
            density = jnp.exp(head.log_prob(params, cell_of((z, none, none), jnp.float64)))
            np.testing.assert_allclose(density, slope, rtol=1e-9, atol=1e-14)
        params = jnp.zeros((head.size, n)).at[0].set(2.0).at[8:].set(2.0)
        drawn = head.sample(params, jax.random.key(0))
        assert kstest(np.asarray(head.cdf(params, drawn.z)), "uniform").pvalue > 1e-3
        turned = jnp.mod(drawn.z + 0.5 + np.pi, 2 * np.pi) - np.pi
        assert kstest(np.asarray(head.cdf(params, turned)), "uniform").pvalue < 1e-3

    def test_is_kept_by_json(self, rng):
        circle, values = of_circle("calm", rng)
        again = CircularMarginal.from_json(json.loads(json.dumps(circle.to_json())))
        assert (again.log_prob(values) == circle.log_prob(values)).all()


class TestHeads:
    def test_the_registry_names_every_head(self):
        assert set(HEADS.values()) == {Logistics, Softmax, WrappedCauchy}

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
