"""The ODE core: measured orders, gradients of every adjoint, control, what goes wrong and how it is told."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import pushforward as pf
from pushforward.errors import InputError, SolveError
from pushforward.ode import ADJOINTS, METHODS, RecomputeSteps, Tableau, solve
from pushforward.ode.tableaus import EXPLICIT

MATRIX = np.array([[-0.5, 2.0], [-2.0, -0.3]])
START = np.random.default_rng(0).normal(size=(3, 2))


def field(t, y):
    """Nonlinear, and it looks at the time."""
    return jnp.tanh(y @ jnp.asarray(MATRIX, y.dtype)) + 0.3 * jnp.sin(t)


@pytest.fixture(scope="module")
def truth():
    """`field` from 0 to 2 by SciPy, at its last digits."""
    ends = [
        solve_ivp(lambda t, y: np.tanh(y @ MATRIX) + 0.3 * np.sin(t), (0, 2), y, "DOP853",
                  rtol=1e-13, atol=1e-13).y[:, -1]
        for y in START
    ]  # fmt: skip
    return np.array(ends)


def order_of(method, truth, steps):
    with jax.enable_x64(True):
        errors = [
            np.abs(solve(field, jnp.asarray(START), 0.0, 2.0, method=method, steps=n).y1 - truth)
            for n in (steps, 2 * steps)
        ]
    return np.log2(errors[0].max() / errors[1].max())


@pytest.mark.parametrize("name", METHODS)
def test_the_measured_order_is_the_declared_one(name, truth):
    method = METHODS[name]
    measured = order_of(method, truth, 128 if method.order < 5 else 24 if method.order < 8 else 12)
    # Tsit5's leading error is so small that the next one shows at these steps.
    assert -0.35 < measured - method.order < (1.2 if name == "tsit5" else 0.35), measured


@pytest.mark.parametrize(
    ("method", "options"),
    [*((name, {}) for name in EXPLICIT if METHODS[name].order > 3)]
    + [("rk4", {"adjoint": name}) for name in ADJOINTS if name != "checkpoint"]
    + [("rk4", {"control": "per_row"})],
)
def test_many_steps_in_float32_add_up_to_the_interval(method, options):
    """Steps that were summed up would leave the last one a rest of many steps' rounding."""

    def end(y, sign, t0, t1):
        found = solve(lambda t, y: sign * y, y, t0, t1, method=method, steps=1000, **options)
        return found.y1[0]

    for case in ((1, 0.0, 5.9), (-1, 5.9, 0.0)):
        value, slope = jax.value_and_grad(end)(jnp.ones(1), *case)
        assert float(value) / np.exp(5.9) == pytest.approx(1, abs=1e-5)
        assert float(slope[0]) / np.exp(5.9) == pytest.approx(1, abs=2e-5)


def test_the_test_of_order_can_fail(truth):
    """A tableau with one entry perturbed loses its order."""
    right = METHODS["rk4"]
    wrong = Tableau(order=4, a=right.a, b=(1 / 6 + 1e-3, 1 / 3 - 1e-3, 1 / 3, 1 / 6))
    assert order_of(wrong, truth, 128) < 3


@pytest.mark.parametrize("name", [k for k in EXPLICIT if METHODS[k].error])
def test_the_error_estimate_vanishes_on_what_the_method_solves_exactly(name):
    assert sum(METHODS[name].error) == pytest.approx(0, abs=1e-14)
    assert sum(METHODS[name].b) == pytest.approx(1, abs=1e-14)


