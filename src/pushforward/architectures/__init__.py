"""Published models, one a file: frozen configurations that build a flow, and the registry of their names."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from jaxtyping import PRNGKeyArray

from pushforward.architectures.glow import Glow
from pushforward.architectures.iaf import IAF
from pushforward.architectures.maf import MAF
from pushforward.architectures.nice import NICE
from pushforward.architectures.nsf import NSF
from pushforward.architectures.realnvp import RealNVP
from pushforward.distributions import Flow
from pushforward.rows import Shape


class Architecture(Protocol):
    """What every architecture is: a frozen dataclass whose fields are its configuration, able to build its model."""

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
    }
)

__all__ = ["ARCHITECTURES", "IAF", "MAF", "NICE", "NSF", "Architecture", "Glow", "RealNVP"]
