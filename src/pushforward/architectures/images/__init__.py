"""Published models of images, one a file."""

# In the order of the registry.
# ruff: noqa: I001

from pushforward.architectures.images.realnvp import ImageRealNVP
from pushforward.architectures.images.glow import ImageGlow
from pushforward.architectures.images.nsf import ImageNSF
from pushforward.architectures.images.flow_plus_plus import ImageFlowPlusPlus
from pushforward.architectures.images.subscale_spline import SubscaleSpline
from pushforward.architectures.images.pixel_spline import PixelSpline
from pushforward.architectures.images.tarflow import TarFlow
from pushforward.architectures.images.ffjord import ImageFFJORD
from pushforward.architectures.images.iresnet import ImageIResNet
from pushforward.architectures.images.residual_flow import ImageResidualFlow

__all__ = [
    "ImageFFJORD",
    "ImageFlowPlusPlus",
    "ImageGlow",
    "ImageIResNet",
    "ImageNSF",
    "ImageRealNVP",
    "ImageResidualFlow",
    "PixelSpline",
    "SubscaleSpline",
    "TarFlow",
]
