"""An equation as a layer: what it computes, room by zeros, its cost, and the convolutions it is made of."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.errors import InputError
from pushforward.networks import Conv, ConvBlock, GroupNorm, ResidualBlocks, squeeze
from pushforward.networks.convolutional import convolved
from pushforward.ode import ODELayer, Solver, with_solver

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(KEY, (3, 5, 6, 4))


def turning(t, y):
    """A rotation by one radian a unit of time."""
    return jnp.stack([-y[..., 1], y[..., 0]], -1)


def test_a_layer_is_the_solution():
    x = jax.random.normal(KEY, (4, 3, 2))
    found = ODELayer(turning, t0=0.5, t1=2.0)(x)
    c, s = np.cos(1.5), np.sin(1.5)
    np.testing.assert_allclose(found, x @ np.array([[c, s], [-s, c]]), atol=1e-4)
    assert found.dtype == x.dtype
    back = ODELayer(turning, t0=2.0, t1=0.5)(found)
    np.testing.assert_allclose(back, x, atol=1e-4)


@pytest.mark.parametrize("hidden", [None, 6])
def test_one_euler_step_is_a_residual_block(images, hidden):
    block = ConvBlock(4, hidden=hidden, groups=2, time=True, key=KEY)
    assert block.convs[1].kernel.shape[2:] == (hidden or 4, 4)
    layer = ODELayer(block, solver=Solver(method="euler", steps=1))
    np.testing.assert_allclose(layer(images), images + block(0.0, images), atol=1e-6)


@pytest.mark.parametrize(("axis", "shape"), [(-1, (4, 2, 5)), (1, (4, 5, 2)), (0, (7, 2, 2))])
def test_zeros_are_appended_along_the_axis(axis, shape):
    x = jnp.arange(1.0, 17.0).reshape(4, 2, 2)
    layer = ODELayer(lambda t, y: jnp.zeros_like(y), augment=3, axis=axis)
    y = layer(x)
    assert y.shape == shape
    np.testing.assert_array_equal(jnp.take(y, jnp.arange(x.shape[axis]), axis), x)
    assert (jnp.take(y, jnp.arange(x.shape[axis], shape[axis]), axis) == 0).all()


def test_zeros_let_a_layer_lift_the_inner_points():
    """In the plane no flow parts a disk from the ring around it by a line; with one coordinate more a field does."""
    angle = jnp.linspace(0, 6, 20)
    ring = jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
    x = jnp.concatenate([0.3 * ring, ring])

    def lift(t, y):
        return jnp.stack([0 * y[:, 0], 0 * y[:, 1], (y[:, :2] ** 2).sum(1)], 1)

    height = ODELayer(lift, augment=1)(x)[:, 2]
    np.testing.assert_allclose(height, (x**2).sum(1), rtol=1e-5)


def test_rows_by_themselves_do_not_depend_on_the_others():
    layer = ODELayer(lambda t, y: jnp.sin(3 * y) * y + t)
    x = jax.random.normal(KEY, (3, 2))
    wild = jnp.concatenate([x, jnp.full((1, 2), 40.0)])
    np.testing.assert_array_equal(layer(wild, per_row=True)[:3], layer(x, per_row=True))
    assert np.abs(layer(wild)[:3] - layer(x)).max() > 0
    assert layer.solve(wild, per_row=True).stats.accepted.shape == (4,)


def test_the_cost_is_told_and_falls_with_the_tolerance(images):
    fine = ODELayer(ConvBlock(4, groups=2, time=True, key=KEY), solver=Solver(rtol=1e-4, atol=1e-4))
    coarse = with_solver(fine, rtol=1e-1, atol=1e-1)
    costs = [int(layer.solve(images).stats.evaluations) for layer in (coarse, fine)]
    assert 0 < costs[0] < costs[1]
    assert np.abs(coarse(images) - fine(images)).max() < 0.1
    assert fine.solver == Solver(rtol=1e-4, atol=1e-4)


class Wrapped(eqx.Module):
    """A model that solves by itself and holds one that does."""

    inner: dict
    solver: Solver = eqx.field(static=True)
    name: str = eqx.field(static=True)


def test_the_solver_is_changed_wherever_there_is_one():
    layer = ODELayer(pf.fields.MLPField(2, width=4, key=KEY), t1=3.0)
    model = Wrapped({"a": [layer, None, jnp.ones(2)], "b": layer}, Solver(), "both")
    changed = with_solver(model, method="rk4", steps=5)
    solvers = [changed.solver, changed.inner["a"][0].solver, changed.inner["b"].solver]
    assert solvers == [Solver(method="rk4", steps=5)] * 3
    assert (changed.name, changed.inner["b"].t1) == ("both", 3.0)
    assert model.inner["b"].solver == Solver()
    assert eqx.tree_equal(with_solver(changed, method="dopri5", steps=None), model)
    with pytest.raises(InputError, match="'order' is not a field of Solver; known: method"):
        with_solver(model, order=3)
    with pytest.raises(InputError, match="holds no continuous map, no ODE layer"):
        with_solver(eqx.nn.Linear(2, 2, key=KEY), steps=3)


@pytest.fixture(scope="module")
def layer():
    block = ConvBlock(4, groups=2, time=True, activation="tanh", key=KEY)
    return ODELayer(block, solver=Solver(method="midpoint", steps=16, adjoint="direct"))


@eqx.filter_jit
def gradients(layer, x):
    return jax.grad(lambda layer, x: (layer(x) ** 2).sum(), (0, 1))(layer, x)


@pytest.fixture(scope="module")
def direct(layer, images):
    return jax.tree.leaves(gradients(layer, images))


@pytest.mark.parametrize("adjoint", ["checkpoint", "backsolve", "reversible"])
def test_gradients_reach_the_field_and_the_images(adjoint, layer, images, direct):
    """Of every adjoint, and the same; by backsolve and reversible up to the discrete solution's own error."""
    found = jax.tree.leaves(gradients(with_solver(layer, adjoint=adjoint), images))
    for a, b in zip(found, direct, strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3 * np.abs(b).max())


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_convolution_and_its_gradients_are_those_of_the_definition(size, rng):
    x, kernel = rng.normal(size=(2, 4, 6, 3)), rng.normal(size=(size, size, 3, 2))
    weights = rng.normal(size=(2, 4, 6, 2))

    def defined(x, kernel):
        half = size // 2
        padded = jnp.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
        return sum(
            padded[:, i : i + 4, j : j + 6] @ kernel[i, j] for i in range(size) for j in range(size)
        )

    def loss(f):
        return lambda x, kernel: (weights * f(x, kernel) ** 2).sum()

    with jax.enable_x64(True):
        x, kernel = jnp.asarray(x), jnp.asarray(kernel)
        np.testing.assert_allclose(convolved(x, kernel), defined(x, kernel), rtol=1e-12)
        for number in (0, 1):
            found, expected = (jax.grad(loss(f), number)(x, kernel) for f in (convolved, defined))
            np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_time_is_a_channel(images):
    """Its part is a convolution of an image of the time."""
    conv = Conv(4, 6, time=True, key=KEY)
    assert conv.clock is not None
    times = jnp.asarray([0.1, 0.7, -2.0]).reshape(3, 1, 1, 1)
    channel = jnp.broadcast_to(times, (3, 5, 6, 1))
    whole = jnp.concatenate([conv.kernel, conv.clock], 2)
    expected = convolved(jnp.concatenate([images, channel], -1), whole)
    expected = expected + conv.bias[None, None, None]
    np.testing.assert_allclose(conv(images, times), expected, atol=1e-5)
    np.testing.assert_allclose(conv(images, 0.7)[1], expected[1], atol=1e-5)


