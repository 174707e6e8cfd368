"""Methods by name."""

from pushforward.ode.rosenbrock import RODAS5P, Rosenbrock
from pushforward.ode.tableaus import EXPLICIT, Tableau

Method = Tableau | Rosenbrock
METHODS: dict[str, Method] = {**EXPLICIT, "rodas5p": RODAS5P}
"""Methods by name: the explicit ones, and Rodas5P for stiff fields (Steinebach 2023, order 5, L-stable)."""
