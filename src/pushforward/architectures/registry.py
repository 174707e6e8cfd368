"""The names of architectures: those of this package, those that a user registers, those that other packages bring."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from typing import Any

from pushforward.architectures.architecture import Architecture
from pushforward.architectures.bernstein import BernsteinFlow
from pushforward.architectures.bnaf import BNAF
from pushforward.architectures.circular_nsf import CircularNSF
from pushforward.architectures.cubic_spline import CubicSplineFlow
from pushforward.architectures.ffjord import FFJORD
from pushforward.architectures.flow_matching import FlowMatching
from pushforward.architectures.flow_plus_plus import FlowPlusPlus
from pushforward.architectures.gaussianization import Gaussianization
from pushforward.architectures.glow import Glow
from pushforward.architectures.iaf import IAF
from pushforward.architectures.iresnet import IResNet
from pushforward.architectures.linear_spline import LinearSplineFlow
from pushforward.architectures.made import MADE
from pushforward.architectures.maf import MAF
from pushforward.architectures.maf_mog import MAFMoG
from pushforward.architectures.mixture import Mixture
from pushforward.architectures.naf import NAF
from pushforward.architectures.nice import NICE
from pushforward.architectures.nsf import NSF
from pushforward.architectures.ot_flow import OTFlow
from pushforward.architectures.planar import PlanarFlow
from pushforward.architectures.planar_cnf import PlanarCNF
from pushforward.architectures.quadratic_spline import QuadraticSplineFlow
from pushforward.architectures.radial import RadialFlow
from pushforward.architectures.realnvp import RealNVP
from pushforward.architectures.residual_flow import ResidualFlow
from pushforward.architectures.rnode import RNODE
from pushforward.architectures.sos import SOS
from pushforward.architectures.sylvester import SylvesterFlow
from pushforward.architectures.tan import TAN
from pushforward.architectures.umnn import UMNN
from pushforward.distributions import Flow
from pushforward.errors import InputError
from pushforward.rows import as_shape

GROUP = "pushforward.architectures"
"""The group of entry points by which another package brings architectures: `name = "module:Class"`."""


class Registry(Mapping[str, type[Architecture]]):
    """A live, read-only mapping from names to architectures; `register` adds to it.

    An architecture that another package brings by an entry point is listed without being imported, and imported when
    it is asked for. Raises `InputError` then, where it cannot be. One by a name that there is already is left out.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, type[Architecture]] = {}

    def __getitem__(self, name: str) -> type[Architecture]:
        if name not in self._kinds:
            self._load(name, _offers()[name])
        return self._kinds[name]

    def __contains__(self, name: object) -> bool:
        return name in self._kinds or name in _offers()

    def __iter__(self) -> Iterator[str]:
        yield from list(self._kinds)
        yield from (name for name in _offers() if name not in self._kinds)

    def __len__(self) -> int:
        return len(self._kinds.keys() | _offers().keys())

    def name_of(self, kind: type) -> str | None:
        """The name of a class, or None where it has none.

        A class that is not known yet may be one that another package brings: what is installed is then imported.
        """
        for name in self:
            try:
                if self[name] is kind:
                    return name
            except InputError:
                # A package that cannot be imported has not made the class.
                continue
        return None

    def _add(self, name: str, kind: type[Architecture]) -> None:
        if not hasattr(kind.build, "remembers"):
            kind.build = _remembering(kind.build)  # type: ignore[method-assign]
        self._kinds[name] = kind

    def _load(self, name: str, offers: list[EntryPoint]) -> None:
        if len(offers) > 1:
            packages = ", ".join(map(_package, offers))
            raise InputError(
                f"architecture {name!r} is brought by several packages ({packages}); keep one of them"
            )
        where = f"architecture {name!r} of the package {_package(offers[0])}"
        try:
            kind = offers[0].load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise InputError(f"{where} cannot be imported ({reason})") from error
        # The module may have registered the class itself.
        if name not in self._kinds:
            register(name, kind)


ARCHITECTURES = Registry()
"""From names to architectures."""


