"""How a model solves the equations that it holds."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward.configuration import configuration
from pushforward.errors import InputError
from pushforward.ode.methods import METHODS
from pushforward.ode.radau import Radau


@configuration
class Solver:
    """How a model solves its equation: the arguments of `ode.solve`, as a record, with the same defaults.

    Arguments:
        method: as of `solve`, by name where the model is to be saved; default "dopri5".
        rtol, atol: tolerances, numbers or, for each component of an array's last axis, sequences; default 1e-5 each.
        steps: a number of equal steps in place of tolerances; default None.
        adjoint: of the gradient; default "checkpoint".
        max_steps: most tries of a step; default 4096.
        min_step, max_step, pid: as of `solve`; default None.
    """

    method: str | Any = "dopri5"
    rtol: float | tuple[float, ...] = 1e-5
    atol: float | tuple[float, ...] = 1e-5
    steps: int | None = None
    adjoint: str | Any = "checkpoint"
    max_steps: int = 4096
    min_step: float | None = None
    max_step: float | None = None
    pid: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        # A model holds its solver as static data, and files have lists where tuples were.
        for name in ("rtol", "atol", "pid"):
            value = getattr(self, name)
            if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
                object.__setattr__(self, name, tuple(float(v) for v in value))

    def options(self, per_row: bool, rows: bool = True) -> dict[str, Any]:
        """The arguments of `ode.solve`; tolerances are each row's or the batch's.

        Arguments:
            per_row: whether rows have their own steps.
            rows: whether the leading axis is one of rows, each of which an implicit method solves by itself.
        """
        if isinstance(
            METHODS.get(self.method) if isinstance(self.method, str) else self.method, Radau
        ):
            shared = not rows
        else:
            shared = self.steps is not None or not per_row
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("rtol", "atol"):
            if isinstance(given[name], tuple):
                given[name] = np.array(given[name])
        return {**given, "control": "shared" if shared else "per_row"}


def with_solver(model: Any, **changes: Any) -> Any:
    """The same model with its equations solved in another way: continuous maps, ODE layers, all that has a `Solver`.

    Arguments:
        model: a module or a pytree of modules, any of which has a field `solver` of type `Solver`; or what has such a
            flow: a fitted estimator, a `TableModel`.
        changes: fields of `Solver`: `rtol`, `atol`, `method`, `steps`, `adjoint`, `max_steps`, `min_step`, `max_step`,
            `pid`.

    Raises `InputError` for other names, or a model that solves no equation.

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.FFJORD(width=8).build(2, key=jax.random.key(0))
    >>> coarse = pf.ode.with_solver(flow, method="rk4", steps=4)
    >>> coarse.bijection.layer.solver.steps
    4

    ```
    """
    known = [field.name for field in fields(Solver)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise InputError(f"{unknown[0]!r} is not a field of Solver; known: {', '.join(known)}")
    if hasattr(model, "with_flow"):
        return model.with_flow(partial(with_solver, **changes))
    if not holds_solver(model):
        raise InputError("the model holds no continuous map, no ODE layer, nothing with a solver")

    def changed(node: Any) -> Any:
        if not _solves(node):
            return node
        # Rebuilt as a pytree is: a constructor would compute things anew.
        made = object.__new__(type(node))
        for field in fields(node):
            value = getattr(node, field.name)
            if field.name == "solver":
                value = replace(value, **changes)
            elif not field.metadata.get("static", False):
                value = below(value)
            object.__setattr__(made, field.name, value)
        return made

    def below(tree: Any) -> Any:
        return jax.tree.map(changed, tree, is_leaf=_solves)

    return below(model)


def holds_solver(model: Any) -> bool:
    """Whether a model solves an equation anywhere: a continuous map, an ODE layer, whatever has a `Solver`."""
    return any(map(_solves, jax.tree.leaves(model, is_leaf=_solves)))


def _solves(node: Any) -> bool:
    return isinstance(node, eqx.Module) and isinstance(getattr(node, "solver", None), Solver)