# Hull, Enright, Fellen & Sedgwick 1972: field, start, end of time; non-stiff problems of their five classes.
HULL = {
    "A1": (lambda t, y: -y, [1.0], 20.0),
    "A3": (lambda t, y: y * jnp.cos(t), [1.0], 20.0),
    "A4": (lambda t, y: y / 4 * (1 - y / 20), [1.0], 20.0),
    "B1": (lambda t, y: jnp.stack([2 * (y[0] - y[0] * y[1]), -(y[1] - y[0] * y[1])]), [1.0, 3.0], 20.0),
    "B5": (lambda t, y: jnp.stack([y[1] * y[2], -y[0] * y[2], -0.51 * y[0] * y[1]]), [0.0, 1.0, 1.0], 20.0),
    "D1": (
        lambda t, y: jnp.concatenate([y[2:], -y[:2] / (y[:2] ** 2).sum() ** 1.5]),
        [0.9, 0.0, 0.0, (1.1 / 0.9) ** 0.5],
        20.0,
    ),
    "E2": (lambda t, y: jnp.stack([y[1], (1 - y[0] ** 2) * y[1] - y[0]]), [2.0, 0.0], 20.0),
}  # fmt: skip


@pytest.mark.parametrize("problem", HULL)
def test_problems_of_hull_are_solved_to_tolerance(problem):
    f, y0, end = HULL[problem]
    with jax.enable_x64(True):
        right = jax.jit(f)
        truth = solve_ivp(lambda t, y: np.asarray(right(t, y)), (0, end), y0, "DOP853",
                          rtol=1e-12, atol=1e-12).y[:, -1]  # fmt: skip
        found = solve(f, jnp.asarray(y0), 0.0, end, method="tsit5", rtol=1e-8, atol=1e-8)
        assert np.abs(found.y1 - truth).max() < 1e-5
        back = solve(f, found.y1, end, 0.0, method="tsit5", rtol=1e-8, atol=1e-8)
        # Backwards a stable problem is an unstable one: errors grow by what decayed.
        assert problem in ("A1", "A4", "E2") or np.abs(back.y1 - jnp.asarray(y0)).max() < 1e-4


def loss(matrix, y0, t0, t1, at, *, options):
    solution = solve(
        lambda t, y: jnp.tanh(y @ matrix) + 0.3 * jnp.sin(t), y0, t0, t1, at=at, **options
    )
    return (solution.y1**2).sum() + (0.0 if at is None else (solution.ys**3).sum())


def gradients(options, at=None):
    times = None if at is None else jnp.asarray(at)
    arguments = (jnp.asarray(MATRIX), jnp.asarray(START), 0.1, 1.7, times)
    numbers = (0, 1, 2, 3) if at is None else (0, 1, 2, 3, 4)
    found = jax.grad(lambda *a: loss(*a, options=options), numbers)(*arguments)
    return np.concatenate([np.ravel(g) for g in found])


def finite_differences(options, at=None, h=1e-5):
    parts = [MATRIX, START, np.array([0.1]), np.array([1.7])]
    parts += [] if at is None else [np.asarray(at)]
    flat, cuts = np.concatenate([p.ravel() for p in parts]), np.cumsum([p.size for p in parts])[:-1]
    run = jax.jit(lambda *a: loss(*a, options=options))

    def value(flat):
        m, y, a, b, *rest = np.split(flat, cuts)
        return float(run(m.reshape(2, 2), y.reshape(3, 2), a[0], b[0], rest[0] if rest else None))

    steps = np.eye(len(flat)) * h
    return np.array([(value(flat + s) - value(flat - s)) / (2 * h) for s in steps])


FIXED = {"method": "rk4", "steps": 7}


@pytest.fixture(scope="module")
def differences():
    with jax.enable_x64(True):
        return {
            "fixed": finite_differences({**FIXED, "adjoint": "direct"}),
            "times": finite_differences({**FIXED, "adjoint": "direct"}, (0.4, 0.4, 1.1)),
            "reversible": finite_differences({**FIXED, "adjoint": "reversible"}),
        }


@pytest.mark.parametrize("adjoint", ["direct", "checkpoint", "reversible"])
def test_discrete_adjoints_are_finite_differences(adjoint, differences):
    """By the state, a parameter that the field closes over, both ends and the times between; repeated times too."""
    with jax.enable_x64(True):
        options = {**FIXED, "adjoint": adjoint}
        own = differences["reversible" if adjoint == "reversible" else "fixed"]
        np.testing.assert_allclose(gradients(options), own, rtol=1e-7, atol=1e-8)
        if adjoint != "reversible":
            found = gradients(options, (0.4, 0.4, 1.1))
            # A repeated time has one-sided derivatives of either interval: their sum is the field's.
            np.testing.assert_allclose(found, differences["times"], rtol=1e-6, atol=1e-7)


