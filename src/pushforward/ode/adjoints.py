"""Four ways to differentiate a solve, which differ in the memory they take."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.ode.adjoint import Adjoint, Advanced, Held, Run, Steps, advanced
from pushforward.ode.control import Control
from pushforward.ode.interpolation import dot, polynomial, spread, value
from pushforward.ode.loop import Walk, step_polynomial, walk
from pushforward.ode.reading import Given, begin, read_back
from pushforward.ode.replay import Extra, plus, replayed, zeros
from pushforward.ode.step import State, along_rows, increment, moved, parts, select, stages
from pushforward.ode.watch import lane


@dataclass(frozen=True)
class RecomputeSteps(Adjoint):
    """Keep the states before some of the steps; going backwards, take each step again and differentiate it.

    The gradient is the discrete solution's, to rounding. Memory: `slots` states, however many steps there are. Up to
    `slots` steps every state is kept; beyond that each step is computed once more.
    """

    slots: int = 64

    def _room(self, control: Control) -> int:
        # An even number, so that every second state is half of them.
        return min(self.slots + self.slots % 2, max(control.most, 2))

    def forward(self, run: Run, y: State, h: Array, keep: bool) -> Walk:
        return run.walk(y, h, slots=self._room(run.control) if keep else 0)

    def backward(
        self, run: Run, y: State, walked: Walk, given: Given
    ) -> tuple[Held, State, Array | None]:
        seen, control, slots = walked.seen, run.control, self._room(run.control)
        after = given.after(seen)

        def reader(
            step: Array, h: Array, y: State, slopes: State, total: Any, reading: Any
        ) -> tuple[Any, Extra, Any]:
            assert seen is not None
            found = polynomial(control.tableau, h, y, slopes)
            total, bar, some, reading = read_back(run, seen, given, step, h, found, total, reading)
            return total, Extra(*spread(control.tableau, h, bar), some), reading

        by_held, by_y, reading = replayed(
            run.slope_of,
            run.held,
            y,
            control,
            walked.record,
            slots,
            after,
            None if seen is None else reader,
            begin(seen, run.marks),
        )
        return by_held, by_y, None if reading is None else reading.marks


@dataclass(frozen=True)
class Direct(Adjoint):
    """Differentiate through the stored steps: derivatives of any order, in forward mode too.

    Memory and, with adaptive steps, time grow with `max_steps`.
    """

    @property
    def packs(self) -> bool:
        return False

    def advance(self, run: Run, y: State, h: Array) -> Advanced:
        """The steps as a scan: adaptive ones are found without gradients first, then taken."""
        slope, control = run.slope, run.control
        held, y_fixed, h_fixed, marks = jax.lax.stop_gradient((run.held, y, h, run.marks))
        fixed = run._replace(held=held, marks=marks)
        found = fixed.walk(y_fixed, h_fixed, keep_times=True)
        record = jax.lax.stop_gradient(found.record)

        def one(carry: Any, at: Any) -> Any:
            y, k = carry
            s, h = at
            slopes = stages(slope, control.tableau, s, h, y, k)
            here = h != 0
            k = None if k is None else select(here, slopes[-1], k)
            between = None
            if run.watch is not None:
                stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *slopes)
                between = polynomial(control.tableau, h, y, stacked)
            return (select(here, moved(y, h, slopes, control.tableau.b), y), k), between

        k = slope(jnp.zeros_like(found.s), y) if control.tableau.reuses_last else None
        used = jnp.arange(record.starts.shape[0], dtype=jnp.int32) < record.taken
        used = used.reshape(-1, *[1] * (record.starts.ndim - 1))
        sizes = jnp.where(used, record.sizes, 0.0)
        (y, _), between = jax.lax.scan(one, (y, k), (record.starts, sizes))
        found = found._replace(seen=jax.lax.stop_gradient(found.seen))
        end = advanced(found)
        if found.seen is None or end.noted is None:
            return end._replace(y=y)
        seen, noted = found.seen, end.noted
        if seen.event is not None:
            assert seen.end_step is not None
            assert seen.end_fraction is not None
            last_step = jnp.maximum(seen.end_step, 0)
            last = jax.tree.map(lambda leaf: _lane_of(leaf, last_step), between)
            y = select(seen.event >= 0, value(last, seen.end_fraction), y)
        if run.marks is not None and len(run.marks):
            save = run.save_of(run.held)

            def noting(_: None, at: Any) -> tuple[None, Any]:
                mark, step = at
                inside, step = step >= 0, jnp.maximum(step, 0)
                h = _number_of(record.sizes, step)
                u = (mark - _number_of(record.starts, step)) / jnp.where(h > 0, h, 1.0)
                u = jnp.where((h > 0) & inside, u, 0.0)
                here = jax.tree.map(lambda leaf: _lane_of(leaf, step), between)
                return None, save(mark, value(here, u))

            noted = noted._replace(ys=jax.lax.scan(noting, None, (run.marks, seen.steps))[1])
        if noted.steps is not None:
            steps = Steps(between, record.starts, record.sizes, record.taken)
            noted = noted._replace(steps=steps)
        return end._replace(y=y, noted=noted)


def _number_of(values: Array, step: Array) -> Array:
    """A step's number, where all rows have the same steps or each its own."""
    found: Array = values[step] if values.ndim == 1 else lane(values, step)
    return found


