"""Jumps of the field and of the state at known times."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.errors import InputError
from pushforward.ode import ADJOINTS, Jumps, Solver, solve
from pushforward.series.neural_ode import KnownField, Units, trajectories

SWITCH = 7.5


def switched(t, y, late):
    """A driven oscillator whose force turns round; at the time of the switch itself it is on either side."""
    x, v = y[..., 0], y[..., 1]
    after = t >= SWITCH if late else t > SWITCH
    force = jnp.where(after, -10.0, 10.0) * jnp.cos(t)
    return jnp.stack([v, -4 * x - 0.5 * v + force.reshape(x.shape)], -1)


@pytest.fixture(scope="module")
def truth():
    with jax.enable_x64(True):
        y, options = jnp.asarray([1.5, 0.0]), {"method": "dopri8", "rtol": 1e-12, "atol": 1e-12}
        first = solve(
            lambda t, y: switched(jnp.minimum(t, SWITCH - 1e-9), y, True), y, 0.0, SWITCH, **options
        )
        return solve(
            lambda t, y: switched(jnp.maximum(t, SWITCH), y, True),
            first.y1,
            SWITCH,
            15.0,
            **options,
        ).y1


def test_a_switched_input_keeps_the_order_and_saves_calls(truth):
    with jax.enable_x64(True):
        y = jnp.asarray([1.5, 0.0])
        for late in (True, False):
            f = lambda t, y, late=late: switched(t, y, late)  # noqa: E731
            errors = [
                np.abs(
                    solve(f, y, 0.0, 15.0, jumps=[SWITCH], method="rk4", steps=n).y1 - truth
                ).max()
                for n in (40, 80, 160)
            ]
            assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.3)
            assert np.log2(errors[1] / errors[2]) == pytest.approx(4, abs=0.2)
            options = {"rtol": 1e-7, "atol": 1e-7}
            found = solve(f, y, 0.0, 15.0, jumps=[SWITCH], **options)
            blind = solve(f, y, 0.0, 15.0, **options)
            assert int(found.stats.evaluations) < int(blind.stats.evaluations)
            np.testing.assert_allclose(found.y1, truth, atol=3e-6)
            # Backwards the switch is met from the other side.
            back = solve(f, truth, 15.0, 0.0, jumps=[SWITCH], method="dopri8", **options)
            np.testing.assert_allclose(back.y1, y, atol=3e-4)


def test_rows_jump_at_their_own_times_and_at_zero():
    with jax.enable_x64(True):
        times = jnp.asarray([[0.0, 0.5], [0.25, 0.7]])

        def f(t, y):
            return (
                jnp.where(t > times[:, :1], 1.0, -3.0) * y * jnp.where(t >= times[:, 1:], -1.0, 1.0)
            )

        late = np.exp([-1.5 + 0.5 - 0.5, -3 * 0.75 + 0.45 - 0.3])
        for options in (
            {"method": "rk4", "steps": 20},
            {"control": "per_row", "rtol": 1e-8, "atol": 1e-8},
        ):
            found = solve(
                f, jnp.ones((2, 1)), jnp.asarray([-0.5, -0.5]), 1.0, jumps=times, **options
            )
            np.testing.assert_allclose(found.y1[:, 0], late, rtol=1e-5)


def test_a_jump_at_an_end_hides_no_time():
    jumps = Jumps([0.0, 1.0], lambda t, y: y + 1)
    found = solve(lambda t, y: -y, jnp.ones(1), 0.0, 1.0, jumps=jumps, at=[0.0, 0.5, 1.0])
    right = [1.0, 2 * np.exp(-0.5), 2 * np.exp(-1)]
    np.testing.assert_allclose(np.asarray(found.ys)[:, 0], right, atol=1e-4)
    assert float(found.y1[0]) == pytest.approx(2 * np.exp(-1) + 1, abs=1e-4)


def dosed(rate, first, dose, adjoint, **options):
    """Doses at `first` and one later, of a drug that decays: a jump of the state."""
    doses = Jumps(jnp.stack([first, first + 1.0]), lambda t, y: y + dose * t)
    options = {"at": [0.5, 1.0, 1.5], "rtol": 1e-9, "atol": 1e-9, "max_steps": 64, **options}
    return solve(
        lambda t, y: -rate * y, jnp.ones(1), 0.0, 2.5, jumps=doses, adjoint=adjoint, **options
    )


def exact(rate, first, dose):
    def level(t):
        total = jnp.exp(-rate * t)
        for at in (first, first + 1.0):
            total = total + jnp.where(t > at, dose * at * jnp.exp(-rate * (t - at)), 0.0)
        return total

    return jnp.stack([level(t) for t in (0.5, 1.0, 1.5, 2.5)])


OTHERS = [
    pytest.param(name, marks=pytest.mark.nightly) for name in ADJOINTS if name != "checkpoint"
]


@pytest.mark.parametrize("adjoint", ["checkpoint", *OTHERS])
def test_doses_and_their_gradients(adjoint):
    """By the rate, the time of the doses and their size."""
    with jax.enable_x64(True):
        given = (0.7, 1.0, 0.4)

        def levels(*given):
            found = dosed(*given, adjoint)
            return jnp.concatenate([found.ys[:, 0], found.y1])

        np.testing.assert_allclose(levels(*given), exact(*given), atol=1e-7)
        weights = jnp.asarray([1.0, -2.0, 3.0, 0.5])
        own, right = (
            jax.grad(lambda *g, f=f: f(*g) @ weights, (0, 1, 2))(*given) for f in (levels, exact)
        )
        np.testing.assert_allclose(own, right, atol=1e-6)


def test_a_solution_with_jumps_is_called():
    with jax.enable_x64(True):
        path = dosed(0.7, 1.0, 0.4, "checkpoint", at=None, dense=True)
        np.testing.assert_allclose(
            path([0.5, 1.0, 1.5, 2.5])[:, 0], exact(0.7, 1.0, 0.4), atol=1e-7
        )
        # At a jump it is the state before; just after it is the one after.
        assert float(path(1.0 + 1e-9)[0] - path(1.0)[0]) == pytest.approx(0.4)


def test_a_known_equation_of_series_jumps_at_times_of_the_data():
    """Order 4 in both directions of time, in pieces that begin before, between and after the jumps."""
    units = Units(np.zeros(1), np.ones(1), origin=2.0, length=3.0)
    jumps = (7.3, 11.9)

    def rate(t, y, p):
        return jnp.where((t >= jumps[0]) & (t < jumps[1]), p, 0.0) + 0 * y

    with jax.enable_x64(True):
        field = KnownField(lambda t, y, p: rate(t, y, p) * jnp.cos(t), 1.5, units, jumps)
        ends = np.array([[2.0, 15.0], [8.0, 15.0], [12.5, 15.0], [15.0, 2.0]])
        right = [1.5 * (np.sin(np.clip(b, *jumps)) - np.sin(np.clip(a, *jumps))) for a, b in ends]
        errors = []
        for steps in (2, 4):
            found = trajectories(
                field,
                jnp.zeros((4, 1)),
                jnp.asarray((ends - ends[:, :1]) / units.length),
                Solver(method="rk4", steps=steps),
                begins=jnp.asarray(units.times(ends[:, 0])),
            )
            errors.append(np.abs(np.asarray(found[:, 1, 0]) - right).max())
        assert errors[0] < 0.1
        assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize(
    ("jumps", "words"),
    [
        ([0.5, 0.2], "jumps must go from t0 to t1 in order, but 0.5 comes before 0.2"),
        ([0.5, 3.0], "jumps .*3 comes before 1"),
        ([np.nan], "jumps must be finite"),
        (0.5, r"jumps has shape \(\)"),
        (Jumps([0.5], lambda t, y: y[:1]), r"then gives .*shape \(3, 2\) was expected"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(jumps, words):
    with pytest.raises(InputError, match=words) as caught:
        solve(lambda t, y: -y, jnp.ones((3, 2)), 0.0, 1.0, jumps=jumps)
    assert "\n" not in str(caught.value)
