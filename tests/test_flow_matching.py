"""Flow matching: paths and couplings are what they say, the loss has its minimum at the right field, fits are exact
densities. Statistical tests have a false-alarm rate below 1e-6 each (5 standard errors) and fixed seeds."""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from scipy.optimize import linear_sum_assignment
from scipy.stats import multivariate_normal

import pushforward as pf
from pushforward.architectures import FFJORD, FlowMatching
from pushforward.bijections import FlowMap
from pushforward.columns import Columns
from pushforward.distributions import Flow, StandardNormal
from pushforward.errors import InputError
from pushforward.fields import GuidedField, MLPField, divergence, with_guidance
from pushforward.fitting.fit_table import fit_table
from pushforward.models.table_model import TableModel
from pushforward.ode import with_solver
from pushforward.paths import COUPLINGS, PATHS, FlowMatchingLoss, partners
from pushforward.testing import perturbed
from pushforward.training import Batch

MEAN, SCALE = 1.5, 0.6
find = jax.jit(partners, static_argnums=0)


@pytest.mark.parametrize("name", PATHS)
def test_path_leads_from_latent_to_data(name, rng):
    z, x = (jnp.asarray(rng.normal(size=(5, 2)), jnp.float32) for _ in range(2))
    path = PATHS[name]
    np.testing.assert_allclose(path.at(0.0, z, x)[0], z, atol=1e-6)
    np.testing.assert_allclose(path.at(1.0, z, x)[0], x, atol=1e-6)
    times, h = jnp.linspace(0.1, 0.9, 5), 1e-3
    slope = (path.at(times + h, z, x)[0] - path.at(times - h, z, x)[0]) / (2 * h)
    np.testing.assert_allclose(path.at(times, z, x)[1], slope, atol=2e-3)


def test_variance_is_preserved():
    t = jnp.linspace(0, 1, 11)
    path = PATHS["vp"]
    np.testing.assert_allclose(path.signal(t) ** 2 + path.noise(t) ** 2, 1, atol=1e-6)


def test_times_outside():
    rows = jnp.zeros((2, 1))
    with pytest.raises(InputError, match=r"t=1\.5: a path has times from 0"):
        PATHS["linear"].at(jnp.array([0.2, 1.5]), rows, rows)
    found = jax.jit(lambda t: PATHS["linear"].at(t, rows, rows)[0])(jnp.array([0.2, 1.5]))
    assert np.isnan(found).ravel().tolist() == [False, True]


