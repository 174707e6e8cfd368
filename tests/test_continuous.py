"""Fields, their divergences, continuous flows: beside autodiff, beside each other, and what goes wrong."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.bijections import FlowMap
from pushforward.errors import InputError
from pushforward.fields import MLPField, PlanarField, PotentialField, divergence
from pushforward.networks import MLP
from pushforward.ode import Solver, with_solver
from pushforward.testing import perturbed

KEY = jax.random.key(0)


def every_field():
    options = {"width": 8, "condition": 2, "key": KEY}
    for time in ("concat", "squash", "hyper"):
        for depth in (1, 2, 3):
            yield f"{time} {depth}", MLPField(3, time=time, depth=depth, **options)
    for activation in ("softplus", "silu"):
        yield activation, MLPField(3, activation=activation, **options)
    yield "planar", PlanarField(3, **options)
    yield "potential", PotentialField(3, **options)


@pytest.mark.parametrize(
    ("name", "field"), list(every_field()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_closed_divergences_are_autodiff(name, field):
    """At one time and at times of rows; a function of the same values takes the way by tangents."""
    with jax.enable_x64(True):
        field = jax.tree.map(lambda a: a.astype(jnp.float64), perturbed(field, KEY, 0.3))
        x = jax.random.normal(KEY, (5, 3), jnp.float64)
        c = jax.random.normal(jax.random.key(1), (5, 2), jnp.float64)
        for t in (0.3, jnp.linspace(0, 1, 5)[:, None]):
            value, trace = divergence(field, t, x, condition=c)
            plain, by_tangents = divergence(lambda t, x, c: field(t, x, c), t, x, condition=c)
            jacobian = jax.vmap(
                lambda x, c, t: jax.jacfwd(lambda v: field(t, v[None], c[None])[0])(x)
            )(x, c, jnp.broadcast_to(t, (5, 1)))
            np.testing.assert_allclose(value, plain, rtol=1e-12)
            np.testing.assert_allclose(trace, jnp.trace(jacobian, axis1=1, axis2=2), rtol=1e-10)
            np.testing.assert_allclose(by_tangents, trace, rtol=1e-10)
            if name == "potential":
                np.testing.assert_allclose(jacobian, jacobian.swapaxes(1, 2), atol=1e-12)


def test_calls_of_the_field_are_counted():
    """Fixed steps: stages times steps, either way. Adaptive: the solve by hand, more for a smaller tolerance."""
    flow = FlowMap(perturbed(MLPField(3, width=8, key=KEY), KEY, 1.0))
    x = jax.random.normal(KEY, (5, 3))
    fixed = with_solver(flow, method="rk4", steps=5)
    assert [int(fixed.evaluations(x, ahead=ahead)) for ahead in (True, False)] == [20, 20]
    loose = int(with_solver(flow, rtol=1e-2, atol=1e-2).evaluations(x))

    def moving(t, state):
        return divergence(flow.field, t, state[0])

    by_hand = pf.ode.solve(moving, (x, jnp.zeros(5)), 1.0, 0.0, **flow.solver.options(per_row=True))
    assert 0 < loose < int(flow.evaluations(x)) == int(by_hand.stats.evaluations)
    assert int(flow.evaluations(jnp.zeros((0, 3)))) == 0


def test_a_prepared_field_is_the_same_field():
    """What is computed once for a solve changes neither values nor gradients."""
    x = jax.random.normal(KEY, (5, 3))
    field = perturbed(MLPField(3, width=8, key=KEY), KEY, 0.3)

    def value(field, ready):
        found = divergence(field.prepared() if ready else field, 0.3, x)
        return found[1].sum(), found

    for ready in (jax.grad(lambda f, r: value(f, r)[0]), lambda f, r: value(f, r)[1]):
        plain, prepared = (jax.tree.leaves(ready(field, r)) for r in (False, True))
        for a, b in zip(plain, prepared, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_residual_of_hamilton_and_jacobi_is_about_acceleration():
    """Its gradient is minus the acceleration `df/dt + (df/dx) f`, by autodiff; a constant speed has none."""
    with jax.enable_x64(True):
        field = PotentialField(3, width=8, condition=2, key=KEY)
        field = jax.tree.map(lambda a: a.astype(jnp.float64), perturbed(field, KEY, 0.3))
        x, c = jax.random.normal(KEY, (5, 3), jnp.float64), jnp.ones((5, 2))
        slope = jax.grad(lambda x: field.hjb_residual(0.4, x, c).sum())(x)
        value = field(0.4, x, c)
        _, acceleration = jax.jvp(lambda t, x: field(t, x, c), (0.4, x), (1.0, value))
        np.testing.assert_allclose(slope, -acceleration, rtol=1e-10, atol=1e-12)
        still = jax.tree.map(jnp.zeros_like, field)
        still = eqx.tree_at(lambda f: f.linear, still, jnp.asarray([1.0, -2.0, 0.5]))
        np.testing.assert_allclose(still.hjb_residual(0.4, x, c), -(1 + 4 + 0.25) / 2)


def test_time_and_condition_matter():
    x = jnp.ones((2, 3))
    for name, field in every_field():
        field = perturbed(field, KEY, 0.3)
        values = [
            field(t, x, c * jnp.ones((2, 2))) for t, c in ((0.1, 1.0), (0.9, 1.0), (0.1, 2.0))
        ]
        assert np.abs(values[0] - values[1]).max() > 1e-4, name
        assert np.abs(values[0] - values[2]).max() > 1e-4, name


@pytest.mark.parametrize("noise", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased(noise):
    """10,000 draws; false-alarm rate 1e-6, fixed seed. Probes twice as long are seen."""
    draw = {"rademacher": jax.random.rademacher, "gaussian": jax.random.normal}[noise]
    field = perturbed(MLPField(4, width=8, depth=3, key=KEY), KEY, 0.5)
    x = jnp.broadcast_to(jnp.arange(4.0) / 4, (10_000, 4))
    probes = draw(jax.random.key(2), x.shape, jnp.float32)
    truth = float(divergence(field, 0.5, x[:1])[1][0])

    def z(found):
        return abs(found.mean() - truth) / (found.std() / len(found) ** 0.5)

    assert z(np.asarray(divergence(field, 0.5, x, probes)[1])) < stats.norm.isf(1e-6 / 2)
    assert z(np.asarray(divergence(field, 0.5, x, 2 * probes)[1])) > stats.norm.isf(1e-6 / 2)
    several = divergence(field, 0.5, x[:10], jnp.stack([probes[:10], probes[10:20]]))[1]
    one = [divergence(field, 0.5, x[:10], probes[i : i + 10])[1] for i in (0, 10)]
    np.testing.assert_allclose(several, (one[0] + one[1]) / 2, rtol=1e-4, atol=1e-6)


def example(**options):
    field = perturbed(MLPField(2, width=8, key=KEY), jax.random.key(1), 0.5)
    return FlowMap(field, solver=Solver(rtol=2e-6, atol=1e-6), **options)


def test_residual_steps_are_euler_steps():
    """n residual maps `x + f(t, x) / n` approach the flow as 1 / n: Euler's order."""
    flow = example()
    z = jax.random.normal(KEY, (20, 2))
    truth, log_det = flow.forward(z)
    errors, log_errors = [], []
    for n in (16, 32):
        x, total = z, 0.0
        for i in range(n):
            step = lambda v, i=i, n=n: v + flow.field(i / n, v[None])[0] / n  # noqa: E731
            total = total + jnp.linalg.slogdet(jax.vmap(jax.jacfwd(step))(x))[1]
            x = jax.vmap(step)(x)
        errors.append(float(jnp.abs(x - truth).max()))
        log_errors.append(float(jnp.abs(total - log_det).max()))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.2)
    assert np.log2(log_errors[0] / log_errors[1]) == pytest.approx(1, abs=0.2)


