"""The latent ODE: its bound and its paths against closed forms, gaps, training, what users get wrong."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import multivariate_normal

import pushforward as pf
from pushforward.errors import InputError
from pushforward.networks.recurrent import RecurrentNetwork
from pushforward.series import LatentODE, NegativeELBO, Observations

TURN = np.array([[-0.3, 3.0], [-3.0, -0.1]])
LOADING = np.array([[1.0, 0.5], [-0.4, 0.8]])
NOISE = 0.4
KEY = jax.random.key(0)
PATH = eqx.filter_jit(LatentODE.path)
LOSS = eqx.filter_jit(lambda loss, model, rows: loss(model, jax.tree.map(jnp.asarray, rows), KEY))


class Linear(eqx.Module):
    """A matrix on columns, in place of a network."""

    matrix: jax.Array

    def __call__(self, columns):
        return self.matrix @ columns


@pytest.mark.parametrize(
    "solver", [None, pf.ode.Solver(rtol=1e-9, atol=1e-9)], ids=["steps", "tolerances"]
)
def test_dynamics_that_jump(solver):
    """A drift that is switched on and turned round: pieces of exponentials, between the knots and beyond them."""
    jumps = (0.31, 0.8)
    with jax.enable_x64(True):
        model = LatentODE(2, latent=2, knots=10, jumps=jumps, solver=solver, key=KEY)
        switched = np.concatenate([TURN, [[4.0, -9.0], [-1.0, 2.0]]], 1)
        model = eqx.tree_at(lambda m: m.dynamics, model, Linear(jnp.asarray(switched)))
        times = np.array([-0.15, 0.0, 0.2, 0.31, 0.33, 0.55, 0.8, 0.83, 1.0, 1.15])
        found = model.path(jnp.asarray([[1.0, -0.5]]), jnp.asarray(times)[None], (2, 2))[0]

    def exact(t):
        z = expm(TURN * min(t, jumps[0])) @ [1.0, -0.5]
        for i, (low, high) in enumerate(zip(jumps, (*jumps[1:], np.inf), strict=True)):
            if t > low:
                drift = np.linalg.solve(TURN, switched[:, 2 : 3 + i].sum(1))
                z = expm(TURN * (min(t, high) - low)) @ (z + drift) - drift
        return z

    # The cubics of a turn of half a radian between knots; a knot missed or a side confused costs a hundred times more.
    np.testing.assert_allclose(found, [exact(t) for t in times], atol=2e-3)
    with pytest.raises(InputError, match=r"jumps=\[0.31, 1.2\]: times within the span"):
        LatentODE(2, jumps=(0.31, 1.2), key=KEY)


class Constant(eqx.Module):
    """Any memory gives the same belief."""

    value: jax.Array

    def __call__(self, columns):
        return jnp.broadcast_to(self.value[:, None], (len(self.value), columns.shape[1]))


def gaussian_model(mean, scale, knots=20):
    """Linear dynamics, a linear decoder and a fixed belief: everything about it has a closed form."""
    model = LatentODE(2, latent=2, memory=4, width=4, noise=NOISE, knots=knots, key=KEY)
    raw = np.log(np.expm1(np.asarray(scale) - 1e-4))
    parts = (
        Linear(jnp.asarray(TURN, jnp.float32)),
        Linear(jnp.asarray(LOADING, jnp.float32)),
        Constant(jnp.asarray(np.concatenate([mean, raw]), jnp.float32)),
    )
    return eqx.tree_at(lambda m: (m.dynamics, m.decoder, m.posterior), model, parts)


@pytest.fixture(scope="module")
def series():
    """One series with gaps: the second time shows one coordinate only, the last is padding."""
    times = np.array([[0.1, 0.35, 0.8, 0.8]])
    seen = np.array([[[1, 1], [1, 0], [1, 1], [0, 0]]], bool)
    values = np.random.default_rng(3).normal(size=(1, 4, 2))
    return Observations(times, values, seen)


def design(series):
    """What is seen is this matrix of the latent start, and noise."""
    rows = [LOADING @ expm(TURN * t) for t in series.times[0]]
    return np.concatenate(rows)[series.seen[0].ravel()]


def truth(series):
    """The log evidence, and mean and covariance of the exact posterior."""
    a, x = design(series), series.values[0][series.seen[0]]
    covariance = a @ a.T + NOISE**2 * np.eye(len(x))
    evidence = multivariate_normal(np.zeros(len(x)), covariance).logpdf(x)
    spread = np.linalg.inv(np.eye(2) + a.T @ a / NOISE**2)
    return evidence, spread @ a.T @ x / NOISE**2, spread


def divergence(mean, scale, to_mean, to_spread):
    inverse, off = np.linalg.inv(to_spread), to_mean - mean
    logs = np.log(np.linalg.det(to_spread)) - 2 * np.log(scale).sum()
    return 0.5 * (np.trace(inverse @ np.diag(scale**2)) + off @ inverse @ off - 2 + logs)


@pytest.mark.parametrize("belief", ["best", "prior", "far"])
def test_the_bound_falls_short_of_the_evidence_by_the_divergence_from_the_posterior(series, belief):
    """`ELBO = log p(x) - KL(q || posterior)`: of linear Gaussian models both sides are known."""
    evidence, mean, spread = truth(series)
    q = {
        # The best diagonal belief about a posterior with correlation.
        "best": (mean, np.diag(np.linalg.inv(spread)) ** -0.5),
        "prior": (np.zeros(2), np.ones(2)),
        "far": (mean + 0.5, np.array([0.3, 0.2])),
    }[belief]
    loss = NegativeELBO(samples=20_000)
    found = -float(LOSS(loss, gaussian_model(*q), series)[0])
    assert found < evidence + 0.02
    short = divergence(*q, mean, spread)
    assert abs(found - (evidence - short)) < 0.03 + 0.01 * short


def test_the_test_of_the_bound_can_fail(series):
    """A bound that forgets half of the divergence, or takes gaps for values, is not the closed form."""
    _, mean, _ = truth(series)
    far = mean + 0.5, np.array([0.3, 0.2])
    model, observed = gaussian_model(*far), jax.tree.map(jnp.asarray, series)
    right = NegativeELBO(samples=2_000)(model, observed, KEY)[0]
    assert NegativeELBO(kl=0.5, samples=2_000)(model, observed, KEY)[0] < right - 0.5
    seen = series.seen.copy()
    seen[0, 1, 1] = True
    more = jax.tree.map(jnp.asarray, Observations(series.times, series.values, seen))
    assert NegativeELBO(samples=2_000)(model, more, KEY)[0] > right + 0.2


def test_paths_at_times_of_each_series_are_the_exact_ones():
    """Between knots, at knots, at both ends and outside of the span."""
    model = gaussian_model(np.zeros(2), np.ones(2))
    z0 = np.array([[1.0, 0.2], [-0.5, 2.0]])
    times = np.array([[0.0, 0.37, 0.5, 1.0], [0.99, -0.4, 1.63, 0.1]])
    found = PATH(model, jnp.asarray(z0, jnp.float32), jnp.asarray(times, jnp.float32), (8, 13))
    for row in range(2):
        exact = [expm(TURN * t) @ z0[row] for t in times[row]]
        np.testing.assert_allclose(found[row], exact, atol=6e-5)
    inside = PATH(model, jnp.asarray(z0, jnp.float32), jnp.asarray(times, jnp.float32), (0, 0))
    assert np.isnan(inside).any(2).tolist() == [[False] * 4, [False, True, True, False]]


def test_the_error_between_knots_falls_with_their_fourth_power():
    times = jnp.linspace(0, 1, 101, dtype=jnp.float32)[None]
    exact = np.stack([expm(TURN * float(t)) @ np.ones(2) for t in times[0]])
    errors = [
        np.abs(
            PATH(gaussian_model(np.zeros(2), np.ones(2), knots), jnp.ones((1, 2)), times)[0] - exact
        ).max()
        for knots in (3, 6)
    ]
    assert 12 < errors[0] / errors[1] < 24, errors


@pytest.fixture(scope="module")
def model():
    return LatentODE(2, latent=3, width=8, memory=8, span=(0.0, 2.0), knots=6, key=KEY)


def some_series(n=6, k=5, seed=0):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 2, (n, k)), 1)
    seen = rng.random((n, k, 2)) < 0.7
    seen[:, 0] = True
    return Observations(times, rng.normal(size=(n, k, 2)), seen)


def test_what_was_not_seen_does_not_count(model):
    """Neither values in gaps nor padding, whatever they hold, touch the belief, and they get no gradient."""
    observed = some_series()

    def loss_of(values):
        rows = eqx.tree_at(lambda o: o.values, jax.tree.map(jnp.asarray, observed), values)
        return NegativeELBO()(model, rows, KEY).sum()

    mean, scale = model.encode(observed)
    hidden = np.where(observed.seen, observed.values, 9.0)
    padded = [np.concatenate([a, a[:, -1:]], 1) for a in (observed.times, hidden)]
    seen = np.concatenate([observed.seen, np.zeros((6, 1, 2), bool)], 1)
    arrays = (*(jnp.asarray(a, jnp.float32) for a in padded), jnp.asarray(seen))
    got = eqx.filter_jit(LatentODE.encode_rows)(model, *arrays)
    np.testing.assert_allclose(got[0], mean, atol=1e-6)
    np.testing.assert_allclose(got[1], scale, atol=1e-6)
    slope = jax.jit(jax.grad(loss_of))(jnp.asarray(observed.values, jnp.float32))
    assert ((slope != 0) == observed.seen).all()
    # The times of padding may be anything.
    plain = jax.tree.map(jnp.asarray, Observations(*padded, seen))
    late = plain.times.at[:2, -1].set(jnp.array([9.0, jnp.nan]))
    odd = eqx.tree_at(lambda o: o.times, plain, late)
    slopes = jax.jit(jax.grad(lambda m, o: NegativeELBO()(m, o, KEY).sum()))
    for a, b in zip(*(jax.tree.leaves(slopes(model, o)) for o in (plain, odd)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_fit_refuses_times_outside_of_the_span(model):
    """By a fit's first look: the loss of such a series would be NaN, and the fit would end where it began."""
    observed = some_series()
    late = observed.times.copy()
    late[3, -1] = 2.6
    rows = Observations(late, observed.values, np.ones_like(observed.seen))
    with pytest.raises(
        InputError, match=r"series 3 has an observation at 2.6, outside the model's span"
    ):
        pf.fit(model, rows, key=KEY, loss=NegativeELBO(), validation=rows)


