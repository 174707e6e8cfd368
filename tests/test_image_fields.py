"""Continuous flows of images: convolutional fields, their divergence, the gradients of a solve."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import pushforward as pf
from pushforward.bijections import FlowMap, Stack
from pushforward.bijections.flow_map import EXACT_TRAINING
from pushforward.errors import InputError
from pushforward.fields import ConvField, divergence
from pushforward.networks import ConvBlock
from pushforward.ode import Solver
from pushforward.testing import perturbed

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (3, 2, 2, 1))


def field_of(event, **options):
    return perturbed(ConvField(event, width=4, key=KEY, **options), jax.random.key(2), 0.3)


@pytest.mark.parametrize(
    "field",
    [field_of((2, 2, 1), halvings=1), ConvBlock(1, hidden=2, groups=1, time=True, key=KEY)],
    ids=["encoder", "any module"],
)
def test_the_mean_over_all_signs_is_the_divergence(field):
    """So the estimate is unbiased, and the exact one is the trace of the Jacobian."""
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=4)), np.float32)
    noise = jnp.broadcast_to(signs.reshape(16, 1, 2, 2, 1), (16, *X.shape))

    @jax.jit
    def run(x):
        exact, mean = divergence(field, 0.3, x)[1], divergence(field, 0.3, x, noise)[1]
        one = jax.jacrev(lambda y: field(0.3, y[None])[0].ravel())(x[0])
        return exact, mean, divergence(field, 0.3, x, noise[0])[1], jnp.trace(one.reshape(4, 4))

    exact, mean, single, trace = run(X)
    np.testing.assert_allclose(mean, exact, atol=1e-5)
    np.testing.assert_allclose(exact[0], trace, atol=1e-5)
    assert (abs(single - exact) > 1e-3).all()


def test_the_log_det_of_training_is_right_on_average():
    event = (3, 3, 1)
    assert np.prod(event) > EXACT_TRAINING
    moving = FlowMap(field_of(event), solver=Solver(method="rk4", steps=2), training_steps=2)
    assert moving.exact
    assert [FlowMap(moving.field, probes=n).exact for n in (8, 9)] == [False, True]
    x = jax.random.normal(KEY, (2, *event))

    @eqx.filter_jit
    def run(moving, x, keys):
        each = jax.vmap(lambda key: moving.inverse_rows(x, None, key)[1])(keys)
        return each, moving.inverse_rows(x, None, None)[1]

    each, exact = run(moving, x, jax.random.split(KEY, 1000))
    assert (each.std(0) > 0.05).all()
    np.testing.assert_array_less(abs(each.mean(0) - exact), 5 * each.std(0) / 1000**0.5)


def test_every_adjoint_gives_the_gradient():
    """Through the probe, the regularisers and the condition; steps of training are those of the option."""
    field = field_of((2, 2, 1), condition=2)
    condition = jnp.eye(2)[jnp.array([0, 1, 0])]

    @eqx.filter_jit
    def gradient(moving, key):
        def loss(moving, x):
            z, log_det = moving.inverse_rows(x, condition, key)
            return jnp.square(z).sum() - log_det.sum()

        return eqx.filter_grad(lambda both: loss(*both))((moving, X))

    def of(adjoint):
        solver = Solver(method="midpoint", adjoint=adjoint)
        moving = FlowMap(field, solver=solver, training_steps=16, kinetic=0.1, jacobian=0.1)
        return ravel_pytree(gradient(moving, KEY))[0]

    expected = of("checkpoint")
    np.testing.assert_allclose(of("direct"), expected, atol=1e-4)
    # Of the continuous equation, and of a method of its own: near the others, not equal.
    for other in map(of, ("backsolve", "reversible")):
        assert 1e-6 < abs(other - expected).max() < 0.02 * abs(expected).max()


def test_few_steps_of_training_are_not_undone():
    """Invertible backpropagation would be wrong unnoticed."""
    stack = Stack(
        lambda key: FlowMap(ConvField((2, 2, 1), width=2, key=key), training_steps=1),
        2,
        key=KEY,
        remat="invertible",
    )
    with pytest.raises(InputError, match="few steps in training"):
        stack.inverse(X, key=KEY)


def test_bad_input():
    for run, words in {
        lambda: ConvField((6, 6, 1), halvings=2, key=KEY): "6 x 6 pixels cannot be halved",
        lambda: ConvField((4, 4, 1), activation="relu", key=KEY): "activation='relu'",
        lambda: FlowMap(lambda t, x: x): "event_shape=None",
        lambda: FlowMap(field_of((2, 2, 1)), training_steps=0): "training_steps=0",
        lambda: FlowMap(field_of((2, 2, 1)), probes=0): "probes=0",
        lambda: pf.architectures.ImageFFJORD(scales=1, halvings=2).build((4, 4, 1), key=KEY): (
            "2 x 2 pixels cannot be halved"
        ),
    }.items():
        with pytest.raises(InputError, match=words):
            run()
