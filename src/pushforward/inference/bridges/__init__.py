"""Targets from models of NumPyro, PyMC and Stan. Each library is imported when its function is called."""

from pushforward.inference.bridges.numpyro import from_numpyro
from pushforward.inference.bridges.pymc import from_pymc
from pushforward.inference.bridges.stan import from_stan

__all__ = ["from_numpyro", "from_pymc", "from_stan"]
