"""Equations fitted to series: packing, pieces, recovery where a naive fit stalls, forecasts, bad input."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import polars
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from pushforward import InputError, Training
from pushforward.errors import SolveError
from pushforward.estimators import NeuralODERegressor, load
from pushforward.models.table_file import load_table_model
from pushforward.ode import Event, Solver, solve
from pushforward.series import Observations, pack
from pushforward.series.neural_ode import KnownField, LearnedField, Units, trajectories
from pushforward.series.pieces import cut, filled, segments, sizes, stages

STIFFNESS, DAMPING = 9.0, 0.05
CHEAP = Solver(method="rk4", steps=5, adjoint="direct")


def oscillator(t, y, params):
    return y[1], -params["stiffness"] * y[0] - params["damping"] * y[1]


def oscillation(times, phase):
    """The exact solution for these parameters, position and speed."""
    s = complex(-DAMPING / 2, np.sqrt(STIFFNESS - DAMPING**2 / 4))
    wave = np.exp(s * times + 1j * phase)
    return np.stack([wave.real, (s * wave).real], -1)


@pytest.fixture(scope="module")
def swings():
    """Two series of different lengths at random times, a fifth of the values missing."""
    rng = np.random.default_rng(3)
    times, series = [], []
    for k, phase in ((50, 0.0), (36, 1.0)):
        t = np.sort(rng.uniform(0.0, 12.0, k))
        y = oscillation(t, phase) + 0.01 * rng.normal(size=(k, 2))
        y[rng.random(y.shape) < 0.2] = np.nan
        times.append(t)
        series.append(y)
    return times, series


def regressor(**changes):
    settings = {
        "params": {"stiffness": 20.0, "damping": 0.0},
        "segments": (12, 1),
        "solver": CHEAP,
        "training": Training(max_steps=250, learning_rate=0.05),
        "random_state": 0,
    }
    return NeuralODERegressor(oscillator, **{**settings, **changes})


@pytest.fixture(scope="module")
def fitted(swings):
    return regressor(ensemble=2).fit(*swings)


def test_known_equation_is_recovered(fitted):
    assert fitted.params_["stiffness"] == pytest.approx(STIFFNESS, rel=0.01)
    assert fitted.params_["damping"] == pytest.approx(DAMPING, abs=0.02)
    # The noise put in is 0.01; in units of the speed, of standard deviation 2, the same error is a small share.
    assert fitted.noise_[0] < 0.02
    assert len(fitted.member_params_) == len(fitted.members_) == 2


def test_a_fitted_equation_has_events(fitted):
    """The rates are those of the predictions, and the solver finds the place's zero between them."""
    down = Event(lambda t, y: y[0], direction=-1)
    found = solve(fitted.rates, jnp.asarray([1.0, 0.0]), 0.0, 3.0, events=down)
    assert found.event_times is not None
    zero = float(found.event_times[0])
    alone = partial(fitted.rates, member=1)
    np.testing.assert_allclose(solve(alone, jnp.asarray([1.0, 0.0]), 0.0, zero).y1[0], 0, atol=0.02)
    path = fitted.simulate([1.0, 0.0], [0.0, zero], members=True)[0]
    np.testing.assert_allclose(path[-1], found.y1, atol=2e-3)


def test_a_learned_equation_jumps(tmp_path):
    """An input that turns round at a known time, which no smooth field of the state alone can follow."""
    t = np.linspace(0.0, 4.0, 17)
    up, turned = 1 - np.exp(-t), (2 - np.exp(-2.1)) * np.exp(2.1 - t) - 1
    model = NeuralODERegressor(
        jumps=[2.1],
        width=8,
        segments=(4,),
        solver=Solver(method="rk4", steps=2, adjoint="direct"),
        training=Training(max_steps=400, learning_rate=0.03),
        random_state=0,
    ).fit(t, np.where(t < 2.1, up, turned)[:, None])
    # Without the jump it is 0.2.
    assert model.noise_[0] < 0.05
    y = jnp.asarray([0.3])
    before, after = (float(model.rates(time, y)[0]) for time in (2.0, 2.2))
    assert before - after == pytest.approx(2.0, abs=0.5)
    model.save(tmp_path / "switched.safetensors")
    again = load(tmp_path / "switched.safetensors")
    asked = [0.5, 1.5, 2.0, 2.2, 3.0]
    np.testing.assert_array_equal(again.predict(asked), model.predict(asked))
    own = solve(again.rates, jnp.zeros(1), 0.0, 3.0, jumps=again.jumps, at=asked)
    path = again.simulate([0.0], [0.0, *asked])[1:]
    np.testing.assert_allclose(own.ys, path, atol=2e-3)


