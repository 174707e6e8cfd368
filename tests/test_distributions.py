"""Base distributions against SciPy, mixtures against their definition, and what a flow is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from pushforward.architectures import IAF, MAF, NSF, RealNVP
from pushforward.bijections import Elementwise, Reverse
from pushforward.distributions import (
    BASES,
    Flow,
    GaussianMixture,
    Product,
    Resampled,
    StandardNormal,
    StudentT,
    Uniform,
    UniformTorus,
    base_named,
)
from pushforward.errors import InputError
from pushforward.testing import perturbed
from pushforward.transformers import Affine

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(20, 2)) * 3


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_normal_against_scipy():
    close(StandardNormal(2).log_prob(X), stats.norm.logpdf(X).sum(1))


@pytest.mark.parametrize("freedom", [1.5, 3.0, 10.0, 100.0])
def test_student_t_against_scipy(freedom):
    close(StudentT(2, freedom).log_prob(X), stats.t.logpdf(X, freedom).sum(1))


def test_student_t_far_out_against_scipy():
    far = np.array([[1e6], [-1e20], [1e30]])
    close(StudentT(1, 3.0).log_prob(far), stats.t.logpdf(far, 3.0).sum(1))


def test_uniform_against_scipy():
    close(Uniform(2, -1.0, 2.0).log_prob(X), stats.uniform.logpdf(X, -1, 3).sum(1))
    assert float(Uniform(1, -1.0, 2.0).log_prob([-1.0])) == pytest.approx(-np.log(3))


def test_angles_are_uniform_after_any_turn():
    torus = UniformTorus(2)
    close(torus.log_prob(X + 2 * np.pi * np.array([3, -1])), np.full(20, -2 * np.log(2 * np.pi)))
    drawn = np.asarray(torus.sample(KEY, (1000,)))
    assert (np.abs(drawn) <= np.pi).all()


def test_a_product_is_of_its_parts():
    parts = Uniform(1, -9.0, 9.0), StudentT(2)
    both = Product(*parts, (False, True, False))
    rows = np.concatenate([X, X[:, :1] + 1], axis=1)
    close(both.log_prob(rows), parts[0].log_prob(rows[:, 1:2]) + parts[1].log_prob(rows[:, ::2]))
    x, log_prob = both.sample_and_log_prob(KEY, (500,))
    close(both.log_prob(x), log_prob)
    # Bounds show which coordinate is whose.
    assert (np.abs(np.asarray(x)).max(0) < 9).tolist()[1]
    assert np.isneginf(both.log_prob([0.0, 10.0, 0.0]))
    assert np.isfinite(both.log_prob([10.0, 0.0, 10.0]))


def test_mixture_against_its_definition():
    mixture = perturbed(GaussianMixture(2, 3, key=KEY), jax.random.key(1))
    means, scales = np.asarray(mixture.means), np.exp(mixture.log_scales)
    weights = np.asarray(jax.nn.softmax(mixture.logits))
    each = stats.norm.logpdf(X[:, None], means, scales).sum(2)
    close(mixture.log_prob(X), logsumexp(each, b=weights, axis=1))


@pytest.mark.parametrize("shift", [30.0, -200.0])
def test_certain_acceptance_and_rejection_have_gradients(shift):
    """Where the rate of a resampled base rounds to 1 or 0 the density is the normal's, and no gradient is NaN."""
    base = Resampled(1, width=4, key=KEY)
    base = eqx.tree_at(lambda b: b.network.last_bias, base, base.network.last_bias + shift)
    x = jnp.array([[0.3], [2.0]])
    close(base.log_prob(x), stats.norm.logpdf(x)[:, 0])
    slopes = eqx.filter_grad(lambda b: b.log_prob(x).sum())(base)
    assert all(bool(jnp.isfinite(s).all()) for s in jax.tree.leaves(slopes))


@pytest.mark.parametrize(
    ("base", "cdf"),
    [
        (StandardNormal(1), stats.norm.cdf),
        (StudentT(1, 3.0), lambda v: stats.t.cdf(v, 3.0)),
        (Uniform(1, -1.0, 2.0), lambda v: stats.uniform.cdf(v, -1, 3)),
    ],
    ids=["normal", "student_t", "uniform"],
)
def test_draws_against_scipy(base, cdf):
    """Kolmogorov-Smirnov on 20,000 draws; the Dvoretzky-Kiefer-Wolfowitz bound, false-alarm rate 1e-6."""
    n = 20_000
    drawn = np.asarray(base.sample(KEY, (n,)))[:, 0]
    assert stats.kstest(drawn, cdf).statistic <= np.sqrt(np.log(2 / 1e-6) / (2 * n))


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("event", [(), (3,), (2, 2)])
def test_bases_take_any_event(name, event):
    base = base_named(name, event, KEY)
    x, log_prob = base.sample_and_log_prob(KEY, (4, 5))
    assert (x.shape, log_prob.shape) == ((4, 5, *event), (4, 5))
    close(base.log_prob(x), log_prob)