def _lane_of(between: Array, step: Array) -> Array:
    """A step's coefficients, or those of each row's own step."""
    if step.ndim == 0:
        one: Array = jax.lax.dynamic_index_in_dim(between, step, 0, False)
        return one
    found = between[step, :, jnp.arange(len(step), dtype=step.dtype)]
    return jnp.moveaxis(found, 0, 1)


@dataclass(frozen=True)
class Backsolve(Adjoint):
    """The adjoint sensitivity method: solve state, adjoint and parameter integral backwards in time together.

    Memory does not grow with the number of steps. The gradient has its own error, about the tolerance, and more where
    the equation contracts: what contracts forwards explodes backwards. Backwards the solve stops at every time of `at`.

    Arguments:
        seminorm: leave the parameter integral out of the error estimate (Kidger et al. 2021, arXiv 2009.09457), which
            saves steps; default True.

    Source: Chen et al. 2018, arXiv 1806.07366; Pontryagin et al. 1962.
    """

    seminorm: bool = True

    @property
    def implicit(self) -> bool:
        return False

    @property
    def keeps_all(self) -> bool:
        return False

    def calls(self, control: Control) -> int | None:
        return None

    def backward(
        self, run: Run, y: State, walked: Walk, given: Given
    ) -> tuple[Held, State, Array | None]:
        seen = walked.seen
        if seen is None:
            return (*backsolved(self, run, walked.y, given.y)[0], None)
        assert run.marks is not None
        end = walked.y if seen.event is None else select(seen.event >= 0, seen.end, walked.y)
        reached = jnp.broadcast_to(
            walked.s, jnp.broadcast_shapes(walked.s.shape, run.marks.shape[1:])
        )
        edges = jnp.concatenate([jnp.clip(run.marks, 0.0, reached[None]), reached[None]])
        numbers = jnp.arange(len(run.marks), dtype=jnp.int32)
        numbers = numbers.reshape(-1, *[1] * seen.next.ndim)
        noted = (numbers >= run.watch.begin[None]) & (numbers < seen.next[None])  # type: ignore[union-attr]

        def back(carry: Any, at: Any) -> Any:
            low, high, mark = at
            length = (high - low).max()

            def solved(carry: Any) -> Any:
                y, bar, total, h = carry
                (more, bar), end = backsolved(self, run, y, bar, (low, high), h / length)
                return end.y[0], bar, plus(total, more), end.h * length

            y, bar, total, h = jax.lax.cond(length > 0, solved, lambda carry: carry, carry)
            if mark is None:
                return (y, bar, total, h), None
            mark, here, of_saved, saved = mark
            of_state, of_mark = of_saved, jnp.zeros_like(mark)
            if run.saves:
                _, pull = jax.vjp(lambda *a: run.save_of(a[0])(*a[1:]), run.held, mark, y)
                more, of_mark, of_state = pull(of_saved)
                total = plus(total, more)
            else:
                # The state as it was found forwards is better than the one found backwards.
                y = select(here, saved, y)
            slope = dot(of_state, run.slope(mark, y), mark.ndim).astype(mark.dtype)
            return (y, plus(bar, of_state), total, h), of_mark + slope

        carry = (end, given.y, zeros(run.held), jnp.asarray(jnp.nan, run.marks.dtype))
        marks = (run.marks, noted, given.ys, seen.ys)
        by_marks = jnp.zeros_like(run.marks)
        if len(run.marks):
            steps = (edges[:-1], edges[1:], marks)
            carry, by_marks = jax.lax.scan(back, carry, steps, reverse=True)
        (_, bar, total, _), _ = back(carry, (jnp.zeros_like(reached), edges[0], None))
        return total, bar, by_marks


def backsolved(
    adjoint: Backsolve,
    run: Run,
    end: State,
    given: State,
    part: tuple[Array, Array] | None = None,
    h: Array | None = None,
) -> tuple[tuple[Held, State], Walk]:
    """State, adjoint and the integrals of parameters and times, from 1 to 0, or over a `part`, backwards too."""

    def slope(r: Array, state: Any) -> Any:
        y, adjoint_state, _ = state

        def move(held: Held, y: State) -> State:
            if part is None:
                return run.slope_of(held)(1.0 - r, y)
            low, high = part
            found = run.slope_of(held)(high - r * (high - low), y)
            return jax.tree.map(lambda k: along_rows(high - low, k).astype(k.dtype) * k, found)

        moves, pull = jax.vjp(move, run.held, y)
        of_held, of_y = pull(adjoint_state)
        return jax.tree.map(jnp.negative, moves), of_y, of_held

    control = replace(run.control, per_row=False)
    first = jnp.asarray(jnp.nan) if h is None else h
    ignored = 1 if adjoint.seminorm else 0
    limits = None
    if part is None:
        limits = control.limits(*run.held[1])
    elif control.max_step is not None or control.min_step is not None:
        length = run.held[1][1] - run.held[1][0]
        limits = control.limits(*(length * jax.lax.stop_gradient(s) for s in part))
    at = walk(slope, (end, given, zeros(run.held)), control, first, ignored=ignored, limits=limits)
    _, y_bar, total = at.y
    lost = at.status > 0
    total, y_bar = jax.tree.map(lambda g: jnp.where(lost, jnp.nan, g), (total, y_bar))
    return (total, y_bar), at


