"""Methods by name."""

from pushforward.ode.radau import Radau
from pushforward.ode.tableaus import EXPLICIT, Tableau

Method = Tableau | Radau
METHODS: dict[str, Method] = {**EXPLICIT, "radau5": Radau()}
"""Methods by name: the explicit ones, and Radau IIA of order 5 for stiff fields."""
