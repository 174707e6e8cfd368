"""What a way to differentiate a solve is: what it keeps going forwards, and what it does going backwards."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.ode.control import Control
from pushforward.ode.loop import Looking, Walk, walk
from pushforward.ode.reading import Given
from pushforward.ode.step import Slope, State, along_rows, select
from pushforward.ode.watch import Watch

Field = Callable[[Array, State], State]
Held = tuple[Any, tuple[Array, Array]]
"""The field's arrays and the interval's ends, which gradients are taken with respect to, beside the state."""


class Watched(eqx.Module):
    """A field, and what of its states is saved at the times that are asked for."""

    field: Field
    save: Callable[[Array, State], Any] | None

    def __call__(self, t: Array, y: State) -> State:
        return self.field(t, y)


class Run(NamedTuple):
    """A solve over one interval `(a, b)`.

    The integration variable is the fraction `s` of the interval that has passed, so that the gradients with respect to
    both ends come from the field like any other.

    Attributes:
        held: the field's arrays and the interval's ends, what gradients are taken with respect to.
        rest: the field without its arrays.
        control: the method, and what decides its steps.
        marks: fractions of the interval at which the state is asked for, or None.
        watch: what else to look at on the way, or None.
    """

    held: Held
    rest: Any
    control: Control
    marks: Array | None = None
    watch: Watch | None = None

    def slope_of(self, held: Held) -> Slope:
        """The derivative with respect to the fraction of the interval, given what is held."""
        arrays, (a, b) = held
        field = eqx.combine(arrays, self.rest)
        bounds = None if self.watch is None else self.watch.bounds

        def slope(s: Array, y: State) -> State:
            length = b - a
            t = a + s * length
            if bounds is not None:
                # At a jump the time is on this side of it; the gradient is that of the time.
                t = t + jax.lax.stop_gradient(jnp.clip(t, *bounds) - t)
            moves = field(along_rows(t, jax.tree.leaves(y)[0]), y)
            # A field of another precision, or of whole numbers, does not change the state's type.
            with jax.numpy_dtype_promotion("standard"):
                return jax.tree.map(
                    lambda k, y: (along_rows(length, k) * k).astype(y.dtype), moves, y
                )

        return slope

    @property
    def slope(self) -> Slope:
        """The derivative with respect to the fraction of the interval."""
        return self.slope_of(self.held)

    @property
    def saves(self) -> bool:
        """Whether something else than the state is saved at the marks."""
        return isinstance(self.rest, Watched) and self.rest.save is not None

    def save_of(self, held: Held) -> Callable[[Array, State], Any]:
        """What is saved of a state at a fraction of the interval, given what is held."""
        if not self.saves:
            return lambda s, y: y
        arrays, (a, b) = held
        save = eqx.combine(arrays, self.rest).save

        def saved(s: Array, y: State) -> Any:
            return save(along_rows(a + s * (b - a), jax.tree.leaves(y)[0]), y)

        return saved

    def walk(
        self,
        y: State,
        h: Array,
        *,
        coupling: float | None = None,
        slots: int = 0,
        keep_times: bool = False,
    ) -> Walk:
        """Take the steps.

        Arguments:
            y: the state at the start.
            h: the first step; NaN to find one.
            coupling: of a reversible pair of states; None for the plain method.
            slots: how many states to keep.
            keep_times: whether to keep where steps began and how long they were.
        """
        looking = None
        if self.watch is not None:
            assert self.marks is not None
            looking = Looking(self.watch, self.marks, self.save_of(self.held))
            keep_times = keep_times or self.watch.keep
        return walk(
            self.slope,
            y,
            self.control,
            h,
            coupling=coupling,
            slots=slots,
            keep_times=keep_times,
            looking=looking,
            limits=self.control.limits(*self.held[1]),
        )


class Steps(NamedTuple):
    """The polynomials of all steps, where the steps began and how long they were, in fractions of the interval."""

    polynomials: State
    starts: Array
    sizes: Array
    taken: Array


class Noted(NamedTuple):
    """What a solve noted on its way; see `watch.Seen`."""

    ys: Any
    next: Array
    event: Array | None
    end_rate: State
    signs: Array | None
    looked: Array
    steps: Steps | None


class Advanced(NamedTuple):
    """The end of an interval and how it was reached."""

    y: State
    h: Array
    calls: Array
    accepted: Array
    rejected: Array
    status: Array
    reached: Array
    noted: Noted | None = None


@dataclass(frozen=True)
class Adjoint:
    """A way to differentiate a solve. Subclass it, or one of the four that there are, for one of your own.

    `forward` takes the steps and keeps what `backward` needs; `backward` turns the gradient with respect to what came
    out into those with respect to what went in. Both are traced into compiled programs, and an adjoint is a static
    argument of them: a frozen dataclass of numbers.

    ```python
    >>> import dataclasses, jax, jax.numpy as jnp, pushforward as pf
    >>> @dataclasses.dataclass(frozen=True)
    ... class Clipped(pf.ode.RecomputeSteps):
    ...     def backward(self, run, y, walked, given):
    ...         found = super().backward(run, y, walked, given)
    ...         return jax.tree.map(lambda g: jnp.clip(g, -1.0, 1.0), found)
    >>> def end(y):
    ...     return pf.ode.solve(lambda t, y: 2 * y, y, 0.0, 1.0, adjoint=Clipped())
    >>> jax.grad(lambda y: end(y).y1.sum())(jnp.ones(2)).tolist()
    [1.0, 1.0]

    ```
    """

    @property
    def keeps_all(self) -> bool:
        """Whether gradients reach the polynomials of all steps, as `dense=True` needs."""
        return True

    @property
    def packs(self) -> bool:
        """Whether a state of several arrays is one array on the way."""
        return True

    @property
    def implicit(self) -> bool:
        """Whether it differentiates implicit methods."""
        return True

    def calls(self, control: Control) -> int | None:
        """Calls of the field and its derivative that the gradient of a step takes; None where nobody knows before.

        Arguments:
            control: the method, and what decides its steps.
        """
        return len(control.tableau.a) - control.tableau.reuses_last

    def forward(self, run: Run, y: State, h: Array, keep: bool) -> Walk:
        """Take the steps.

        Arguments:
            run: the solve; `run.walk` takes its steps.
            y: the state at the start.
            h: the first step; NaN to find one.
            keep: whether there will be a gradient.
        """
        return run.walk(y, h)

    def backward(
        self, run: Run, y: State, walked: Walk, given: Given
    ) -> tuple[Held, State, Array | None]:
        """The gradients with respect to what the run holds, to the state at the start, and to the marks, if any.

        Arguments:
            run: the solve.
            y: the state at the start.
            walked: what `forward` returned.
            given: the gradients with respect to the end and to what was seen on the way.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither backward nor advance")

    def advance(self, run: Run, y: State, h: Array) -> Advanced:
        """Solve, differentiable by `forward` and `backward`.

        Arguments:
            run: the solve.
            y: the state at the start.
            h: the first step; NaN to find one.
        """
        inputs = (run.held, y, run.marks)
        found: Advanced = _solved(inputs, run.rest, run.watch, self, run.control, h)
        return found


