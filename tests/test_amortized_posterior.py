"""Posteriors from simulations: support, embedded observations, weights, and a check that sees what is wrong."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pushforward as pf
from pushforward.bijections import Embedded
from pushforward.cli import main
from pushforward.errors import InputError, InputWarning
from pushforward.estimators import Embedding
from pushforward.estimators.amortized_posterior import WeightedDraws
from pushforward.estimators.supports import support_columns
from pushforward.models.elements import Elements
from pushforward.networks import DeepSets
from pushforward.trust import calibration as checks

NOISE = 0.5
FLOW = pf.architectures.RealNVP(layers=2, width=16, depth=1)


def simulate(n, seed):
    """A location in (0, 4), and its measurement twice."""
    rng = np.random.default_rng(seed)
    theta = rng.uniform(0, 4, (n, 1))
    return theta, theta + NOISE * rng.normal(size=(n, 2))


def log_joint(theta, x):
    inside = jnp.where((theta[0] > 0) & (theta[0] < 4), -jnp.log(4.0), -jnp.inf)
    return inside + jax.scipy.stats.norm.logpdf(x, theta[0], NOISE).sum()


@pytest.fixture(scope="module")
def posterior():
    training = pf.Training(max_epochs=25, batch=64, learning_rate=1e-2)
    fitted = pf.AmortizedPosterior(FLOW, support=(0, 4), training=training, random_state=0)
    return fitted.fit(*simulate(1500, 0))


@pytest.fixture(scope="module")
def of_sets():
    rng = np.random.default_rng(1)
    theta = pd.DataFrame({"mean": rng.normal(size=600), "scale": rng.uniform(0.5, 2, 600)})
    noise = rng.normal(size=(600, 8, 1))
    x = theta["mean"].to_numpy()[:, None, None] + 0.3 * noise
    x[rng.random((600, 8)) < 0.25] = np.nan
    fitted = pf.AmortizedPosterior(
        FLOW,
        support={"scale": (0.5, 2)},
        embedding=Embedding(features=4, width=8, depth=1),
        training=pf.Training(max_epochs=20, batch=64, learning_rate=1e-2),
        random_state=0,
    )
    return fitted.fit(theta, x), x


class TestDensity:
    def test_draws_lie_where_the_posterior_does(self, posterior):
        draws = posterior.sample([2.0, 2.4], 2000, random_state=0)
        assert draws.shape == (2000, 1)
        exact = stats.truncnorm(-2.2 / 0.3536, 1.8 / 0.3536, 2.2, NOISE / np.sqrt(2))
        assert abs(draws.mean() - exact.mean()) < 0.1
        assert 0.7 < draws.std() / exact.std() < 1.4

    def test_it_integrates_to_one_and_stays_in_its_support(self, posterior):
        grid = np.linspace(0, 4, 2001)[1:-1, None]
        for x in ([0.1, 0.0], [3.0, 3.3]):
            density = np.exp(posterior.log_prob(grid, x))
            np.testing.assert_allclose(np.trapezoid(density, grid[:, 0]), 1, atol=0.01)
            draws = posterior.sample(x, 500, random_state=0)
            assert ((draws > 0) & (draws < 4)).all()
        with pytest.warns(InputWarning, match="row 1: column 'theta0' holds 4.5"):
            assert posterior.log_prob([[4.5]], [3.0, 3.3])[0] == -np.inf

    def test_shapes(self, posterior):
        x = simulate(3, 5)[1]
        assert posterior.sample(x, 7, random_state=0).shape == (3, 7, 1)
        assert posterior.log_prob(np.ones((3, 1)), x).shape == (3,)
        assert posterior.log_prob(np.ones((5, 1)), x[0]).shape == (5,)

    def test_files(self, posterior, of_sets, tmp_path):
        for fitted, x in ((posterior, [1.0, 1.3]), (of_sets[0], of_sets[1][0])):
            pf.save(tmp_path / "p.safetensors", fitted)
            again = pf.load(tmp_path / "p.safetensors")
            assert isinstance(again, pf.AmortizedPosterior)
            assert again.parameters_ == fitted.parameters_
            theta = fitted.sample(x, 4, random_state=0)
            np.testing.assert_array_equal(again.sample(x, 4, random_state=0), theta)
            np.testing.assert_array_equal(again.log_prob(theta, x), fitted.log_prob(theta, x))
        assert main(["inspect", str(tmp_path / "p.safetensors")]) == 2


class TestWeights:
    def test_they_repair_the_posterior_and_give_the_evidence(self, posterior):
        x = np.array([1.8, 2.1])
        found = posterior.posterior(x, log_joint, n=4000, random_state=0)
        grid = np.linspace(0, 4, 4001)[1:-1]
        density = jax.jit(jax.vmap(log_joint, (0, None)))
        joint = np.exp(np.asarray(density(jnp.asarray(grid[:, None]), jnp.asarray(x)), float))
        exact = np.log(np.trapezoid(joint, grid))
        value, error, _ = found.log_z
        assert abs(value - exact) < 5 * error + 1e-3
        assert 0.5 < found.ess <= 1
        assert found.k < 0.7
        weights = np.exp(found.log_weights)
        np.testing.assert_allclose(weights.sum(), 1)
        mean = np.trapezoid(joint * grid, grid) / np.exp(exact)
        assert abs((weights @ found.draws)[0] - mean) < 0.03

    def test_without_a_density_they_are_equal(self, posterior):
        found = posterior.posterior([1.0, 1.2], n=10, random_state=0)
        assert isinstance(found, WeightedDraws)
        np.testing.assert_allclose(np.exp(found.log_weights), 0.1)
        assert found.log_z is None

    def test_weights_of_a_few_draws_are_said(self, posterior):
        def elsewhere(theta, x):
            return -((theta[0] - 3.5) ** 2) / 2e-4

        with pytest.warns(InputWarning, match="a few draws carry the weight"):
            found = posterior.posterior([1.0, 1.2], elsewhere, n=1000, random_state=0)
        assert np.isnan(found.log_z.standard_error)

    @pytest.mark.parametrize(
        ("log_density", "said"),
        [
            (lambda theta, x: theta, r"returns shape \(1,\) for one theta"),
            (lambda theta, x: theta.sum() * jnp.nan, "is NaN or infinite at 10 of 10 draws"),
            (lambda theta, x: theta.sum() * 0 - jnp.inf, "-inf at all 10 draws"),
        ],
    )
    def test_bad_densities(self, posterior, log_density, said):
        with pytest.raises(InputError, match=said):
            posterior.posterior([1.0, 1.2], log_density, n=10, random_state=0)


class TestCheck:
    def test_a_right_posterior_passes(self, posterior):
        found = posterior.check(*simulate(200, 7), draws=99)
        assert found.calibrated, str(found)
        assert found.lines[0].startswith("calibrated: 2 curves of ranks")
        assert found.contraction[0] > 0.8
        for level, shares in found.coverage.items():
            assert abs(shares[0] - level) < 0.12
        assert posterior.check(draws=19).ranks.shape == (150, 2)

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            (lambda t: 2 + 0.6 * (t - 2), "hold"),
            (lambda t: t, ""),
        ],
    )
    def test_a_change_of_scale_is_seen(self, posterior, wrong, said):
        """Draws of another posterior: that of observations that are shrunk."""
        theta, x = simulate(200, 8)
        found = posterior.check(theta, wrong(x), draws=99)
        assert found.calibrated is (said == "")

    def test_words(self):
        """Beta ranks of known shape, through the model's own interface."""
        rng = np.random.default_rng(0)
        for a, b, said in (
            (0.6, 0.6, "too narrow"),
            (2.5, 2.5, "too wide"),
            (1.5, 1.0, "too low"),
            (1.0, 1.5, "too high"),
        ):
            u = np.stack([rng.beta(a, b, 400), rng.uniform(size=400)], 1)
            ranks = (100 * u).astype(int)
            p = np.array([checks.p_value(column, 99) for column in ranks.T])
            found = checks.Calibration(("t",), ranks, 99, {0.5: np.ones(1)}, np.ones(1), p)
            assert not found.calibrated
            assert found.lines[1] == f"t: the posterior {said}" or said in found.lines[1]

    def test_bands_hold_what_they_promise(self):
        rng = np.random.default_rng(1)
        low, high = checks.bands(150, 99, 0.1)[1:]
        ranks = rng.integers(0, 100, (2000, 150))
        counts = np.array([checks.counts_below(row, 99) for row in ranks])
        left = ((counts < low) | (counts > high)).any(1).mean()
        assert 0.07 < left < 0.13
        p = [checks.p_value(row, 99) for row in ranks[:100]]
        assert stats.kstest(p, "uniform").pvalue > 1e-3

    @pytest.mark.mistyped
    def test_the_prior_itself_passes_but_does_not_contract(self, posterior):
        """The classic hole of ranks: the words say it."""

        class Prior:
            columns, condition = posterior.model_.columns, posterior.model_.condition

            def sample(self, n, seed, x):
                return np.random.default_rng(seed).uniform(0, 4, (n * len(x), 1))

            def log_prob(self, theta, x):
                return np.zeros(len(theta))

        found = checks.calibration(Prior(), *simulate(300, 9), draws=99)
        assert found.calibrated
        assert found.contraction[0] < 0.05
        assert "'theta0': hardly narrower than the prior" in found.lines[-1]

    def test_picture(self, posterior, tmp_path):
        posterior.check(draws=9).figure().savefig(tmp_path / "ranks.png")
        assert (tmp_path / "ranks.png").stat().st_size > 5000


