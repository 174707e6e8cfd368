"""Invertible maps on images, channels last."""

from pushforward.bijections.images.causal_pixels import CausalPixels
from pushforward.bijections.images.checker import Checker
from pushforward.bijections.images.image_coupling import ImageCoupling
from pushforward.bijections.images.multi_scale import MultiScale
from pushforward.bijections.images.patches import CausalPatches
from pushforward.bijections.images.per_pixel import PerPixel
from pushforward.bijections.images.pixels import Pixels
from pushforward.bijections.images.squeeze import Squeeze

__all__ = [
    "CausalPatches",
    "CausalPixels",
    "Checker",
    "ImageCoupling",
    "MultiScale",
    "PerPixel",
    "Pixels",
    "Squeeze",
]
