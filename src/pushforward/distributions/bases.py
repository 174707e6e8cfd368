"""Base distributions by name."""

from collections.abc import Callable

from jaxtyping import PRNGKeyArray

from pushforward.bijections.logit import Logit
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.flow import Flow
from pushforward.distributions.mixture import GaussianMixture
from pushforward.distributions.resampled import Resampled
from pushforward.distributions.standard_normal import StandardNormal
from pushforward.distributions.student_t import StudentT
from pushforward.distributions.uniform import Uniform
from pushforward.errors import InputError
from pushforward.rows import Shape


def _uniform(event: Shape, key: PRNGKeyArray) -> AbstractDistribution:
    """The uniform distribution on the unit cube, taken to the real line by the logit: positive everywhere."""
    # In a bare box most rows of an untrained flow would have density 0 and no gradient.
    return Flow(Uniform(event), Logit(event))


BASES: dict[str, Callable[[Shape, PRNGKeyArray], AbstractDistribution]] = {
    "normal": lambda event, key: StandardNormal(event),
    "student_t": lambda event, key: StudentT(event),
    "uniform": _uniform,
    "mixture": lambda event, key: GaussianMixture(event, key=key),
    "resampled": lambda event, key: Resampled(event, key=key),
}


def base_named(name: str, event: Shape, key: PRNGKeyArray) -> AbstractDistribution:
    """The base distribution of that name for events of a shape. Raises `InputError` listing the known names."""
    if name not in BASES:
        raise InputError(f"base {name!r} is unknown; known: {', '.join(BASES)}")
    return BASES[name](event, key)
