"""Invertible maps with tractable log-determinants."""

from pushforward.bijections.actnorm import ActNorm
from pushforward.bijections.autoregressive import Autoregressive
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.chain import Chain, Invert, Stack, with_remat
from pushforward.bijections.coupling import Coupling
from pushforward.bijections.elementwise import Elementwise
from pushforward.bijections.initialise import initialised
from pushforward.bijections.linear import LULinear
from pushforward.bijections.numeric import increasing_root
from pushforward.bijections.permutation import Permutation, Reverse
from pushforward.bijections.soft_tails import SoftTails
from pushforward.bijections.squash import Power, Sigmoid, Softplus
from pushforward.bijections.transformers import (
    TRANSFORMERS,
    AbstractTransformer,
    Additive,
    Affine,
    RationalQuadratic,
)

__all__ = [
    "TRANSFORMERS",
    "AbstractBijection",
    "AbstractTransformer",
    "ActNorm",
    "Additive",
    "Affine",
    "Autoregressive",
    "Chain",
    "Coupling",
    "Elementwise",
    "Invert",
    "LULinear",
    "Permutation",
    "Power",
    "RationalQuadratic",
    "Reverse",
    "Sigmoid",
    "SoftTails",
    "Softplus",
    "Stack",
    "increasing_root",
    "initialised",
    "with_remat",
]
