"""Parameters from a condition: each row has a map of its own, and what cannot be amortized is refused in one line."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import (
    Amortized,
    Autoregressive,
    BatchNorm,
    BlockAutoregressive,
    Chain,
    Coupling,
    Elementwise,
    FlowMap,
    LULinear,
    Permutation,
    Planar,
    QRLinear,
    Radial,
    Recurrent,
    Residual,
    Reverse,
    Stack,
    Sylvester,
)
from pushforward.bijections.small_systems import orthonormal, triangular_solve
from pushforward.errors import ConvergenceError, InputError
from pushforward.fields import MLPField, PlanarField, PotentialField
from pushforward.networks import MLP, LipschitzMLP, MaskedMLP
from pushforward.rows import each_row
from pushforward.testing import perturbed
from pushforward.transformers import AbstractTransformer, Affine, RationalQuadratic

KEY = jax.random.key(0)
X, C = jax.random.normal(KEY, (3, 3)), jax.random.normal(jax.random.key(1), (3, 2))


def masked(size: int, **options) -> MaskedMLP:
    return MaskedMLP(3, size, width=8, depth=2, key=KEY, **options)


def network(inputs: int, *out: int, **options) -> MLP:
    return MLP(inputs, out, width=8, depth=1, key=KEY, **options)


# What is amortized, and how many numbers the head gives for a row.
MAPS = {
    "planar": (Planar(3, key=KEY), 7),
    "planar, conditional": (Planar(3, (2,), key=KEY), 9),
    "radial": (Radial(3, key=KEY), 5),
    "sylvester": (Sylvester(3, 2, key=KEY), 6 + 8 + 6),
    "spline": (Elementwise(RationalQuadratic(bins=4), 3), 33),
    "coupling": (Coupling(network(1, 2, 2), Affine(), 1), 4),
    "autoregressive": (Autoregressive(masked(2), Affine()), 6),
    "block autoregressive": (BlockAutoregressive(3, 4, key=KEY), 12 + 12 + 3),
    "recurrent": (Recurrent(3, 4, key=KEY), 4 + 4 + 3),
    "residual": (Residual(LipschitzMLP(3, 3, width=8, depth=1, key=KEY)), 3),
    "linear": (LULinear(3), 6),
    "orthogonal": (QRLinear(3, key=KEY), 6),
    "chain": (Chain([LULinear(3), Reverse(3), Radial(3, key=KEY)]), 11),
    "stack": (Stack(lambda k: Planar(3, key=k), 2, key=KEY), 14),
    "continuous": (FlowMap(MLPField(3, width=8, key=KEY)), 3),
    "planar field": (FlowMap(PlanarField(3, width=4, key=KEY)), 4),
    "potential": (FlowMap(PotentialField(3, width=4, key=KEY)), 3),
    "continuous, conditional": (FlowMap(MLPField(3, width=8, condition=2, key=KEY)), 3),
}


@pytest.mark.parametrize("name", MAPS)
def test_every_row_has_a_map_of_its_own(name):
    """The shared map at the start; then that of each row's parameters, both ways."""
    bijection, outputs = MAPS[name]
    start = Amortized(bijection, 2, key=KEY)
    assert start.head.shape == (outputs, 2)
    own = perturbed(start, jax.random.key(2))
    inverse = eqx.filter_jit(lambda b, x, c: b.inverse(x, c))
    given = None if bijection.condition_shape is None else C
    for found, shared in zip(inverse(start, X, C), inverse(bijection, X, given), strict=True):
        np.testing.assert_allclose(found, shared, atol=2e-5)
    z, log_det = inverse(own, X, C)
    for i in range(len(X)):
        single = own.with_outputs(own.head @ C[i])
        row = inverse(single, X[i : i + 1], None if given is None else C[i : i + 1])
        np.testing.assert_allclose(z[i], row[0][0], atol=2e-5)
        np.testing.assert_allclose(log_det[i], row[1][0], atol=2e-5)
    assert float(jnp.abs(inverse(own, X, C[::-1])[0] - z).max()) > 1e-3
    back = eqx.filter_jit(lambda b, z, c: b.forward(z, c))(own, z, C)[0]
    np.testing.assert_allclose(back, X, atol=1e-3)