@dataclass(frozen=True)
class Reversible(Adjoint):
    """Step a pair of states in turn, which can be undone exactly: gradients to rounding, in constant memory.

    The method keeps its order, and a step costs twice as much. Going backwards, states are recomputed up to rounding.

    Arguments:
        coupling: of the two states, within (0, 1): nearer to 1 it loses fewer digits, nearer to 0 it damps more;
            default 0.999.

    Source: McCallum & Foster 2024, arXiv 2410.11648.
    """

    coupling: float = 0.999

    @property
    def implicit(self) -> bool:
        return False

    def calls(self, control: Control) -> int | None:
        return 2 * (len(control.tableau.a) - control.tableau.reuses_last)

    def forward(self, run: Run, y: State, h: Array, keep: bool) -> Walk:
        return run.walk(y, h, coupling=self.coupling, keep_times=keep)

    def backward(
        self, run: Run, y: State, walked: Walk, given: Given
    ) -> tuple[Held, State, Array | None]:
        """Step by step backwards, each state from the next."""
        mix, record, control, seen = self.coupling, walked.record, run.control, walked.seen
        tableau = control.tableau

        def added(s: Array, h: Array, held: Held, y: State) -> State:
            return increment(run.slope_of(held), tableau, s, h, y)

        def stacked(s: Array, h: Array, held: Held, y: State) -> State:
            found = stages(run.slope_of(held), tableau, s, h, y)
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)

        def one(i: Array, carry: Any) -> Any:
            y1, z1, y_bar, z_bar, total, reading = carry
            n = record.taken - 1 - i
            s, h = record.starts[n], record.sizes[n]
            here = h != 0
            # z1 = z0 - F(s + h, -h, y1)
            change, pull = jax.vjp(partial(added, s + h, -h), run.held, y1)
            z0 = plus(z1, change)
            of_held, of_y = pull(jax.tree.map(jnp.negative, z_bar))
            total, y_bar_1 = plus(total, of_held), plus(y_bar, of_y)
            # y1 = mix y0 + (1 - mix) z0 + F(s, h, z0)
            bar = None
            if seen is None:
                change, pull = jax.vjp(partial(added, s, h), run.held, z0)
            else:
                slopes, pull = jax.vjp(partial(stacked, s, h), run.held, z0)
                change = moved(zeros(z0), h, parts(slopes, len(tableau.a)), tableau.b)
            y0 = jax.tree.map(lambda y, z, c: (y - (1 - mix) * z - c) / mix, y1, z0, change)
            if seen is None:
                of_held, of_z = pull(y_bar_1)
            else:
                found = step_polynomial(control, mix, h, y0, z0, slopes)
                total, bar, _, reading = read_back(run, seen, given, n, h, found, total, reading)
                _, of_slopes = spread(tableau, h, bar)
                own = jax.tree.map(
                    lambda g: jnp.stack(
                        [along_rows(h, g).astype(g.dtype) * b * g for b in tableau.b]
                    ),
                    y_bar_1,
                )
                of_held, of_z = pull(plus(of_slopes, own))
            total = plus(total, of_held)
            z_bar_0 = jax.tree.map(lambda a, b, c: a + b + (1 - mix) * c, z_bar, of_z, y_bar_1)
            y_bar_0 = jax.tree.map(lambda g: mix * g, y_bar_1)
            if bar is not None:
                y_bar_0 = jax.tree.map(lambda g, b: g + b[0] - (1 - mix) * b[1], y_bar_0, bar)
                z_bar_0 = jax.tree.map(lambda g, b: g + (1 - mix) * b[1], z_bar_0, bar)
            # A row without a step stays as it is: the pair is not mixed for it either.
            pairs = ((y0, y1), (z0, z1), (y_bar_0, y_bar), (z_bar_0, z_bar))
            return (*(select(here, new, old) for new, old in pairs), total, reading)

        after = given.after(seen)
        start = (
            *(walked.y, walked.twin, after, zeros(after), zeros(run.held)),
            begin(seen, run.marks),
        )
        _, _, y_bar, z_bar, total, reading = jax.lax.fori_loop(0, record.taken, one, start)
        return total, plus(y_bar, z_bar), None if reading is None else reading.marks


ADJOINTS: dict[str, Adjoint] = {
    "checkpoint": RecomputeSteps(),
    "direct": Direct(),
    "backsolve": Backsolve(),
    "reversible": Reversible(),
}
