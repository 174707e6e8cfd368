"""Published models, one per file: frozen configurations that build a flow, and the registry of their names.

Those of this package model vectors or images (`registered` tells them apart). They raise `InputError` for an event of
another kind, sizes below 1 and names of bases or other parts that are unknown.
"""

# In the order of the registry, which the command line and the docs show.
# ruff: noqa: I001

from pushforward.architectures.architecture import Architecture, Facts
from pushforward.architectures.registry import ARCHITECTURES, register, registered
from pushforward.architectures.nice import NICE
from pushforward.architectures.realnvp import RealNVP
from pushforward.architectures.glow import Glow
from pushforward.architectures.maf import MAF
from pushforward.architectures.iaf import IAF
from pushforward.architectures.nsf import NSF
from pushforward.architectures.linear_spline import LinearSplineFlow
from pushforward.architectures.quadratic_spline import QuadraticSplineFlow
from pushforward.architectures.cubic_spline import CubicSplineFlow
from pushforward.architectures.circular_nsf import CircularNSF
from pushforward.architectures.made import MADE
from pushforward.architectures.maf_mog import MAFMoG
from pushforward.architectures.naf import NAF
from pushforward.architectures.sos import SOS
from pushforward.architectures.umnn import UMNN
from pushforward.architectures.tan import TAN
from pushforward.architectures.bernstein import BernsteinFlow
from pushforward.architectures.flow_plus_plus import FlowPlusPlus
from pushforward.architectures.planar import PlanarFlow
from pushforward.architectures.radial import RadialFlow
from pushforward.architectures.sylvester import SylvesterFlow
from pushforward.architectures.bnaf import BNAF
from pushforward.architectures.gaussianization import Gaussianization
from pushforward.architectures.mixture import Mixture
from pushforward.architectures.iresnet import IResNet
from pushforward.architectures.residual_flow import ResidualFlow
from pushforward.architectures.planar_cnf import PlanarCNF
from pushforward.architectures.ffjord import FFJORD
from pushforward.architectures.rnode import RNODE
from pushforward.architectures.ot_flow import OTFlow
from pushforward.architectures.flow_matching import FlowMatching
from pushforward.architectures.images import (
    ImageFlowPlusPlus,
    ImageFFJORD,
    ImageGlow,
    ImageIResNet,
    ImageNSF,
    ImageRealNVP,
    ImageResidualFlow,
    PixelSpline,
    SubscaleSpline,
    TarFlow,
)
from pushforward.deprecated import renamed

__all__ = [
    "ARCHITECTURES",
    "BNAF",
    "FFJORD",
    "IAF",
    "MADE",
    "MAF",
    "NAF",
    "NICE",
    "NSF",
    "RNODE",
    "SOS",
    "TAN",
    "UMNN",
    "Architecture",
    "BernsteinFlow",
    "CircularNSF",
    "CubicSplineFlow",
    "Facts",
    "FlowMatching",
    "FlowPlusPlus",
    "Gaussianization",
    "Glow",
    "IResNet",
    "ImageFFJORD",
    "ImageFlowPlusPlus",
    "ImageGlow",
    "ImageIResNet",
    "ImageNSF",
    "ImageRealNVP",
    "ImageResidualFlow",
    "LinearSplineFlow",
    "MAFMoG",
    "Mixture",
    "OTFlow",
    "PixelSpline",
    "PlanarCNF",
    "PlanarFlow",
    "QuadraticSplineFlow",
    "RadialFlow",
    "RealNVP",
    "ResidualFlow",
    "SubscaleSpline",
    "SylvesterFlow",
    "TarFlow",
    "register",
    "registered",
]

__getattr__ = renamed(
    __name__,
    {
        "Bernstein": "pushforward.architectures:BernsteinFlow",
        "CubicSpline": "pushforward.architectures:CubicSplineFlow",
        "LinearSpline": "pushforward.architectures:LinearSplineFlow",
        "Planar": "pushforward.architectures:PlanarFlow",
        "QuadraticSpline": "pushforward.architectures:QuadraticSplineFlow",
        "Radial": "pushforward.architectures:RadialFlow",
        "Sylvester": "pushforward.architectures:SylvesterFlow",
    },
)