def test_checkpoints_that_are_thinned_give_the_same_gradient():
    """More steps than slots: states are dropped, and computed again."""
    with jax.enable_x64(True):
        for options in ({"method": "rk4", "steps": 45}, {"rtol": 1e-9, "atol": 1e-9}):
            few = gradients({**options, "adjoint": RecomputeSteps(slots=4)})
            np.testing.assert_allclose(
                few, gradients({**options, "adjoint": "direct", "max_steps": 100}), rtol=1e-11, atol=1e-12
            )  # fmt: skip


@pytest.mark.parametrize("control", ["shared", "per_row"])
def test_adjoints_agree_with_each_other_and_with_diffrax(control):
    with jax.enable_x64(True):
        options = {"rtol": 1e-10, "atol": 1e-10, "control": control, "max_steps": 400}
        found = {name: gradients({**options, "adjoint": name}) for name in ADJOINTS}
        del options["control"]
        found["diffrax"] = gradients({**options, "method": diffrax.Dopri8()})
    for name, one in found.items():
        np.testing.assert_allclose(one, found["diffrax"], rtol=2e-7, atol=2e-8, err_msg=name)


def test_backsolve_needs_no_more_memory_for_more_steps():
    def peak(adjoint, steps):
        def run(y):
            return solve(field, y, 0.0, 1.0, method="rk4", steps=steps, adjoint=adjoint).y1.sum()

        compiled = jax.jit(jax.grad(run)).lower(jnp.zeros((2000, 2))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert peak("backsolve", 1000) <= 1.1 * peak("backsolve", 10)
    assert peak("reversible", 1000) <= 1.1 * peak("reversible", 10)
    assert peak("direct", 1000) > 20 * peak("direct", 10)


def test_a_row_does_not_depend_on_its_neighbours():
    rows = jnp.asarray(START, jnp.float32)
    wild = jnp.concatenate([rows, jnp.full((1, 2), 40.0)])
    f = lambda t, y: jnp.sin(3 * y) * y + t  # noqa: E731
    alone = solve(f, rows, 0.0, 1.0, control="per_row")
    beside = solve(f, wild, 0.0, 1.0, control="per_row")
    np.testing.assert_array_equal(alone.y1, beside.y1[:3])
    np.testing.assert_array_equal(alone.stats.accepted, beside.stats.accepted[:3])
    assert beside.stats.accepted[3] > alone.stats.accepted.max()
    shared = [solve(f, y, 0.0, 1.0).y1[:3] for y in (rows, wild)]
    assert np.abs(shared[0] - shared[1]).max() > 0


def test_times_of_rows():
    """Each row has its own interval and its own times: the same as row by row."""
    ends = jnp.asarray([0.5, 1.0, 2.0])
    at = jnp.stack([ends * 0.3, ends * 0.8], 1)
    for control in ("shared", "per_row"):
        found = solve(field, jnp.asarray(START, jnp.float32), 0.0, ends, at=at, control=control)
        for i in range(3):
            one = solve(field, jnp.asarray(START[i : i + 1], jnp.float32), 0.0, ends[i], at=at[i])
            np.testing.assert_allclose(found.y1[i], one.y1[0], atol=2e-4)
            assert found.ys is not None
            assert one.ys is not None
            np.testing.assert_allclose(found.ys[:, i], one.ys[:, 0], atol=2e-4)


def test_states_are_pytrees_and_time_runs_backwards():
    state = {"a": jnp.ones((2, 3)), "b": (jnp.zeros(4),)}
    there = solve(lambda t, y: {"a": -y["a"], "b": (jnp.ones(4) * t,)}, state, 0.0, 2.0)
    np.testing.assert_allclose(there.y1["a"], np.exp(-2.0), atol=1e-5)
    np.testing.assert_allclose(there.y1["b"][0], 2.0, atol=1e-5)
    back = solve(lambda t, y: {"a": -y["a"], "b": (jnp.ones(4) * t,)}, there.y1, 2.0, 0.0)
    np.testing.assert_allclose(back.y1["a"], 1.0, atol=1e-4)


def test_counts_are_the_calls_that_were_made():
    calls = []

    def counting(t, y):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.sin(5 * y) + t

    for options in ({}, {"method": "rk4", "steps": 9}, {"method": "dopri5", "steps": 9}):
        calls.clear()
        found = solve(counting, jnp.ones(2), 0.0, 2.0, **options)
        jax.effects_barrier()
        assert len(calls) == int(found.stats.evaluations)
    assert int(found.stats.accepted) == 9


def test_an_interval_of_length_nothing_is_the_identity_with_a_gradient():
    y = jnp.asarray([1.0, 2.0])
    for adjoint in ADJOINTS:
        options = {"adjoint": adjoint, "max_steps": 50}
        assert (solve(field, y, 0.7, 0.7, **options).y1 == y).all()
        by_y, by_t = jax.grad(
            lambda y, t, o=options: solve(field, y, 0.7, t, **o).y1.sum(), (0, 1)
        )(y, 0.7)
        np.testing.assert_allclose(by_y, 1.0, rtol=1e-5)
        np.testing.assert_allclose(by_t, field(0.7, y).sum(), rtol=1e-3)


def test_no_rows_and_one_coordinate():
    assert solve(field, jnp.zeros((0, 2)), 0.0, 1.0).y1.shape == (0, 2)
    assert solve(lambda t, y: -y, jnp.ones(()), 0.0, 1.0).y1 == pytest.approx(np.exp(-1), abs=1e-5)


STIFF = 1e6


@pytest.mark.parametrize(
    ("f", "options", "words"),
    [
        (lambda t, y: y**2, {}, "time 1"),
        (lambda t, y: -STIFF * (y - jnp.cos(t)), {"max_steps": 50}, "max_steps=50"),
        (lambda t, y: jnp.where(t > 0.5, jnp.nan, -y), {}, "not finite"),
        (lambda t, y: jnp.where(t > 0.5, jnp.nan, -y), {"steps": 5}, "not finite"),
        (lambda t, y: 10 * y**2, {"method": "rk4", "steps": 20}, "not finite"),
    ],
    ids=["blows up", "too many steps", "nan", "nan, fixed steps", "blows up, fixed steps"],
)
def test_failure_is_an_error_and_under_jit_nan_with_a_status(f, options, words):
    y = jnp.ones(1)
    with pytest.raises(SolveError, match=words) as caught:
        solve(f, y, 0.0, 2.0, **options)
    assert 0 <= caught.value.time <= 2
    with pytest.raises(SolveError, match=words):
        jax.grad(lambda y: solve(f, y, 0.0, 2.0, **options).y1.sum())(y)
    found = jax.jit(lambda y: solve(f, y, 0.0, 2.0, **options))(y)
    assert int(found.status) > 0
    assert np.isnan(found.y1).all()


@pytest.mark.parametrize("options", [{}, {"steps": 40}], ids=["adaptive", "fixed"])
def test_one_row_that_fails_leaves_the_others(options):
    y = jnp.asarray([[1.0], [-1.0]])
    run = jax.jit(
        lambda y: solve(lambda t, y: y**2, y, 0.0, 2.0, control="per_row", atol=1e-6, **options)
    )
    found = run(y if not options else y * jnp.asarray([[40.0], [1.0]]))
    assert np.isnan(found.y1[0]).all()
    np.testing.assert_allclose(found.y1[1], -1 / 3, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "rk5"}, "known: euler"),
        ({"method": "rk4"}, "steps=N"),
        ({"adjoint": "magic"}, "known: checkpoint"),
        ({"control": "own"}, "known: shared"),
        ({"rtol": 0.0, "atol": 0.0}, "positive"),
        ({"rtol": -1.0}, "positive"),
        ({"steps": 0}, "steps=0"),
        pytest.param({"steps": 2.5}, "steps=2.5: a whole number", marks=pytest.mark.mistyped),
        ({"max_steps": 0}, "max_steps=0"),
        pytest.param(
            {"max_steps": 1.5}, "max_steps=1.5: a whole number", marks=pytest.mark.mistyped
        ),
        ({"at": [0.5, 0.2]}, "0.5 comes before 0.2"),
        ({"at": [0.5, 3.0]}, "3 comes before 1"),
        ({"at": [0.5, np.nan]}, "finite"),
        ({"at": "start"}, "at: an array of numbers was expected, not a str"),
        pytest.param({"rtol": "small"}, "rtol='small'", marks=pytest.mark.mistyped),
        ({"method": diffrax.Tsit5}, "solver object"),
        ({"method": diffrax.SemiImplicitEuler(), "steps": 10}, "another kind than dy/dt"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(options, words):
    with pytest.raises(InputError, match=words) as caught:
        solve(field, jnp.ones((3, 2)), 0.0, 1.0, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.mistyped
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"b": (1 / 6, 2 / 3)}, "b has 2 weights: 3 were expected"),
        ({"b": (1 / 6, 2 / 3, 1 / 3)}, "b sums to 1.16.*: 1 was expected"),
        ({"a": ((1.0,), (0.5,), (-1.0, 2.0))}, r"rows of \[1, 1, 2\] numbers: an explicit"),
        ({"a": ((), ("half",), (-1.0, 2.0))}, r"a: \('half',\) is not a row of numbers"),
        ({"a": 3}, "a=3: a row"),
        ({"error": (0.5,)}, "error has 1 weights: 3"),
        ({"error": (0.5, 0.5, 0.5)}, "error sums to 1.5: 0 was expected"),
    ],
)
def test_a_tableau_is_an_explicit_method(changes, words):
    right = {"order": 3, "a": ((), (0.5,), (-1.0, 2.0)), "b": (1 / 6, 2 / 3, 1 / 6)}
    with pytest.raises(InputError, match=words):
        Tableau(**right | changes)
    listed = Tableau(3, [[], [0.5], np.array([-1.0, 2.0])], np.array(right["b"]))
    assert listed == Tableau(**right)
    assert hash(listed) == hash(Tableau(**right))


