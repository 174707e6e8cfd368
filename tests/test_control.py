"""How steps are chosen: bounds, coefficients, tolerances per component; complex states; the mode of differentiation."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.errors import InputError
from pushforward.ode import ADJOINTS, Event, solve


def oscillator(t, y):
    return jnp.stack([y[1], -y[0]])


def run(**options):
    with jax.enable_x64(True):
        given = {"rtol": 1e-6, "atol": 1e-6, **options}
        return solve(oscillator, jnp.asarray([1.0, 0.0]), 0.0, 10.0, **given)


def test_bounds_of_steps():
    assert int(run(max_step=0.1).stats.accepted) == 100
    # 13 steps of 0.8, however poor, where the tolerance wants far more.
    rough = run(min_step=0.8, rtol=1e-9, atol=1e-9)
    assert int(rough.stats.accepted) == 13
    assert 1e-4 < abs(float(rough.y1[0]) - np.cos(10.0)) < 1e-2
    # Two changes of sign within a quarter of the step: shorter steps see them.
    event = Event(lambda t, y: (t - 5.0) * (t - 5.02))
    assert np.isnan(np.asarray(run(events=event).event_times)).all()
    assert np.asarray(run(events=event, max_step=0.05).event_times)[0] == pytest.approx(
        5.0, abs=1e-9
    )


def test_coefficients_of_the_control():
    plain, pi, pid = run(), run(pid=(0.3, 0.4, 0.0)), run(pid=(0.2, 0.3, 0.1))
    assert len({int(found.stats.evaluations) for found in (plain, pi, pid)}) == 3
    np.testing.assert_array_equal(plain.y1, run(pid=[0, 1, 0]).y1)
    for found in (pi, pid):
        np.testing.assert_allclose(found.y1, [np.cos(10.0), -np.sin(10.0)], atol=2e-5)
    # Where stability limits the steps, knowing the error before saves rejected ones.
    with jax.enable_x64(True):

        def stiff(t, y):
            return jnp.stack([y[1], 30 * (1 - y[0] ** 2) * y[1] - y[0]])

        pair = [
            solve(stiff, jnp.asarray([2.0, 0.0]), 0.0, 20.0, pid=pid)
            for pid in ((0, 1, 0), (0.3, 0.4, 0))
        ]
    assert int(pair[1].stats.rejected) < 0.6 * int(pair[0].stats.rejected)


@pytest.mark.parametrize("adjoint", ["checkpoint", "backsolve"])
def test_tolerances_of_components(adjoint):
    """A component that may be off does not decide the steps; equal ones are the number."""
    with jax.enable_x64(True):
        np.testing.assert_array_equal(run().y1, run(atol=np.full(2, 1e-6)).y1)

        def end(rate, rtol, atol):
            def f(t, y):
                return rate * y[0], {"fast": jnp.sin(50 * t) * jnp.ones(3)}

            start = (jnp.ones(2), {"fast": jnp.zeros(3)})
            return solve(f, start, 0.0, 1.0, rtol=rtol, atol=atol, adjoint=adjoint)

        loose = (1e-6, {"fast": np.full(3, 1e3)})
        coarse, fine = end(1.0, (1e-8, {"fast": 1e-6}), loose), end(1.0, 1e-6, 1e-6)
        assert int(coarse.stats.evaluations) < 0.3 * int(fine.stats.evaluations)
        np.testing.assert_allclose(coarse.y1[0], np.e, rtol=1e-6)
        slope = jax.grad(lambda r: end(r, (1e-8, {"fast": 1e-6}), loose).y1[0].sum())(1.0)
        np.testing.assert_allclose(slope, 2 * np.e, rtol=1e-5)


OTHERS = [
    pytest.param(name, marks=pytest.mark.nightly) for name in ADJOINTS if name != "checkpoint"
]


@pytest.mark.mistyped
@pytest.mark.parametrize("adjoint", ["checkpoint", *OTHERS])
def test_complex_states(adjoint):
    """A two-level system: its norm stays, gradients are differences; states between steps, rows by themselves."""
    with jax.enable_x64(True):
        start = jnp.asarray([[1.0, 0.0], [0.6, 0.8j]])

        def loss(p):
            energies = jnp.stack([jnp.stack([p[0], p[1]]), jnp.stack([p[1], -p[0]])])
            options = {"rtol": 1e-9, "atol": 1e-9, "control": "per_row", "max_steps": 60}
            options |= {"at": p[4:], "adjoint": adjoint}
            found = solve(lambda t, y: -1j * (y @ energies), start * p[2], 0.0, p[3], **options)
            assert found.y1.dtype == jnp.complex128
            return (jnp.abs(found.y1[:, 0]) ** 2).sum() + found.ys.real[0, 0, 0], found

        given = jnp.asarray([0.5, 1.0, 1.0, 2.0, 0.7])
        (_, found), slope = jax.value_and_grad(loss, has_aux=True)(given)
        np.testing.assert_allclose((jnp.abs(found.y1) ** 2).sum(1), 1, atol=1e-7)
        value = jax.jit(lambda p: loss(p)[0])
        right = [(value(given + s) - value(given - s)) / 2e-5 for s in 1e-5 * np.eye(5)]
        np.testing.assert_allclose(slope, right, rtol=1e-6, atol=1e-6)


def test_forward_mode_has_an_adjoint():
    def end(rate, adjoint):
        return solve(
            lambda t, y: -rate * y, jnp.ones(()), 0.0, 1.0, adjoint=adjoint, max_steps=40
        ).y1

    assert float(jax.jacfwd(end)(1.0, "direct")) == pytest.approx(-np.exp(-1), abs=1e-4)
    for adjoint in ("checkpoint", "backsolve"):
        with pytest.raises(InputError, match="needs adjoint='direct'"):
            jax.jacfwd(end)(1.0, adjoint)
    # Under an outer `jit` too; a derivative of a compiled function is JAX's own refusal, and never a number.
    slope = jax.jit(jax.jacfwd(end), static_argnums=1)
    assert float(slope(1.0, "direct")) == pytest.approx(-np.exp(-1), abs=1e-4)
    with pytest.raises(InputError, match="needs adjoint='direct'"):
        slope(1.0, "checkpoint")
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(jax.jit(lambda rate: end(rate, "checkpoint")), (1.0,), (1.0,))


def test_gradients_at_times_need_no_kept_steps():
    """Backsolve restarts from the states at the times; these are the polynomials', as those of the solve."""

    def loss(y, adjoint):
        options = {"method": "rk4", "steps": 20, "interpolate": True, "adjoint": adjoint}
        found = solve(lambda t, y: jnp.sin(y) * t, y, 0.0, 3.0, at=[1.0, 2.02], **options)
        return (found.ys**3).sum() + found.y1.sum()

    own, right = (jax.grad(loss)(jnp.asarray([1.0, 0.5]), a) for a in ("backsolve", "checkpoint"))
    np.testing.assert_allclose(own, right, rtol=1e-4)