def test_belief_depends_on_times_and_gaps_and_on_no_other_series(model):
    observed = some_series()
    mean, _ = model.encode(observed)
    alone = Observations(*(a[2:3] for a in (observed.times, observed.values, observed.seen)))
    np.testing.assert_allclose(model.encode(alone)[0][0], mean[2], atol=1e-6)
    for shift in (0.1, np.linspace(0, 0.1, 5)):
        moved = Observations(observed.times * 0.9 + shift, observed.values, observed.seen)
        assert (np.abs(model.encode(moved)[0] - mean).max(1) > 1e-5).all()


class Probe:
    """Keeps what the recognition network is shown; no module, so that it is not copied."""

    def __call__(self, inputs, counts):
        self.shown = inputs, counts
        return jnp.zeros((len(inputs), 8)), None


def test_the_gap_shown_is_the_one_to_the_next_time_that_counts(model):
    """The second step shows nothing, the last is padding: gaps reach over the one and end before the other."""
    probe = Probe()
    times, values = jnp.asarray([[0.2, 0.6, 1.0, 1.6, 1.6]]), jnp.ones((1, 5, 2))
    seen = jnp.asarray([[[1, 0], [0, 0], [1, 1], [0, 1], [0, 0]]], bool)
    eqx.tree_at(lambda m: m.recognition, model, probe).encode_rows(times, values, seen)
    inputs, counts = probe.shown
    assert counts[0].tolist() == [True, False, True, True, False]
    np.testing.assert_allclose(inputs[0, counts[0], -1], [0.4, 0.3, 0.0], atol=1e-6)
    np.testing.assert_allclose(inputs[0, counts[0], -2], [0.1, 0.5, 0.8], atol=1e-6)
    np.testing.assert_allclose(inputs[0, :, :2], seen[0])


