"""Families of increasing scalar maps, one a file, and their registry."""

from pushforward.transformers.additive import Additive
from pushforward.transformers.affine import Affine
from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.bernstein import Bernstein
from pushforward.transformers.circular_spline import CircularSpline
from pushforward.transformers.cubic_spline import CubicSpline
from pushforward.transformers.deep_sigmoid import DeepSigmoid
from pushforward.transformers.dense_sigmoid import DenseSigmoid
from pushforward.transformers.gated import Gated
from pushforward.transformers.gaussian_mixture import GaussianMixtureCDF
from pushforward.transformers.integral import Integral
from pushforward.transformers.level_spline import LevelSpline
from pushforward.transformers.linear_spline import LinearSpline
from pushforward.transformers.logistic_mixture import LogisticMixtureCDF
from pushforward.transformers.quadratic_spline import QuadraticSpline
from pushforward.transformers.rational_quadratic import RationalQuadratic
from pushforward.transformers.sum_of_squares import SumOfSquares

TRANSFORMERS: dict[str, type[AbstractTransformer]] = {
    "additive": Additive,
    "affine": Affine,
    "gated": Gated,
    "level_spline": LevelSpline,
    "linear_spline": LinearSpline,
    "quadratic_spline": QuadraticSpline,
    "cubic_spline": CubicSpline,
    "rational_quadratic": RationalQuadratic,
    "circular_spline": CircularSpline,
    "sum_of_squares": SumOfSquares,
    "bernstein": Bernstein,
    "integral": Integral,
    "deep_sigmoid": DeepSigmoid,
    "dense_sigmoid": DenseSigmoid,
    "gaussian_mixture": GaussianMixtureCDF,
    "logistic_mixture": LogisticMixtureCDF,
}

__all__ = [
    "TRANSFORMERS",
    "AbstractTransformer",
    "Additive",
    "Affine",
    "Bernstein",
    "CircularSpline",
    "CubicSpline",
    "DeepSigmoid",
    "DenseSigmoid",
    "Gated",
    "GaussianMixtureCDF",
    "Integral",
    "LevelSpline",
    "LinearSpline",
    "LogisticMixtureCDF",
    "QuadraticSpline",
    "RationalQuadratic",
    "SumOfSquares",
]
