"""Residual flows: certified contraction, log-dets without bias, gradients at constant memory.

Statistical tests have a false-alarm rate of 1e-6 each and fixed seeds.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.bijections import Residual
from pushforward.bijections.residual import SURVIVAL, exact_log_det, series_log_det
from pushforward.errors import InputError
from pushforward.networks import LipschitzMLP
from pushforward.networks.lipschitz import norm_bound, series_tail
from pushforward.testing import perturbed

KEY = jax.random.key(0)
SIGMAS = stats.norm.isf(1e-6 / 2)


def network(d=3, width=16, depth=2, **options):
    made = LipschitzMLP(d, d, width=width, depth=depth, key=KEY, **options)
    return perturbed(made, jax.random.key(1), 4.0)


def strong():
    """A contraction that uses its constant up: J is near 0.6 I at the origin, so that late terms count."""
    g = LipschitzMLP(3, 3, width=3, depth=2, lipschitz=0.6, activation="tanh", key=KEY)
    turned = 5 * jnp.eye(3)
    return eqx.tree_at(
        lambda g: (g.first, g.hidden, g.last, g.first_bias),
        g,
        (turned, turned[None], turned, jnp.zeros(3)),
    )


def lipschitz_ratio(function, d=3, n=4000):
    """The largest ratio of distances over random pairs, near and far, in float64."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(d, n)) * 3
    y = x + rng.normal(size=(d, n)) * 10 ** rng.uniform(-3, 1, n)
    moved = np.linalg.norm(np.asarray(function(x)) - np.asarray(function(y)), axis=0)
    return (moved / np.linalg.norm(x - y, axis=0)).max()


@pytest.mark.parametrize("kind", ["random", "rank one", "orthogonal", "wide", "zero"])
def test_the_bound_is_above_the_singular_value_and_close(kind):
    rng = np.random.default_rng(0)
    w = {
        "random": rng.normal(size=(40, 30)),
        "rank one": np.outer(rng.normal(size=20), rng.normal(size=50)),
        "orthogonal": np.linalg.qr(rng.normal(size=(64, 64)))[0],
        "wide": 1e3 * rng.normal(size=(2, 128)),
        "zero": np.zeros((3, 4)),
    }[kind]
    truth = np.linalg.svd(w, compute_uv=False).max()
    bound = float(norm_bound(jnp.asarray(w, jnp.float32)))
    assert truth * (1 - 1e-6) <= bound <= 1.02 * truth + 1e-6


def test_layers_are_contractions_after_training():
    """The largest singular value of every layer after a fit, and the map as a whole."""
    x = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32) ** 3
    model = pf.architectures.ResidualFlow(layers=2, width=16, depth=2).build(2, key=KEY)
    training = pf.Training(max_epochs=20, learning_rate=0.03)
    fitted = pf.fit(model, x, key=KEY, training=training).model
    stack: Any = fitted.bijection
    for layer in stack.unstack():
        g = layer.bijections[0].network
        share = g.lipschitz ** (1 / 3)
        before = [np.linalg.norm(w, 2) for w in (g.first, *g.hidden, g.last)]
        # Without normalisation it would be no contraction: the check can fail.
        assert max(before) > 1
        after = [np.linalg.norm(np.asarray(w, np.float64), 2) for w in g.weights()]
        assert max(after) <= share * (1 + 1e-5)
        assert lipschitz_ratio(lambda v, g=g: g(jnp.asarray(v, jnp.float32)), 2) <= g.lipschitz


@pytest.mark.parametrize("norm", ["spectral", "one", "inf"])
@pytest.mark.parametrize("activation", ["lipswish", "elu", "tanh"])
def test_every_norm_and_activation_is_a_contraction(norm, activation):
    with jax.enable_x64(True):
        g = jax.tree.map(
            lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a,
            network(norm=norm, activation=activation),
        )
        x = np.random.default_rng(0).normal(size=(3, 200))
        jacobian = jax.vmap(jax.jacfwd(lambda v: g(v[:, None])[:, 0]), 1)(jnp.asarray(x))
        order = {"spectral": 2, "one": 1, "inf": np.inf}[norm]
        norms = np.linalg.norm(np.asarray(jacobian), order, axis=(1, 2))
    assert norms.max() <= 0.9
    # Close enough to be worth it: the bound is not met by making everything flat.
    assert norms.max() > 0.005


def draws(method, certain, weigh=True, n=60_000):
    """Log-dets of one row by many independent draws, and their gradient by a weight, float64."""
    with jax.enable_x64(True):
        g = jax.tree.map(
            lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a, strong()
        )
        x = jnp.asarray([[0.1], [-0.2], [0.3]])

        def estimate(bias, key):
            moved = eqx.tree_at(lambda g: g.first_bias, g, g.first_bias + bias)
            noise_key, count_key = jax.random.split(key)
            noise = jax.random.normal(noise_key, (1, 3, 1), jnp.float64)
            more = jax.random.geometric(count_key, 1 - SURVIVAL) - 1 if method == "roulette" else 0
            terms = jnp.asarray(certain + more)
            jacobian = moved.linearised(moved.weights(), x, None)[1]
            return series_log_det(jacobian, noise, terms, certain if weigh else 10_000)[0]

        def exact(bias):
            moved = eqx.tree_at(lambda g: g.first_bias, g, g.first_bias + bias)
            return exact_log_det(moved.linearised(moved.weights(), x, None)[1])[0]

        keys = jax.random.split(KEY, n)
        found = jax.jit(jax.vmap(jax.value_and_grad(estimate), (None, 0)))(0.0, keys)
        return [np.asarray(f) for f in found], [float(v) for v in jax.value_and_grad(exact)(0.0)]


