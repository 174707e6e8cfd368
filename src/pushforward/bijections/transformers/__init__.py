"""Families of increasing scalar maps, one a file, and their registry."""

from pushforward.bijections.transformers.additive import Additive
from pushforward.bijections.transformers.affine import Affine
from pushforward.bijections.transformers.base import AbstractTransformer
from pushforward.bijections.transformers.gated import Gated
from pushforward.bijections.transformers.rational_quadratic import RationalQuadratic

TRANSFORMERS: dict[str, type[AbstractTransformer]] = {
    "additive": Additive,
    "affine": Affine,
    "gated": Gated,
    "rational_quadratic": RationalQuadratic,
}

__all__ = ["TRANSFORMERS", "AbstractTransformer", "Additive", "Affine", "Gated", "RationalQuadratic"]
