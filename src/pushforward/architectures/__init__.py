"""Published models, one a file: frozen configurations that build a flow, and the registry of their names."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import PRNGKeyArray

from pushforward.architectures.bernstein import Bernstein
from pushforward.architectures.bnaf import BNAF
from pushforward.architectures.circular_nsf import CircularNSF
from pushforward.architectures.cubic_spline import CubicSpline
from pushforward.architectures.ffjord import FFJORD
from pushforward.architectures.flow_matching import FlowMatching
from pushforward.architectures.flow_plus_plus import FlowPlusPlus
from pushforward.architectures.gaussianization import Gaussianization
from pushforward.architectures.glow import Glow
from pushforward.architectures.iaf import IAF
from pushforward.architectures.iresnet import IResNet
from pushforward.architectures.linear_spline import LinearSpline
from pushforward.architectures.made import MADE
from pushforward.architectures.maf import MAF
from pushforward.architectures.maf_mog import MAFMoG
from pushforward.architectures.mixture import Mixture
from pushforward.architectures.naf import NAF
from pushforward.architectures.nice import NICE
from pushforward.architectures.nsf import NSF
from pushforward.architectures.ot_flow import OTFlow
from pushforward.architectures.planar import Planar
from pushforward.architectures.planar_cnf import PlanarCNF
from pushforward.architectures.quadratic_spline import QuadraticSpline
from pushforward.architectures.radial import Radial
from pushforward.architectures.realnvp import RealNVP
from pushforward.architectures.residual_flow import ResidualFlow
from pushforward.architectures.rnode import RNODE
from pushforward.architectures.sos import SOS
from pushforward.architectures.sylvester import Sylvester
from pushforward.architectures.tan import TAN
from pushforward.architectures.umnn import UMNN
from pushforward.distributions import Flow
from pushforward.rows import Shape


@runtime_checkable
class Architecture(Protocol):
    """What every architecture is: a frozen dataclass whose fields are its configuration, able to build its model.

    It may also say how tables are fitted: by a class attribute `learning_rate` of its own, a property `loss` other than
    the likelihood, a class attribute `angles` where its rows are angles.
    """

    reference: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def build(
        self, event: int | Shape, condition: int | Shape | None = None, *, key: PRNGKeyArray
    ) -> Flow: ...


ARCHITECTURES: Mapping[str, type[Architecture]] = MappingProxyType(
    {
        "nice": NICE,
        "realnvp": RealNVP,
        "glow": Glow,
        "maf": MAF,
        "iaf": IAF,
        "nsf": NSF,
        "linear_spline": LinearSpline,
        "quadratic_spline": QuadraticSpline,
        "cubic_spline": CubicSpline,
        "circular_nsf": CircularNSF,
        "made": MADE,
        "maf_mog": MAFMoG,
        "naf": NAF,
        "sos": SOS,
        "umnn": UMNN,
        "tan": TAN,
        "bernstein": Bernstein,
        "flow_plus_plus": FlowPlusPlus,
        "planar": Planar,
        "radial": Radial,
        "sylvester": Sylvester,
        "bnaf": BNAF,
        "gaussianization": Gaussianization,
        "mixture": Mixture,
        "iresnet": IResNet,
        "residual_flow": ResidualFlow,
        "planar_cnf": PlanarCNF,
        "ffjord": FFJORD,
        "rnode": RNODE,
        "ot_flow": OTFlow,
        "flow_matching": FlowMatching,
    }
)

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
    "Bernstein",
    "CircularNSF",
    "CubicSpline",
    "FlowMatching",
    "FlowPlusPlus",
    "Gaussianization",
    "Glow",
    "IResNet",
    "LinearSpline",
    "MAFMoG",
    "Mixture",
    "OTFlow",
    "Planar",
    "PlanarCNF",
    "QuadraticSpline",
    "Radial",
    "RealNVP",
    "ResidualFlow",
    "Sylvester",
]
