"""The parameters of a model as one flat unconstrained vector, and back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr
from jaxtyping import Array, PyTree

from pushforward.errors import InputError
from pushforward.inference.supports import Circle, Support, support_named


@dataclass(frozen=True)
class Part:
    """One array of the parameters: its name, its shape, its support."""

    name: str
    shape: tuple[int, ...]
    support: Support

    @property
    def size(self) -> int:
        """Unconstrained numbers."""
        if not self.support.joint:
            return math.prod(self.shape)
        return math.prod(self.shape[:-1]) * self.support.size(self.shape[-1])

    def forward(self, u: Array) -> tuple[Array, Array]:
        """A flat vector to the array, and the log-det."""
        if not self.support.joint:
            x, log_det = self.support.forward(u)
            return x.reshape(self.shape), log_det
        rows = u.reshape(-1, self.support.size(self.shape[-1]))
        x, log_dets = jax.vmap(self.support.forward)(rows)
        return x.reshape(self.shape), log_dets.sum()

    def inverse(self, x: Array) -> Array:
        """The array to a flat vector."""
        if not self.support.joint:
            return self.support.inverse(x.reshape(-1))
        return jax.vmap(self.support.inverse)(x.reshape(-1, self.shape[-1])).reshape(-1)

    def contains(self, x: np.ndarray) -> bool:
        """Whether the array lies in the support."""
        rows = x.reshape(-1, self.shape[-1]) if self.support.joint else [x.reshape(-1)]
        return all(self.support.contains(row) for row in rows)


@dataclass(frozen=True)
class Layout:
    """The parameters: arrays in a container, each with its support, and the flat unconstrained vector of all.

    Attributes:
        parts: the arrays, in the order of the vector.
        tree: the container, as nested dictionaries, lists and tuples of the parts' numbers; a single number where the
            event is one array.
        labels: names of the numbers of an event that is one vector; default None.
    """

    parts: tuple[Part, ...]
    tree: Any
    labels: tuple[str, ...] | None = None

    @property
    def dim(self) -> int:
        """The length of the unconstrained vector."""
        return sum(part.size for part in self.parts)

    def constrain(self, u: Array) -> tuple[PyTree, Array]:
        """One unconstrained vector to an event, and the log-det of the map."""
        cuts = np.cumsum([part.size for part in self.parts])[:-1].tolist()
        pairs = [part.forward(v) for part, v in zip(self.parts, jnp.split(u, cuts), strict=True)]
        total = sum((log_det for _, log_det in pairs[1:]), pairs[0][1])
        return jax.tree.map(lambda i: pairs[i][0], self.tree), total

    def unconstrain(self, event: PyTree) -> Array:
        """One event to its unconstrained vector."""
        found = self.leaves(event)
        return jnp.concatenate([p.inverse(x) for p, x in zip(self.parts, found, strict=True)])

    def leaves(self, event: PyTree) -> list[Any]:
        """The arrays of an event, or of events with leading axes, in the order of the parts. Raises `InputError` for
        another structure."""
        wanted: Any = jax.tree.structure(self.tree)
        try:
            leaves = wanted.flatten_up_to(event)
        except (TypeError, ValueError):
            names = ", ".join(part.name for part in self.parts)
            raise InputError(f"an event with the parameters {names} was expected") from None
        order = np.argsort(jax.tree.leaves(self.tree))
        return [jnp.asarray(leaves[i]) for i in order]

    def names(self) -> tuple[str, ...]:
        """A name for each number of an event, such as `theta[0]`."""
        if self.labels is not None:
            return self.labels
        out = []
        for part in self.parts:
            at = [f"[{','.join(map(str, i))}]" if i else "" for i in np.ndindex(part.shape)]
            out += [f"{part.name}{index}" for index in at]
        return tuple(out)

    def unconstrained_names(self) -> tuple[str, ...]:
        """A name for each number of the unconstrained vector."""
        names, out, at = self.names(), [], 0
        for part in self.parts:
            count = math.prod(part.shape)
            own = names[at : at + count]
            out += (
                list(own) if part.size == count else [f"{part.name}'{i}" for i in range(part.size)]
            )
            at += count
        return tuple(out)

    def turned(self, u: np.ndarray) -> "Layout":
        """The same with each angle's seam opposite to where it is at `u`, if the two are within a radian."""
        parts, at = [], 0
        for part in self.parts:
            own = np.asarray(u[at : at + part.size], np.float64)
            at += part.size
            if isinstance(part.support, Circle) and part.size:
                angles = part.support.seam + 2 * np.pi / (1 + np.exp(-own))
                mean = np.angle(np.exp(1j * angles).mean())
                near = abs(np.angle(np.exp(1j * (mean - part.support.seam)))) < 1.0
                if near:
                    part = replace(part, support=Circle(float(mean + np.pi)))
            parts.append(part)
        return replace(self, parts=tuple(parts))

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        parts = [[p.name, list(p.shape), p.support.to_json()] for p in self.parts]
        return {"parts": parts, "tree": _to_json(self.tree), "labels": self.labels}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Layout":
        """The inverse of `to_json`."""
        parts = [Part(str(n), tuple(map(int, s)), support_named(k)) for n, s, k in data["parts"]]
        labels = data.get("labels")
        return Layout(
            tuple(parts), _from_json(data["tree"]), None if labels is None else tuple(labels)
        )