def test_groups_are_normalised_by_themselves(images):
    norm = GroupNorm(4, groups=2)
    found = norm(5 * images + 2)
    expected = jax.vmap(eqx.nn.GroupNorm(2, 4))(jnp.moveaxis(5 * images + 2, -1, 1))
    np.testing.assert_allclose(found, jnp.moveaxis(expected, 1, -1), atol=1e-5)
    # Sums over other batch sizes are taken in another order.
    np.testing.assert_allclose(norm(images)[1], norm(images[1:2])[0], rtol=1e-5, atol=1e-7)


def test_residual_blocks_are_the_blocks_one_by_one(images):
    model = ResidualBlocks(4, 2, groups=2, key=KEY)
    expected = images
    for i in range(2):
        block = jax.tree.map(lambda leaf, i=i: leaf[i], model.blocks)
        expected = expected + block(0.0, expected)
    np.testing.assert_allclose(model(images), expected, atol=1e-5)
    assert np.abs(model.blocks.convs[0].kernel[0] - model.blocks.convs[0].kernel[1]).max() > 0


def test_squeezing_keeps_all_pixels_of_a_block_together(images):
    x = jnp.arange(32.0).reshape(1, 4, 4, 2)
    y = squeeze(x)
    assert y.shape == (1, 2, 2, 8)
    np.testing.assert_array_equal(y[0, 1, 0], x[0, 2:, :2].ravel())
    with pytest.raises(InputError, match="5 x 6 pixels"):
        squeeze(images)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ODELayer(turning, t1=0.0), "two finite times that differ"),
        (lambda: ODELayer(turning, t1=float("nan")), "two finite times that differ"),
        (lambda: ODELayer(turning, augment=-1), "augment=-1"),
        pytest.param(
            lambda: ODELayer(turning)(jnp.arange(4).reshape(2, 2)),
            "int32: floating-point",
            marks=pytest.mark.mistyped,
        ),
        (lambda: ODELayer(turning, augment=1, axis=2)(jnp.ones((3, 2))), "no axis 2"),
        (lambda: ODELayer(turning, augment=1)(jnp.ones((3, 2))), r"expected \(3, 3\)"),
        (lambda: Conv(1, 2, size=4, key=KEY), "size=4: an odd number"),
        (lambda: Conv(0, 2, key=KEY), "inputs=0: a whole number"),
        (lambda: Conv(1, 2, time=True, key=KEY)(jnp.ones((1, 4, 4, 1))), "a time t was expected"),
        (lambda: GroupNorm(6, groups=4), "groups=4 do not divide channels=6"),
        (lambda: ConvBlock(8, activation="magic", key=KEY), "known: relu"),
        (lambda: ResidualBlocks(8, 0, key=KEY), "count=0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