def test_the_recurrent_network_is_a_loop_over_the_steps_that_count():
    cell = eqx.nn.GRUCell(3, 4, key=KEY)
    inputs = jax.random.normal(jax.random.key(1), (2, 5, 3))
    counts = np.array([[1, 1, 0, 1, 1], [0, 1, 1, 1, 0]], bool)
    last, every = RecurrentNetwork(cell, 4, reverse=True)(inputs, jnp.asarray(counts))
    for row in range(2):
        memory = jnp.zeros(4)
        for i in range(4, -1, -1):
            memory = cell(inputs[row, i], memory) if counts[row, i] else memory
            np.testing.assert_allclose(every[row, i], memory, atol=1e-6)
        np.testing.assert_allclose(last[row], memory, atol=1e-6)


@pytest.fixture(scope="module")
def rotations():
    """Damped rotations of any start: the true path, and noisy observations at times of each."""
    rng = np.random.default_rng(0)
    times, start = np.sort(rng.uniform(0, 1, (256, 6)), 1), rng.normal(size=(256, 2))

    def exact(times):
        pairs = zip(times, start, strict=False)
        return np.stack([[expm(TURN * t) @ z for t in row] for row, z in pairs])

    return exact, Observations(times, exact(times) + 0.1 * rng.normal(size=(256, 6, 2)))


