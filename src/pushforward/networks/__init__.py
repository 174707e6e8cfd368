"""Networks: features stand on the leading axis and rows on the last; images have their channels last."""

from pushforward.deprecated import renamed
from pushforward.networks.causal import CausalTransformer
from pushforward.networks.contraction import AbstractContraction
from pushforward.networks.convolutional import Conv, ConvBlock, GroupNorm, ResidualBlocks, squeeze
from pushforward.networks.deep_sets import DeepSets
from pushforward.networks.gated import GatedNetwork
from pushforward.networks.images import ImageNetwork
from pushforward.networks.lipschitz import LipschitzMLP
from pushforward.networks.lipschitz_conv import LipschitzConv
from pushforward.networks.masked_mlp import MaskedMLP
from pushforward.networks.mlp import MLP
from pushforward.networks.periodic import PeriodicMLP
from pushforward.networks.recurrent import RecurrentNetwork

__all__ = [
    "MLP",
    "AbstractContraction",
    "CausalTransformer",
    "Conv",
    "ConvBlock",
    "DeepSets",
    "GatedNetwork",
    "GroupNorm",
    "ImageNetwork",
    "LipschitzConv",
    "LipschitzMLP",
    "MaskedMLP",
    "PeriodicMLP",
    "RecurrentNetwork",
    "ResidualBlocks",
    "squeeze",
]

__getattr__ = renamed(__name__, {"Recurrent": "pushforward.networks:RecurrentNetwork"})
