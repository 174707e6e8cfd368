"""Base distributions, and the flow: a base pushed through a bijection."""

from collections.abc import Callable

from jaxtyping import PRNGKeyArray

from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.flow import Flow
from pushforward.distributions.mixture import GaussianMixture
from pushforward.distributions.normal import Normal
from pushforward.distributions.student_t import StudentT
from pushforward.distributions.uniform import Uniform
from pushforward.errors import InputError
from pushforward.rows import Shape

BASES: dict[str, Callable[[Shape, PRNGKeyArray], AbstractDistribution]] = {
    "normal": lambda event, key: Normal(event),
    "student_t": lambda event, key: StudentT(event),
    # Standardised data has to fit into the box: ten robust deviations either side, then the soft tails.
    "uniform": lambda event, key: Uniform(event, low=-15.0, high=15.0),
    "mixture": lambda event, key: GaussianMixture(event, key=key),
}


def base_named(name: str, event: Shape, key: PRNGKeyArray) -> AbstractDistribution:
    """The base distribution of that name for events of a shape. Raises `InputError` listing the known names."""
    if name not in BASES:
        raise InputError(f"base {name!r} is unknown; known: {', '.join(BASES)}")
    return BASES[name](event, key)


__all__ = [
    "BASES",
    "AbstractDistribution",
    "Flow",
    "GaussianMixture",
    "Normal",
    "StudentT",
    "Uniform",
    "base_named",
]