def test_changes_of_low_rank():
    """A matrix of each row's own, `W + U (V_0 + V)^T`; a bias beside it in full."""
    bijection = Autoregressive(masked(2), Affine())
    own = Amortized(
        bijection, 2, where=lambda b: (b.network.hidden, b.network.last_bias), rank=2, key=KEY
    )
    assert own.head.shape == (2 * (8 + 8) + 6, 2)
    assert [d.shape for d in own.directions] == [(1, 8, 2)]
    own = perturbed(own, jax.random.key(2))
    outputs = own.head @ C[0]
    left, right = outputs[:16].reshape(1, 8, 2), outputs[16:32].reshape(1, 8, 2)
    expected = own.bijection.network.hidden + left @ jnp.swapaxes(own.directions[0] + right, 1, 2)
    single = own.with_outputs(outputs)
    np.testing.assert_allclose(single.network.hidden, expected, atol=1e-6)
    bias = own.bijection.network.last_bias + outputs[32:].reshape(2, 3)
    np.testing.assert_allclose(single.network.last_bias, bias, atol=1e-6)
    np.testing.assert_array_equal(single.network.first, own.bijection.network.first)


def test_it_learns_from_the_start():
    """Zero heads have gradients, of low rank too."""
    bijection = FlowMap(MLPField(3, width=8, key=KEY))
    for rank in (0, 1):
        own = Amortized(bijection, 2, where=lambda b: b.field.hidden, rank=rank, key=KEY)
        flow = pf.distributions.Flow(pf.distributions.StandardNormal(3), own)
        by = eqx.filter_jit(eqx.filter_grad(lambda flow: flow.log_prob(X, C).sum()))(flow)
        assert float(jnp.abs(by.bijection.head).max()) > 1e-3


def test_noise_is_each_rows_own():
    """Equal rows under one key see other dropout, within the network of one layer."""
    layer = Coupling(network(1, 2, 2, dropout=0.5, last_scale=1.0), Affine(), 1)
    own = perturbed(Amortized(layer, 2, key=KEY), KEY)
    same = jnp.ones((6, 3)), jnp.ones((6, 2))
    assert len({float(v) for v in own.inverse(*same, key=KEY)[0][:, 2]}) > 1
    assert len({float(v) for v in own.inverse(*same)[0][:, 2]}) == 1


def test_draws_of_a_continuous_map_leave_log_dets_out():
    own = perturbed(Amortized(FlowMap(MLPField(3, width=8, key=KEY)), 2, key=KEY), KEY)
    flow = pf.distributions.Flow(pf.distributions.StandardNormal(3), own)
    drawn, _ = flow.sample_and_log_prob(KEY, (4,), C[0])
    np.testing.assert_allclose(flow.sample(KEY, 4, C[0]), drawn, atol=1e-3)
    assert own.without_log_det().bijection.rows_only


def test_few_steps_are_compared_once():
    solver = pf.ode.Solver(method="euler", steps=1)
    own = Amortized(FlowMap(MLPField(3, width=8, key=KEY), solver=solver), 2, key=KEY)

    def run():
        own.inverse(10 * jnp.tile(X, (7, 1)), jnp.tile(C, (7, 1)))
        jax.effects_barrier()

    with pytest.warns(pf.InputWarning, match="1 fixed steps") as caught:
        run()
    assert len(caught) == 1


class Flat(AbstractTransformer):
    """A searched map that is flat beyond 1: no latent beyond has data."""

    searched = True

    @property
    def size(self):
        return 1

    def inverse(self, x, params):
        return jnp.clip(x, -1, 1) + 0 * params[0], jnp.where(jnp.abs(x) < 1, 0.0, -jnp.inf)

    def forward(self, z, params):
        x = pf.bijections.increasing_root(lambda x, p: self.inverse(x, p), z, params)
        return x, jnp.zeros_like(x)


def test_a_search_that_fails_says_so():
    own = Amortized(Elementwise(Flat(), 1), 2, key=KEY)
    with pytest.raises(ConvergenceError, match="did not converge for 1 of 1 values"):
        own.forward(jnp.array([[0.5], [7.0]]), jnp.ones((2, 2)))
    assert jnp.isnan(eqx.filter_jit(own.forward)(jnp.array([[7.0]]), jnp.ones((1, 2)))[0]).all()