class TestSets:
    def test_the_order_of_a_set_does_not_matter(self, of_sets):
        fitted, x = of_sets
        theta = fitted.sample(x[0], 3, random_state=0)
        one = fitted.log_prob(theta, x[0])
        np.testing.assert_allclose(one, fitted.log_prob(theta, x[0][::-1]), atol=1e-4)
        # Absent elements say nothing: they may as well not be there.
        there = x[0][~np.isnan(x[0, :, 0])]
        np.testing.assert_allclose(one, fitted.log_prob(theta, there), atol=1e-4)
        assert abs(one - fitted.log_prob(theta, x[0] + 1.0)).max() > 0.1

    def test_it_learns_from_sets(self, of_sets):
        fitted, _ = of_sets
        found = fitted.check(draws=49)
        assert found.names == ("mean", "scale")
        assert found.contraction[0] > 0.7
        assert found.contraction[1] < 0.2

    def test_series_see_their_order(self):
        rng = np.random.default_rng(0)
        network = Elements.of(
            rng.normal(size=(50, 5, 2)), ["a", "b"], Embedding(kind="series", width=8), "x"
        )
        x = rng.normal(size=(4, 5, 2))
        seen = network.network(jax.random.key(0))
        forwards = seen(jnp.asarray(network.features(x)))
        backwards = seen(jnp.asarray(network.features(x[:, ::-1])))
        assert forwards.shape == (4, 32)
        assert float(jnp.abs(forwards - backwards).max()) > 1e-3
        # Steps that are missing at the end change nothing.
        shorter = seen(jnp.asarray(network.features(x[:, :3])))
        padded = np.where(np.arange(5)[None, :, None] < 3, x, np.nan)
        np.testing.assert_allclose(shorter, seen(jnp.asarray(network.features(padded))), atol=1e-6)

    def test_angles_and_gaps_in_elements(self):
        x = np.array([[[10.0, 1.0], [np.nan, 2.0]], [[350.0, np.nan], [90.0, 4.0]]] * 20)
        columns = pf.columns.Columns.fit(
            x.reshape(-1, 2)[~np.isnan(x.reshape(-1, 2)).any(1)],
            ["turn", "b"],
            declared={"turn": pf.columns.Angle(360)},
            modelled=False,
        )
        elements = Elements(columns.names, columns.kinds, (), 2, Embedding())
        seen = elements.features(x)[0]
        assert seen.shape == (2, 5)
        # b, cosine, sine, and which of turn and b are there.
        np.testing.assert_array_equal(seen[:, 3:], [[1, 1], [0, 1]])
        np.testing.assert_array_equal(seen[1, 1:3], [0, 0])
        np.testing.assert_allclose(np.square(seen[0, 1:3]).sum(), 1)
        assert replace(elements, longest=3).features(x).shape == (40, 3, 5)