def register(name: str, kind: type[Architecture]) -> None:
    """Give an architecture a name. Estimators, the command line, model files and the contract then take it.

    From then on the flows that it builds remember it, so that `pushforward.save` needs nothing more.

    Arguments:
        name: what `--flow` and `FlowDensity(name)` call it: lower-case letters, digits, `_` and `-`.
        kind: a frozen dataclass whose fields have defaults, with a method `build(event, condition, *, key)` that
            returns a `Flow`; see `Architecture` and `Facts`. A model file holds fields that are numbers, words,
            truth values, None, or tuples of these.

    An installed package brings an architecture without this call, by the entry point

        [project.entry-points."pushforward.architectures"]
        mine = "package.module:Mine"

    Raises `InputError` for a name that is taken, or a class that is none of that kind.

    ```python
    >>> from dataclasses import dataclass
    >>> import jax, pushforward as pf
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Shallow:
    ...     width: int = 16
    ...     def build(self, event, condition=None, *, key):
    ...         return pf.architectures.NSF(layers=1, width=self.width).build(event, condition, key=key)
    >>> pf.architectures.register("shallow", Shallow)
    >>> Shallow(width=8).build(2, key=jax.random.key(0)).architecture
    Shallow(width=8)

    ```
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or name == "auto":
        raise InputError(
            f"the name {name!r} of an architecture: lower-case letters, digits, _ and - are expected, and not 'auto'"
        )
    if (taken := _taken(name, kind)) is not None:
        raise InputError(
            f"architecture {name!r} is registered already ({taken}); choose another name"
        )
    _check(name, kind)
    ARCHITECTURES._add(name, kind)


def source_of(name: str, kind: type) -> dict[str, str]:
    """Where a registered class that is not this package's own is from: `source`, its `module:Class`, and `package`,
    the installed package that brings it, if any."""
    home = kind.__module__.partition(".")[0]
    if home == __name__.partition(".")[0]:
        return {}
    packages = [_package(offer) for offer in _offers().get(name, [])]
    packages += packages_distributions().get(home, []) if not packages else []
    return {"source": _place(kind), **({"package": packages[0]} if packages else {})}


def _place(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _package(offer: EntryPoint) -> str:
    return offer.value if offer.dist is None else offer.dist.name


def _offers() -> dict[str, list[EntryPoint]]:
    """What installed packages bring, read anew each time: about 2 ms."""
    found: dict[str, list[EntryPoint]] = {}
    for offer in entry_points(group=GROUP):
        found.setdefault(offer.name, []).append(offer)
    return found


def _taken(name: str, kind: type) -> str | None:
    """Who has a name already; the class that a package brings by this name is the same thing said twice."""
    if name in ARCHITECTURES._kinds:
        return _place(ARCHITECTURES._kinds[name])
    home = str(getattr(kind, "__module__", "")).partition(".")[0]
    others = [o.value for o in _offers().get(name, []) if o.module.partition(".")[0] != home]
    return others[0] if others else None


def _check(name: str, kind: Any) -> None:
    """Raises `InputError` for what is not a frozen dataclass that builds a flow."""
    what = f"architecture {name!r}: {getattr(kind, '__name__', repr(kind))}"
    frozen = isinstance(kind, type) and is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if not frozen:
        raise InputError(
            f"{what} is not a frozen dataclass; decorate a class with @dataclass(frozen=True, kw_only=True)"
        )
    if not callable(getattr(kind, "build", None)):
        raise InputError(f"{what} has no method build(event, condition, *, key)")
    for field in fields(kind):
        if field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{what}: the field {field.name!r} needs a default")


def _remembering(build: Callable[..., Flow]) -> Callable[..., Flow]:
    """A method `build` that receives shapes, and whose flows remember what built them."""

    @wraps(build)
    def remembering(self, event, condition=None, *, key):
        flow = build(self, as_shape(event), as_shape(condition, "condition"), key=key)
        if not isinstance(flow, Flow):
            raise InputError(
                f"{type(self).__name__}.build returned a {type(flow).__name__}; a Flow is expected"
            )
        try:
            hash(self)
        except TypeError as error:
            raise InputError(
                f"{self}: its fields must be hashable, such as tuples in place of lists ({error})"
            ) from None
        return Flow(flow.base, flow.bijection, architecture=self)

    remembering.remembers = True  # type: ignore[attr-defined]
    return remembering


_OWN: dict[str, type[Architecture]] = {
    "nice": NICE,
    "realnvp": RealNVP,
    "glow": Glow,
    "maf": MAF,
    "iaf": IAF,
    "nsf": NSF,
    "linear_spline": LinearSplineFlow,
    "quadratic_spline": QuadraticSplineFlow,
    "cubic_spline": CubicSplineFlow,
    "circular_nsf": CircularNSF,
    "made": MADE,
    "maf_mog": MAFMoG,
    "naf": NAF,
    "sos": SOS,
    "umnn": UMNN,
    "tan": TAN,
    "bernstein": BernsteinFlow,
    "flow_plus_plus": FlowPlusPlus,
    "planar": PlanarFlow,
    "radial": RadialFlow,
    "sylvester": SylvesterFlow,
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
for _name, _kind in _OWN.items():
    ARCHITECTURES._add(_name, _kind)
