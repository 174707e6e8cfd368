"""The pieces that published models share: one layer of a structure, and a stack of them as a flow."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.bijections import (
    AbstractBijection,
    AbstractTransformer,
    ActNorm,
    Autoregressive,
    Chain,
    Coupling,
    Elementwise,
    LULinear,
    Permutation,
    Residual,
    Reverse,
    SoftTails,
    Stack,
)
from pushforward.distributions import AbstractDistribution, Flow, Normal, base_named
from pushforward.draws import spawn
from pushforward.errors import InputError
from pushforward.networks import MLP, LipschitzMLP, MaskedMLP
from pushforward.rows import Shape, as_shape, condition_size


def vector_event(event: int | Shape, name: str) -> int:
    """The size of a vector event. Raises `InputError` where the event is not a vector."""
    shape = as_shape(event)
    if shape is None or len(shape) != 1:
        raise InputError(f"{name} models vectors: an event of one axis was expected, not {event}")
    return shape[0]


def by_size(asked: int, d: int, few: int, many: int, limit: int = 3) -> int:
    """A size of a model: as asked for, or, for 0, `few` up to `limit` coordinates and `many` beyond.

    Densities of few coordinates are sharper than most tables, and each step over them is cheap.
    """
    return asked or (few if d <= limit else many)


def bins_for(bins: int, d: int) -> int:
    """The bins of each spline: as asked for, or, for 0, by the number of coordinates (`benchmarks/zoo.py`: with 16
    tables of 43 and 15 columns lose 0.2 to 0.7 nats that those of 2 and 8 gain)."""
    return by_size(bins, d, 16, 8, limit=8)


def autoregressive_layer(
    transformer: AbstractTransformer,
    d: int,
    condition: Shape | None,
    *,
    key: PRNGKeyArray,
    **network,
) -> Autoregressive:
    """An autoregressive layer with a masked MLP; `network` holds its width, depth, residual, dropout."""
    mlp = MaskedMLP(d, transformer.size, condition=condition_size(condition), key=key, **network)
    return Autoregressive(mlp, transformer, condition)


def coupling_layer(
    transformer: AbstractTransformer,
    d: int,
    condition: Shape | None,
    *,
    key: PRNGKeyArray,
    **network,
) -> Coupling:
    """A coupling layer that keeps the first half (the smaller one) and transforms the rest with an MLP."""
    kept = d // 2
    inputs, out = kept + condition_size(condition), (transformer.size, d - kept)
    return Coupling(MLP(inputs, out, key=key, **network), transformer, kept, condition)


def elementwise_layer(
    transformer: AbstractTransformer,
    d: int,
    condition: Shape | None,
    *,
    key: PRNGKeyArray,
    **network,
) -> Elementwise:
    """An elementwise layer; under a condition its parameters come from an MLP."""
    if condition is None:
        return Elementwise(transformer, d)
    mlp = MLP(condition_size(condition), (transformer.size, d), key=key, **network)
    return Elementwise(transformer, d, network=mlp, condition_shape=condition)


def next_turn(d: int) -> AbstractBijection:
    """The reordering after a coupling layer that gives every coordinate its turn to be kept.

    Reversing would leave the middle one of an odd number of coordinates transformed by every layer and seen by none,
    so that affine couplings could model it as a Gaussian only; those are rotated by the number kept.
    """
    return Reverse(d) if d % 2 == 0 else Permutation(np.roll(np.arange(d), d // 2))


@runtime_checkable
class Layers(Protocol):
    """The fields of an architecture of equal layers with a network in each."""

    @property
    def layers(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def base(self) -> str: ...


@runtime_checkable
class Networks(Protocol):
    """Those that say what the network of a layer is."""

    @property
    def width(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def residual(self) -> bool: ...
    @property
    def dropout(self) -> float: ...


@runtime_checkable
class NetworkLayers(Layers, Networks, Protocol):
    """Those of an architecture whose layers are one transformer in one structure."""


def transformer_layer(
    architecture: Networks,
    transformer: AbstractTransformer,
    d: int,
    condition: Shape | None,
    key: PRNGKeyArray,
    autoregressive: bool = True,
) -> Chain:
    """A layer of a transformer, autoregressive or coupling, with the order of coordinates reversed and a learned linear
    map (LU) behind it."""
    make = autoregressive_layer if autoregressive else coupling_layer
    transformed = make(
        transformer,
        d,
        condition,
        width=architecture.width,
        depth=architecture.depth,
        residual=architecture.residual,
        dropout=architecture.dropout,
        key=key,
    )
    return Chain([transformed, Reverse(d), LULinear(d)])


def transformer_flow(
    architecture: NetworkLayers,
    transformer: AbstractTransformer,
    event: int | Shape,
    condition: int | Shape | None,
    key: PRNGKeyArray,
    autoregressive: bool = True,
) -> Flow:
    """The plan that most published models share: layers of a transformer, autoregressive or coupling, each with the
    order of coordinates reversed and a learned linear map (LU) behind it, over a base that is soft as in
    `stacked_flow`."""
    name = type(architecture).__name__
    d, context = vector_event(event, name), as_shape(condition, "condition")

    def layer(key: PRNGKeyArray) -> Chain:
        return transformer_layer(architecture, transformer, d, context, key, autoregressive)

    return stacked_flow(layer, architecture.layers, (d,), architecture.base, key, soft=True)


@runtime_checkable
class Contractions(Layers, Protocol):
    """Those of an architecture whose layers are residual maps."""

    @property
    def lipschitz(self) -> float: ...


def residual_flow(
    architecture: Contractions,
    activation: str,
    event: int | Shape,
    condition: int | Shape | None,
    key: PRNGKeyArray,
    **log_det,
) -> Flow:
    """The plan that both residual flows share: residual maps of contractive networks, each with an activation
    normalisation behind it. `log_det` holds how training finds its log-dets, for `Residual`."""
    d, context = vector_event(event, type(architecture).__name__), as_shape(condition, "condition")

    def layer(key: PRNGKeyArray) -> Chain:
        network = LipschitzMLP(
            d,
            d,
            width=architecture.width,
            depth=architecture.depth,
            condition=condition_size(context),
            lipschitz=architecture.lipschitz,
            activation=activation,
            key=key,
        )
        return Chain([Residual(network, condition_shape=context, **log_det), ActNorm(d)])

    layers = by_size(architecture.layers, d, 32, 16)
    return stacked_flow(layer, layers, (d,), architecture.base, key)


def stacked_flow(
    make: Callable[[PRNGKeyArray], AbstractBijection],
    layers: int,
    event: Shape,
    base: str,
    key: PRNGKeyArray,
    soft: bool = False,
) -> Flow:
    """A flow of `layers` equal layers over the base distribution of that name.

    `soft` is for layers that scale what lies beyond the data by factors without a small bound: a row far from the data
    is thrown further by each, and the mean log-density of thousands is then this one's. The normal base is `softened`.
    """
    base_key, layer_key = spawn(key, 2)
    start = base_named(base, event, base_key)
    return Flow(softened(start) if soft else start, Stack(make, layers, key=layer_key))


def softened(base: AbstractDistribution) -> AbstractDistribution:
    """A normal base with logarithmic tails where it has no mass that 32 bits could draw; any other as it is."""
    return Flow(base, SoftTails(base.event_shape[0], SOFT)) if isinstance(base, Normal) else base


SOFT = 6.0
"""Where the tails of a soft normal base begin, in standard deviations."""