@pytest.mark.nightly
def test_whole_trajectories_stall_where_pieces_do_not(swings, fitted):
    naive = regressor(segments=(1,), training=Training(max_steps=500, learning_rate=0.05))
    naive.fit(*swings)
    assert naive.noise_[0] > 10 * fitted.noise_[0]


def test_predictions_follow_the_series(fitted, swings):
    t = np.linspace(1.0, 11.0, 9)
    first, second = fitted.predict(t)
    assert np.abs(first - oscillation(t, 0.0)).max() < 0.2
    assert np.abs(second - oscillation(t, 1.0)).max() < 0.2
    with pytest.warns(
        UserWarning, match=r"beyond the training range from 0\.\d+ to 11\.\d+: this is extrapol"
    ):
        before, _ = fitted.predict([-0.5, 0.5, 12.5])
    assert np.abs(before - oscillation(np.array([-0.5, 0.5, 12.5]), 0.0)).max() < 0.2
    mean, std = fitted.predict([t[:4], t], return_std=True)
    assert [m.shape for m in mean] == [s.shape for s in std] == [(4, 2), (9, 2)]
    assert mean[0] == pytest.approx(first[:4], abs=1e-4)
    assert all((s > 0).any() for s in std)


def test_simulation_from_states(fitted):
    t, states = np.linspace(0.5, 11.0, 9), oscillation(np.array([0.5, 2.0]), 0.3)
    both = fitted.simulate(states, t)
    assert both.shape == (2, 9, 2)
    assert np.abs(both[0] - oscillation(t, 0.3)).max() < 0.2
    assert both[:, 0] == pytest.approx(states, abs=1e-5)
    assert fitted.simulate(states[1], t) == pytest.approx(both[1], abs=1e-5)
    members = fitted.simulate(states[1], t, members=True)
    assert members.shape == (2, 9, 2)
    mean, std = fitted.predict(t, states[1], return_std=True)
    assert mean == pytest.approx(members.mean(0))
    assert std == pytest.approx(members.std(0))
    with pytest.warns(UserWarning, match="extrapolation"):
        fitted.simulate(states[0], [0.5, 20.0])


def test_score_is_of_forecasts(fitted):
    t = np.linspace(1.0, 10.0, 30)
    good = fitted.score([t, t[:20]], [oscillation(t, 0.5), oscillation(t[:20], 2.0)])
    assert 0.98 < good <= 1
    assert fitted.score(t, oscillation(t, 0.5)[::-1]) < 0.5
    flat = oscillation(t, 0.5)
    flat[:, 1] = 3.0
    assert np.isfinite(fitted.score(t, flat))