class TestEmbedded:
    def test_it_is_the_map_given_what_the_network_gives(self):
        keys = jax.random.split(jax.random.key(0), 4)
        flow = FLOW.build(2, 3, key=keys[0])
        network = DeepSets(2, 3, width=8, key=keys[1])
        embedded = Embedded(flow.bijection, network, (5, 2))
        z, sets = jax.random.normal(keys[2], (6, 2)), jax.random.normal(keys[3], (6, 5, 2))
        whole = pf.distributions.Flow(flow.base, embedded)

        @eqx.filter_jit
        def both_ways(z, sets):
            x, log_det = embedded.forward(z, sets)
            direct = flow.bijection.forward(z, network(sets))[0]
            draws = whole.sample(keys[2], 3, sets)
            return x, direct, log_det, embedded.inverse(x, sets), whole.log_prob(draws, sets)

        x, direct, log_det, (back, inverse_log_det), scores = both_ways(z, sets)
        np.testing.assert_allclose(x, direct, atol=1e-6)
        np.testing.assert_allclose(back, z, atol=1e-5)
        np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-5)
        assert scores.shape == (3, 6)

    def test_bad_parts(self):
        flow = FLOW.build(2, 3, key=jax.random.key(0))
        network = DeepSets(2, 4, width=8, key=jax.random.key(1))
        with pytest.raises(InputError, match=r"gives \(2, 4\) for 2 conditions"):
            Embedded(flow.bijection, network, (5, 2))
        with pytest.raises(InputError, match="takes no condition"):
            Embedded(pf.bijections.Reverse(2), network, (5, 2))

    def test_data_dependent_layers_are_reached(self):
        flow = FLOW.build(2, 3, key=jax.random.key(0))
        inner = pf.bijections.Chain([flow.bijection, pf.bijections.ActNorm(2)])
        network = DeepSets(2, 3, width=8, key=jax.random.key(1))
        x = 5 + jax.random.normal(jax.random.key(2), (200, 2))
        sets = jax.random.normal(jax.random.key(3), (200, 4, 2))
        started = pf.bijections.initialised(Embedded(inner, network, (4, 2)), x, sets)
        assert abs(float(started.bijection.bijections[1].inverse(x)[0].mean())) < 1e-3


