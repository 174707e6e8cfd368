"""Bijections directly: compositions, data-dependent initialisation, known values, and the errors of shapes."""

import importlib
from dataclasses import fields

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.architectures import ARCHITECTURES, NSF, Facts, Glow, RealNVP
from pushforward.bijections import (
    AbstractBijection,
    ActNorm,
    Autoregressive,
    BatchNorm,
    Chain,
    Elementwise,
    Invert,
    LULinear,
    Permutation,
    Planar,
    Reshape,
    Reverse,
    SoftTails,
    Stack,
    initialised,
)
from pushforward.bijections.base import single_maps
from pushforward.distributions import Flow, StandardNormal
from pushforward.errors import InputError
from pushforward.networks import MaskedMLP
from pushforward.testing import perturbed
from pushforward.testing.examples import IMAGE
from pushforward.transformers import Affine, DenseSigmoid, RationalQuadratic, SumOfSquares

KEY = jax.random.key(0)
Z = jax.random.normal(jax.random.key(5), (50, 3))


def close(found, expected, tolerance=1e-5):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def layered(d: int = 3, layers: int = 4) -> Stack:
    """Layers that do not commute, each with its own parameters."""

    def make(key):
        network = MaskedMLP(d, 2, width=8, depth=1, key=key)
        return Chain([Autoregressive(network, Affine()), Reverse(d), LULinear(d), ActNorm(d)])

    return perturbed(Stack(make, layers, key=KEY), jax.random.key(1))


def test_stack_equals_the_chain_of_its_layers():
    stack = layered()
    chain = Chain(stack.unstack())
    close(stack.forward(Z), chain.forward(Z))
    close(stack.inverse(Z), chain.inverse(Z))


def test_chain_applies_first_to_last():
    affine = Affine(bound=1e3)  # far enough for the log-slope to be the raw one
    double = Elementwise(affine, 1, jnp.array([[0.0], [float(np.log(2))]]))
    plus_one = Elementwise(affine, 1, jnp.array([[1.0], [0.0]]))
    close(Chain([double, plus_one]).forward(np.array([3.0])), ([7.0], np.log(2)))


def test_invert_exchanges_directions():
    stack = layered()
    close(Invert(stack).forward(Z), stack.inverse(Z))
    close(Invert(stack).inverse(Z), stack.forward(Z))


def test_compile_time_does_not_see_the_depth():
    """The program of 16 stacked layers is as long as that of 2."""

    def lines(layers):
        flow = NSF(layers=layers, width=8).build(3, key=KEY)
        return len(jax.jit(lambda x: flow.log_prob(x)).lower(Z).as_text().splitlines())

    assert lines(16) == lines(2)


@pytest.mark.parametrize("architecture", [Glow(layers=3, width=8)])
def test_initialised_standardises_what_comes_out_of_every_actnorm(architecture):
    """The first ActNorm to see the data puts out mean 0 and deviation 1; so does the last."""
    bijection = perturbed(architecture.build(3, key=KEY).bijection, jax.random.key(1))
    x = 5.0 + 3.0 * jax.random.normal(KEY, (200, 3))
    value = x
    for step in reversed(initialised(bijection, x).unstack()):
        for part in reversed(step.bijections):
            value, _ = part.inverse(value)
            if isinstance(part, ActNorm):
                np.testing.assert_allclose(value.mean(0), 0, atol=1e-4)
                np.testing.assert_allclose(value.std(0), 1, atol=1e-4)


def test_initialised_changes_actnorms_only_and_evaluation_changes_nothing():
    bijection = perturbed(Glow(layers=3, width=8).build(3, key=KEY).bijection, jax.random.key(1))
    x = 5.0 + 3.0 * jax.random.normal(KEY, (200, 3))
    ready = initialised(bijection, x)
    before = jax.tree_util.tree_leaves_with_path(eqx.filter(bijection, eqx.is_array))
    after = jax.tree.leaves(eqx.filter(ready, eqx.is_array))
    changed = {
        jax.tree_util.keystr(path).rsplit(".", 1)[1]
        for (path, old), new in zip(before, after, strict=True)
        if (old != new).any()
    }
    assert changed == {"log_scale", "shift"}
    # Other rows do not re-initialise: the same rows still get the same values.
    first = ready.inverse(x)
    ready.inverse(100 * x)
    close(ready.inverse(x), first, 0)


def test_initialised_leaves_constant_columns_alone():
    x = jnp.stack([jnp.full(20, 3.0), jnp.arange(20.0)], 1)
    ready = initialised(ActNorm(2), x)
    np.testing.assert_allclose(ready.shift, [3.0, 9.5])
    assert float(ready.log_scale[0]) == 0


