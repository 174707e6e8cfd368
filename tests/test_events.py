"""Events: where they are, what is then, and gradients through their time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.errors import InputError, SolveError
from pushforward.ode import ADJOINTS, Event, solve


def one(adjoint):
    """The default by day."""
    marks = [] if adjoint == "checkpoint" else [pytest.mark.nightly]
    return pytest.param(adjoint, marks=marks)


TIGHT = {"rtol": 1e-9, "atol": 1e-9, "max_steps": 100}


def falling(t, y):
    return jnp.stack([y[..., 1], jnp.full_like(y[..., 1], -9.81)], -1)


def height(t, y):
    return y[..., 0]


def test_a_row_ends_by_itself():
    """Times in closed form; NaN after the end; a row that never gets there goes to the end."""
    with jax.enable_x64(True):
        y = jnp.asarray([[1.0, 0.0], [2.0, 0.0], [0.5, 3.0]])
        at = [0.2, 0.5, 0.65]
        found = solve(falling, y, 0.0, 0.7, at=at, events=Event(height), control="per_row", **TIGHT)
        times = np.sqrt(2 * np.asarray([1.0, 2.0]) / 9.81)
        np.testing.assert_allclose(np.asarray(found.event_times)[0], [*times, np.nan], rtol=1e-12)
        np.testing.assert_array_equal(np.asarray(found.event_numbers)[0], [0, 0, -1])
        np.testing.assert_allclose(found.y1[:2, 0], 0, atol=1e-9)
        np.testing.assert_array_equal(
            np.isnan(np.asarray(found.ys)[:, :, 0]), [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
        )
        np.testing.assert_allclose(
            found.y1[2], [0.5 + 2.1 - 9.81 * 0.245, 3 - 9.81 * 0.7], rtol=1e-7
        )
        one = solve(falling, y[1], 0.0, 0.7, events=Event(height), **TIGHT)
        np.testing.assert_allclose(np.asarray(one.event_times)[0], times[1], rtol=1e-12)


def test_directions_zeros_at_the_start_and_two_in_a_step():
    """An orbit: x is zero at the start, falls through zero at pi and rises through it at 2 pi."""
    with jax.enable_x64(True):

        def f(t, y):
            return jnp.stack([y[1], -y[0]])

        start = jnp.asarray([0.0, 1.0])
        for direction, times in ((0, [1, 2, 3]), (1, [2]), (-1, [1, 3])):
            event = Event(lambda t, y: y[0], direction=direction, ends=False, most=4)
            found = solve(f, start, 0.0, 10.0, events=event, **TIGHT)
            right = np.pi * np.asarray([*times, *[np.nan] * (4 - len(times))])
            np.testing.assert_allclose(found.event_times, right, atol=1e-7)
        # Two sign changes within a step of 1, at 0.4 and 0.8: the first one counts.
        twice = Event(lambda t, y: (t - 0.4) * (t - 0.8))
        found = solve(
            lambda t, y: jnp.ones(1), jnp.zeros(1), 0.0, 2.0, events=twice, method="rk4", steps=2
        )
        np.testing.assert_allclose(found.event_times, [0.4], rtol=1e-12)


def bouncing(parameters, adjoint, control, dense=False):
    """Two bounces of a ball with drag on a floor, then a bell; what comes out is a function of all that there is."""
    start, rest, gravity, drag = parameters
    shared = control == "shared"

    def f(t, y):
        return jnp.stack([y[..., 1], -gravity - drag * y[..., 1]], -1)

    y = jnp.stack([start, 0 * start])
    y = y if shared else y[None] * jnp.asarray([[1.0], [1.3]])
    floor = 0.01 * drag
    bounce = Event(
        lambda t, y: y[..., 0] - floor,
        direction=-1,
        then=lambda t, y: jnp.stack([0 * y[..., 0] + floor, -rest * y[..., 1]], -1),
        most=2,
    )
    bell = Event(lambda t, y: 0 * y[..., 0] + t.reshape(y.shape[:-1]) - 1.9)
    options = {"adjoint": adjoint, "control": control, "dense": dense, **TIGHT}
    found = solve(f, y, 0.0, 3.0, at=[0.3, 1.8], events=[bounce, bell], **options)
    parts = [found.event_times.sum(), (found.event_states**2).sum(), found.ys.sum(), found.y1.sum()]
    return sum(parts) + (found(jnp.asarray([0.7, 1.85])).sum() if dense else 0.0)


@pytest.mark.parametrize("adjoint", [one(name) for name in ADJOINTS])
def test_gradients_pass_through_events_and_maps(adjoint):
    """By the start, the field's parameters, the event's and the map's: central differences."""
    control = "shared" if adjoint in ("backsolve", "direct") else "per_row"
    with jax.enable_x64(True):
        given = jnp.asarray([1.7, 0.8, 9.0, 0.3])
        dense = adjoint == "checkpoint"
        value = jax.jit(lambda p: bouncing(p, adjoint, control, dense))
        steps = 1e-5 * np.eye(4)
        right = [(value(given + s) - value(given - s)) / 2e-5 for s in steps]
        np.testing.assert_allclose(jax.grad(value)(given), right, rtol=3e-7, atol=3e-6)
        assert np.abs(right).min() > 0.1


def test_a_steady_state_is_an_event():
    with jax.enable_x64(True):
        rest = Event(lambda t, y: jnp.abs(1 - y).max() - 1e-3, direction=-1)
        found = solve(lambda t, y: 1 - y, jnp.zeros(2), 0.0, 1e3, events=rest, **TIGHT)
        np.testing.assert_allclose(found.event_times, [np.log(1e3)], rtol=1e-6)


def test_more_events_than_there_is_room_for_are_an_error():
    bounce = Event(height, direction=-1, then=lambda t, y: y * jnp.asarray([0.0, -0.5]), most=3)
    start = jnp.asarray([1.0, 0.0])
    with pytest.raises(SolveError, match="more often than their `most`"):
        solve(falling, start, 0.0, 5.0, events=bounce)
    found = jax.jit(lambda y: solve(falling, y, 0.0, 5.0, events=bounce))(start)
    assert int(found.status) == 4
    assert np.isnan(found.y1).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"events": [height]}, "is not an ode.Event"),
        ({"events": Event(lambda t, y: y)}, r"shape \(3, 2\): a number \(one for each row"),
        ({"events": Event(lambda t, y: t), "control": "per_row"}, None),
        (
            {"events": Event(lambda t, y: y.sum()), "control": "per_row"},
            r"shape \(\): one for each",
        ),
        ({"events": Event(lambda t, y: True)}, "an event gives True"),
        ({"events": Event(lambda t, y: t - 1, then=lambda t, y: y[0])}, r"shape \(3, 2\) was"),
        ({"events": Event(lambda t, y: y[0, 0]), "jumps": [[0.1]] * 3}, "need control='per_row'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(options, words):
    def run():
        return solve(lambda t, y: -y, jnp.ones((3, 2)), 0.0, 1.0, **options)

    if words is None:
        run()
        return
    with pytest.raises(InputError, match=words) as caught:
        run()
    assert "\n" not in str(caught.value)


@pytest.mark.mistyped
def test_events_that_are_none_are_refused():
    for options, words in (
        ({"direction": 2}, "direction=2"),
        ({"ends": True, "then": height}, "leave one out"),
        ({"most": 0}, "most=0"),
    ):
        with pytest.raises(InputError, match=words):
            Event(height, **options)
    with pytest.raises(InputError, match="a function of time"):
        Event(3.0)
