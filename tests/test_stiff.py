"""Stiff fields: implicit methods, their gradients, and what is said about a field that wants one."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.errors import InputError
from pushforward.ode import METHODS, Event, solve

TIGHT = {"method": "rodas5p", "rtol": 1e-8, "atol": 1e-8}


def van_der_pol(t, y, eps):
    x, v = y[..., :1], y[..., 1:]
    return jnp.concatenate([v, ((1 - x**2) * v - x) / eps], -1)


def trees(order):
    """Rooted trees as sorted tuples of their branches."""
    if order == 1:
        return [()]
    found = set()
    for sizes in itertools.combinations_with_replacement(range(1, order), order - 1):
        for count in range(1, order):
            if sum(sizes[:count]) == order - 1:
                for parts in itertools.product(*(trees(n) for n in sizes[:count])):
                    found.add(tuple(sorted(parts)))
    return sorted(found)


def size(tree):
    return 1 + sum(map(size, tree))


def density(tree):
    return size(tree) * math.prod(map(density, tree))


def test_coefficients_fulfil_the_order_conditions():
    """Those of Hairer & Wanner 1996, IV.7: one for each tree, with alpha + gamma below a node of one branch."""
    method = METHODS["rodas5p"]
    n = len(method.b)

    def square(rows):
        return np.array([[*row, *[0.0] * (n - len(row))] for row in rows])

    gamma = np.linalg.inv(np.eye(n) / method.gamma - square(method.g))
    alpha = square(method.a) @ gamma
    np.testing.assert_allclose(alpha.sum(1), method.c, atol=1e-12)
    np.testing.assert_allclose(gamma.sum(1), method.d, atol=1e-12)

    def phi(tree):
        if not tree:
            return np.ones(n)
        if len(tree) == 1:
            return (alpha + gamma) @ phi(tree[0])
        return math.prod(alpha @ phi(branch) for branch in tree)

    last = np.array(method.error)
    for weights, order in ((np.array(method.b), 5), (np.array(method.b) - last, 4)):
        for tree in (tree for k in range(1, order + 1) for tree in trees(k)):
            assert weights @ gamma @ phi(tree) == pytest.approx(1 / density(tree), abs=1e-12), tree
    # Seventeen conditions up to order 5, and the embedded method breaks one of them.
    assert sum(len(trees(k)) for k in range(1, 6)) == 17
    broken = [(np.array(method.b) - last) @ gamma @ phi(t) - 1 / density(t) for t in trees(5)]
    assert np.abs(broken).max() > 1e-4


def test_rows_of_very_different_rates():
    """Prothero & Robinson 1974: the solution is cos t whatever the rate, which explicit steps would follow."""
    with jax.enable_x64(True):
        rates = jnp.asarray([[1.0], [1e3], [1e7]])

        def f(t, y):
            return -rates * (y - jnp.cos(t)) - jnp.sin(t)

        at = np.linspace(0, 3, 50)
        found = solve(f, jnp.ones((3, 1)), 0.0, 3.0, at=at, control="per_row", **TIGHT)
        np.testing.assert_allclose(found.y1, np.cos(3) + np.zeros((3, 1)), atol=1e-7)
        assert int(found.stats.accepted.max()) < 60
        # A row is what it is by itself, and calls are eight a try and two for the first step.
        alone = solve(lambda t, y: f(t, y)[1], jnp.ones(1), 0.0, 3.0, **TIGHT)
        np.testing.assert_allclose(alone.y1, found.y1[1], atol=1e-12)
        tries = int(alone.stats.accepted + alone.stats.rejected)
        assert int(alone.stats.evaluations) == 2 + 8 * tries


@pytest.mark.parametrize("adjoint", ["checkpoint", "direct"])
def test_gradients_through_a_relaxation(adjoint):
    """By the state, the stiffness and the end, with an event and times on the way: central differences."""
    with jax.enable_x64(True):
        given = jnp.asarray([2.0, -0.6, 2e-3, 0.9])

        def value(p):
            def f(t, y):
                return van_der_pol(t, y, p[2])

            event = Event(lambda t, y: y[0], ends=False, most=2)
            options = {"at": [0.3, 0.8], "events": event, "adjoint": adjoint, "max_steps": 512}
            found = solve(f, p[:2], 0.0, p[3], **options, **TIGHT)
            return found.y1[0] + found.ys[:, 0].sum() + found.event_times[0]

        assert float(value(given)) == pytest.approx(-0.5, abs=3)
        value = jax.jit(value)
        steps = 1e-5 * np.diag([1, 1, 1e-2, 1])
        right = [(value(given + s) - value(given - s)) / (2 * s.max()) for s in steps]
        np.testing.assert_allclose(jax.grad(value)(given), right, rtol=1e-4, atol=1e-6)


def test_an_implicit_method_refuses_what_it_cannot_do():
    for options, words in (
        ({"y0": jnp.ones(2, jnp.complex64)}, "complex state needs an explicit method"),
        ({"adjoint": "reversible"}, "adjoint='checkpoint' or 'direct'"),
        ({"adjoint": "backsolve"}, "adjoint='checkpoint' or 'direct'"),
        ({"y0": jnp.ones((100, 30))}, "3000 entries.*control='per_row'"),
    ):
        options = {"y0": jnp.ones(2), **options}
        with pytest.raises(InputError, match=words) as caught:
            solve(lambda t, y: -y, t0=0.0, t1=1.0, method="rodas5p", **options)
        assert "\n" not in str(caught.value)

    @jax.custom_vjp
    def f(t, y):
        return -y

    f.defvjp(lambda t, y: (-y, None), lambda _, g: (jnp.zeros(()), -g))
    with pytest.raises(InputError, match="forward mode, and the field has a custom_vjp"):
        solve(f, jnp.ones(2), 0.0, 1.0, method="rodas5p")