class TestBadInput:
    @pytest.mark.mistyped
    def test_supports(self):
        found = support_columns(["positive", (0, None), "angle:360"], ["a", "b", "c"])
        assert found["a"] == found["b"] == pf.columns.Bounded(0.0)
        assert found["c"].period == 360
        assert support_columns(None, ["a"]) == {}
        for support, said in (
            ({"c": "real"}, "no column 'c'"),
            (["real"], "support has 1 entries, but theta has 2 columns"),
            ({"a": (2, 1)}, "support of 'a': bounded: the lower bound 2 is not below"),
            ({"a": "positve"}, "support of 'a': kind 'positve' of a column is unknown"),
            ({"a": (1, 2, 3)}, "support of 'a' is"),
            (3, "support=3: 'positive'"),
        ):
            with pytest.raises(InputError, match=said):
                support_columns(support, ["a", "b"])

    @pytest.mark.parametrize(
        ("theta", "x", "options", "said"),
        [
            (np.ones((3, 2)), np.ones((3, 5)), {}, r"3 simulations of 7 columns \(2 of theta, 5"),
            (np.ones((9, 2)), np.ones((8, 1)), {}, "theta has 9 rows, x 8"),
            (np.ones((9, 1)), np.ones((9, 3, 2)), {}, "embedding='set' or 'series' reads such x"),
            (np.ones((9, 1)), np.ones((9, 2)), {"embedding": "deep"}, "embedding='deep': 'set'"),
            (np.ones((9, 1)), [[1.0], [1.0, 2.0]], {"embedding": "set"}, "pad shorter ones"),
            (simulate(50, 0)[0], simulate(50, 0)[1], {"support": (1, 4)}, "theta0' is declared"),
            (*simulate(50, 0), {"support": {"theta1": "real"}}, "no column 'theta1'"),
        ],
    )
    def test_fits_that_are_refused(self, theta, x, options, said):
        with pytest.raises(InputError, match=said) as caught:
            pf.AmortizedPosterior(FLOW, **options).fit(theta, x)
        assert "\n" not in str(caught.value)

    def test_missing_cells(self):
        theta, x = simulate(50, 0)
        x[3, 1] = np.nan
        with pytest.raises(InputError, match="row 4, column 'x1'"):
            pf.AmortizedPosterior(FLOW).fit(theta, x)

    def test_observations_unlike_the_simulations_are_flagged(self, posterior, of_sets):
        with pytest.warns(InputWarning, match="x lies outside everything simulated .x0 is 9,"):
            posterior.sample([9.0, 2.0], 3, random_state=0)
        # Each possible, together not.
        with pytest.warns(InputWarning, match="possible, but not together"):
            posterior.sample([0.0, 4.0], 3, random_state=0)
        with pytest.warns(InputWarning, match="1 observation of 2 lie"):
            posterior.log_prob([[1.0], [2.0]], [[1.0, 1.2], [1.0, 99.0]])
        with pytest.warns(InputWarning, match="x0 is 99"):
            of_sets[0].posterior(np.full((8, 1), 99.0), random_state=0, n=3)

    def test_other_columns(self, posterior, of_sets):
        with pytest.raises(InputError, match="x has 3 columns; fitted were 2"):
            posterior.sample([[1.0, 2.0, 3.0]])
        with pytest.raises(InputError, match="up to 8 elements with 1 column"):
            of_sets[0].sample(np.ones((9, 1)))
        swapped = pd.DataFrame({"scale": [1.0], "mean": [0.0]})
        with pytest.raises(InputError, match="theta has the columns 'scale', 'mean'"):
            of_sets[0].log_prob(swapped, of_sets[1][0])
        with pytest.raises(InputError, match="5 simulations: ranks say something from 20 on"):
            posterior.check(*simulate(5, 0))


def test_command_line(posterior, tmp_path, capsys):
    posterior.save(tmp_path / "m.safetensors")
    theta, x = simulate(100, 3)
    rows = "\n".join(",".join(map(str, row)) for row in np.hstack([theta, x]))
    (tmp_path / "new.csv").write_text(f"theta0,x0,x1\n{rows}\n")
    words = ["check", *(str(tmp_path / name) for name in ("m.safetensors", "new.csv"))]
    plot = ["--plot", str(tmp_path / "ranks.png")]
    assert main([*words, "--draws", "49", *plot]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("calibrated: 2 curves of ranks within the bands of chance (100 ")
    assert "80% intervals hold the truth" in said.out
    assert (tmp_path / "ranks.png").stat().st_size > 5000
    assert main([*words, *plot]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*words, "--plot", "ranks.txt"]) == 2