def test_actnorm_inside_invert_is_refused():
    with pytest.raises(InputError, match="ActNorm inside Invert cannot be set"):
        initialised(Invert(ActNorm(2)), jnp.zeros((3, 2)))


def test_a_stack_may_have_no_parameters():
    stack = Stack(lambda key: Reverse(3), 3, key=KEY)
    close(stack.forward(Z), Reverse(3).forward(Z), 0)
    close(stack.inverse(Z), Reverse(3).inverse(Z), 0)


def test_a_map_has_two_ends():
    inner = perturbed(LULinear(6), KEY)
    chain = Chain([inner, Reshape((2, 3))])
    assert (chain.latent_shape, chain.event_shape) == ((6,), (2, 3))
    z = jax.random.normal(KEY, (4, 5, 6))
    x, log_det = chain.forward(z)
    assert (x.shape, log_det.shape) == ((4, 5, 2, 3), (4, 5))
    close((x.reshape(4, 5, 6), log_det), inner.forward(z))
    close(chain.inverse(x), (z, -log_det), 1e-4)
    turned = Invert(chain)
    assert (turned.latent_shape, turned.event_shape) == ((2, 3), (6,))
    close(turned.inverse(z), (x, log_det))
    flow = Flow(StandardNormal(6), chain)
    assert flow.event_shape == (2, 3)
    drawn, log_prob = flow.sample_and_log_prob(KEY, (7,))
    assert drawn.shape == (7, 2, 3)
    close([flow.log_prob(drawn)], [log_prob], 1e-4)


class Twice(AbstractBijection):
    """A third party's combinator: two maps after each other, which it says by `parts`."""

    first: AbstractBijection
    second: AbstractBijection
    event_shape: tuple[int, ...] = eqx.field(static=True, default=(3,))
    condition_shape: None = eqx.field(static=True, default=None)

    def parts(self):
        return self.first, self.second

    def with_parts(self, parts):
        return Twice(*parts)

    def forward_rows(self, z, condition, key):
        middle, log_det = self.first.forward_rows(z, condition, key)
        x, more = self.second.forward_rows(middle, condition, key)
        return x, log_det + more

    def inverse_rows(self, x, condition, key):
        middle, log_det = self.second.inverse_rows(x, condition, key)
        z, more = self.first.inverse_rows(middle, condition, key)
        return z, log_det + more


def test_a_composition_of_ones_own_is_walked():
    """Data passes reach the parts that it says, as in a chain of the same maps; what it says nothing of is refused."""
    maps = [ActNorm(3), perturbed(LULinear(3), KEY), BatchNorm(3)]
    x = 3 * Z + 1
    own = initialised(Twice(maps[0], Twice(maps[1], maps[2])), x)
    close(own.inverse(x), initialised(Chain(maps), x).inverse(x))
    assert float(jnp.abs(own.first.shift).max()) > 0.1
    assert [type(part) for part in single_maps(own)] == [ActNorm, LULinear, BatchNorm]
    assert not own.recomputable
    assert Twice(maps[0], maps[1]).recomputable
    assert Twice(Reverse(3), Reverse(3)).volume_preserving
    assert not Twice(Reverse(3), ActNorm(3)).volume_preserving

    class Silent(Twice):
        def parts(self):
            return ()

    with pytest.raises(InputError, match="inside Silent cannot be set"):
        initialised(Silent(*maps[:2]), x)


def test_the_inverse_of_a_composition_is_one():
    """Last to first, each turned; what is turned twice is itself, so that a data pass reaches it."""
    inner = Chain([Invert(ActNorm(3)), perturbed(LULinear(3), KEY)])
    turned = Invert(inner)
    first, second = turned.parts()
    assert isinstance(first, Invert)
    assert isinstance(second, ActNorm)
    close(Chain(turned.parts()).forward(Z), turned.forward(Z))
    ready = initialised(turned, 3 * Z + 1)
    assert jax.tree.structure(ready) == jax.tree.structure(turned)
    assert float(jnp.abs(ready.parts()[1].shift).max()) > 0.1


def test_permutation_and_its_inverse():
    x, _ = Permutation(np.array([2, 0, 1])).forward(np.array([10.0, 20.0, 30.0]))
    assert x.tolist() == [30.0, 10.0, 20.0]
    assert Permutation(np.array([2, 0, 1])).inverse(x)[0].tolist() == [10.0, 20.0, 30.0]


