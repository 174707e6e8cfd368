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
from pushforward.bijections.residual import (
    SURVIVAL,
    enough_terms,
    exact_log_det,
    fixed_log_det,
    series_log_det,
)
from pushforward.errors import InputError
from pushforward.networks import LipschitzConv, LipschitzMLP
from pushforward.networks.lipschitz import norm_bound, series_tail
from pushforward.networks.lipschitz_conv import convolution_bound
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


def strong_conv():
    """The same of images of 2 x 2 pixels."""
    g = LipschitzConv((2, 2, 1), width=2, lipschitz=0.6, activation="tanh", key=KEY)
    centre = jnp.zeros((3, 3)).at[1, 1].set(5.0).at[1, 2].set(1.0)
    first, last = centre[None, :, :, None], centre[:, :, None, None]
    return eqx.tree_at(
        lambda g: (g.first, g.hidden, g.last, g.place),
        g,
        (
            jnp.concatenate([first, first * 0.5]),
            5 * jnp.eye(2),
            jnp.concatenate([last, last * 0.5], axis=3),
            jnp.zeros((2, 2, 2)),
        ),
    )


def convolution(kernel, pixels):
    """The matrix of a convolution padded with zeros, by XLA's own on every unit image."""
    h, w = pixels
    size = h * w * kernel.shape[2]
    images = jnp.eye(size).reshape(size, h, w, -1)
    axes = ("NHWC", "HWIO", "NHWC")
    found = jax.lax.conv_general_dilated(
        images, jnp.asarray(kernel, jnp.float32), (1, 1), "SAME", dimension_numbers=axes
    )
    return np.asarray(found, np.float64).reshape(size, -1).T


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


@pytest.mark.parametrize("kind", ["random", "blur", "edges", "one pixel"])
def test_the_bound_of_a_convolution_is_above_its_norm_and_close(kind):
    """The operator's norm, by its exact matrix; that of the reshaped kernel, seeded here, is below it."""
    rng = np.random.default_rng(0)
    kernel, pixels = {
        "random": (rng.normal(size=(3, 3, 2, 5)), (5, 6)),
        "blur": (np.ones((3, 3, 1, 1)), (8, 6)),
        "edges": (np.array([0, -1, 0, -1, 4, -1, 0, -1, 0.0]).reshape(3, 3, 1, 1), (6, 7)),
        "one pixel": (np.eye(9)[2].reshape(3, 3, 1, 1), (4, 4)),
    }[kind]
    truth = np.linalg.norm(convolution(kernel, pixels), 2)
    bound = float(convolution_bound(jnp.asarray(kernel, jnp.float32), pixels))
    assert truth * (1 - 1e-6) <= bound <= 1.3 * truth
    if kind != "one pixel":
        assert np.linalg.norm(kernel.reshape(-1, kernel.shape[3]), 2) < 0.9 * truth


def test_convolutions_are_contractions():
    """The network is the convolutions that it says, and each, and all of them, are within the constant."""
    g = perturbed(LipschitzConv((4, 5, 2), width=6, condition=3, key=KEY), KEY, 4.0)
    first, hidden, last = g.weights()
    kernels = (
        first.reshape(6, 3, 3, 2).transpose(1, 2, 3, 0),
        hidden.T[None, None],
        last.reshape(3, 3, 2, 6).swapaxes(2, 3),
    )
    share = g.lipschitz ** (1 / 3)
    matrices = [convolution(kernel, (4, 5)) for kernel in kernels]
    assert all(0.6 * share < np.linalg.norm(w, 2) <= share * (1 + 1e-5) for w in matrices)
    x, condition = jax.random.normal(KEY, (3, 4, 5, 2)), jax.random.normal(KEY, (3, 3))
    columns = g.columns(x)
    value, jacobian = g.linearised([first, hidden, last], columns, condition)
    h = x.reshape(3, -1) @ matrices[0].T.astype(np.float32)
    bias = g.place[None] + (condition.T @ g.first_condition.T)[:, :, None, None]
    h = g._act(0, h + bias.transpose(0, 2, 3, 1).reshape(3, -1))[0]
    h = h @ matrices[1].T.astype(np.float32) + jnp.tile(g.hidden_bias, 20)[None]
    h = g._act(1, h)[0] @ matrices[2].T.astype(np.float32) + jnp.tile(g.last_bias, 20)[None]
    np.testing.assert_allclose(g.rows(value).reshape(3, -1), h, atol=1e-5)
    v = jax.random.normal(jax.random.key(1), columns.shape)
    expected = jax.jvp(lambda x: g(x, condition), (columns,), (v,))[1]
    np.testing.assert_allclose(jacobian.times(v), expected, atol=1e-5)
    expected = jax.vjp(lambda x: g(x, condition), columns)[1](v)[0]
    np.testing.assert_allclose(jacobian.transposed(v), expected, atol=1e-5)
    norms = np.linalg.norm(np.moveaxis(np.asarray(jacobian.matrix()), 2, 0), 2, axis=(1, 2))
    assert 0.01 < norms.max() <= g.lipschitz


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


