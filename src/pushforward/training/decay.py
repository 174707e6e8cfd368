"""Which parameters decay: weights, the matrices of networks and of linear maps."""

from typing import Any

import equinox as eqx
import jax
from jax.tree_util import DictKey, GetAttrKey, SequenceKey
from jaxtyping import PyTree

# Equinox's layers do not name theirs.
FOREIGN: dict[type, tuple[str, ...]] = {
    eqx.nn.Linear: ("weight",),
    eqx.nn.Conv: ("weight",),
    eqx.nn.ConvTranspose: ("weight",),
    eqx.nn.GRUCell: ("weight_ih", "weight_hh"),
    eqx.nn.LSTMCell: ("weight_ih", "weight_hh"),
}


def decayed(params: PyTree) -> PyTree:
    """Whether each leaf decays, as a pytree of booleans.

    A module names its weights in a class attribute, such as `decaying = ("first", "last")`; those of Equinox's layers
    are known. What no module names does not decay: biases, scales, the parameters of splines.
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    return jax.tree.unflatten(tree, [_decays(params, path) for path, _ in leaves])


def _decays(node: Any, path: tuple[Any, ...]) -> bool:
    """Whether a leaf lies in a field that one of the modules on the way to it calls a weight."""
    for key in path:
        if isinstance(key, GetAttrKey):
            if key.name in _weights(type(node)):
                return True
            node = getattr(node, key.name)
        elif isinstance(key, SequenceKey):
            node = node[key.idx]
        elif isinstance(key, DictKey):
            node = node[key.key]
        else:  # a container whose contents have no names
            return False
    return False


def _weights(kind: type) -> tuple[str, ...]:
    foreign = (names for other, names in FOREIGN.items() if issubclass(kind, other))
    return next(foreign, getattr(kind, "decaying", ()))