@pytest.mark.mistyped
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_step": 1.0, "max_step": 0.5}, "0 <= min_step < max_step"),
        ({"max_step": "long"}, "max_step='long': a number"),
        ({"pid": (1, 2)}, r"pid=\(1, 2\): three numbers"),
        ({"pid": (1, 0, 0)}, "the error's own, must be positive"),
        ({"rtol": (1e-3, 1e-3)}, "rtol is PyTreeDef.* a number, or PyTreeDef"),
        ({"atol": np.ones(3)}, r"atol has shape \(3,\): one that broadcasts against \(2,\)"),
        ({"atol": np.array([1e-3, -1.0])}, "tolerances must be positive"),
        ({"atol": np.ones(2), "method": diffrax.Tsit5()}, "need a method of ours"),
        ({"control": diffrax.PIDController(1e-3, 1e-3)}, "'shared', 'per_row' or, with a diffrax"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(options, words):
    with pytest.raises(InputError, match=words) as caught:
        run(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.mistyped
def test_a_complex_state_is_not_for_implicit_solvers():
    with pytest.raises(InputError, match=r"complex state .*need a method of ours"):
        solve(lambda t, y: 1j * y, jnp.ones(2, complex), 0.0, 1.0, method=diffrax.Kvaerno5())
    with pytest.raises(InputError, match="complex"):
        solve(lambda t, y: 1j * y, jnp.ones(2), 0.0, 1.0)
