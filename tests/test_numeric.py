"""The numeric inverse: brackets, precision, gradients of the implicit function, and what it says when it fails."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import (
    AbstractBijection,
    ActNorm,
    Chain,
    Elementwise,
    Invert,
    Sigmoid,
    Softplus,
    Stack,
    increasing_root,
    initialised,
)
from pushforward.errors import ConvergenceError, InputError
from pushforward.transformers import AbstractTransformer


def sinh(x, a):
    return a * jnp.sinh(x), jnp.log(a * jnp.cosh(x))


def cubic(x, a):
    return x + a * x**3, jnp.log1p(3 * a * x**2)


def bounded(x, a):
    return jnp.tanh(x), -2 * jnp.log(jnp.cosh(x))


def step(x, a):
    """A slope of 1e-6 but for a jump of 2 within 1e-6 about 3: Newton steps alone would never find it."""
    return 1e-6 * x + jnp.tanh((x - 3) * 1e6), jnp.log(1e-6 + 1e6 / jnp.cosh((x - 3) * 1e6) ** 2)


@pytest.mark.parametrize(
    ("function", "x"),
    [(sinh, np.linspace(-20, 20, 401)), (cubic, np.r_[0, 1e-30, 1e-3, 1.0, 30.0, 1e10, 1e90])],
)
def test_roots_to_the_last_digits(function, x):
    with jax.enable_x64(True):
        target = function(jnp.asarray(x), 2.0)[0]
        found = np.asarray(increasing_root(function, target, 2.0))
    np.testing.assert_allclose(found, x, rtol=4e-15, atol=1e-15)


def test_brackets_grow_and_flat_stretches_are_crossed():
    with jax.enable_x64(True):
        assert abs(increasing_root(step, jnp.array([0.5]), None)[0] - 3) < 1e-6
        assert float(increasing_root(cubic, jnp.array([-1e300]), 1.0)[0]) == pytest.approx(-1e100)
    assert float(increasing_root(cubic, jnp.array([1e30]), 1.0)[0]) == pytest.approx(1e10, rel=1e-6)


def test_single_precision_stays_single():
    with jax.enable_x64(True):
        assert increasing_root(cubic, jnp.ones(2, jnp.float32), jnp.float32(1)).dtype == jnp.float32


def test_entries_do_not_depend_on_their_neighbours():
    target = jnp.linspace(-1e4, 1e4, 1001)
    together = increasing_root(cubic, target, 0.3)
    alone = jnp.concatenate([increasing_root(cubic, t[None], 0.3) for t in target[::100]])
    np.testing.assert_array_equal(together[::100], alone)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (2, 3)])
def test_any_shape(shape):
    assert increasing_root(cubic, jnp.ones(shape), 1.0).shape == shape


def test_whole_numbers_are_targets_too():
    assert increasing_root(cubic, jnp.array([2, 30]), 1.0).tolist() == [1.0, 3.0]


def test_gradients_are_the_implicit_functions():
    """First and second order, forwards and in reverse, beside finite differences in float64."""

    def root(target, a):
        return increasing_root(sinh, target[None], a)[0]

    with jax.enable_x64(True):
        at, h = (jnp.asarray(3.0), jnp.asarray(2.0)), 1e-4
        for i in (0, 1):

            def moved(by, i=i):
                return [p + by * (j == i) for j, p in enumerate(at)]

            first = float(root(*moved(h)) - root(*moved(-h))) / (2 * h)
            second = float(root(*moved(h)) - 2 * root(*at) + root(*moved(-h))) / h**2
            assert float(jax.grad(root, i)(*at)) == pytest.approx(first, rel=1e-7)
            assert float(jax.jacfwd(root, i)(*at)) == pytest.approx(first, rel=1e-7)
            assert float(jax.grad(jax.grad(root, i), i)(*at)) == pytest.approx(second, rel=1e-5)
            assert float(jax.jacfwd(jax.jacrev(root, i), i)(*at)) == pytest.approx(second, rel=1e-5)


def test_a_target_out_of_reach_is_an_error_with_its_residual():
    with pytest.raises(ConvergenceError, match="1 of 3 values") as caught:
        increasing_root(bounded, jnp.array([0.5, 3.0, -0.5]), None)
    assert caught.value.residual == pytest.approx(2.0)
    found = jax.jit(lambda t: increasing_root(bounded, t, None))(jnp.array([0.5, 3.0]))
    assert np.isnan(found).tolist() == [False, True]


class Bounded(AbstractTransformer):
    """A broken transformer, which does not reach all of R."""

    @property
    def size(self):
        return 1

    def inverse(self, x, params):
        return jnp.tanh(x) + params[0], -2 * jnp.log(jnp.cosh(x))

    def forward(self, z, params):
        x = increasing_root(self.inverse, z, params)
        return x, -self.inverse(x, params)[1]


def broken() -> AbstractBijection:
    """Stacked, so that the search stands in a scan, where nothing can raise."""
    return Stack(lambda key: Elementwise(Bounded(), 2), 2, key=jax.random.key(0))


def test_a_failure_within_a_data_pass_is_told_too():
    layers = Chain([ActNorm(2), Invert(Elementwise(Bounded(), 2))])
    with pytest.raises(ConvergenceError, match="6 of 6 values"):
        initialised(layers, jnp.full((3, 2), 5.0))


def test_a_failure_within_a_compiled_loop_is_told_too():
    flow = pf.distributions.Flow(pf.distributions.StandardNormal(2), broken())
    with pytest.raises(ConvergenceError, match="residual of"):
        flow.forward(jnp.full((3, 2), 5.0))
    with pytest.raises(ConvergenceError, match="residual of"):
        flow.sample(jax.random.key(0), (100,))
    assert np.isnan(eqx.filter_jit(flow.forward)(jnp.full((3, 2), 5.0))[0]).all()
    # What does not fail is left alone, and so is NaN that was given.
    assert np.isnan(flow.inverse(jnp.full((3, 2), jnp.nan))[0]).all()


@pytest.mark.parametrize("bijection", [Sigmoid(2, -1.0, 3.0), Softplus(2)])
def test_outside_the_support(bijection):
    flow = pf.distributions.Flow(pf.distributions.StandardNormal(2), bijection)
    x = jnp.array([[0.5, 0.5], [0.5, -2.0]])
    with pytest.raises(InputError, match=r"1 of 2 rows lie outside .* \[0.5, -2.0\]"):
        flow.inverse(x)
    for found in (flow.log_prob(x), jax.jit(flow.log_prob)(x)):
        assert np.isfinite(found[0])
        assert found[1] == -np.inf
    gradient = jax.grad(lambda x: flow.log_prob(x)[0])(x)
    assert np.isfinite(gradient).all()