def test_lu_linear_is_its_matrix():
    linear = perturbed(LULinear(3), jax.random.key(1))
    lower = np.tril(linear.lower, -1) + np.eye(3)
    upper = np.triu(linear.upper, 1) + np.diag(np.exp(linear.log_diagonal))
    z, log_det = linear.inverse(Z)
    np.testing.assert_allclose(z, Z @ (lower @ upper).T + linear.bias[None], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(lower @ upper)[1], rtol=1e-5)


def test_soft_tails_are_the_identity_inside():
    tails = SoftTails(2, start=2.0)
    inside, outside = jnp.array([1.5, -2.0]), jnp.array([1e30, -3.0])
    close(tails.inverse(inside), (inside, 0.0), 0)
    z, _ = tails.inverse(outside)
    np.testing.assert_allclose(z, [2 + np.log(1e30), -2 - np.log(2)], rtol=1e-6)
    jitted = jax.jit(lambda v: tails.forward(v))(z)
    np.testing.assert_allclose(jitted[0], outside, rtol=1e-4)


def test_spline_is_the_identity_outside_its_box_and_meets_it():
    spline = RationalQuadratic(bins=4, bound=2.0)
    params = jax.random.normal(KEY, (spline.size, 1))
    for value in (-7.0, -2.0, 2.0, 7.0):
        z, log_slope = spline.inverse(jnp.array([value]), params)
        assert (float(z[0]), float(log_slope[0])) == (value, 0.0)
    near, log_slope = spline.inverse(jnp.array([1.99999]), params)
    np.testing.assert_allclose([near[0], log_slope[0]], [2.0, 0.0], atol=1e-3)


def test_a_coupling_flow_of_one_column_is_a_transform():
    flow = perturbed(RealNVP(layers=2, width=8).build(1, key=KEY), jax.random.key(1))
    z, log_det = flow.inverse(jnp.array([[0.0], [1.0]]))
    np.testing.assert_allclose(log_det, np.log(float(z[1, 0] - z[0, 0])), rtol=1e-5)


def test_conditions_and_values_broadcast():
    flow = perturbed(RealNVP(layers=2, width=8).build(3, condition=2, key=KEY), KEY)
    x, c = jax.random.normal(KEY, (4, 1, 3)), jax.random.normal(KEY, (5, 2))
    z, log_det = flow.inverse(x, c)
    assert (z.shape, log_det.shape) == ((4, 5, 3), (4, 5))
    close(flow.inverse(x[2, 0], c[3]), (z[2, 3], log_det[2, 3]))


CONDITIONAL = RealNVP(layers=1, width=4).build(2, condition=3, key=KEY)
CONDITIONED = Planar(2, (2,), key=KEY)


class Uneven(AbstractBijection):
    """Three numbers to two."""

    event_shape = (2,)
    condition_shape = None
    latent_shape = (3,)

    def forward_rows(self, z, condition, key):
        return z[:, :2], z[:, 0]

    def inverse_rows(self, x, condition, key):
        return jnp.pad(x, ((0, 0), (0, 1))), x[:, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Reverse(2).forward(np.zeros(3)), r"z has shape \(3,\).*the event \(2,\)"),
        (lambda: Reverse(2).inverse(np.zeros(())), r"x has shape \(\).*the event \(2,\)"),
        (lambda: Reverse(2).inverse(np.zeros(2), np.zeros(1)), "this model takes none"),
        (lambda: CONDITIONAL.inverse(np.zeros(2)), r"needs a condition of shape \(3,\); none was"),
        (
            lambda: CONDITIONAL.inverse(np.zeros(2), np.zeros(2)),
            r"condition has shape \(2,\).*\(3,\)",
        ),
        (
            lambda: CONDITIONAL.inverse(np.zeros((4, 2)), np.zeros((5, 3))),
            r"do not broadcast: \(4,\) and \(5,\)",
        ),
        (lambda: Chain([]), "at least one bijection"),
        pytest.param(
            lambda: Chain([Affine()]),
            "chain's map 0 is Affine.*wrap it in Elementwise",
            marks=pytest.mark.mistyped,
        ),
        (
            lambda: Stack(lambda key: Affine(), 2, key=KEY),
            "layer is Affine.*wrap it in Elementwise",
        ),
        pytest.param(
            lambda: Invert(Affine),
            "the map to invert must be a bijection, not Affine",
            marks=pytest.mark.mistyped,
        ),
        pytest.param(
            lambda: Flow(StandardNormal(2), Affine()),
            "flow's map is Affine.*wrap it in Elementwise",
            marks=pytest.mark.mistyped,
        ),
        (
            lambda: Chain([Reshape((2, 3)), Reverse(6)]),
            r"Reshape gives events of shape \(2, 3\), Reverse takes \(6,\)",
        ),
        (lambda: Chain([CONDITIONED, CONDITIONAL.bijection]), r"different shapes: .*\(2,\)"),
        (
            lambda: Stack(lambda key: Reshape((2, 1)), 2, key=KEY),
            r"Reshape takes .*\(2,\) and gives",
        ),
        (
            lambda: Flow(StandardNormal((2, 3)), Reshape((2, 3))),
            r"Normal has .*\(2, 3\).*Reshape takes \(6,\)",
        ),
        (lambda: Uneven(), r"Uneven takes \(3,\) to \(2,\): .* as many numbers at either end"),
        (lambda: Reshape((2, 3)).forward(np.zeros((2, 3))), r"z has shape \(2, 3\).*\(6,\)"),
        (lambda: Reshape((2, 3)).inverse(np.zeros(6)), r"x has shape \(6,\).*\(2, 3\)"),
        (
            lambda: Stack(lambda key: Reverse(2), 0, key=KEY),
            "layers=0: a whole number of at least 1",
        ),
        (lambda: Permutation(np.array([0, 0])), r"a permutation of 0\.\.1"),
        (lambda: Affine(bound=0.0), r"bound=0\.0"),
        (lambda: RationalQuadratic(bins=1), "bins=1: the spline needs at least 2"),
        (lambda: RationalQuadratic(bound=-1.0), r"bound=-1\.0"),
        (lambda: RealNVP().build((2, 2), key=KEY), "RealNVP models vectors"),
    ],
)
def test_mistakes_get_one_clear_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_scalar_maps_at_their_former_place_warn():
    moved = importlib.import_module("pushforward.bijections.transformers")
    for module in (pf.bijections, moved):
        with pytest.warns(DeprecationWarning, match=r"pushforward\.transformers\.Affine"):
            assert module.Affine is Affine
        with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
            module.Nothing  # noqa: B018


