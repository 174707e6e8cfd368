"""Networks directly: masks, the cached evaluation, dropout, shapes and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.errors import InputError
from pushforward.networks import MLP, MaskedMLP
from pushforward.networks.layers import ACTIVATIONS, dropout
from pushforward.testing import perturbed

KEY = jax.random.key(0)
SIZE = 2
# Wider than the coordinates are many, narrower, and the smallest there is.
SHAPES = [(1, 4), (2, 8), (3, 8), (5, 3), (6, 1), (7, 16)]


def masked(d: int, width: int, condition: int = 0, depth: int = 2, **options) -> MaskedMLP:
    network = MaskedMLP(d, SIZE, condition=condition, width=width, depth=depth, key=KEY, **options)
    return perturbed(network, jax.random.key(1))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("condition", [0, 2])
@pytest.mark.parametrize(("d", "width"), SHAPES)
def test_masked_jacobian_is_strictly_triangular(d, width, condition, residual):
    """Output i depends on coordinates before i and on no other, through however many layers."""
    network = masked(d, width, condition, depth=3, residual=residual, activation="tanh")
    x = jax.random.normal(jax.random.key(2), (d, 1))
    c = jax.random.normal(jax.random.key(3), (condition, 1)) if condition else None
    jacobian = jax.jacobian(lambda v: network(v, c))(x).reshape(SIZE, d, d)
    assert not np.triu(jacobian).any()
    if width >= d:  # enough units for every coordinate to be passed on
        assert (np.abs(jacobian) > 0)[:, *np.tril_indices(d, -1)].all()


@pytest.mark.parametrize(("d", "width"), [(1, 4), (3, 8), (5, 3)])
def test_masked_network_shows_the_condition_to_every_output(d, width):
    network = masked(d, width, condition=2, activation="tanh")
    x = jax.random.normal(jax.random.key(2), (d, 1))
    jacobian = jax.jacobian(lambda c: network(x, c))(jnp.ones((2, 1))).reshape(SIZE, d, 2)
    assert (jacobian != 0).all()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("condition", [0, 2])
@pytest.mark.parametrize(("d", "width"), SHAPES)
def test_one_by_one_equals_the_parallel_pass(d, width, condition, residual):
    n = 4
    network = masked(d, width, condition, depth=3, residual=residual)
    x = jax.random.normal(jax.random.key(2), (d, n))
    c = jax.random.normal(jax.random.key(3), (condition, n)) if condition else None
    steps = network.one_by_one(c, n)
    known, found = steps.start, []
    for i in range(d):
        found.append(steps.params_of(known, jnp.asarray(i)))
        known = steps.reveal(known, jnp.asarray(i), x[i])
    np.testing.assert_allclose(jnp.stack(found, 1), network(x, c), rtol=1e-5, atol=1e-5)


def test_masks_use_every_unit():
    """No hidden unit is cut off: each sees a coordinate or the condition, or a bias alone, and some output reads it."""
    for d, width in SHAPES:
        first, hidden, last = masked(d, width)._masked()
        assert (np.asarray(last) != 0).any(axis=(0, 1)).all()
        assert (np.asarray(hidden) != 0).any(axis=1).all()
        assert d == 1 or (np.asarray(first) != 0).any(axis=1).all()


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_the_mean_and_meets_the_rate(rate):
    """A million entries; bounds of 5 standard errors: false-alarm rate below 1e-6 each, the key is fixed."""
    n = 10**6
    h = np.asarray(dropout(jnp.ones((1000, 1000)), rate, jax.random.key(4)))
    error = 5 * np.sqrt(rate * (1 - rate) / n)
    assert abs((h == 0).mean() - rate) <= error + 1 / 512  # the rate is met in steps of 1/256
    assert abs(h.mean() - 1) <= error / (1 - rate)
    assert len(np.unique(h)) == 2


def test_dropout_without_a_key_or_a_rate_is_the_identity():
    h = jnp.arange(6.0)
    np.testing.assert_array_equal(dropout(h, 0.5, None), h)
    np.testing.assert_array_equal(dropout(h, 0.0, KEY), h)


@pytest.mark.parametrize("kind", ["mlp", "masked"])
def test_networks_drop_out_only_with_a_key(kind):
    if kind == "mlp":
        network: MLP | MaskedMLP = MLP(3, (SIZE, 3), width=16, depth=2, dropout=0.5, key=KEY)
    else:
        network = masked(3, 16, dropout=0.5)
    x = jnp.ones((3, 4))
    np.testing.assert_array_equal(network(x), network(x, key=None))
    assert (network(x, key=jax.random.key(1)) != network(x, key=jax.random.key(2))).any()


def test_mlp_without_inputs_is_a_constant():
    network = perturbed(MLP(0, (2, 3), width=4, depth=1, key=KEY), jax.random.key(1))
    out = network(jnp.zeros((0, 5)))
    assert out.shape == (2, 3, 5)
    np.testing.assert_array_equal(out, jnp.broadcast_to(out[..., :1], out.shape))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_have_names(activation):
    out = MLP(2, (1,), width=4, depth=2, activation=activation, key=KEY)(jnp.ones((2, 3)))
    assert out.shape == (1, 3)


def test_residual_connections_are_used():
    plain, residual = (masked(3, 8, depth=2, residual=flag) for flag in (False, True))
    x = jnp.ones((3, 1))
    assert (plain(x) != residual(x)).any()


@pytest.mark.parametrize("make", [lambda **o: MLP(2, (1,), **o), lambda **o: MaskedMLP(2, 1, **o)])
def test_unknown_activation_names_the_known(make):
    with pytest.raises(InputError, match="'step' is unknown; known: relu, silu"):
        make(width=4, depth=1, activation="step", key=KEY)