def test_the_score_by_autodiff_is_the_score_by_its_own_equation():
    """And finite differences."""
    flow = pf.distributions.Flow(pf.distributions.StandardNormal(2), example())
    x = jax.random.normal(KEY, (4, 2))
    with jax.enable_x64(True):
        flow = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, flow)
        x = x.astype(jnp.float64)
        by_autodiff = flow.grad_log_prob(x)
        z, _ = flow.inverse(x)
        again, by_equation = flow.bijection.push_score(z, flow.base.grad_log_prob(z))
        np.testing.assert_allclose(again, x, atol=1e-4)
        np.testing.assert_allclose(by_equation, by_autodiff, atol=1e-4)
        h = 1e-4
        for i in range(2):
            e = h * jnp.eye(2)[i : i + 1]
            slope = (flow.log_prob(x + e) - flow.log_prob(x - e)) / (2 * h)
            np.testing.assert_allclose(slope, by_autodiff[:, i], atol=1e-3)


def test_regularisers_and_steer_are_for_training_only():
    x = jax.random.normal(KEY, (50, 2))
    plain, key = example(), jax.random.key(3)
    # The probe of the Jacobian's norm estimates the divergence too: the weight has to rise above its noise.
    for options in ({"kinetic": 0.1}, {"jacobian": 10.0}):
        model = example(**options)
        np.testing.assert_array_equal(model.inverse(x)[1], plain.inverse(x)[1])
        less = plain.inverse(x, key=key)[1] - model.inverse(x, key=key)[1]
        assert float(less.mean()) > 0
    energy = example(kinetic=0.1).inverse(x, key=key)[1]
    path = pf.ode.solve(plain.field, x, 1.0, 0.0, at=np.linspace(0.995, 0.005, 100)).ys
    times = np.linspace(0.995, 0.005, 100)
    speed = np.mean([(plain.field(t, y) ** 2).sum(1) for t, y in zip(times, path, strict=True)], 0)
    np.testing.assert_allclose(plain.inverse(x, key=key)[1] - energy, 0.1 * speed, rtol=1e-3)
    potential = perturbed(PotentialField(2, width=8, key=KEY), jax.random.key(1), 0.5)
    straight, bent = (
        FlowMap(potential, hjb=w, solver=Solver(rtol=2e-6, atol=1e-6)) for w in (0.0, 0.1)
    )
    np.testing.assert_array_equal(bent.inverse(x)[1], straight.inverse(x)[1])
    path = pf.ode.solve(potential, x, 1.0, 0.0, at=times, rtol=1e-5, atol=1e-5).ys
    residual = [np.abs(potential.hjb_residual(t, y)) for t, y in zip(times, path, strict=True)]
    asked = straight.inverse(x, key=key)[1] - bent.inverse(x, key=key)[1]
    np.testing.assert_allclose(asked, 0.1 * np.mean(residual, 0), rtol=2e-2, atol=1e-4)
    steered = example(steer=0.5)
    np.testing.assert_array_equal(steered.inverse(x)[0], plain.inverse(x)[0])
    assert np.abs(steered.inverse(x, key=key)[0] - plain.inverse(x)[0]).max() > 1e-3


