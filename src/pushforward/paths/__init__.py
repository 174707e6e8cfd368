"""From noise to data: probability paths, couplings, and the flow-matching loss made of them."""

from pushforward.paths.couplings import COUPLINGS, partners
from pushforward.paths.flow_matching import FlowMatching
from pushforward.paths.path import PATHS, Path

__all__ = ["COUPLINGS", "PATHS", "FlowMatching", "Path", "partners"]
