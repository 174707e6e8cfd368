"""Base distributions, and the flow: a base pushed through a bijection."""

from pushforward.deprecated import renamed
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.bases import BASES, base_named
from pushforward.distributions.dequantized import Dequantized
from pushforward.distributions.flow import Flow
from pushforward.distributions.mixture import GaussianMixture
from pushforward.distributions.product import Product
from pushforward.distributions.resampled import Resampled
from pushforward.distributions.standard_normal import StandardNormal
from pushforward.distributions.student_t import StudentT
from pushforward.distributions.torus import UniformTorus
from pushforward.distributions.uniform import Uniform

__all__ = [
    "BASES",
    "AbstractDistribution",
    "Dequantized",
    "Flow",
    "GaussianMixture",
    "Product",
    "Resampled",
    "StandardNormal",
    "StudentT",
    "Uniform",
    "UniformTorus",
    "base_named",
]

__getattr__ = renamed(__name__, {"Normal": "pushforward.distributions:StandardNormal"})