def test_the_end_time_can_be_trained():
    model = example(trained_time=True)
    x = jax.random.normal(KEY, (20, 2))
    by_time = jax.grad(lambda m: m.inverse(x)[1].mean())(model).log_time
    h = 1e-2

    def at(t):
        return example(time=float(np.exp(t))).inverse(x)[1].mean()

    assert float(by_time) == pytest.approx(float(at(h) - at(-h)) / (2 * h), rel=2e-3)


@pytest.mark.filterwarnings("ignore:log-densities by 1 fixed steps are off")
def test_another_solver_at_inference():
    flow = pf.architectures.FFJORD(layers=2, width=8).build(2, key=KEY)
    flow = perturbed(flow, KEY, 0.5)
    x = jax.random.normal(KEY, (30, 2))
    fine = flow.log_prob(x)
    for changes in ({"method": "tsit5"}, {"method": "rk4", "steps": 20}, {"rtol": 1e-4}):
        other = with_solver(flow, **changes).log_prob(x)
        np.testing.assert_allclose(other, fine, atol=5e-3)
        assert np.abs(other - fine).max() > 0
    coarse = with_solver(flow, method="euler", steps=1).log_prob(x)
    assert np.abs(coarse - fine).max() > np.abs(other - fine).max()
    with pytest.raises(InputError, match="order"):
        with_solver(flow, order=3)
    with pytest.raises(InputError, match="no continuous map"):
        with_solver(pf.architectures.MAF().build(2, key=KEY), steps=3)


def test_draws_alone_do_not_cost_a_divergence():
    """They are those of `sample_and_log_prob`, and a field that nobody can differentiate can be sampled."""
    for condition in (None, 1):
        flow = pf.architectures.FFJORD(layers=2, width=8).build(2, condition, key=KEY)
        flow = perturbed(flow, KEY, 0.5)
        given = None if condition is None else jnp.ones(1)
        both = flow.sample_and_log_prob(KEY, (50,), given)[0]
        np.testing.assert_allclose(flow.sample(KEY, (50,), given), both, atol=1e-3)

    @jax.custom_vjp
    def rigid(t, x):
        return jnp.sin(x)

    rigid.defvjp(lambda t, x: (jnp.sin(x), None), lambda _, g: (None, None))
    base = pf.distributions.StandardNormal(2)
    rough = pf.distributions.Flow(base, FlowMap(rigid, event_shape=(2,)))
    assert np.isfinite(rough.sample(KEY, (5,))).all()
    with pytest.raises(TypeError, match="forward-mode"):
        rough.sample_and_log_prob(KEY, (5,))


def test_any_function_or_module_is_a_field():
    """Beyond 8 coordinates training draws a probe, evaluation is exact; a plain network has no time."""
    network = MLP(12, (12,), width=8, depth=1, activation="tanh", last_scale=1.0, key=KEY)
    model = FlowMap(lambda t, x: network(x.T).T, event_shape=(12,))
    x = jax.random.normal(KEY, (10, 12))
    z, log_det = model.inverse(x)
    jacobian = jax.vmap(jax.jacrev(lambda v: model.inverse(v)[0]))(x)
    np.testing.assert_allclose(log_det, jnp.linalg.slogdet(jacobian)[1], atol=1e-4)
    noisy = [model.inverse(x, key=jax.random.key(i))[1] for i in (1, 2)]
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-3
    np.testing.assert_allclose(model.inverse(x, key=KEY)[0], z, atol=1e-3)


