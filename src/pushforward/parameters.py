"""Which entries of its arrays a model reads."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool


@runtime_checkable
class Unread(Protocol):
    """A module that never reads some entries of its arrays, such as those that are masked."""

    def unread(self) -> Mapping[str, Bool[np.ndarray, "..."] | bool]:
        """From the name of a field to True where an entry is never read; `"name.0"` for an array of a tuple. Trailing
        axes are enough: those of stacked layers stand in front."""


def read_entries(model: Any) -> Any:
    """A pytree like the model, with masks in place of floating-point arrays: True where an entry is read."""

    def of(node: Any) -> Any:
        if not isinstance(node, Unread):
            return np.ones(np.shape(node), bool) if eqx.is_inexact_array(node) else node
        filled = below(node)
        for name, unread in node.unread().items():
            field, _, index = name.partition(".")

            def array(module: Any, field: str = field, index: str = index) -> Any:
                found = getattr(module, field)
                return found[int(index)] if index else found

            read = np.broadcast_to(np.logical_not(unread), array(node).shape)
            filled = eqx.tree_at(array, filled, read)
        return filled

    def below(tree: Any) -> Any:
        return jax.tree.map(
            of, tree, is_leaf=lambda node: node is not tree and isinstance(node, Unread)
        )

    return of(model) if isinstance(model, Unread) else below(model)