def test_learned_field_and_judge(swings, capsys):
    """A perceptron learns the rates; validation series choose the weights, and a fit repeats."""
    t = np.linspace(0.0, 3.0, 13)
    series = [np.exp(-t)[:, None] * a for a in (1.0, -2.0, 3.0)]
    judge = t[::2], 2 * np.exp(-t[::2])[:, None]
    model = NeuralODERegressor(
        width=8,
        depth=1,
        segments=(1,),
        starts="observed",
        solver=CHEAP,
        training=Training(max_steps=300, learning_rate=0.03),
        random_state=1,
        verbose=True,
    )
    model.fit([t] * 3, series, validation=judge)
    told = capsys.readouterr().err.splitlines()
    assert 1 <= len(told) <= 20
    assert told[0].startswith("stage 1/1, epoch 15/300: loss ")
    assert model.noise_ < 0.25
    assert np.abs(model.predict(t, [2.0])[:, 0] - 2 * np.exp(-t)).max() < 0.3
    # Starts that are observed stay where they are.
    assert [path[0, 0] for path in model.predict(t)] == pytest.approx([1, -2, 3], abs=1e-5)
    followed = model.predict(judge[0], judge[1][0])
    far = np.square((followed - judge[1]) / model.units_.scale).mean()
    assert model.members_[0].loss == pytest.approx(far, rel=0.05)
    again = clone(model).set_params(verbose=False).fit([t] * 3, series, validation=judge)
    assert not capsys.readouterr().err
    assert (again.predict(t, [1.0]) == model.predict(t, [1.0])).all()


def test_a_time_dependent_field_sees_the_time():
    field = LearnedField(2, 4, 2, False, key=jax.random.key(0))
    plain = LearnedField(2, 4, 2, True, key=jax.random.key(0))
    u = jnp.ones((3, 2))
    early, late = jnp.zeros((3, 1)), jnp.full((3, 1), 2.0)
    assert not (field(early, u) == field(late, u)).any()
    assert (plain(early, u) == plain(late, u)).all()


def test_known_field_in_units():
    """The rates are those of the function, in standard units, at the data's own times."""
    observed = pack(np.arange(5.0) + 100, np.arange(10.0).reshape(5, 2) * [1, 50])
    units = Units.of(observed)

    def rates(t, y, p):
        return [p * y[0], t * y[1]]

    field = KnownField(rates, 0.5, units)
    y = np.array([[1.0, 2.0], [3.0, 4.0]])
    tau = units.times([101.0, 103.0])
    expected = np.array([[0.5, 202.0], [1.5, 412.0]]) * units.length / units.scale
    given = field(jnp.asarray(tau)[:, None], jnp.asarray(units.values(y)))
    assert np.asarray(given) == pytest.approx(expected, rel=1e-4)
    assert units.restored(units.values(y)) == pytest.approx(y)


def test_trajectories_repeat_the_state_in_padding():
    field = LearnedField(1, 4, 2, True, key=jax.random.key(0))
    times = jnp.array([[0.0, 0.5, 1.0], [0.0, 0.5, 0.5], [1.0, 0.5, 0.0]])
    path = np.asarray(trajectories(field, jnp.ones((3, 1)), times, CHEAP))
    assert path[1, 2] == path[1, 1] == pytest.approx(path[0, 1], abs=1e-6)
    assert path[2, 2] != pytest.approx(path[0, 2], abs=1e-4)


def test_packing():
    observed = pack(
        [[0.0, 1.0, 4.0], [2.0, 3.0]], [np.ones((3, 2)), [[1.0, np.nan], [np.nan, 2.0]]]
    )
    assert observed.lengths.tolist() == [3, 2]
    assert observed.times.tolist() == [[0, 1, 4], [2, 3, 3]]
    assert observed.seen[1].tolist() == [[True, False], [False, True], [False, False]]
    assert filled(observed)[1].tolist() == [[1, 2], [1, 2], [1, 2]]
    assert pack([0.0, 1.0], [3.0, 4.0]).values.shape == (1, 2, 1)


def test_pieces_meet_and_cover():
    observed = pack([np.arange(11.0), np.arange(4.0)], [np.ones((11, 1)), np.ones((4, 1))])
    cuts = cut(observed, 4)
    assert cuts.owner.tolist() == [0, 0, 0, 1]
    assert cuts.rows.tolist() == [
        [0, 1, 2, 3, 4],
        [4, 5, 6, 7, 8],
        [8, 9, 10, 10, 10],
        [0, 1, 2, 3, 3],
    ]
    pieces = segments(observed, cuts, np.ones((2, 11)))
    assert pieces.following.tolist() == [1, 2, 2, 3]
    assert pieces.seen[..., 0].sum(1).tolist() == [5, 5, 3, 4]
    assert sizes(observed, (30, 6, 5, 3, 1)) == [2, 4, 10]
    several = stages(observed, (4, 10))
    assert len(several) == 2
    assert several[0].rows.shape == several[1].rows.shape == (4, 11)
    assert several[1].used.tolist() == [True, True, False, False]
    whole = segments(observed, several[1], np.ones((2, 11)))
    assert whole.seen[..., 0].sum(1).tolist() == [11, 4, 0, 0]
    assert whole.following.tolist() == [0, 1, 2, 3]


