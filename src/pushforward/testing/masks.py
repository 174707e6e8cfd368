"""Entries of parameters that a module never reads by design, so that no gradient is expected there."""

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.bijections import (
    BatchNorm,
    BlockAutoregressive,
    Householder,
    LULinear,
    Margins,
    QRLinear,
    Recurrent,
    Sylvester,
)
from pushforward.distributions import GaussianMixture
from pushforward.networks import MaskedMLP


def _masked_mlp(module: MaskedMLP) -> dict[str, np.ndarray]:
    """What the masks of the coordinates' order leave."""
    # Trailing axes only: under a stack every array carries the layers in front.
    size, d, width = module.last.shape[-3:]
    ones = MaskedMLP(
        d,
        size,
        condition=module.first_condition.shape[-1],
        width=width,
        depth=1 + module.hidden.shape[-3],
        key=jax.random.key(0),
    )
    weights = ("first", "hidden", "last")
    for name in weights:
        ones = eqx.tree_at(attrgetter(name), ones, replace_fn=jnp.ones_like)
    return {name: np.asarray(mask) != 0 for name, mask in zip(weights, ones._masked(), strict=True)}


def _lu_linear(module: LULinear) -> dict[str, np.ndarray]:
    """Strict triangles."""
    square = np.ones(module.lower.shape[-2:], bool)
    return {"lower": np.tril(square, -1), "upper": np.triu(square, 1)}


def _batch_norm(module: BatchNorm) -> dict[str, np.ndarray]:
    """None of the statistics: they are measured, not trained."""
    return {name: np.zeros(module.mean.shape[-1:], bool) for name in ("mean", "variance")}


def _margins(module: Margins) -> dict[str, np.ndarray]:
    """None of the knots: they are measured, not trained."""
    fields = ("centre", "log_widths", "score", "log_heights", "log_slopes")
    return {name: np.zeros(getattr(module, name).shape, bool) for name in fields}


def _gaussian_mixture(module: GaussianMixture) -> dict[str, np.ndarray]:
    """A strict triangle of full covariances."""
    if module.below is None:
        return {}
    return {"below": np.tril(np.ones(module.below.shape[-2:], bool), -1)}


def _recurrent(module: Recurrent) -> dict[str, np.ndarray]:
    """The recurrence, where there are two coordinates or more."""
    # The state after the last coordinate is never used: with one coordinate only the first state is.
    units, several = module.out.shape[-1], module.event_shape[0] > 1
    return {
        "of_value": np.full(units, several),
        "of_state": np.full((units, units), several),
    }


def _qr_linear(module: QRLinear) -> dict[str, np.ndarray]:
    """A strict triangle and, from two coordinates on, the reflections."""
    above = np.triu(np.ones(module.upper.shape[-2:], bool), 1)
    return {"upper": above, **_householder(module)}


def _householder(module: Householder | QRLinear) -> dict[str, np.ndarray]:
    """The reflections, from two coordinates on."""
    # In one dimension all reflections are the same.
    return {"vectors": np.full(module.vectors.shape[-2:], module.event_shape[0] > 1)}


def _sylvester(module: Sylvester) -> dict[str, np.ndarray]:
    """Strict triangles and, from two coordinates on, the directions."""
    above = np.triu(np.ones(module.r.shape[-2:], bool), 1)
    # In one dimension there is one direction.
    several = np.full(module.factor.shape[-2:], module.event_shape[0] > 1)
    return {"r": above, "s": above, "factor": several}


def _block_autoregressive(module: BlockAutoregressive) -> dict[str, np.ndarray]:
    """Blocks of earlier coordinates."""
    d = module.event_shape[0]
    earlier = np.tril(np.ones((d, d), bool), -1)
    blocks = [np.ones(b.shape[-2:], bool) for b in module.log_blocks]
    return {f"lower.{i}": np.kron(earlier, block) for i, block in enumerate(blocks)}


MASKS: dict[type, Callable[[Any], dict[str, np.ndarray]]] = {
    MaskedMLP: _masked_mlp,
    LULinear: _lu_linear,
    QRLinear: _qr_linear,
    Householder: _householder,
    Sylvester: _sylvester,
    BlockAutoregressive: _block_autoregressive,
    BatchNorm: _batch_norm,
    Recurrent: _recurrent,
    Margins: _margins,
    GaussianMixture: _gaussian_mixture,
}
"""Module type -> from a module to its masked arrays: field name (and index) -> True where the entry is read."""


def _entry(name: str, module):
    """The array of a module by its field name, or by field name and index: `"lower.0"`."""
    field, _, index = name.partition(".")
    found = getattr(module, field)
    return found[int(index)] if index else found


def read_entries(model):
    """A pytree like the model, with True in every floating-point array where the entry is read."""

    def of(node):
        if type(node) not in MASKS:
            return np.ones(np.shape(node), bool) if eqx.is_inexact_array(node) else node
        filled = jax.tree.map(of, node, is_leaf=lambda leaf: leaf is not node)
        for name, mask in MASKS[type(node)](node).items():
            entries = partial(_entry, name)
            full = np.broadcast_to(mask, entries(node).shape)
            filled = eqx.tree_at(entries, filled, full)
        return filled

    return jax.tree.map(of, model, is_leaf=lambda node: type(node) in MASKS)
