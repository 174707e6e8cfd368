"""Initial-value problems: explicit Runge-Kutta methods, step control, and gradients through the solution."""

from pushforward.deprecated import renamed
from pushforward.errors import SolveError
from pushforward.ode.adjoint import Adjoint
from pushforward.ode.adjoints import ADJOINTS, Backsolve, Direct, RecomputeSteps, Reversible
from pushforward.ode.events import Event, Jumps
from pushforward.ode.layer import ODELayer
from pushforward.ode.methods import METHODS
from pushforward.ode.radau import Radau
from pushforward.ode.solution import Solution, Stats
from pushforward.ode.solve import Adjoints, backsolve, solve
from pushforward.ode.solver import Solver, with_solver
from pushforward.ode.tableaus import Tableau

__all__ = [
    "ADJOINTS",
    "METHODS",
    "Adjoint",
    "Adjoints",
    "Backsolve",
    "Direct",
    "Event",
    "Jumps",
    "ODELayer",
    "Radau",
    "RecomputeSteps",
    "Reversible",
    "Solution",
    "SolveError",
    "Solver",
    "Stats",
    "Tableau",
    "backsolve",
    "solve",
    "with_solver",
]

__getattr__ = renamed(__name__, {"Checkpoint": "pushforward.ode:RecomputeSteps"})