def advanced(at: Walk) -> Advanced:
    """What the steps led to."""
    y, noted = at.y, None
    if at.seen is not None:
        seen, record, steps = at.seen, at.record, None
        if seen.event is not None:
            y = select(seen.event >= 0, seen.end, y)
        if seen.polynomials is not None:
            steps = Steps(seen.polynomials, record.starts, record.sizes, record.taken)
        noted = Noted(
            *(seen.ys, seen.next, seen.event, seen.end_rate, seen.signs, seen.looked, steps)
        )
    return Advanced(y, at.h, at.calls, at.accepted, at.rejected, at.status, at.s, noted)


@eqx.filter_custom_vjp
def _solved(
    inputs: tuple[Held, State, Array | None],
    rest: Any,
    watch: Watch | None,
    adjoint: Adjoint,
    control: Control,
    h: Array,
) -> Advanced:
    held, y, marks = inputs
    return advanced(adjoint.forward(Run(held, rest, control, marks, watch), y, h, False))


@_solved.def_fwd  # type: ignore[untyped-decorator]
def _solved_forward(
    perturbed: Any,
    inputs: tuple[Held, State, Array | None],
    rest: Any,
    watch: Watch | None,
    adjoint: Adjoint,
    control: Control,
    h: Array,
) -> tuple[Advanced, Walk]:
    held, y, marks = inputs
    at = adjoint.forward(Run(held, rest, control, marks, watch), y, h, True)
    return advanced(at), at


@_solved.def_bwd  # type: ignore[untyped-decorator]
def _solved_backward(
    at: Walk,
    cotangent: Advanced,
    perturbed: Any,
    inputs: tuple[Held, State, Array | None],
    rest: Any,
    watch: Watch | None,
    adjoint: Adjoint,
    control: Control,
    h: Array,
) -> tuple[Held, State, Array | None]:
    held, y, marks = inputs

    def filled(given: Any, like: Any) -> Any:
        return jax.tree.map(
            lambda g, leaf: jnp.zeros_like(leaf) if g is None else g,
            given,
            like,
            is_leaf=lambda g: g is None,
        )

    given, seen = Given(filled(cotangent.y, y)), at.seen
    if seen is not None:
        noted = cotangent.noted
        assert noted is not None
        given = given._replace(ys=filled(noted.ys, seen.ys))
        if seen.polynomials is not None:
            steps = noted.steps
            assert steps is not None
            given = given._replace(polynomials=filled(steps.polynomials, seen.polynomials))
    return adjoint.backward(Run(held, rest, control, marks, watch), y, at, given)