@pytest.mark.parametrize("kind", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_a_size_of_nothing_is_refused_where_it_is_no_default(kind):
    sizes = [f.name for f in fields(kind) if type(f.default) is int and f.default > 0]
    assert sizes
    event = IMAGE if Facts.of(kind()).images else 2
    for name in sizes:
        with pytest.raises(InputError, match="0"):
            kind(**{name: 0}).build(event, 1, key=KEY)


def test_a_far_row_does_not_rule_a_mean():
    """Layers that scale may throw a row to 1e9; its log-density stays within what a few thousand others outweigh."""
    flow = RealNVP(layers=3, width=8, depth=1).build(2, key=KEY)
    steep = eqx.tree_at(
        lambda f: f.bijection.layer.bijections[0].network.last_bias,
        flow,
        jnp.full((3, 2), -20.0),
    )
    x = jnp.array([[30.0, -30.0]])
    assert float(jnp.abs(steep.inverse(x)[0]).max()) > 1e5
    assert float(steep.log_prob(x)[0]) > -1000
    # What is not far is not touched.
    near = jnp.array([[5.9, -5.9], [0.1, 2.0]])
    close([flow.base.log_prob(near)], [StandardNormal(2).log_prob(near)])


def test_a_sum_of_squares_takes_its_box_onto_itself():
    """Whatever the coefficients; beyond the box it goes on at no more than e times the scale."""
    family = SumOfSquares(polynomials=2, degree=3, bound=2.0)
    params = 3 * jax.random.normal(KEY, (family.size, 200))
    shift, scale = params[0], jnp.exp(5 * jnp.tanh(params[1] / 5))
    for x in (-2.0, 2.0):
        z, _ = family.inverse(jnp.full(200, x), params)
        close([(z - shift) / scale], [np.full(200, x)], 2e-4)
    far, log_slope = family.inverse(jnp.full(200, 1e6), params)
    assert float(((far - shift) / scale).max()) < 1e6 * np.e + 2
    assert float((log_slope - jnp.log(scale)).max()) <= 1 + 1e-4


def test_shared_matrices_are_trained_through_the_search():
    """The way back of the dense sigmoid has the gradient of the implicit function by its matrices too."""
    family, z = DenseSigmoid(3), jnp.array([0.7])
    params = jax.random.normal(KEY, (family.size, 1))
    x, log_slope = family.forward(z, params)
    back = jax.grad(lambda f: f.forward(z, params)[0].sum())(family)
    direct = jax.grad(lambda f: f.inverse(x, params)[0].sum())(family)
    for name in ("mixing", "feeding"):
        found, expected = getattr(back, name), -getattr(direct, name) * jnp.exp(log_slope[0])
        assert float(jnp.abs(expected).max()) > 1e-3
        close([found], [expected], 1e-4)
