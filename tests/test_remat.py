"""Backpropagation through inverses: the gradients of stored activations, at a memory that does not grow with depth."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import (
    AbstractBijection,
    Chain,
    Elementwise,
    LULinear,
    Permutation,
    Power,
    Reshape,
    Stack,
    with_remat,
)
from pushforward.bijections.images import CausalPatches, CausalPixels, Pixels
from pushforward.errors import InputError
from pushforward.networks import CausalTransformer
from pushforward.testing import perturbed
from pushforward.transformers import Affine

KEY = jax.random.key(0)
X, C = jax.random.normal(KEY, (16, 3)), jax.random.normal(jax.random.key(1), (16, 2))


def gradients(flow, key=None, rows=X):
    def loss(parts):
        flow, x, condition = parts
        return -flow.log_prob(x, condition, key=key).mean()

    parts = (flow, rows, C.astype(rows.dtype) if flow.condition_shape else None)
    return eqx.filter_jit(eqx.filter_grad(loss))(parts)


def assert_equal(flow, other, key=None, rows=X):
    each = (jax.tree.leaves(gradients(one, key, rows)) for one in (flow, other))
    for stored, recomputed in zip(*each, strict=True):
        scale = float(jnp.abs(stored).max(initial=1e-6))
        np.testing.assert_allclose(recomputed / scale, stored / scale, atol=2e-5)


@pytest.mark.parametrize(
    ("architecture", "key"),
    [
        (pf.architectures.RealNVP(layers=3, width=16, dropout=0.2), jax.random.key(2)),
        (pf.architectures.Glow(layers=3, width=16), None),
        (pf.architectures.NSF(layers=2, width=16, autoregressive=False), None),
        (pf.architectures.MAF(layers=2, width=16), None),
    ],
)
def test_gradients_are_the_stored_ones(architecture, key):
    """Those of parameters, data and condition; with dropout too, whose noise is drawn again."""
    flow = perturbed(architecture.build(3, 2, key=KEY), jax.random.key(3))
    assert_equal(flow, with_remat(flow, "invertible"), key)


@pytest.mark.parametrize(
    ("name", "steps", "key"),
    [
        ("image_glow", {"dropout": 0.2}, jax.random.key(2)),
        ("image_nsf", {"bins": 4}, None),
    ],
)
def test_gradients_of_images_are_the_stored_ones(name, steps, key):
    """Those of all parameters, pixels and conditions, in double precision: in single, rounding differs. Dropout's noise
    is drawn again."""
    options = {"scales": 1, "steps": 3, "width": 8, "alpha": 0.05, **steps}
    flow = pf.architectures.ARCHITECTURES[name](**options).build((4, 4, 1), 2, key=KEY)
    flow = perturbed(flow, jax.random.key(3))
    with jax.enable_x64(True):
        params, static = eqx.partition(flow, eqx.is_inexact_array)
        flow = eqx.combine(jax.tree.map(lambda a: a.astype(jnp.float64), params), static)
        x = 256 * jax.random.uniform(KEY, (16, 4, 4, 1), jnp.float64)
        assert_equal(flow, with_remat(flow, "invertible"), key, x)


def test_memory_of_images_does_not_grow_with_steps():
    def peak(steps, remat):
        glow = pf.architectures.ImageGlow(scales=1, steps=steps, width=16)
        flow = with_remat(glow.build((16, 16, 1), key=KEY), remat)
        params, static = eqx.partition(flow, eqx.is_inexact_array)

        def loss(params, x):
            return -eqx.combine(params, static).log_prob(x).mean()

        compiled = jax.jit(jax.grad(loss)).lower(params, jnp.zeros((32, 16, 16, 1))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    shallow, deep = peak(4, "invertible"), peak(16, "invertible")
    assert deep <= 1.1 * shallow
    assert peak(16, "none") >= 3 * deep


def test_maps_of_images_that_cannot_be_recomputed_are_refused():
    """Number by number and patch by patch the network runs without dropout; such architectures have no stack."""
    knots = (0.0, 0.5, 1.0)
    pixels = CausalPixels(
        (2, 2, 1), knots, patch=2, width=8, hidden=8, reach=1, dropout=0.1, key=KEY
    )
    network = CausalTransformer(4, 1, (2, 1), width=8, dropout=0.1, key=KEY)
    for one in (pixels, CausalPatches((2, 2, 1), 1, network, Affine())):
        chain = Chain([one, Pixels((2, 2, 1), scale="unit")], remat="invertible")
        with pytest.raises(InputError, match="dropout in autoregressive layers"):
            chain.inverse(jnp.full((3, 2, 2, 1), 0.3), key=KEY)
    flow = pf.architectures.PixelSpline(width=8, hidden=8).build((4, 4, 1), key=KEY)
    with pytest.raises(InputError, match="no stack"):
        with_remat(flow, "invertible")


def test_chains_recompute_too():
    parts = [Elementwise(Affine(), 3), LULinear(3), Permutation(np.array([2, 0, 1]))]
    chains = [Chain(parts, remat=remat) for remat in ("none", "invertible")]
    flows = [pf.distributions.Flow(pf.distributions.StandardNormal(3), chain) for chain in chains]
    assert_equal(*(perturbed(flow, jax.random.key(3)) for flow in flows))


def test_shapes_may_change_within_a_chain():
    parts = [Elementwise(Affine(), 6), Reshape((2, 3)), Power((2, 3))]
    x = jax.random.normal(KEY, (16, 2, 3))

    def gradient(remat):
        flow = pf.distributions.Flow(pf.distributions.StandardNormal(6), Chain(parts, remat=remat))
        flow = perturbed(flow, jax.random.key(3))
        return eqx.filter_jit(eqx.filter_grad(lambda flow: flow.log_prob(x).mean()))(flow)

    stored, recomputed = (jax.tree.leaves(gradient(remat)) for remat in ("none", "invertible"))
    assert max(float(jnp.abs(leaf).max()) for leaf in stored) > 1e-3
    for one, other in zip(stored, recomputed, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_memory_does_not_grow_with_depth():
    """Peak memory of a compiled gradient at 4 and at 32 layers, parameters and their gradients apart."""

    def peak(layers, remat):
        flow = pf.architectures.RealNVP(layers=layers, width=16).build(4, key=KEY)
        params, static = eqx.partition(with_remat(flow, remat), eqx.is_inexact_array)

        def loss(params, x):
            return -eqx.combine(params, static).log_prob(x).mean()

        compiled = jax.jit(jax.grad(loss)).lower(params, jnp.zeros((2048, 4))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert peak(32, "invertible") <= 1.1 * peak(4, "invertible")
    # The measure can tell: stored activations do grow.
    assert peak(32, "none") >= 4 * peak(4, "none")


def test_fits_alike():
    settings = [pf.Training(max_epochs=3, batch=8, remat=r) for r in ("none", "invertible")]
    model = pf.architectures.RealNVP(layers=3, width=16).build(3, key=KEY)
    fits = [pf.fit(model, X, key=KEY, training=s) for s in settings]
    assert fits[0].history[-1].validation_loss == pytest.approx(
        fits[1].history[-1].validation_loss, abs=1e-4
    )
    assert jax.tree.structure(fits[0].model) == jax.tree.structure(fits[1].model)


def test_what_cannot_be_recomputed_is_refused():
    with pytest.raises(InputError, match="known are 'none' and 'invertible'"):
        pf.Training(remat="everything")
    with pytest.raises(InputError, match="no stack"):
        with_remat(LULinear(2), "invertible")
    flow = pf.architectures.MAF(layers=2, width=8, dropout=0.1).build(3, key=KEY)
    with pytest.raises(InputError, match="dropout in autoregressive layers"):
        with_remat(flow, "invertible").log_prob(X, key=KEY)


def test_a_stack_outside_of_jit_is_compiled_once():
    traced = []

    class Doubling(AbstractBijection):
        factor: jax.Array
        event_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
        condition_shape: None = eqx.field(static=True, default=None)

        def forward_rows(self, z, condition, key):
            traced.append(z.shape)
            return z * self.factor, jnp.full(len(z), 2 * jnp.log(self.factor))

        def inverse_rows(self, x, condition, key):
            return x / self.factor, jnp.full(len(x), -2 * jnp.log(self.factor))

    stack = Stack(lambda key: Doubling(jnp.asarray(2.0)), 3, key=jax.random.key(0))
    rows = jnp.ones((5, 2))
    first = stack.forward(rows)[0]
    once = len(traced)
    np.testing.assert_array_equal(stack.forward(rows)[0], first)
    assert len(traced) == once
    np.testing.assert_allclose(first, 8.0)
