"""How an equation that a model holds is solved."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Solver:
    """How a model solves its equation: the arguments of `ode.solve`, as a record.

    Arguments:
        method: name of the method; default "dopri5".
        rtol, atol: tolerances; default 1e-5 each.
        steps: a number of equal steps in place of tolerances; default None.
        adjoint: of the gradient; default "checkpoint".
        max_steps: most tries of a step; default 1000.
    """

    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    steps: int | None = None
    adjoint: str = "checkpoint"
    max_steps: int = 1000

    def options(self, per_row: bool) -> dict[str, Any]:
        """The arguments of `ode.solve`; tolerances are each row's or the batch's."""
        shared = self.steps is not None or not per_row
        return {**asdict(self), "control": "shared" if shared else "per_row"}