def layout_of(event: Any, support: Any = None, names: Sequence[str] | None = None) -> Layout:
    """The layout of parameters.

    Arguments:
        event: how many numbers, or an example: a pytree of arrays and numbers.
        support: one for all, or of an event that is a dictionary a mapping from its keys; default real.
        names: of the numbers of an event that is a vector; default `x[0]`, `x[1]`, ...

    Raises `InputError` for an event without numbers, an unknown support or name, and where the example does not lie in
    the support.
    """
    whole = isinstance(event, (int, np.integer)) and not isinstance(event, bool)
    if whole:
        if event < 1:
            raise InputError(f"dim={event}: a posterior needs at least 1 number")
        example: Any = np.zeros(int(event))
    else:
        example = jax.tree.map(_array, event)
    pairs, structure = jax.tree_util.tree_flatten_with_path(example)
    if not pairs or not sum(leaf.size for _, leaf in pairs):
        raise InputError(f"example {event!r}: a posterior needs at least 1 number")
    given = _supports(example, support)
    parts = []
    for path, leaf in pairs:
        name = keystr(path, simple=True, separator=".") or "x"
        own = support_named(given.get(name.split(".")[0], "real"))
        if own.joint and not (leaf.ndim and leaf.shape[-1] > 1):
            raise InputError(
                f"{name}: {own.name!r} is for vectors of 2 or more, not shape {leaf.shape}"
            )
        part = Part(name, leaf.shape, own)
        if not whole and not part.contains(leaf):
            raise InputError(
                f"{name}: the example {np.round(leaf, 4).tolist()} is outside of its support "
                f"{own.to_json()!r}; change one of them"
            )
        parts.append(part)
    labels = None
    if names is not None:
        labels = tuple(map(str, names))
        if (
            len(parts) != 1
            or len(labels) != math.prod(parts[0].shape)
            or len(set(labels)) < len(labels)
        ):
            count = sum(math.prod(part.shape) for part in parts)
            raise InputError(
                f"{len(labels)} names for {count} numbers: an event that is one vector takes as many different names"
            )
    return Layout(tuple(parts), jax.tree.unflatten(structure, range(len(parts))), labels)


def _array(leaf: Any) -> np.ndarray:
    try:
        return np.asarray(leaf, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"example: {leaf!r} is not a number or an array of numbers") from None


def _supports(example: Any, support: Any) -> dict[str, Any]:
    """By the first part of a name."""
    keys = list(map(str, example)) if isinstance(example, dict) else None
    if support is None:
        return {}
    if not isinstance(support, Mapping):
        support_named(support)
        return dict.fromkeys(keys or _first_names(example), support)
    unknown = [name for name in support if keys is None or name not in keys]
    if unknown:
        known = ", ".join(keys) if keys else "none, as the event has no names"
        raise InputError(f"support for {unknown[0]!r}: no such parameter; known: {known}")
    return dict(support)


def _first_names(example: Any) -> list[str]:
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(example)[0]]
    return [(keystr(path, simple=True, separator=".") or "x").split(".")[0] for path in paths]


def _to_json(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {"dict": {str(key): _to_json(value) for key, value in tree.items()}}
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [_to_json(value) for value in tree]}
    if isinstance(tree, int):
        return tree
    # Another container comes back as a dictionary of names.
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {"dict": {keystr(path, simple=True, separator="."): i for path, i in pairs}}


def _from_json(data: Any) -> Any:
    if isinstance(data, int):
        return data
    ((kind, inside),) = data.items()
    if kind == "dict":
        return {key: _from_json(value) for key, value in inside.items()}
    return {"list": list, "tuple": tuple}[kind](map(_from_json, inside))