class TestCouplings:
    n = 60

    def rows(self, rng):
        z, x = rng.normal(size=(self.n, 2)), rng.normal(size=(self.n, 2)) * 2 + 1
        return jnp.asarray(z, jnp.float32), jnp.asarray(x, jnp.float32)

    def cost(self, z, x):
        return np.square(np.asarray(z)[:, None] - np.asarray(x)[None]).sum(-1)

    def test_exact(self, rng):
        z, x = self.rows(rng)
        cost = self.cost(z, x)
        best = cost[linear_sum_assignment(cost)].sum()
        found = np.asarray(find("exact_ot", z, x, None, jax.random.key(0)))
        assert sorted(found) == list(range(self.n))
        assert cost[found, np.arange(self.n)].sum() == pytest.approx(best, rel=1e-5)

    def test_exact_within_labels(self, rng):
        z, x = self.rows(rng)
        labels, cost = rng.integers(0, 3, self.n), self.cost(z, x)
        given = jnp.asarray(labels[:, None], jnp.float32)
        found = np.asarray(find("exact_ot", z, x, given, jax.random.key(0)))
        assert sorted(found) == list(range(self.n))
        assert (labels[found] == labels).all()
        best = 0.0
        for label in range(3):
            inside = cost[np.ix_(labels == label, labels == label)]
            best += inside[linear_sum_assignment(inside)].sum()
        assert cost[found, np.arange(self.n)].sum() == pytest.approx(best, rel=1e-5)

    def test_sinkhorn_draws_from_the_entropic_plan(self, rng):
        z, x = self.rows(rng)
        cost, draws = self.cost(z, x), 200
        keys = jax.random.split(jax.random.key(1), draws)
        found = np.stack([find("sinkhorn", z, x, None, key) for key in keys])
        costs = cost[found, np.arange(self.n)].sum(1)
        least = cost[linear_sum_assignment(cost)].sum()
        assert least < costs.mean() < 0.5 * least + 0.5 * np.trace(cost)
        # Every latent row serves as often as any other: the plan's margin is uniform.
        times = np.bincount(found.ravel(), minlength=self.n)
        assert np.abs(times - draws).max() < 5 * math.sqrt(draws) + 0.05 * draws

    @pytest.mark.parametrize("name", COUPLINGS)
    def test_conditions_that_differ_leave_rows_alone(self, name, rng):
        z, x = self.rows(rng)
        given = jnp.arange(self.n, dtype=jnp.float32)[:, None]
        found = find(name, z, x, given, jax.random.key(0))
        assert found.tolist() == list(range(self.n))

    @pytest.mark.parametrize("name", COUPLINGS)
    def test_a_batch_of_one(self, name):
        one = jnp.ones((1, 2))
        assert partners(name, one, one, None, jax.random.key(0)).tolist() == [0]

    def test_large_batches_go_in_blocks(self, rng, monkeypatch):
        monkeypatch.setattr("pushforward.paths.couplings.ROWS", 20)
        z, x = (a[:50] for a in self.rows(rng))
        found = np.asarray(partners("exact_ot", z, x, None, jax.random.key(0)))
        assert sorted(found[:20]) == list(range(20))
        assert sorted(found[20:40]) == list(range(20, 40))
        assert found[40:].tolist() == list(range(40, 50))
        inside = self.cost(z[20:40], x[20:40])
        best = inside[linear_sum_assignment(inside)].sum()
        assert inside[found[20:40] - 20, np.arange(20)].sum() == pytest.approx(best, rel=1e-5)

    def test_rows_that_are_not_finite_are_left_to_the_loss(self):
        rows = jnp.full((4, 2), jnp.nan)
        assert partners("exact_ot", rows, rows, None, jax.random.key(0)).tolist() == [0, 1, 2, 3]

    def test_unknown(self):
        with pytest.raises(InputError, match="coupling='ot' is unknown; known: independent, exact"):
            partners("ot", jnp.ones((2, 1)), jnp.ones((2, 1)), None, jax.random.key(0))

    @pytest.mark.parametrize("name", COUPLINGS)
    def test_other_lengths_are_told(self, name):
        two, three, key = jnp.zeros((2, 1)), jnp.zeros((3, 1)), jax.random.key(0)
        for z, x, condition, words in (
            (two, three, None, r"z has shape \(2, 1\), but x \(3, 1\)"),
            (three, two, None, r"z has shape \(3, 1\), but x \(2, 1\)"),
            (jnp.zeros((3, 2)), three, None, r"z has shape \(3, 2\), but x \(3, 1\)"),
            (jnp.zeros(()), jnp.zeros(()), None, r"z has shape \(\), but x \(\)"),
            (three, three, two, r"condition has shape \(2, 1\), but x \(3, 1\)"),
            (three, three, jnp.float32(1), r"condition has shape \(\), but x \(3, 1\)"),
        ):
            with pytest.raises(pf.InputError, match=words):
                partners(name, z, x, condition, key)
        # Arrays of NumPy and labels of one axis will do.
        labels = np.array([0, 1, 2])
        assert partners(name, np.zeros((3, 1)), np.zeros((3, 1)), labels, key).tolist() == [0, 1, 2]

    @pytest.mark.mistyped
    @pytest.mark.parametrize("name", COUPLINGS)
    def test_a_number_is_no_key(self, name):
        three = jnp.zeros((3, 1))
        with pytest.raises(pf.InputError, match="key=0: a key was expected"):
            partners(name, three, three, None, 0)


