"""How a model solves the equations that it holds."""

from dataclasses import fields, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax

from pushforward.configuration import configuration
from pushforward.errors import InputError


@configuration
class Solver:
    """How a model solves its equation: the arguments of `ode.solve`, as a record, with the same defaults.

    Arguments:
        method: as of `solve`, by name where the model is to be saved; default "dopri5".
        rtol, atol: tolerances; default 1e-5 each.
        steps: a number of equal steps in place of tolerances; default None.
        adjoint: of the gradient; default "checkpoint".
        max_steps: most tries of a step; default 4096.
    """

    method: str | Any = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    steps: int | None = None
    adjoint: str | Any = "checkpoint"
    max_steps: int = 4096

    def options(self, per_row: bool) -> dict[str, Any]:
        """The arguments of `ode.solve`; tolerances are each row's or the batch's."""
        shared = self.steps is not None or not per_row
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**given, "control": "shared" if shared else "per_row"}


def with_solver(model: Any, **changes: Any) -> Any:
    """The same model with its equations solved in another way: continuous maps, ODE layers, all that has a `Solver`.

    Arguments:
        model: a module or a pytree of modules, any of which has a field `solver` of type `Solver`; or what has such a
            flow: a fitted estimator, a `TableModel`.
        changes: fields of `Solver`: `rtol`, `atol`, `method`, `steps`, `adjoint`, `max_steps`.

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