@pytest.mark.parametrize("control", ["shared", "per_row"])
def test_a_field_that_starts_as_nothing_is_not_stepped_over(control):
    """10 between 0.35 and 0.75. A first step over the whole interval would see nothing of it and be accepted."""

    def box(t, y):
        return jnp.where((t > 0.35) & (t < 0.75), 10.0, 0.0) * jnp.ones_like(y)

    found = solve(box, jnp.ones((2, 1)), 0.0, 1.0, control=control)
    np.testing.assert_allclose(found.y1, 5.0, atol=1e-2)
    assert (np.asarray(found.stats.accepted) > 5).all()


def test_times_that_are_the_same_in_the_states_type_are_refused():
    now = 1.7e9
    with pytest.raises(InputError, match=r"must differ in float32.*1700000000 comes before"):
        solve(field, jnp.ones((3, 2)), now, now + 10)
    with pytest.raises(InputError, match="must differ"):
        solve(field, jnp.ones((3, 2)), 1e8, 1e8 + 40, at=1e8 + np.array([1.0, 2.0, 10.0]))
    with pytest.raises(InputError, match="must differ"):
        pf.ode.backsolve(field, jnp.ones((3, 2)), jnp.ones((3, 2)), now, now + 10)
    # Rounding is no difference, nor are times given twice.
    stops = np.array([0.1 + 0.2, 0.3, 0.6, 0.6, 1.0])
    found = solve(field, jnp.ones((3, 2)), 0.0, 1.0, at=np.sort(stops)).ys
    assert found is not None
    np.testing.assert_array_equal(found[2], found[3])