def test_a_path_of_other_lengths_is_told():
    two, three = jnp.zeros((2, 1)), jnp.zeros((3, 1))
    with pytest.raises(pf.InputError, match=r"z has shape \(2, 1\), but x \(3, 1\)"):
        PATHS["linear"].at(0.5, two, three)
    with pytest.raises(pf.InputError, match=r"t has shape \(2,\), but x \(3, 1\)"):
        PATHS["linear"].at(jnp.array([0.1, 0.2]), three, three)


def velocity(t, x):
    """The field of the linear path to `N(MEAN, SCALE^2)`: the mean of `x - z` given `x_t`."""
    t = jnp.asarray(t)
    variance = (t * SCALE) ** 2 + (1 - t) ** 2
    return MEAN + (t * SCALE**2 - (1 - t)) / variance * (x - t * MEAN)


class TestLoss:
    """On normal data the best field and the least loss are known."""

    flow = Flow(
        StandardNormal(2),
        FlowMap(velocity, event_shape=(2,), solver=pf.ode.Solver(rtol=1e-6, atol=1e-6)),
    )

    @pytest.mark.filterwarnings("ignore:rtol=1e-06 is below the precision of float32")
    def test_the_best_field_gives_the_density(self, rng):
        x = jnp.asarray(rng.normal(MEAN, SCALE, (50, 2)), jnp.float32)
        exact = multivariate_normal([MEAN] * 2, SCALE**2).logpdf(np.asarray(x))
        np.testing.assert_allclose(self.flow.log_prob(x), exact, atol=1e-4)

    def test_its_loss_is_the_least(self, rng):
        n, loss = 20_000, FlowMatchingLoss()
        x = jnp.asarray(rng.normal(MEAN, SCALE, (n, 2)), jnp.float32)
        found = np.asarray(loss(self.flow, Batch(x), jax.random.key(0)))

        def unexplained(t):
            variance = (t * SCALE) ** 2 + (1 - t) ** 2
            return SCALE**2 + 1 - (t * SCALE**2 - (1 - t)) ** 2 / variance

        least = integrate.quad(unexplained, 0, 1)[0]
        assert abs(found.mean() - least) < 5 * found.std() / math.sqrt(n)
        wrong = Flow(
            StandardNormal(2), FlowMap(lambda t, x: velocity(t, x) + 0.3, event_shape=(2,))
        )
        other = np.asarray(loss(wrong, Batch(x), jax.random.key(0)))
        assert other.mean() - found.mean() == pytest.approx(0.09, abs=0.02)

    def test_validation_never_changes(self, rng):
        x = jnp.asarray(rng.normal(size=(30, 2)), jnp.float32)
        loss = FlowMatchingLoss()
        a, b = (np.asarray(loss(self.flow, Batch(x), None)) for _ in range(2))
        np.testing.assert_array_equal(a, b)
        # Without a coupling no row changes another.
        again = loss(self.flow, Batch(x.at[3].set(100.0)), None)
        np.testing.assert_array_equal(np.delete(a, 3), np.delete(np.asarray(again), 3))

    def test_mistakes(self):
        key, x = jax.random.key(0), jnp.ones((4, 2))
        loss = FlowMatchingLoss()
        with pytest.raises(InputError, match="path='ot' is unknown; known: linear, vp"):
            FlowMatchingLoss(path="ot")
        with pytest.raises(InputError, match="coupling='ot' is unknown"):
            FlowMatchingLoss(coupling="ot")
        with pytest.raises(InputError, match="drop_condition=1"):
            FlowMatchingLoss(drop_condition=1.0)
        with pytest.raises(InputError, match="next to the base, not a"):
            loss(pf.architectures.RealNVP(layers=1, width=4).build(2, key=key), Batch(x), key)
        with pytest.raises(InputError, match="one continuous map"):
            loss(FFJORD(layers=2, width=4).build(2, key=key), Batch(x), key)
        with pytest.raises(InputError, match="fixed time 1"):
            loss(FFJORD(width=4, trained_time=True).build(2, key=key), Batch(x), key)
        with pytest.raises(InputError, match="trains a Flow, not a StandardNormal"):
            loss(StandardNormal(2), Batch(x), key)