T, Y = np.arange(4.0), np.arange(8.0).reshape(4, 2)
BAD = {
    "empty: at least one series": ([], []),
    "times is empty": (np.zeros(0), np.zeros((1, 2))),
    "times of series 1 are empty": ([T, []], [Y, Y]),
    "series 0 has one observation": ([1.0], [[1.0, 2.0]]),
    "series 1 has one observation": ([T, T], [Y, np.where(T[:, None] < 1, Y, np.nan)]),
    "series 1 has no observation": ([T, T], [Y, Y * np.nan]),
    "go back from 3 to 2 at place 3": ([0.0, 1.0, 3.0, 2.0], Y),
    "repeat 1 at place 2": ([0.0, 1.0, 1.0, 2.0], Y),
    "of series 1 have nan at place 0": ([T, [np.nan, 1, 2, 3]], [Y, Y]),
    "series 1 has 1 columns, but series 0 has 2": ([T, T], [Y, Y[:, :1]]),
    "column 1 was never observed": (T, Y * [1, np.nan]),
    r"have shape \(3, 2\): \(4, columns\) was expected": (T, Y[:3]),
    "2 arrays of times, but 1 series": ([T, T], [Y]),
    "series is None": ([T, T], None),
    "times is None": (None, Y),
    "have inf in row 1, column 0": (T, np.where(Y == 2, np.inf, Y)),
    "are not numbers": (["a", "b"], Y[:2]),
    "array, or a list of arrays, was expected": (3.0, Y),
    "the times hold dates or spans of time": (T.astype("M8[D]"), Y),
    "times hold dates": (pandas.date_range("2024-01-01", periods=4), Y),
    "the times of series 1 hold dates": (
        [T, pandas.date_range("2024", periods=4, tz="UTC")],
        [Y, Y],
    ),
    "the times hold dates": (polars.Series(T.astype("m8[us]")), Y),
    "times hold dates or spans": (pandas.period_range("2024", periods=4, freq="D").tolist(), Y),
    "the values of series 1 hold dates or spans of time in column 'b'": (
        [T, T],
        [Y, pandas.DataFrame({"a": T, "b": pandas.date_range("2024", periods=4, tz="UTC")})],
    ),
    "the times: column '0' holds whole numbers": (2**60 + np.arange(4), Y),
    "the values: column '1' holds whole numbers": (
        T,
        np.arange(8).reshape(4, 2) + np.array([0, 2**60]),
    ),
    "the values: column 'n' holds whole numbers": (
        T,
        pandas.DataFrame({"n": pandas.array(2**60 + np.arange(4), dtype="Int64")}),
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_series(message):
    with pytest.raises(InputError, match=message):
        NeuralODERegressor().fit(*BAD[message])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"field": "lstm"}, "'mlp' or a function"),
        ({"params": 1.0}, "params are those of a function"),
        ({"jumps": [99.0]}, "jumps go from 99 to 99, the series from"),
        ({"field": oscillator}, "finite initial numbers"),
        ({"field": oscillator, "params": "fast"}, "pytree of numbers"),
        ({"field": lambda t, y, p: y[:1], "params": 1.0}, r"gives shape \(1,\) for a state of 2"),
        ({"field": lambda t, y: -y, "params": 1.0}, "cannot be called with JAX arrays: TypeError"),
        (
            {"field": lambda t, y, p: np.exp(y) * p, "params": 1.0},
            "cannot be called with JAX arrays",
        ),
        ({"segments": ()}, "numbers such as"),
        ({"segments": (0,)}, "whole number of at least 1"),
        ({"ensemble": 0}, "whole number of at least 1"),
        ({"starts": "free"}, "'fitted' or 'observed'"),
        ({"continuity": -1.0}, "must not be negative"),
        pytest.param(
            {"solver": "rk4"}, "a pushforward Solver is expected", marks=pytest.mark.mistyped
        ),
        pytest.param(
            {"training": 3}, "a pushforward Training is expected", marks=pytest.mark.mistyped
        ),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        NeuralODERegressor(**settings).fit(T, Y)