INNER = FlowMap(MLPField(3, width=8, key=KEY), trained_time=True)
HJB = FlowMap(PotentialField(3, width=4, key=KEY), hjb=1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: Amortized(Affine(), 2, key=KEY),
            "what is amortized is Affine.*Elementwise",
            marks=pytest.mark.mistyped,
        ),
        (lambda: Amortized(Reverse(3), 2, key=KEY), "Reverse has no parameters"),
        (lambda: Amortized(Permutation(np.arange(3)), 2, key=KEY), "Permutation has no parameters"),
        (lambda: Amortized(Planar(3, (2,), key=KEY), 3, key=KEY), r"context=3: Planar .*\(2,\)"),
        (lambda: Amortized(Planar(3, key=KEY), 0, key=KEY), "condition shape"),
        (lambda: Amortized(Planar(3, key=KEY), 2, rank=-1, key=KEY), "rank=-1"),
        (lambda: Amortized(Chain([BatchNorm(3)]), 2, key=KEY), "Chain has batch-norm"),
        (lambda: Amortized(Chain([INNER]), 2, key=KEY), "Chain has a continuous map within"),
        (lambda: Amortized(INNER, 2, where=lambda b: b.log_time, key=KEY), "leave log_time out"),
        (lambda: Amortized(HJB, 2, key=KEY), r"hjb=1\.0"),
        (
            lambda: Amortized(LULinear(3), 2, where=lambda b: b.event_shape, key=KEY),
            "LULinear that",
        ),
    ],
)
def test_mistakes_get_one_clear_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_layer_within_cannot_be_set_from_data():
    own = Amortized(pf.bijections.ActNorm(3), 2, key=KEY)
    with pytest.raises(InputError, match="inside Amortized cannot be set"):
        pf.bijections.initialised(own, X, C)


SYSTEMS = {
    "tall": ((6, 3), jax.random.normal(KEY, (5, 6, 3))),
    "square": ((4, 4), jax.random.normal(KEY, (5, 4, 4))),
    "one": ((1, 1), jnp.ones((5, 1, 1)) * jnp.array([2.0, -2, 0.5, -1, 3])[:, None, None]),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_small_systems_row_by_row_are_those_of_lapack(name):
    """Loops take the place of LAPACK where every row has a matrix of its own; values and gradients stay."""
    (_, m), matrices = SYSTEMS[name]
    right = jnp.ones((m, 2))
    upper = jnp.triu(matrices[:, :m]) + 2 * jnp.eye(m)[None]

    def both(factor, upper):
        q = orthonormal(factor)
        ways = [
            triangular_solve(upper, right),
            triangular_solve(upper, right, trans=True),
            triangular_solve(upper.T, right, lower=True, unit_diagonal=True),
        ]
        return q, jnp.stack(ways)

    def total(factor, upper):
        q, solved = both(factor, upper)
        return (jnp.sin(q).sum() + jnp.sin(solved).sum(),)

    found = jax.jit(lambda *rows: each_row(both, *rows))(matrices, upper)
    singly = [jax.jit(both)(*rows) for rows in zip(matrices, upper, strict=True)]
    for values, expected in zip(found, zip(*singly, strict=True), strict=True):
        np.testing.assert_allclose(values, np.stack(expected), atol=2e-5)
    slopes = jax.jit(jax.grad(lambda *rows: each_row(total, *rows)[0].sum(), (0, 1)))
    own = jax.jit(jax.grad(lambda *row: total(*row)[0], (0, 1)))
    expected = zip(*(own(*row) for row in zip(matrices, upper, strict=True)), strict=True)
    for values, of in zip(slopes(matrices, upper), expected, strict=True):
        np.testing.assert_allclose(values, np.stack(of), atol=2e-3)


@pytest.mark.parametrize("kind", ["orthogonal", "householder", "linear"])
def test_no_lapack_row_by_row(kind):
    layer = LULinear(4) if kind == "linear" else Sylvester(4, 4, kind, key=KEY)
    own = Amortized(layer, 2, key=KEY)
    method = own.forward_rows if kind == "linear" else own.inverse_rows
    x, c = jnp.ones((7, 4)), jnp.ones((7, 2))
    text = jax.jit(lambda x, c: method(x, c, None)).lower(x, c).as_text()
    assert "custom_call" not in text, text[:500]
    assert "triangular_solve" not in text
    plain = layer.forward_rows if kind == "linear" else layer.inverse_rows
    seen = jax.jit(lambda x: plain(x, None, None)).lower(x).as_text()
    assert "custom_call" in seen or "triangular_solve" in seen
