"""Invertible maps with tractable log-determinants."""

from pushforward.bijections import images
from pushforward.bijections.actnorm import ActNorm
from pushforward.bijections.amortized import Amortized
from pushforward.bijections.autoregressive import Autoregressive
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.batch_norm import BatchNorm
from pushforward.bijections.block_autoregressive import BlockAutoregressive
from pushforward.bijections.chain import Chain, Invert, Stack, with_remat
from pushforward.bijections.coupling import Coupling
from pushforward.bijections.cylinder import Cylinder
from pushforward.bijections.elementwise import Elementwise
from pushforward.bijections.embedded import Embedded
from pushforward.bijections.flow_map import FlowMap
from pushforward.bijections.initialise import has_statistics, initialised, with_statistics
from pushforward.bijections.linear import ActLinear, LULinear
from pushforward.bijections.margins import Margins
from pushforward.bijections.orthogonal import Householder, QRLinear
from pushforward.bijections.permutation import Permutation, Reverse
from pushforward.bijections.planar import Planar
from pushforward.bijections.radial import Radial
from pushforward.bijections.recurrent import Recurrent
from pushforward.bijections.reshape import Reshape
from pushforward.bijections.residual import Residual
from pushforward.bijections.soft_tails import SoftTails
from pushforward.bijections.squash import Power, Sigmoid, Softplus
from pushforward.bijections.sylvester import Sylvester
from pushforward.deprecated import renamed
from pushforward.numeric import increasing_root
from pushforward.transformers import __all__ as _TRANSFORMERS

__all__ = [
    "AbstractBijection",
    "ActLinear",
    "ActNorm",
    "Amortized",
    "Autoregressive",
    "BatchNorm",
    "BlockAutoregressive",
    "Chain",
    "Coupling",
    "Cylinder",
    "Elementwise",
    "Embedded",
    "FlowMap",
    "Householder",
    "Invert",
    "LULinear",
    "Margins",
    "Permutation",
    "Planar",
    "Power",
    "QRLinear",
    "Radial",
    "Recurrent",
    "Reshape",
    "Residual",
    "Reverse",
    "Sigmoid",
    "SoftTails",
    "Softplus",
    "Stack",
    "Sylvester",
    "has_statistics",
    "images",
    "increasing_root",
    "initialised",
    "with_remat",
    "with_statistics",
]

__getattr__ = renamed(
    __name__,
    {"transformers": "pushforward:transformers", "Continuous": "pushforward.bijections:FlowMap"}
    | {name: f"pushforward.transformers:{name}" for name in _TRANSFORMERS},
)