def test_scores_are_slopes_of_log_densities():
    """By central differences in 64 bits, with a condition that broadcasts."""
    with jax.enable_x64(True):
        flow = NSF(layers=2, width=8).build(2, 1, key=jax.random.key(0))
        flow = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, flow)
        x = jax.random.normal(jax.random.key(1), (3, 4, 2), jnp.float64)
        c = jnp.array([0.5])
        score = flow.grad_log_prob(x, c)
        assert score.shape == x.shape
        for i in range(2):
            e = jnp.zeros_like(x).at[..., i].set(1e-5)
            slope = (flow.log_prob(x + e, c) - flow.log_prob(x - e, c)) / 2e-5
            np.testing.assert_allclose(score[..., i], slope, atol=1e-6)


def test_flow_is_a_change_of_variables():
    """x = exp(s) z + b of a normal z is the normal of mean b and deviation exp(s)."""
    shift, log_scale = jnp.array([1.0, -2.0]), jnp.array([0.5, -0.5])
    flow = Flow(StandardNormal(2), Elementwise(Affine(bound=1e3), 2, jnp.stack([shift, log_scale])))
    close(flow.log_prob(X), stats.norm.logpdf(X, shift, np.exp(log_scale)).sum(1))


def test_iaf_is_maf_turned_round():
    """Built with the same key, an IAF layer is a MAF layer inverted."""
    maf, iaf = (kind(layers=1, width=8).build(3, condition=2, key=KEY) for kind in (MAF, IAF))
    maf, iaf = perturbed(maf, jax.random.key(1)), perturbed(iaf, jax.random.key(1))
    z, c = jax.random.normal(KEY, (10, 3)), jax.random.normal(KEY, (10, 2))
    # Both are the layer followed by a reversal, so that IAF's forward is: MAF's inverse of the reversed, reversed.
    found, log_det = iaf.forward(z, c)
    expected, expected_log_det = maf.inverse(z[:, ::-1], c)
    close(found, expected[:, ::-1])
    close(log_det, expected_log_det)


def test_sampling_broadcasts_conditions():
    flow = MAF(layers=1, width=8).build(2, condition=3, key=KEY)
    assert flow.sample(KEY, (4,), jnp.zeros((5, 3))).shape == (4, 5, 2)
    assert flow.sample(KEY, (), jnp.zeros((5, 3))).shape == (5, 2)
    assert flow.sample(KEY, (0,), jnp.zeros(3)).shape == (0, 2)
    assert flow.sample(KEY, (4,), jnp.zeros(3)).shape == (4, 2)


def test_draws_differ_by_row_and_key():
    flow = MAF(layers=1, width=8).build(2, key=KEY)
    first, second = flow.sample(KEY, (10,)), flow.sample(jax.random.key(1), (10,))
    assert len(np.unique(first)) == first.size
    assert not np.intersect1d(first, second).size
    np.testing.assert_array_equal(first, flow.sample(KEY, (10,)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Uniform(1, 2.0, 2.0), r"low=2\.0, high=2\.0: .* needs low < high"),
        (lambda: StudentT(1, 1.0), r"freedom=1\.0: degrees of freedom must be above 1"),
        (lambda: GaussianMixture(1, 0, key=KEY), "components=0: a whole number of at least 1"),
        (lambda: base_named("cauchy", (1,), KEY), "'cauchy' is unknown; known: normal, student_t"),
        (
            lambda: Product(StandardNormal(1), StandardNormal(1), (True, False, True)),
            r"distributions of 2 and 1 coordinates are expected, not of the shapes \(1,\) and \(1,\)",
        ),
        (
            lambda: Flow(StandardNormal(3), Reverse(2)),
            r"events of shape \(3,\), the bijection Reverse takes \(2,\)",
        ),
        (
            lambda: StandardNormal(0),
            r"event shape \(0,\): every size must be a whole number of at least 1",
        ),
        (lambda: StandardNormal(2).log_prob(np.zeros(3)), r"x has shape \(3,\).*the event \(2,\)"),
        (lambda: StandardNormal(2).log_prob(np.zeros(2), np.zeros(1)), "this model takes none"),
        (lambda: StandardNormal(1).sample(KEY, (), np.zeros(1)), "this model takes none"),
        (lambda: StandardNormal(1).log_prob(np.array([1j])), "x: a real array was expected"),
        (
            lambda: StandardNormal(1).log_prob(["one"]),
            "x: an array of numbers was expected, not a list that",
        ),
        pytest.param(
            lambda: StandardNormal(1).log_prob(None),
            "x: an array of numbers was expected, not a NoneType",
            marks=pytest.mark.mistyped,
        ),
    ],
)
def test_mistakes_get_one_clear_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_number_of_draws_may_be_numpys():
    normal = StandardNormal(2)
    assert normal.sample(KEY, np.int64(3)).tobytes() == normal.sample(KEY, 3).tobytes()
    assert normal.sample(KEY, np.int64(0)).shape == (0, 2)


def test_a_density_compiles_as_equinox_does_it():
    flow = RealNVP(layers=1, width=4).build(2, key=KEY)
    close(eqx.filter_jit(flow.log_prob)(X), flow.log_prob(X))


def test_the_old_name_of_the_gradient_warns():
    with pytest.warns(DeprecationWarning, match="is now grad_log_prob"):
        old = StandardNormal(2).score(X)
    close(old, StandardNormal(2).grad_log_prob(X))
