"""Events and jumps: where a solve ends, notes a time, or starts anew."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.errors import InputError, check_count
from pushforward.ode.step import State, along_rows
from pushforward.rows import Numbers


class Event(eqx.Module):
    """A function of time and state whose sign changes are looked for on the way.

        g(t*, y(t*)) = 0,   dt* = -(dg/dy dy + dg/dp dp) / (dg/dt + dg/dy f)

    The time is found by bisection of the polynomial between a step's ends, to rounding, so its error is that of the
    solution. The second formula is its gradient with respect to whatever state and parameters depend on (first
    derivatives only). A function that is zero at the start counts once it has left zero; one that changes its sign
    twice within a quarter of a step may be missed: give `max_step`. Cost: four calls of the function a step, and some
    25 (float64: 50) where it changes sign; none of the field, but for two to start anew.

    Arguments:
        function: `function(t, y)` returns a number, or with `control="per_row"` one for each row, which then has events
            by itself. What it holds or closes over has gradients.
        direction: 1 for changes from minus to plus, -1 for those from plus to minus, 0 (default) for both.
        ends: whether the solve ends there; default None: unless there is `then`.
        then: `then(t, y)` is the state from which it goes on; default None, it goes on as it was.
        most: how often it may happen without ending the solve; default 16. Memory of gradients grows with it.

    Raises `InputError` for another direction, an event that ends the solve and yet has a `then`, a `most` below 1.

    Source: Chen, Amos & Nickel 2021, arXiv 2011.03902.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> ground = pf.ode.Event(lambda t, y: y[0], direction=-1)
    >>> fall = lambda t, y: jnp.stack([y[1], jnp.full_like(t, -9.81)])
    >>> solution = pf.ode.solve(fall, jnp.array([10.0, 0.0]), 0.0, 5.0, events=ground)
    >>> round(float(solution.event_times[0]), 3)
    1.428

    ```
    """

    function: Callable[[Array, State], Array]
    then: Callable[[Array, State], State] | None
    direction: int = eqx.field(static=True)
    ends: bool = eqx.field(static=True)
    most: int = eqx.field(static=True)

    def __init__(
        self,
        function: Callable[[Array, State], Array],
        *,
        direction: int = 0,
        ends: bool | None = None,
        then: Callable[[Array, State], State] | None = None,
        most: int = 16,
    ):
        if not callable(function):
            raise InputError(f"function={function!r}: a function of time and state was expected")
        if direction not in (-1, 0, 1):
            raise InputError(f"direction={direction!r}: 1, -1 or 0 was expected")
        if ends and then is not None:
            raise InputError("the event ends the solve, so that `then` has no part: leave one out")
        check_count("most", most)
        self.function, self.then, self.direction = function, then, int(direction)
        self.ends = then is None if ends is None else bool(ends)
        self.most = 1 if self.ends else int(most)


class Jumps(eqx.Module):
    """Times at which the state itself jumps, such as doses.

    Arguments:
        times: as `jumps` of `solve`.
        then: `then(t, y)` is the state after the jump; default None, only the field jumps.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> doses = pf.ode.Jumps([1.0, 2.0], lambda t, y: y + 1)
    >>> solution = pf.ode.solve(lambda t, y: -y, jnp.ones(1), 0.0, 2.5, jumps=doses)
    >>> round(float(solution.y1[0]), 2)
    0.91

    ```
    """

    times: Numbers
    then: Callable[[Array, State], State] | None = None


class Signal(eqx.Module):
    """An event as a function of the fraction of an interval, without gradients."""

    function: Callable[[Array, State], Array]
    a: Array
    b: Array

    def __call__(self, s: Array, y: State) -> Array:
        return called(self.function, self.a + s * (self.b - self.a), y)


def listed(events: Event | Sequence[Event] | None) -> tuple[Event, ...]:
    """The events of an argument."""
    if events is None:
        return ()
    given = (events,) if isinstance(events, Event) else tuple(events)
    for event in given:
        if not isinstance(event, Event):
            raise InputError(f"events: {event!r} is not an ode.Event")
    return given


def called(function: Callable[[Array, State], Array], t: Array, y: State) -> Array:
    """The value of an event: a number, or one per row where time has rows."""
    found = function(along_rows(t, jax.tree.leaves(y)[0]), y)
    return found.reshape(t.shape)


def check_events(events: tuple[Event, ...], rows: tuple[int, ...], t: Array, y0: State) -> None:
    """Raises `InputError` for an event whose value or whose next state has another shape than it must have."""
    at = along_rows(t, jax.tree.leaves(y0)[0])
    for event in events:
        given = eqx.filter_eval_shape(event.function, at, y0)
        shape = getattr(given, "shape", None)
        want = "one for each row" if rows else 'a number (one for each row: control="per_row")'
        if shape is None or not jnp.issubdtype(given.dtype, jnp.floating):
            raise InputError(f"an event gives {given!r}: a floating-point array was expected")
        if (rows and (not shape or shape[0] != rows[0] or given.size != rows[0])) or (
            not rows and shape != ()
        ):
            raise InputError(f"an event gives an array of shape {shape}: {want} was expected")
        check_then(event.then, at, y0)


def check_then(then: Any, at: Array, y0: State) -> None:
    """Raises `InputError` for a map of the state that changes shapes or types."""
    if then is None:
        return
    given = eqx.filter_eval_shape(then, at, y0)
    if str(jax.tree.structure(given)) != str(jax.tree.structure(y0)):
        raise InputError(
            f"then gives {jax.tree.structure(given)}, but the state is {jax.tree.structure(y0)}"
        )
    for a, b in zip(jax.tree.leaves(y0), jax.tree.leaves(given), strict=True):
        if getattr(b, "shape", None) != a.shape:
            raise InputError(f"then gives {b!r}: an array of shape {a.shape} was expected")


def without_gradient(tree: Any) -> Any:
    """The same functions with arrays that have no gradient."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_array(x) else x, tree)