def rotations_fitted(observed, epochs):
    model = LatentODE(2, latent=2, width=16, memory=16, knots=5, key=KEY)
    training = pf.Training(max_epochs=epochs, batch=57, learning_rate=0.03, weight_decay=0.0)
    return pf.fit(model, observed, key=jax.random.key(1), loss=NegativeELBO(), training=training)


def test_a_fit_raises_the_bound(rotations):
    history = rotations_fitted(rotations[1], 8).history
    assert history[-1].best_loss < history[0].validation_loss - 1.0


@pytest.mark.nightly
def test_a_fit_learns_the_noise_and_the_future(rotations):
    exact, observed = rotations
    fitted = rotations_fitted(observed, 110).model
    later = np.broadcast_to(np.linspace(1.0, 1.4, 3), (256, 3))
    found = fitted.predict(observed, later, extrapolate=True)
    error = np.sqrt(np.mean((found - exact(later)) ** 2))
    size = np.sqrt(np.mean(exact(later) ** 2))
    assert error < 0.15 * size
    assert ((fitted.noise > 0.08) & (fitted.noise < 0.18)).all(), fitted.noise


def test_drawn_predictions_spread_about_the_mean(model):
    observed, times = some_series(), np.linspace(0.0, 2.0, 4)
    middle = model.predict(observed, times)
    draws = np.stack([model.predict(observed, times, key=k) for k in jax.random.split(KEY, 8)])
    assert (draws.std(0) > 1e-3).all()
    assert np.abs(draws.mean(0) - middle).mean() < draws.std(0).mean()
    same = model.predict(observed, np.tile(times, (6, 1)))
    np.testing.assert_allclose(same, middle, atol=1e-6)


def test_settings_of_jax_are_for_code_of_ones_own(model):
    observed = some_series()
    with jax.numpy_rank_promotion("raise"):
        found = model.predict(observed, [0.5, 1.0])
    np.testing.assert_allclose(found, model.predict(observed, [0.5, 1.0]), rtol=1e-5)