def test_bad_questions(fitted):
    for times in ([2.0, 1.0], [1.0, 1.0], [np.nan], []):
        with pytest.raises(InputError, match="the times"):
            fitted.predict(times)
        with pytest.raises(InputError, match="the times"):
            fitted.simulate([1.0, 0.0], times)
    for call in (
        lambda: fitted.predict(T.astype("M8[D]")),
        lambda: fitted.simulate([1.0, 0.0], pandas.date_range("2024", periods=4)),
        lambda: fitted.score(T.astype("m8[h]"), Y),
    ):
        with pytest.raises(InputError, match="the times hold dates"):
            call()
    with pytest.raises(InputError, match="3 arrays of times, but 2 training series"):
        fitted.predict([T, T, T])
    for initial, message in (([1.0], "shape"), ([1.0, np.nan], "finite"), ("here", "state")):
        with pytest.raises(InputError, match=message):
            fitted.predict(T, initial)
    with pytest.raises(InputError, match="the model has 2"):
        fitted.score(T, Y[:, :1])


def test_series_apart_in_time(monkeypatch):
    """Only a field that depends on time has to see the time between."""

    class Stop(Exception):
        pass

    def stop(*args, **options):
        raise Stop

    monkeypatch.setattr("pushforward.estimators.neural_ode.fit_series", stop)
    apart = [T, T + 10], [Y, Y]
    with (
        pytest.warns(UserWarning, match="series 0 ends at 3, series 1 begins at 10"),
        pytest.raises(Stop),
    ):
        NeuralODERegressor(autonomous=False).fit(*apart)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model, data in (
            (NeuralODERegressor(), apart),
            (NeuralODERegressor(autonomous=False), ([T, T + 2, T + 5], [Y, Y, Y])),
        ):
            with pytest.raises(Stop):
                model.fit(*data)


FEW = {"segments": (1,), "solver": CHEAP, "training": Training(max_steps=30), "random_state": 0}


def test_far_clocks_without_time_in_the_field():
    """Where time does not enter, series may lie decades apart, and forecasts begin at any time."""
    times = np.linspace(0.0, 4.0, 15)
    decay = np.exp(-0.5 * times)[:, None]
    model = NeuralODERegressor(jax.jit(lambda t, y, rate: -rate * y), params=0.5, **FEW)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit([times + 1.6e9, times + 1.7e9], [decay, decay])
        asked = np.array([1.0, 2.0])
        for path in model.predict([1.6e9 + asked, 1.7e9 + asked]):
            assert path[:, 0] == pytest.approx(np.exp(-0.5 * asked), abs=2e-3)
        assert model.noise_ < 1e-3
        later = model.predict([1.9e9, 1.9e9 + 1, 1.9e9 + 2], initial=[1.0])
        assert later[:, 0] == pytest.approx(np.exp([0.0, -0.5, -1.0]), abs=2e-3)
        assert model.score([times, times - 2e9], [decay, decay]) > 0.999
    learned = NeuralODERegressor(width=4, depth=1, **FEW).fit([times, times + 1e8], [decay, decay])
    one, other = learned.predict([times, times + 1e8])
    assert one == pytest.approx(other, abs=1e-5)