def test_the_state_keeps_its_type():
    def whole(t, y):
        return jnp.ones(y.shape, int)

    np.testing.assert_allclose(solve(whole, jnp.zeros(2), 0.0, 1.0).y1, 1.0, atol=1e-6)
    with jax.enable_x64(True):
        wide = solve(lambda t, y: -y.astype(float), jnp.ones(2, jnp.float32), 0.0, 1.0).y1
    assert wide.dtype == jnp.float32
    with pytest.raises(InputError, match="complex"):
        solve(lambda t, y: y.astype(jnp.complex64), jnp.ones(2), 0.0, 1.0)


def test_a_field_of_another_shape_is_named():
    with pytest.raises(InputError, match=r"shape \(3,\).*expected \(3, 2\)"):
        solve(lambda t, y: y.sum(1), jnp.ones((3, 2)), 0.0, 1.0)
    with pytest.raises(InputError, match="not finite"):
        solve(field, jnp.ones((3, 2)), 0.0, np.inf)


def test_a_field_of_no_array_is_named():
    for given, what in (
        (1.0, "a Python number, 1.0"),
        (True, "a Python number, True"),
        ("a", "a str"),
    ):
        for options in ({}, {"adjoint": "direct"}, {"method": diffrax.Tsit5()}):
            with pytest.raises(InputError, match=rf"gives {what}.* a JAX array of shape \(\)"):
                solve(lambda t, y, given=given: given, jnp.float32(0), 0.0, 1.0, **options)
    start = {"a": jnp.zeros(2), "b": jnp.zeros(())}
    with pytest.raises(InputError, match=r"Python number at \['a'\], 2: .* shape \(2,\)"):
        solve(lambda t, y: {"a": 2, "b": y["b"]}, start, 0.0, 1.0)
    with pytest.raises(InputError, match="Python number"):
        pf.ode.backsolve(lambda t, y: 1.0, jnp.ones(2), jnp.ones(2), 0.0, 1.0)
    # Numbers of NumPy are arrays.
    assert float(solve(lambda t, y: np.float64(1), jnp.float32(0), 0.0, 1.0).y1) == pytest.approx(1)