def test_hidden_values_are_scored_and_not_shown(model):
    """With a key a share is hidden from the belief; without one nothing is."""
    rows = some_series()
    plain, hidden = NegativeELBO(), NegativeELBO(hide=0.5)
    calm = eqx.filter_jit(lambda loss: loss(model, jax.tree.map(jnp.asarray, rows), None))
    np.testing.assert_allclose(calm(plain), calm(hidden))
    assert (LOSS(plain, model, rows) != LOSS(hidden, model, rows)).any()


def test_one_observation_is_a_series(model):
    one = Observations(np.array([[0.7]]), np.ones((1, 1, 2)))
    mean, scale = model.encode(one)
    assert np.isfinite(mean).all()
    assert (scale > 0).all()


def test_times_outside_of_the_span_are_flagged(model):
    observed = some_series()
    with pytest.warns(
        UserWarning, match=r"times to predict at go from 1 to 3, outside .* \(0, 2\)"
    ):
        flagged = model.predict(observed, [1.0, 3.0])
    assert np.isfinite(flagged).all()
    assert np.isfinite(model.predict(observed, [-1.0, 1.0], extrapolate=True)).all()
    late = Observations(observed.times + 5.0, observed.values, observed.seen)
    with pytest.warns(UserWarning, match="observations go from"):
        model.encode(late)


def series_of(times, columns=2):
    return Observations(np.array([times]), np.ones((1, len(times), columns)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda m: m.encode(series_of([0.5, 0.2])), "go back from 0.5 to 0.2 at place 1"),
        (lambda m: m.encode(series_of([0.5, 0.5])), "repeat 0.5 at place 1"),
        (lambda m: m.encode(series_of([0.5, np.nan])), "have nan at place 1"),
        (lambda m: m.encode(series_of([0.5], 3)), r"\(n, k, 2\) was expected"),
        (
            lambda m: m.encode(Observations(np.zeros((1, 1)), np.full((1, 1, 2), np.nan))),
            "series 0 has no observation",
        ),
        (
            lambda m: m.encode(Observations(np.zeros((1, 1)), np.full((1, 1, 2), np.inf))),
            "must be finite",
        ),
        (lambda m: NegativeELBO().check(m, series_of([0.5, 0.2])), "go back"),
        (lambda m: m.predict(series_of([0.5]), np.zeros((3, 2))), r"\(q,\) or \(1, q\)"),
        (lambda m: m.predict(series_of([0.5]), [np.inf]), "must be finite"),
        (lambda m: LatentODE(0, key=KEY), "d=0"),
        (lambda m: LatentODE(1, span=(1.0, 1.0), key=KEY), "the earlier first"),
        (lambda m: LatentODE(1, noise=-1.0, key=KEY), "noise=-1.0"),
        (lambda m: LatentODE(1, span=(1.7e9, 1.7e9 + 1), key=KEY), "count times from the first"),
        (lambda m: m.predict(series_of([0.5]), [1.7e9]), "to 1700000000, too far from 0"),
        (lambda m: m.predict(series_of([0.5]), np.array([1], "M8[D]")), "predict at hold dates"),
        (lambda m: m.within(np.array([1], "M8[D]")), "times hold dates"),
        (lambda m: Observations(np.array([[1]], "M8[D]"), np.zeros((1, 1, 1))), "hold dates"),
        (lambda m: m.predict(series_of([0.5]), [1e9], extrapolate=True), "too far from 0"),
        (lambda m: m.encode(series_of([-1.7e9])), "observations go to -1700000000, too far"),
        (lambda m: NegativeELBO(hide=1.0), "hide=1.0"),
        (lambda m: NegativeELBO(kl=-1.0), "kl=-1.0"),
        (lambda m: NegativeELBO(samples=0), "samples=0"),
        (
            lambda m: NegativeELBO()(m, pf.training.Batch(jnp.ones((2, 3, 2))), KEY),
            "takes Observations",
        ),
        (lambda m: NegativeELBO()(None, series_of([0.5]), KEY), "trains a LatentODE"),
    ],
)
def test_what_users_get_wrong_is_told(model, wrong, message):
    with pytest.raises(InputError, match=message):
        wrong(model)
