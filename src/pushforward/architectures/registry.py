"""The names of architectures: this package's own, those that a user registers and those that other packages bring."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from typing import Any, TypeVar, dataclass_transform

from jaxtyping import PRNGKeyArray

from pushforward.architectures.architecture import Architecture, Facts
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.errors import InputError
from pushforward.rows import Size, as_shape

T = TypeVar("T", bound=Architecture)
GROUP = "pushforward.architectures"
"""The group of entry points by which another package brings architectures: `name = "module:Class"`."""


class Registry(Mapping[str, type[Architecture]]):
    """A live, read-only mapping from names to architectures; `register` adds to it.

    An architecture that another package brings by an entry point is listed without being imported. It is imported when
    it is asked for, which raises `InputError` if that fails. One whose name is taken already is left out.
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
        """The name of a class, or None. Imports what other packages bring until the class is found."""
        for name in self:
            try:
                if self[name] is kind:
                    return name
            except InputError:
                # A package that cannot be imported did not make the class.
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


def registered(*, images: bool) -> dict[str, type[Architecture]]:
    """The registered architectures of images, or those of vectors, by name and in the registry's order.

    Imports what other packages bring; what cannot be imported is left out.

    ```python
    >>> import pushforward as pf
    >>> list(pf.architectures.registered(images=True))[:2]
    ['image_realnvp', 'image_glow']

    ```
    """
    found = {}
    for name in ARCHITECTURES:
        try:
            kind = ARCHITECTURES[name]
        except InputError:
            # A broken package must not hide the rest.
            continue
        if Facts.of(kind()).images is images:
            found[name] = kind
    return found


@dataclass_transform(kw_only_default=True, frozen_default=True)
def published(name: str, reference: str, **facts: Any) -> Callable[[type[T]], type[T]]:
    """A class decorator for this package's own architectures: a `configuration` with a name in the registry.

    `reference` and `facts` become class attributes, see `Facts`. The registry has the order in which `__init__.py`
    imports.
    """
    # Fails for a fact that there is not.
    Facts(reference, **facts)

    def decorate(kind: type[T]) -> type[T]:
        for fact, value in {"reference": reference, **facts}.items():
            setattr(kind, fact, value)
        ARCHITECTURES._add(name, configuration(kind))
        return kind

    return decorate


def register(name: str, kind: type[Architecture]) -> None:
    """Give an architecture a name, by which estimators, the command line, model files and the contract then know it.

    The flows that it builds from then on remember it, so that `pushforward.save` needs nothing else.

    Arguments:
        name: what `--flow` and `FlowDensity(name)` call it: lower-case letters, digits, `_` and `-`.
        kind: a frozen dataclass whose fields have defaults, with a method `build(event, condition, *, key)` that
            returns a `Flow`; see `Architecture` and `Facts`. A model file can hold fields that are numbers, strings,
            booleans, None, or tuples of these.

    An installed package brings an architecture without this call, by the entry point

        [project.entry-points."pushforward.architectures"]
        mine = "package.module:Mine"

    Raises `InputError` for a name that is taken, or a class that is not such a dataclass.

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
    """Where a class of others is from: `source`, its `module:Class`, and `package`, the installed package that brings
    it, if any. Empty for this package's own."""
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
    """What installed packages bring, looked up at every call: about 2 ms."""
    found: dict[str, list[EntryPoint]] = {}
    for offer in entry_points(group=GROUP):
        found.setdefault(offer.name, []).append(offer)
    return found


def _taken(name: str, kind: type) -> str | None:
    """Who has the name already, or None. A package may register the class that its entry point names."""
    if name in ARCHITECTURES._kinds:
        return _place(ARCHITECTURES._kinds[name])
    home = str(getattr(kind, "__module__", "")).partition(".")[0]
    others = [o.value for o in _offers().get(name, []) if o.module.partition(".")[0] != home]
    return others[0] if others else None


def _check(name: str, kind: Any) -> None:
    """Raises `InputError` unless `kind` is a frozen dataclass that builds a flow."""
    what = f"architecture {name!r}: {getattr(kind, '__name__', repr(kind))}"
    if not (
        isinstance(kind, type) and is_dataclass(kind) and vars(kind)["__dataclass_params__"].frozen
    ):
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
    def remembering(
        self: Architecture, event: Size, condition: Size | None = None, *, key: PRNGKeyArray
    ) -> Flow:
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