def first_signs(
    events: tuple[Event, ...], slope: Any, t: Array, length: Array, y: State, fired: Array
) -> Array:
    """The signs of the events at the start; of one that is zero there, or has just happened, the sign to come.

    Arguments:
        events: all of them.
        slope: the derivative of the state with respect to the fraction of the interval, at its start.
        t: the time, or each row's.
        length: of the interval.
        y: the state.
        fired: the number of the event that has just happened, -1 for none.
    """  # fmt: skip
    found = []
    for i, event in enumerate(events):

        def g(t: Array, y: State, event: Event = event) -> Array:
            return called(event.function, t, y)

        now, change = jax.jvp(g, (t, y), (length, slope))
        now = jnp.where((fired == i) | (now == 0), change, now)
        found.append((now > 0).astype(jnp.int32) - (now < 0).astype(jnp.int32))
    return jnp.stack(found)


def settled(
    events: tuple[Event, ...], which: Array, t: Array, y: State, rate: State
) -> tuple[Array, State]:
    """The time and state of an event, with the gradients of the implicit function.

    Arguments:
        events: all of them.
        which: the number of the one that happened, -1 for none; of each row.
        t, y: time and state, with gradients at a fixed fraction of the interval.
        rate: the derivative of the state with respect to time.
    """
    move = jnp.zeros_like(t)
    for i, event in enumerate(events):
        here = which == i
        off = called(event.function, t, y)
        function = without_gradient(event.function)
        change = jax.jvp(
            lambda t, y, function=function: called(function, t, y),
            jax.lax.stop_gradient((t, y)),
            (jnp.ones_like(t), jax.lax.stop_gradient(rate)),
        )[1]
        # One step of Newton's that goes nowhere: its derivative is the implicit function's.
        off = off - jax.lax.stop_gradient(off)
        safe = jnp.where(here, jax.lax.stop_gradient(change), 1.0)
        move = move - jnp.where(here, off, 0.0) / safe
    time = t + move
    state = jax.tree.map(
        lambda y, k: y + along_rows(move, y).astype(y.dtype) * jax.lax.stop_gradient(k), y, rate
    )
    return time, state
