"""Stiff fields: implicit methods, their gradients, and what is said about a field that wants one."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest

from pushforward.errors import InputError, SolveError
from pushforward.ode import Event, solve

TIGHT = {"method": "radau5", "rtol": 1e-8, "atol": 1e-8}


def van_der_pol(t, y, eps):
    x, v = y[..., :1], y[..., 1:]
    return jnp.concatenate([v, ((1 - x**2) * v - x) / eps], -1)


def test_rows_of_very_different_rates():
    """Prothero & Robinson 1974: the solution is cos t whatever the rate, which explicit steps would follow."""
    with jax.enable_x64(True):
        rates = jnp.asarray([[1.0], [1e3], [1e7]])

        def f(t, y):
            return -rates * (y - jnp.cos(t)) - jnp.sin(t)

        at = np.linspace(0, 3, 50)
        found = solve(f, jnp.ones((3, 1)), 0.0, 3.0, at=at, control="per_row", **TIGHT)
        np.testing.assert_allclose(
            np.asarray(found.ys)[:, :, 0], np.cos(at)[:, None] + np.zeros(3), atol=1e-7
        )
        assert int(found.stats.accepted.max()) < 100
        # A row is what it is by itself. In a linear field one iteration solves, and another sees that it did.
        alone = solve(lambda t, y: f(t, y)[1], jnp.ones(1), 0.0, 3.0, **TIGHT)
        np.testing.assert_allclose(alone.y1, found.y1[1], atol=1e-12)
        tries = int(alone.stats.accepted + alone.stats.rejected)
        assert int(alone.stats.evaluations) <= 2 + 9 * tries


@pytest.mark.parametrize(
    "adjoint", ["checkpoint", pytest.param("direct", marks=pytest.mark.nightly)]
)
def test_gradients_are_those_of_the_steps(adjoint):
    """By the state, the stiffness and the end, with an event and times on the way, of rows: central differences."""
    with jax.enable_x64(True):
        given = jnp.asarray([2.0, -0.6, 0.05, 0.9])

        def value(p):
            def f(t, y):
                return van_der_pol(t, y, p[2] * jnp.asarray([[1.0], [1.4]]))

            event = Event(lambda t, y: y[:, 0] - 0.4 - 0.3 * p[2], ends=False, most=1)
            options = {"at": [0.3, 0.8], "events": event, "control": "per_row", "steps": 12}
            start = jnp.stack([p[:2], p[:2] + 0.1])
            found = solve(f, start, 0.0, p[3], method="radau5", adjoint=adjoint, **options)
            return (
                found.y1[:, 0].sum()
                + (jnp.asarray(found.ys)[..., 1] ** 2).sum()
                + found.event_times.sum()
            )

        value = jax.jit(value)
        steps = 1e-5 * np.eye(4)
        right = [(value(given + s) - value(given - s)) / 2e-5 for s in steps]
        np.testing.assert_allclose(jax.jit(jax.grad(value))(given), right, rtol=1e-6)


def test_an_implicit_method_refuses_what_it_cannot_do():
    for options, words in (
        ({"y0": jnp.ones(2, jnp.complex64)}, "complex state needs an explicit method"),
        ({"adjoint": "reversible"}, "adjoint='checkpoint' or 'direct'"),
        ({"adjoint": "backsolve"}, "adjoint='checkpoint' or 'direct'"),
        ({"y0": jnp.ones((100, 30))}, "3000 entries.*control='per_row'"),
    ):
        options = {"y0": jnp.ones(2), **options}
        with pytest.raises(InputError, match=words) as caught:
            solve(lambda t, y: -y, t0=0.0, t1=1.0, method="radau5", **options)
        assert "\n" not in str(caught.value)

    @jax.custom_vjp
    def f(t, y):
        return -y

    f.defvjp(lambda t, y: (-y, None), lambda _, g: (jnp.zeros(()), -g))
    with pytest.raises(InputError, match="forward mode, and the field has a custom_vjp"):
        solve(f, jnp.ones(2), 0.0, 1.0, method="radau5")


def test_a_stiff_field_under_an_explicit_method_is_told_apart():
    """The line names the method; a field that only takes many steps gets the other one."""
    rates = jnp.asarray([[1.0], [3000.0]])

    def relaxing(t, y):
        return -rates * (y - jnp.cos(t))

    def turning(t, y):
        return jnp.stack([y[..., 1], -1000 * y[..., 0]], -1)

    for field, y, options, words in (
        (relaxing, jnp.ones((2, 1)), {"control": "per_row"}, r"row 1.* of 3e\+03.*'radau5'"),
        (relaxing, jnp.ones((2, 1)), {}, "stiff .*take method='radau5'"),
        (relaxing, jnp.ones((2, 1)), {"method": "rk4", "steps": 100}, "stiff .*'radau5'"),
        (turning, jnp.ones(2), {}, "raise max_steps or the tolerances$"),
    ):
        with pytest.raises(SolveError, match=words) as caught:
            solve(field, y, 0.0, 10.0, **{"max_steps": 300, **options})
        assert "\n" not in str(caught.value)
    end = solve(relaxing, jnp.ones((2, 1)), 0.0, 10.0, method="radau5", max_steps=300)
    np.testing.assert_allclose(end.y1[1], np.cos(10.0), atol=1e-3)


def test_a_diffrax_solver_takes_controllers_and_root_finders_and_its_calls_are_counted():
    def stiff(t, y):
        return -1000.0 * (y - jnp.cos(t))

    with jax.enable_x64(True):
        finder = diffrax.with_stepsize_controller_tols(optimistix.Newton)()
        newton = diffrax.Kvaerno5(root_finder=finder)
        own = {"method": newton, "pid": (0.3, 0.4, 0.0), "max_step": 0.25, "rtol": 1e-6}
        controller = diffrax.PIDController(1e-6, 1e-5, pcoeff=0.3, icoeff=0.4, dtmax=0.25)
        by_pid = solve(stiff, jnp.zeros(1), 0.0, 1.0, **own)
        by_object = solve(stiff, jnp.zeros(1), 0.0, 1.0, method=newton, control=controller)
        np.testing.assert_array_equal(by_pid.y1, by_object.y1)
        np.testing.assert_allclose(by_pid.y1, np.cos(1.0) + 1e-3 * np.sin(1.0), atol=1e-5)
        assert int(by_pid.stats.evaluations) > 7 * int(by_pid.stats.accepted)
        # Of steps of Euler's there is one call each; an implicit one iterates in each.
        for method, least in ((diffrax.Euler(), 50), (diffrax.ImplicitEuler(), 100)):
            found = solve(lambda t, y: -y, jnp.ones(1), 0.0, 1.0, at=[0.5], method=method, steps=50)
            calls = int(found.stats.evaluations)
            assert calls in (50, 51) if least == 50 else calls >= least
            np.testing.assert_allclose(np.asarray(found.ys)[0], np.exp(-0.5), atol=1e-2)
