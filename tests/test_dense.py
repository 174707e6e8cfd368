"""States between the ends of steps: what they cost, how exact they are, and their gradients by every adjoint."""

import dataclasses
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.errors import InputError
from pushforward.ode import ADJOINTS, METHODS, Backsolve, RecomputeSteps, Tableau, solve

START = np.random.default_rng(0).normal(size=(3, 2))
MATRIX = np.array([[-0.5, 2.0], [-2.0, -0.3]])
AT = (0.02, 0.4, 0.4, 1.1, 1.65)
BY_NIGHT = [pytest.param(name, marks=pytest.mark.nightly) for name in ("heun", "bosh3", "tsit5")]


def oscillator(t, y):
    return jnp.stack([y[1], -y[0]])


@pytest.mark.parametrize("method", ["dopri5", "dopri8", *BY_NIGHT])
def test_times_cost_no_calls_and_keep_the_tolerance(method):
    with jax.enable_x64(True):
        y, options = jnp.asarray([1.0, 0.0]), {"method": method, "rtol": 1e-6, "atol": 1e-6}
        if method == "heun":
            options |= {"rtol": 1e-4, "atol": 1e-4}
        plain = solve(oscillator, y, 0.0, 20.0, **options)
        end = np.abs(plain.y1[0] - np.cos(20.0))
        at = np.linspace(0, 20, 1000)
        found = solve(oscillator, y, 0.0, 20.0, at=at, **options)
        assert int(found.stats.evaluations) == int(plain.stats.evaluations)
        np.testing.assert_array_equal(found.y1, plain.y1)
        errors = np.abs(np.asarray(found.ys)[:, 0] - np.cos(at))
        # Steps are judged by themselves, so that errors add up: over 20 by some ten.
        assert errors.max() < max(3 * end, 10 * 2 * options["rtol"])
        assert errors[0] == 0


# The order that a state between the ends is right to, which is one more than the polynomials'.
LOCAL = {"euler": 2, "midpoint": 3, "heun": 3, "rk4": 4, "bosh3": 4, "dopri5": 5, "tsit5": 5, "dopri8": 6,
         "radau5": 4}  # fmt: skip


def bent(t, y):
    return jnp.tanh(y @ jnp.asarray(MATRIX)) + 0.3 * jnp.sin(t)


@cache
def bent_exactly(h):
    """Early in a step of length h, by small steps onto the times."""
    at = h * np.array([0.2, 0.45, 0.7])
    options = {"method": "dopri8", "rtol": 1e-13, "atol": 1e-13, "interpolate": False}
    return at, np.asarray(solve(bent, START, 0.0, h, at=at, **options).ys)


