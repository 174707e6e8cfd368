"""From noise to data: probability paths, couplings, and the flow-matching loss."""

from pushforward.deprecated import renamed
from pushforward.paths.couplings import COUPLINGS, partners
from pushforward.paths.flow_matching import FlowMatchingLoss
from pushforward.paths.path import PATHS, Path

__all__ = ["COUPLINGS", "PATHS", "FlowMatchingLoss", "Path", "partners"]

__getattr__ = renamed(__name__, {"FlowMatching": "pushforward.paths:FlowMatchingLoss"})