def test_a_fit_of_every_continuous_architecture_improves():
    from pushforward.data.toys import toy

    x = toy("moons", 1500, seed=0).astype(np.float32)
    for name in ("planar_cnf", "ffjord"):
        architecture = pf.architectures.ARCHITECTURES[name](width=16, rtol=1e-3, atol=1e-3)
        model = architecture.build(2, key=KEY)
        training = pf.Training(max_epochs=12, learning_rate=0.01)
        fitted = pf.fit(model, x, key=KEY, training=training).model
        assert fitted.log_prob(x).mean() > model.log_prob(x).mean() + 0.3


def test_a_field_that_explodes_is_nan_or_an_error():
    model = FlowMap(lambda t, x: 50 * x**3, event_shape=(2,))
    z = jnp.asarray([[0.01, 0.0], [3.0, 3.0]])
    found = jax.jit(model.forward)(z)
    assert np.isfinite(found[0][0]).all()
    assert np.isnan(found[0][1]).all()
    with pytest.raises(pf.ode.SolveError, match="row 1"):
        model.forward(z)


def test_a_log_det_that_is_an_estimate_says_so():
    """Beyond what is exact 16 fixed probes estimate the trace, with the spread that Rademacher's noise has."""
    x, solver = jnp.ones((2, 130)), pf.ode.Solver(method="rk4", steps=8)
    half = np.random.default_rng(4).normal(size=(130, 130)) / 130
    matrix = half + half.T
    moving = FlowMap(lambda t, x: x @ matrix, event_shape=130, solver=solver)
    with pytest.warns(pf.InputWarning, match="130 coordinates are estimates, by 16 fixed probes"):
        log_det = moving.forward(x)[1]
    spread = np.sqrt(2 * (np.square(matrix).sum() - np.square(np.diag(matrix)).sum()))
    # Of 16 probes, within 2.5 standard errors; the first probe alone is off by 5.7 of them.
    assert abs(log_det[0] - np.trace(matrix)) < 2.5 * spread / 4
    assert log_det[0] == log_det[1]
    closed = MLPField(130, width=4, depth=2, key=KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FlowMap(closed, solver=solver).forward(x)


@pytest.mark.filterwarnings("ignore:rtol=1e-07 is below the precision of float32")
def test_a_solve_that_fails_has_no_gradient():
    """NaN, not nothing: a score of zero would pass for an answer."""
    flow = pf.architectures.FFJORD(width=8).build(2, key=KEY)
    stuck = pf.ode.with_solver(perturbed(flow, KEY), max_steps=2, rtol=1e-7)
    x = jnp.ones((3, 2))
    for adjoint in ("checkpoint", "direct", "backsolve", "reversible"):
        model = pf.ode.with_solver(stuck, adjoint=adjoint)
        total = lambda x, model=model: model.log_prob(x).sum()  # noqa: E731
        assert np.isnan(jax.jit(jax.grad(total))(x)).all(), adjoint


def test_a_solver_may_hold_more_than_names():
    flow = pf.architectures.FFJORD(width=8).build(2, key=KEY)
    x = jnp.ones((3, 2))
    truth = flow.log_prob(x)
    for changes in (
        {"method": pf.ode.METHODS["tsit5"]},
        {"adjoint": pf.ode.Backsolve(seminorm=False)},
    ):
        found = pf.ode.with_solver(flow, **changes).log_prob(x)
        np.testing.assert_allclose(found, truth, atol=1e-3)


def test_what_makes_no_sense_is_refused():
    field = MLPField(2, width=4, key=KEY)
    for options, words in (
        ({"time": 0.0}, "time=0"),
        ({"steer": 1.0}, "steer=1"),
        ({"kinetic": -1.0}, "kinetic=-1"),
        ({"hjb": 0.1}, "PotentialField"),
    ):
        with pytest.raises(InputError, match=words):
            FlowMap(field, **options)
    with pytest.raises(InputError, match="event_shape"):
        FlowMap(lambda t, x: x)
    for option, word in (({"time": "none"}, "known: concat"), ({"activation": "relu"}, "tanh")):
        with pytest.raises(InputError, match=word):
            MLPField(2, width=4, key=KEY, **option)
    with pytest.raises(InputError, match="probes"):
        divergence(field, 0.0, jnp.ones((3, 2)), jnp.ones((2, 2)))