@pytest.mark.parametrize("name", METHODS)
def test_the_measured_order_between_steps(name):
    """Of one step: the error at places inside, halved steps beside."""
    assert set(LOCAL) == set(METHODS)
    with jax.enable_x64(True):
        errors = []
        for h in (0.1, 0.05) if name == "dopri8" else (0.05, 0.025):
            at, exact = bent_exactly(h)
            found = solve(bent, START, 0.0, h, at=at, method=name, steps=1, interpolate=True)
            errors.append(np.abs(np.asarray(found.ys) - exact).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(LOCAL[name], abs=0.45)


def test_a_method_without_polynomials_gets_cubics():
    right = METHODS["rk4"]
    own = Tableau(right.order, right.a, right.b)
    with jax.enable_x64(True):
        at = np.linspace(0, 2, 7)
        found = solve(
            oscillator,
            jnp.asarray([1.0, 0.0]),
            0.0,
            2.0,
            at=at,
            method=own,
            steps=40,
            interpolate=True,
        )
        assert int(found.stats.evaluations) == 40 * 4 + 1
        np.testing.assert_allclose(np.asarray(found.ys)[:, 0], np.cos(at), atol=2e-7)
    with pytest.raises(InputError, match=r"dense\[0\] sums to 2"):
        Tableau(1, ((),), (1.0,), dense=((2.0,),))
    with pytest.raises(InputError, match="a row of as many coefficients"):
        Tableau(1, ((),), (1.0,), dense=((1.0,), (0.0,)))


def loss(matrix, y0, t0, t1, at, weight, *, options):
    """Of everything that can be asked for: states at times, what is saved of them, the solution anywhere."""

    def f(t, y):
        return jnp.tanh(y @ matrix) + 0.3 * jnp.sin(t)

    def save(t, y):
        return weight * y[:, 0] * jnp.cos(t.reshape(-1)), y

    found = solve(f, y0, t0, t1, at=at, save=save, **options)
    assert found.ys is not None
    between = found.ys[1] if found.path is None else found(at + 0.01)
    return (found.y1**2).sum() + (between**3).sum() + (found.ys[0] ** 2).sum()


def arguments():
    return jnp.asarray(MATRIX), jnp.asarray(START), 0.0, 1.7, jnp.asarray(AT), 0.7


def gradients(options):
    found = jax.grad(lambda *a: loss(*a, options=options), tuple(range(6)))(*arguments())
    return np.concatenate([np.ravel(g) for g in found])


def differences(options, h=1e-6):
    given = [np.asarray(a, float) for a in arguments()]
    flat, cuts = np.concatenate([a.ravel() for a in given]), np.cumsum([a.size for a in given])[:-1]

    @jax.jit
    def value(flat):
        parts = jnp.split(flat, cuts)
        shaped = [p.reshape(a.shape) for p, a in zip(parts, given, strict=True)]
        return loss(*shaped, options=options)

    steps = h * np.eye(len(flat))
    return np.array([(value(flat + s) - value(flat - s)) / (2 * h) for s in steps])


OTHERS = [pytest.param(name, marks=pytest.mark.nightly) for name in ("direct", "reversible")]


@pytest.mark.parametrize("adjoint", [RecomputeSteps(slots=2), *OTHERS])
def test_discrete_adjoints_are_finite_differences(adjoint):
    """By state, parameters of the field and of what is saved, both ends, the times. Few slots are thinned ones."""
    with jax.enable_x64(True):
        # Steps of a number, so that differences are exact.
        options = {"method": "dopri5", "steps": 5, "dense": True, "adjoint": adjoint}
        np.testing.assert_allclose(gradients(options), differences(options), rtol=1e-6, atol=1e-7)


@pytest.mark.nightly
def test_adjoints_agree_where_each_row_has_its_steps():
    with jax.enable_x64(True):
        options = {"rtol": 1e-9, "atol": 1e-9, "control": "per_row", "max_steps": 200}
        found = {name: gradients({**options, "adjoint": name}) for name in ADJOINTS}
        options["control"] = "shared"
        found["shared"] = gradients({**options, "adjoint": "backsolve"})
    for name, one in found.items():
        np.testing.assert_allclose(one, found["shared"], rtol=2e-6, atol=2e-6, err_msg=name)


def test_times_of_rows_and_back_in_time():
    """Each row has its own interval and times; a state of several arrays; the same by stepping onto the times."""
    with jax.enable_x64(True):
        ends = jnp.asarray([0.5, 1.0, -2.0])
        at = jnp.stack([ends * 0.3, ends * 0.3, ends], 1)
        state = (jnp.asarray(START), jnp.asarray(START[:, 0]))

        def f(t, state):
            a, b = state
            return jnp.sin(a) + t, a[:, 1] - b

        for control in ("shared", "per_row"):
            options = {"control": control, "rtol": 1e-8, "atol": 1e-8}
            dense = control == "per_row"
            found = solve(f, state, 0.0, ends, at=at, dense=dense, **options)
            onto = solve(f, state, 0.0, ends, at=at, interpolate=False, **options)
            assert int(found.stats.evaluations) < int(onto.stats.evaluations)
            for a, b in zip(found.ys, onto.ys, strict=True):
                assert a.shape == b.shape
                np.testing.assert_allclose(a, b, atol=1e-6)
        # The last row goes back in time.
        assert onto.ys is not None
        for row, time in enumerate((0.15, 0.3)):
            np.testing.assert_allclose(found(time)[0][row], onto.ys[0][0, row], atol=1e-6)
            assert np.isnan(found(time)[0][2]).all()


def test_a_solution_is_called_and_differentiated():
    with jax.enable_x64(True):
        found = solve(
            oscillator, jnp.asarray([1.0, 0.0]), 0.0, 6.0, dense=True, rtol=1e-8, atol=1e-8
        )
        times = np.linspace(0, 6, 31).reshape(1, 31)
        assert found(times).shape == (1, 31, 2)
        np.testing.assert_allclose(found(times)[0, :, 0], np.cos(times[0]), atol=1e-7)
        np.testing.assert_allclose(found(6.0), found.y1, rtol=1e-14)
        speed = jax.vmap(jax.jacfwd(found))(times[0])
        np.testing.assert_allclose(speed[:, 0], -np.sin(times[0]), atol=1e-5)

        # Forward mode through the solve.
        def later(a):
            y, options = a * jnp.asarray([1.0, 0.0]), {"adjoint": "direct", "method": "rk4"}
            options["steps"] = 40
            return solve(oscillator, y, 0.0, 6.0, dense=True, **options)(2.0)

        np.testing.assert_allclose(jax.jacfwd(later)(1.0)[0], np.cos(2.0), atol=1e-4)
        with pytest.raises(InputError, match="times from 0 to 6 were expected"):
            found(7.0)
    with pytest.raises(InputError, match="after solve"):
        solve(oscillator, jnp.ones(2), 0.0, 6.0, method="euler", steps=2)(7.0)


def test_an_adjoint_of_ones_own():
    @dataclasses.dataclass(frozen=True)
    class Halved(RecomputeSteps):
        def backward(self, run, y, walked, given):
            return jax.tree.map(lambda g: g / 2, super().backward(run, y, walked, given))

    def end(y, adjoint):
        options = {"method": "euler", "steps": 4, "interpolate": True}
        return solve(oscillator, y, 0.0, 1.0, at=[0.5], adjoint=adjoint, **options).ys.sum()

    halved, whole = (jax.grad(end)(jnp.ones(2), adjoint) for adjoint in (Halved(), "checkpoint"))
    np.testing.assert_allclose(halved, whole / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dense": True, "adjoint": "backsolve"}, "keeps no steps"),
        ({"dense": True, "adjoint": Backsolve()}, "keeps no steps"),
        ({"save": lambda t, y: y}, r"at=\[...\] was expected"),
        ({"save": lambda t, y: y > 0, "at": [0.5]}, "save gives .*floating-point"),
        ({"save": lambda t, y: y.sum(), "at": [0.5], "control": "per_row"}, r"shape \(\): rows on"),
        ({"dense": True, "interpolate": False}, "interpolate=False steps onto"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(options, words):
    with pytest.raises(InputError, match=words) as caught:
        solve(lambda t, y: -y, jnp.ones((3, 2)), 0.0, 1.0, **options)
    assert "\n" not in str(caught.value)


def test_what_is_saved_has_parameters():
    network = pf.fields.MLPField(2, width=4, key=jax.random.key(0))

    options = {"method": "euler", "steps": 4, "at": [0.5], "interpolate": True}
    found = eqx.filter_grad(
        lambda n: solve(lambda t, y: -y, jnp.ones((3, 2)), 0.0, 1.0, save=n, **options).ys.sum()
    )(network)
    assert np.abs(found.first).max() > 0