@pytest.fixture(scope="module")
def labelled():
    """Two labels, two bumps, and a guided model of them after a short fit."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 1500)[:, None].astype(np.float32)
    x = (rng.normal(size=(1500, 2)) * 0.4 + 2 * labels - 1).astype(np.float32)
    architecture = FlowMatching(width=24, depth=2, coupling="exact_ot", drop_condition=0.2)
    model = architecture.build(2, condition=1, key=jax.random.key(0))
    fitted = pf.fit(
        model,
        x,
        labels,
        key=jax.random.key(1),
        loss=architecture.loss,
        training=pf.Training(max_steps=500, batch=128),
    )
    return x, labels, fitted


class TestFit:
    def test_conditional_densities(self, labelled):
        x, labels, fitted = labelled
        found = np.asarray(fitted.model.log_prob(x[:300], labels[:300])).mean()
        right = multivariate_normal([0, 0], 0.16).logpdf(x[:300] - 2 * labels[:300] + 1).mean()
        assert right - 0.15 < found < right + 0.1
        assert not fitted.history[0].likelihood

    def test_guidance(self, labelled):
        x, labels, fitted = labelled
        model, rows, given = fitted.model, x[:20], labels[:20]
        plain = model.log_prob(rows, given)
        np.testing.assert_array_equal(with_guidance(model, 0.0).log_prob(rows, given), plain)
        free = with_guidance(model, -1.0)
        np.testing.assert_allclose(
            free.log_prob(rows, given), free.log_prob(rows, 1 - given), atol=1e-4
        )
        key = jax.random.key(2)

        def mean(weight):
            return with_guidance(model, weight).sample(key, (300,), jnp.ones(1)).mean()

        assert mean(-1.0) < 0.5 < mean(0.0) < mean(1.0)

    def test_divergence_of_guided_fields(self, labelled):
        x, labels, fitted = labelled
        field = with_guidance(fitted.model, 1.5).bijection.unstack()[0].field
        assert isinstance(field, GuidedField)
        rows, given = jnp.asarray(x[:7]), jnp.asarray(labels[:7])
        value, trace = divergence(field, jnp.asarray(0.3), rows, condition=given)
        same, by_tangents = divergence(
            lambda t, y, c: field(t, y, c), jnp.asarray(0.3), rows, condition=given
        )
        np.testing.assert_allclose(value, same, rtol=1e-5)
        np.testing.assert_allclose(trace, by_tangents, rtol=1e-4, atol=1e-5)

    def test_guidance_has_to_be_trained(self):
        flow = FlowMatching(width=4).build(2, condition=1, key=jax.random.key(0))
        with pytest.raises(InputError, match="build it with drop_condition above 0"):
            with_guidance(flow, 1.0)
        with pytest.raises(InputError, match="weight=-2"):
            with_guidance(flow, -2.0)
        with pytest.raises(InputError, match=r"drop_condition=1\.0: a share"):
            FlowMatching(drop_condition=1.0).build(2, key=jax.random.key(0))

    @pytest.mark.mistyped
    def test_a_weight_is_a_number(self):
        flow = FlowMatching(width=4).build(2, condition=1, key=jax.random.key(0))
        with pytest.raises(InputError, match="weight='two'"):
            with_guidance(flow, "two")

    def test_what_is_dropped_must_be_known_to_be_missing(self):
        """A loss that drops conditions and a field that cannot do without, or the other way round, find each other out
        before a step is taken."""
        key, x, labels = (
            jax.random.key(0),
            np.zeros((9, 2), np.float32),
            np.ones((9, 1), np.float32),
        )
        plain = FlowMatching(width=4).build(2, condition=1, key=key)
        with pytest.raises(InputError, match=r"architectures\.FlowMatching\(drop_condition=0\.5\)"):
            pf.fit(plain, x, labels, key=key, loss=FlowMatchingLoss(drop_condition=0.5))
        guided = FlowMatching(width=4, drop_condition=0.5).build(2, condition=1, key=key)
        with pytest.raises(InputError, match="would not learn the unconditional density"):
            pf.fit(guided, x, labels, key=key, loss=FlowMatchingLoss())

    def test_of_a_fitted_table(self, labelled):
        """A table's model, or an estimator, is changed as its flow is, and stays as it was."""
        x, labels, fitted = labelled
        columns, given = Columns.fit(x), Columns.fit(labels, modelled=False)
        table = TableModel(fitted.model, FlowMatching(drop_condition=0.2), columns, given)
        estimator = pf.ConditionalFlowDensity.from_model(table)
        changed = with_guidance(with_solver(estimator, method="euler", steps=3), 1.5)
        assert isinstance(changed, pf.ConditionalFlowDensity)
        assert estimator.model_.flow is fitted.model
        flow = changed.model_.flow
        same = with_guidance(with_solver(fitted.model, method="euler", steps=3), 1.5)
        assert jax.tree.structure(flow) == jax.tree.structure(same)
        assert jax.tree.structure(flow) != jax.tree.structure(fitted.model)

    def test_tables(self, rng):
        """A table is fitted by the architecture's own loss, which is never told as nats."""
        x = rng.normal(size=(300, 2)) * [3.0, 0.1] + [5.0, -2.0]
        told: list[Any] = []
        model = fit_table(
            x,
            architecture=FlowMatching(width=16, depth=2),
            training=pf.Training(max_steps=300),
            report=told.append,
            trust=False,
        )
        assert "validation_nats" not in model.summary
        assert model.summary["validation_loss"] == min(e.validation_loss for e in told)
        gaussian = multivariate_normal(x.mean(0), np.cov(x.T)).logpdf(x).mean()
        assert model.log_prob(x).mean() == pytest.approx(gaussian, abs=0.2)