def draws(method, certain, weigh=True, n=60_000, images=False):
    """Log-dets of one row by many independent draws, and their gradient by a weight, float64."""
    with jax.enable_x64(True):
        made = strong_conv() if images else strong()
        g = jax.tree.map(lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a, made)
        x = jnp.asarray([[0.1], [-0.2], [0.3]])
        if images:
            x = jnp.asarray([0.1, -0.2, 0.3, 0.2]).reshape(1, 2, 2, 1)

        def shifted(bias):
            where = (lambda g: g.place) if images else (lambda g: g.first_bias)
            return eqx.tree_at(where, g, where(g) + bias)

        def estimate(bias, key):
            moved = shifted(bias)
            noise_key, count_key = jax.random.split(key)
            noise = jax.random.normal(noise_key, (1, *x.shape), jnp.float64)
            more = jax.random.geometric(count_key, 1 - SURVIVAL) - 1 if method == "roulette" else 0
            terms = jnp.asarray(certain + more)
            jacobian = moved.linearised(moved.weights(), x, None)[1]
            return series_log_det(jacobian, noise, terms, certain if weigh else 10_000)[0]

        def exact(bias):
            moved = shifted(bias)
            return exact_log_det(moved.linearised(moved.weights(), x, None)[1])[0]

        keys = jax.random.split(KEY, n)
        found = jax.jit(jax.vmap(jax.value_and_grad(estimate), (None, 0)))(0.0, keys)
        return [np.asarray(f) for f in found], [float(v) for v in jax.value_and_grad(exact)(0.0)]


def z_scores(found, truth):
    return [
        abs(f.mean() - t) / (f.std() / len(f) ** 0.5) for f, t in zip(found, truth, strict=True)
    ]


@pytest.mark.parametrize("images", [False, True])
def test_the_roulette_has_no_bias_in_value_and_gradient(images):
    found, truth = draws("roulette", 2, images=images)
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


def test_estimates_on_images():
    """Noise of an evaluation has no bias over rows, is a row's own wherever it stands, and does not jump."""
    layer = Residual(strong_conv())
    x = jax.random.normal(KEY, (1000, 2, 2, 1))
    exact, nothing = layer.log_det_with_bound(x)
    assert layer.exact
    assert nothing == 0
    found, bound = layer.log_det_with_bound(x, terms=enough_terms(0.6))
    assert 0 < bound < 4 * 3e-5
    errors = np.asarray(found - exact, np.float64)
    assert abs(errors.mean()) < SIGMAS * errors.std() / len(errors) ** 0.5 + bound
    assert errors.std() > 0.02
    # One noise for all rows would leave its error in their mean.
    halves = errors[: len(errors) // 2 * 2].reshape(2, -1)
    assert abs(np.ravel(np.corrcoef(halves))[1]) < SIGMAS / len(halves[0]) ** 0.5
    turned = layer.log_det_with_bound(x[::-1], terms=enough_terms(0.6))[0][::-1]
    np.testing.assert_allclose(turned, found, atol=1e-4)
    near = layer.log_det_with_bound(x * (1 + 1e-6), terms=enough_terms(0.6))[0]
    np.testing.assert_allclose(near, found, atol=1e-3)


def test_an_image_s_log_det_is_an_estimate_beyond_128_numbers():
    layer = Residual(LipschitzConv((12, 12, 1), width=4, key=KEY))
    assert not layer.exact
    x = jax.random.normal(KEY, (3, 12, 12, 1))
    columns = layer.network.columns(x)
    jacobian = layer._linearised(columns, None)[1]
    exact = exact_log_det(jacobian)
    many = jax.jit(lambda: fixed_log_det(jacobian, columns, 20, 400))()
    np.testing.assert_allclose(many, exact, atol=0.1)
    z, log_det = layer.inverse(x)
    np.testing.assert_allclose(log_det, exact, atol=0.5)
    np.testing.assert_allclose(layer.forward(z)[0], x, atol=1e-5)
    assert not layer.without_log_det().forward(z)[1].any()


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