def z_scores(found, truth):
    return [
        abs(f.mean() - t) / (f.std() / len(f) ** 0.5) for f, t in zip(found, truth, strict=True)
    ]


def test_the_roulette_has_no_bias_in_value_and_gradient():
    found, truth = draws("roulette", 2)
    assert max(z_scores(found, truth)) < SIGMAS


@pytest.mark.nightly
def test_the_test_of_bias_can_fail():
    """Without weights, and with too few terms, the estimates are biased, and the test sees it."""
    found, truth = draws("roulette", 1, weigh=False)
    assert max(z_scores(found, truth)) > SIGMAS
    found, truth = draws("truncated", 1)
    assert max(z_scores(found, truth)) > SIGMAS


@pytest.mark.parametrize(("width", "depth"), [(5, 1), (5, 2), (16, 3), (40, 1)])
def test_the_determinant_may_be_taken_at_a_narrower_layer(width, depth):
    """Log-dets of 12 and 150 coordinates, with fewer hidden units or more, are those of the Jacobian."""
    for d in (12, 150):
        layer = perturbed(Residual(network(d, width=width, depth=depth)), KEY)
        x = jax.random.normal(KEY, (4, d))
        z, log_det = layer.inverse(x)
        jacobian = jax.vmap(jax.jacfwd(lambda v, layer=layer: layer.inverse(v)[0]))(x)
        np.testing.assert_allclose(log_det, jnp.linalg.slogdet(jacobian)[1], atol=2e-4)
        np.testing.assert_allclose(layer.forward(z)[1], -log_det, atol=2e-4)
        assert layer.log_det_with_bound(x)[1] == 0


def test_truncation_stays_within_its_bound():
    """The true series in full, by the Jacobian's powers, beside the exact log-det; bounds shrink as terms grow."""
    layer = Residual(network())
    x = jax.random.normal(KEY, (50, 3))
    exact, nothing = layer.log_det_with_bound(x)
    assert nothing == 0
    jacobian = np.asarray(
        jax.vmap(jax.jacfwd(lambda v: layer.network(v[:, None])[:, 0]))(x), np.float64
    )
    for terms in (1, 3, 10, 40):
        powers, series = np.broadcast_to(np.eye(3), jacobian.shape), 0.0
        for k in range(1, terms + 1):
            powers = powers @ jacobian
            series = series - (-1) ** k * np.trace(powers, axis1=1, axis2=2) / k
        bound = float(layer.log_det_with_bound(x, terms=terms)[1])
        assert np.abs(series - np.asarray(exact)).max() <= bound + 1e-5
        assert bound == pytest.approx(3 * series_tail(0.9, terms), rel=1e-5)
    assert bound < 0.05


def test_the_roulette_needs_no_more_memory_for_more_terms():
    def peak(terms):
        layer = Residual(network(16, 64), log_det="roulette", terms=terms)
        params, static = eqx.partition(layer, eqx.is_inexact_array)

        def loss(params, x, key):
            return eqx.combine(params, static).inverse(x, key=key)[1].mean()

        compiled = jax.jit(jax.grad(loss)).lower(params, jnp.zeros((512, 16)), KEY).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert peak(50) <= 1.05 * peak(5)


def test_implicit_gradients_are_finite_differences():
    """Of the inverse by its target and by a weight, first and second order, float64."""
    with jax.enable_x64(True):
        g = jax.tree.map(
            lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a, network()
        )

        def of(t, bias):
            moved = eqx.tree_at(lambda g: g.first_bias, g, g.first_bias + bias)
            x, log_det = Residual(moved).forward(jnp.asarray([0.3, -0.5, 1.0]) + t)
            return x.sum() + log_det

        # Compiled whole: one operation at a time, this took three times as long.
        value, both = jax.jit(of), (0, 1)
        backwards = jax.jit(jax.grad(of, both))(0.0, 0.0)
        forwards = jax.jit(jax.jacfwd(of, both))(0.0, 0.0)
        seconds = jax.jit(jax.jacfwd(jax.grad(of, both), both))(0.0, 0.0)
        h = 1e-4
        for i in both:

            def at(by, i=i):
                return value(*(by * (j == i) for j in both))

            first = float(at(h) - at(-h)) / (2 * h)
            second = float(at(h) - 2 * at(0.0) + at(-h)) / h**2
            assert float(backwards[i]) == pytest.approx(first, rel=1e-6)
            assert float(forwards[i]) == pytest.approx(first, rel=1e-6)
            assert float(seconds[i][i]) == pytest.approx(second, rel=1e-3, abs=1e-5)


def test_what_makes_no_sense_is_refused():
    for options in ({"lipschitz": 1.0}, {"norm": "two"}, {"activation": "relu"}):
        with pytest.raises(InputError, match=str(next(iter(options.values())))):
            LipschitzMLP(2, 2, width=4, depth=1, key=KEY, **options)
    with pytest.raises(InputError, match="guess"):
        Residual(network(), log_det="guess")
    with pytest.raises(InputError, match="terms=0"):
        Residual(network(), terms=0)