class TestFewSteps:
    """A likelihood by few steps is not a likelihood, and is told."""

    flow = perturbed(
        FlowMatching(width=8, depth=2).build(2, key=jax.random.key(0)), jax.random.key(1), 1.0
    )

    def told(self, call):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            value = call()
            jax.effects_barrier()
        return value, [str(w.message) for w in caught if "fixed steps" in str(w.message)]

    def test_the_estimate_is_the_error(self, rng):
        x = jnp.asarray(rng.normal(size=(16, 2)), jnp.float32)
        exact = self.flow.log_prob(x)
        coarse = with_solver(self.flow, method="rk4", steps=2)
        value, lines = self.told(lambda: coarse.log_prob(x))
        error = float(jnp.abs(value - exact).max())
        assert len(lines) == 1
        assert float(lines[0].split("about ")[1].split(" nats")[0]) == pytest.approx(error, rel=0.5)
        assert self.told(lambda: jax.jit(lambda x: coarse.log_prob(x))(x))[1] == lines

    def test_enough_steps_and_samples_say_nothing(self, rng):
        x = jnp.asarray(rng.normal(size=(16, 2)), jnp.float32)
        fine = with_solver(self.flow, method="dopri5", steps=64)
        assert self.told(lambda: fine.log_prob(x))[1] == []
        coarse = with_solver(self.flow, method="rk4", steps=2)
        assert self.told(lambda: coarse.sample(jax.random.key(0), (4,)))[1] == []


def test_guided_field_needs_room_for_the_flag():
    inner = MLPField(2, width=4, condition=2, key=jax.random.key(0))
    field = GuidedField(inner, (1,), weight=1.0)
    assert field(jnp.zeros(()), jnp.ones((3, 2)), jnp.ones((3, 1))).shape == (3, 2)


def test_a_label_that_training_never_had(rng):
    labels = rng.integers(0, 3, 200).astype(float)[:, None]
    model = fit_table(
        rng.normal(size=(200, 1)),
        labels,
        condition_names=["digit"],
        architecture=FlowMatching(width=8, depth=1),
        training=pf.Training(max_steps=10),
        trust=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.log_prob(np.zeros((3, 1)), labels[:3])
    with pytest.warns(UserWarning, match=r"'digit' holds 7, .* \(it had 0, 1, 2\)"):
        model.log_prob(np.zeros((2, 1)), np.array([[1.0], [7.0]]))
    with pytest.warns(UserWarning, match="'digit' holds 7"):
        model.sample(3, 0, np.array([[7.0]]))
