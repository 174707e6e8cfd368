"""Vector fields on rows and their divergence."""

from pushforward.fields.base import AbstractField
from pushforward.fields.convolutional import ConvField
from pushforward.fields.divergence import divergence
from pushforward.fields.guided import GuidedField, with_guidance
from pushforward.fields.planar import PlanarField
from pushforward.fields.potential import PotentialField
from pushforward.fields.timed_mlp import MLPField

__all__ = [
    "AbstractField",
    "ConvField",
    "GuidedField",
    "MLPField",
    "PlanarField",
    "PotentialField",
    "divergence",
    "with_guidance",
]