def test_far_clocks_with_time_in_the_field():
    """A field of time is given the times: what float32 cannot tell apart is refused, not flattened."""
    times = np.linspace(0.0, 4.0, 15)
    decay = np.exp(-0.5 * times)[:, None]
    known = NeuralODERegressor(lambda t, y, rate: -rate * y + 0 * jnp.sin(t), params=0.5, **FEW)
    learned = NeuralODERegressor(width=4, depth=1, autonomous=False, **FEW)
    with pytest.raises(InputError, match="time 1700000004 is too far from 0 for float32"):
        known.fit(times + 1.7e9, decay)
    with pytest.raises(InputError, match=r"time 1700000004 is too far from 1.6e\+09 for float32"):
        learned.fit([times + 1.6e9, times + 1.7e9], [decay, decay])
    learned.fit(times + 1.7e9, decay)
    known.fit(times + 10, decay)
    assert known.predict([11.0], initial=[1.0])[0] == pytest.approx(1.0)
    for call in (
        lambda: known.predict([1.7e9, 1.7e9 + 1], initial=[1.0]),
        lambda: known.predict([1.7e9, 1.7e9 + 1]),
        lambda: known.score(times + 1.7e9, decay),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(InputError, match="cannot tell times there apart"):
                call()


def test_a_trajectory_that_blows_up_says_when():
    t = np.linspace(0.0, 0.5, 5)
    model = NeuralODERegressor(
        lambda t, y, p: p * y**2,
        params=1.0,
        segments=(1,),
        training=Training(max_steps=2),
        random_state=0,
    ).fit(t, 1 / (1 - t)[:, None])
    with pytest.warns(UserWarning, match="extrapolation"), pytest.raises(SolveError) as caught:
        model.predict(np.array([0.2, 3.0]))
    assert caught.value.time == pytest.approx(1.0, abs=0.05)
    with pytest.warns(UserWarning, match="extrapolation"), pytest.raises(SolveError) as caught:
        model.simulate([[0.1], [1.0]], [5.0, 5.5, 8.0])
    assert caught.value.time == pytest.approx(6.0, abs=0.05)


def test_observations_of_other_shapes_are_refused():
    for times, values in ((T, Y), (T[None], Y[None, :3])):
        with pytest.raises(InputError, match="were expected"):
            Observations(times, values)
    with pytest.raises(InputError, match="seen has shape"):
        Observations(T[None], Y[None], np.ones((1, 4), bool))


class TestFiles:
    """A fitted equation in a file: the same predictions, without the data."""

    def test_a_learned_equation(self, tmp_path):
        path, times = tmp_path / "m.safetensors", np.linspace(0.0, 3.0, 9)
        model = NeuralODERegressor(
            width=4, depth=1, segments=(2,), ensemble=2, solver=CHEAP,
            training=Training(max_steps=2), random_state=0,
        )  # fmt: skip
        with pytest.raises(NotFittedError):
            model.save(path)
        model.fit(times, oscillation(times, 0.0)).save(path)
        again = load(path)
        asked = np.linspace(0.5, 2.5, 5)
        for found, ours in zip(
            again.predict(asked, return_std=True),
            model.predict(asked, return_std=True),
            strict=True,
        ):
            np.testing.assert_array_equal(found, ours)
        np.testing.assert_array_equal(again.noise_, model.noise_)
        assert again.members_[1].history == model.members_[1].history
        assert again.get_params()["segments"] == (2,)
        assert again.solver == CHEAP
        with pytest.raises(InputError, match="without a function"):
            NeuralODERegressor.load(path, field=oscillator, params={})
        with pytest.raises(InputError, match="holds a model of kind 'series', not 'table'"):
            load_table_model(path)

    def test_a_known_equation(self, swings, fitted, tmp_path):
        path = tmp_path / "m.safetensors"
        fitted.save(path)
        form = {"stiffness": 0.0, "damping": 0.0}
        again = NeuralODERegressor.load(path, field=oscillator, params=form)
        assert again.params_ == fitted.params_
        for found, ours in zip(again.predict(swings[0]), fitted.predict(swings[0]), strict=True):
            np.testing.assert_array_equal(found, ours)
        with pytest.raises(InputError, match="function that was given: load it with"):
            load(path)
        with pytest.raises(InputError, match="damping"):
            NeuralODERegressor.load(path, field=oscillator, params={"stiffness": 0.0})