def test_a_tolerance_below_the_dtype_is_warned_of():
    with pytest.warns(UserWarning, match="achievable"):
        solve(field, jnp.ones((3, 2)), 0.0, 0.1, rtol=1e-9, atol=1.0)


def test_a_module_is_a_field():
    network = pf.fields.MLPField(2, width=4, key=jax.random.key(0))
    by_field = eqx.filter_grad(lambda f: solve(f, jnp.ones((3, 2)), 0.0, 1.0).y1.sum())(network)
    assert all(np.abs(g).max() > 0 for g in (by_field.first, by_field.hidden, by_field.last))


def test_the_backward_solve_by_itself_counts_what_it_costs():
    """The same gradients as through `solve`; with the parameters in the error it takes more steps."""
    network = pf.fields.MLPField(2, width=8, key=jax.random.key(0))
    y = jnp.ones((3, 2))

    def loss(f, y, t1):
        return solve(f, y, 0.0, t1, adjoint="backsolve").y1.sum()

    by_field, by_y, by_time = jax.grad(loss, (0, 1, 2))(network, y, 2.0)
    end = solve(network, y, 0.0, 2.0).y1
    found = pf.ode.backsolve(network, end, jnp.ones_like(end), 0.0, 2.0)
    np.testing.assert_allclose(found.by_y0, by_y, rtol=1e-4)
    np.testing.assert_allclose(found.by_field.last, by_field.last, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.by_times[1], by_time, rtol=1e-4)
    np.testing.assert_allclose(found.y0, y, atol=1e-4)
    strict = {"rtol": 2e-6, "atol": 1e-7}
    few, many = (
        pf.ode.backsolve(network, end, jnp.ones_like(end), 0.0, 2.0, seminorm=semi, **strict)
        for semi in (True, False)
    )
    assert int(few.stats.evaluations) <= int(many.stats.evaluations)
