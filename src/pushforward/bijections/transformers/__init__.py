"""Families of increasing scalar maps, one a file, and their registry."""

from pushforward.bijections.transformers.additive import Additive
from pushforward.bijections.transformers.affine import Affine
from pushforward.bijections.transformers.base import AbstractTransformer
from pushforward.bijections.transformers.bernstein import Bernstein
from pushforward.bijections.transformers.circular_spline import CircularSpline
from pushforward.bijections.transformers.cubic_spline import CubicSpline
from pushforward.bijections.transformers.deep_sigmoid import DeepSigmoid
from pushforward.bijections.transformers.dense_sigmoid import DenseSigmoid
from pushforward.bijections.transformers.gated import Gated
from pushforward.bijections.transformers.gaussian_mixture import GaussianMixtureCDF
from pushforward.bijections.transformers.integral import Integral
from pushforward.bijections.transformers.linear_spline import LinearSpline
from pushforward.bijections.transformers.logistic_mixture import LogisticMixtureCDF
from pushforward.bijections.transformers.quadratic_spline import QuadraticSpline
from pushforward.bijections.transformers.rational_quadratic import RationalQuadratic
from pushforward.bijections.transformers.sum_of_squares import SumOfSquares

TRANSFORMERS: dict[str, type[AbstractTransformer]] = {
    "additive": Additive,
    "affine": Affine,
    "gated": Gated,
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
    "LinearSpline",
    "LogisticMixtureCDF",
    "QuadraticSpline",
    "RationalQuadratic",
    "SumOfSquares",
]
