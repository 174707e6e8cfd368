"""What published models share: one layer of each structure, and the plans that make a flow of such layers.

Plans read the options of an architecture by name. A layer is made by a function or a class `make(d, condition, *,
key)`, where `condition` is a shape or None; what follows it, such as a permutation, by `make(d)`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.bijections import (
    AbstractBijection,
    ActNorm,
    Autoregressive,
    Chain,
    Coupling,
    Elementwise,
    FlowMap,
    Invert,
    LULinear,
    Permutation,
    Residual,
    Reverse,
    SoftTails,
    Stack,
)
from pushforward.distributions import AbstractDistribution, Flow, StandardNormal, base_named
from pushforward.draws import spawn
from pushforward.errors import InputError
from pushforward.fields import AbstractField
from pushforward.networks import MLP, LipschitzMLP, MaskedMLP
from pushforward.ode import Solver
from pushforward.rows import Shape, Size, as_shape, condition_size
from pushforward.transformers import AbstractTransformer

Make = Callable[..., AbstractBijection]
After = Sequence[Callable[[int], AbstractBijection]]

SOFT = 6.0
"""Where the tails of a soft normal base begin, in standard deviations."""


def vector_shapes(
    architecture: object, event: Size, condition: Size | None = None
) -> tuple[int, Shape | None]:
    """The number of coordinates, and the condition's shape. Raises `InputError` unless the event is a vector."""
    shape = as_shape(event)
    if shape is None or len(shape) != 1:
        name = type(architecture).__name__
        raise InputError(f"{name} models vectors: an event of one axis was expected, not {event}")
    return shape[0], as_shape(condition, "condition")


def by_size(asked: int, d: int, few: int, many: int, limit: int = 3) -> int:
    """A size as asked for; 0 stands for `few` up to `limit` coordinates and `many` beyond.

    Densities of few coordinates are sharper than most tables, and each step over them is cheap.
    """
    return asked or (few if d <= limit else many)


def bins_for(architecture: Any, event: Size) -> int:
    """The bins of each spline; 0 stands for 16 up to 8 coordinates and 8 beyond (`benchmarks/zoo.py`: with 16, tables
    of 43 and 15 columns lose 0.2 to 0.7 nats that those of 2 and 8 gain)."""
    return by_size(architecture.bins, vector_shapes(architecture, event)[0], 16, 8, limit=8)


def network_of(architecture: object) -> dict[str, Any]:
    """The options of its networks that an architecture has: width, depth, residual, dropout."""
    names = ("width", "depth", "residual", "dropout")
    return {name: getattr(architecture, name) for name in names if hasattr(architecture, name)}


def autoregressive_layer(
    transformer: AbstractTransformer,
    d: int,
    condition: Shape | None,
    *,
    key: PRNGKeyArray,
    **network: Any,
) -> Autoregressive:
    """An autoregressive layer with a masked MLP; `network` has its width, depth, residual, dropout."""
    mlp = MaskedMLP(d, transformer.size, condition=condition_size(condition), key=key, **network)
    return Autoregressive(mlp, transformer, condition)


def inverse_autoregressive_layer(
    transformer: AbstractTransformer, d: int, condition: Shape | None, **options: Any
) -> Invert:
    """A layer that is autoregressive in the latent coordinates."""
    return Invert(autoregressive_layer(transformer, d, condition, **options))


def coupling_layer(
    transformer: AbstractTransformer,
    d: int,
    condition: Shape | None,
    *,
    key: PRNGKeyArray,
    **network: Any,
) -> Coupling:
    """A coupling layer that keeps the first half (the smaller one) and transforms the rest with an MLP."""
    kept = d // 2
    inputs, out = kept + condition_size(condition), (transformer.size, d - kept)
    return Coupling(MLP(inputs, out, key=key, **network), transformer, kept, condition)


def structure(architecture: Any) -> Make:
    """The layer that the option `autoregressive` asks for."""
    return autoregressive_layer if architecture.autoregressive else coupling_layer


def elementwise_layer(
    transformer: AbstractTransformer,
    d: int,
    condition: Shape | None,
    *,
    key: PRNGKeyArray,
    **network: Any,
) -> Elementwise:
    """An elementwise layer; with a condition its parameters come from an MLP."""
    if condition is None:
        return Elementwise(transformer, d)
    mlp = MLP(condition_size(condition), (transformer.size, d), key=key, **network)
    return Elementwise(transformer, d, network=mlp, condition_shape=condition)


def next_turn(d: int) -> AbstractBijection:
    """The permutation after a coupling layer by which every coordinate is kept in turn.

    Reversing would leave the middle one of an odd number of coordinates transformed by every layer and seen by none,
    so that affine couplings could model it as a Gaussian only; those are rotated by the number kept.
    """
    return Reverse(d) if d % 2 == 0 else Permutation(np.roll(np.arange(d), d // 2))


def stacked(
    layers: int, make: Make, d: int, condition: Shape | None, key: PRNGKeyArray, after: After = ()
) -> Stack:
    """`layers` equal layers, each followed by what `after` makes."""

    def layer(key: PRNGKeyArray) -> AbstractBijection:
        made = make(d, condition, key=key)
        return Chain([made, *(follow(d) for follow in after)]) if after else made

    return Stack(layer, layers, key=key)


def layered(
    architecture: Any,
    make: Make,
    event: Size,
    condition: Size | None,
    key: PRNGKeyArray,
    after: After = (),
    soft: bool = False,
) -> Flow:
    """As many layers as the architecture says, over the base that it names.

    `soft` is for layers that scale what lies beyond the data by factors without a small bound: each throws a row far
    from the data further out, until that row alone decides the mean log-density of thousands. The normal base is then
    `softened`.
    """
    d, shape = vector_shapes(architecture, event, condition)
    base_key, layer_key = spawn(key, 2)
    base = base_named(architecture.base, (d,), base_key)
    stack = stacked(architecture.layers, make, d, shape, layer_key, after)
    return Flow(softened(base) if soft else base, stack)


def softened(base: AbstractDistribution) -> AbstractDistribution:
    """A normal base with logarithmic tails where it has no mass that 32 bits could draw; any other as it is."""
    if not isinstance(base, StandardNormal):
        return base
    return Flow(base, SoftTails(base.event_shape[0], SOFT))


def transformer_flow(
    architecture: Any,
    transformer: AbstractTransformer,
    event: Size,
    condition: Size | None,
    key: PRNGKeyArray,
    make: Make = autoregressive_layer,
    after: After = (Reverse, LULinear),
    soft: bool = True,
) -> Flow:
    """Layers of a transformer, made by `make(transformer, d, condition, *, key, **network)`; `soft` as in `layered`."""
    layer = partial(make, transformer, **network_of(architecture))
    return layered(architecture, layer, event, condition, key, after, soft)


def residual_flow(
    architecture: Any,
    activation: str,
    event: Size,
    condition: Size | None,
    key: PRNGKeyArray,
    **log_det: Any,
) -> Flow:
    """Residual maps of contractive networks, each followed by an activation normalisation. `log_det` says how training
    finds the log-dets, see `Residual`."""
    options = {"lipschitz": architecture.lipschitz, "activation": activation}

    def layer(d: int, condition: Shape | None, *, key: PRNGKeyArray) -> Residual:
        size = condition_size(condition)
        network = LipschitzMLP(d, d, condition=size, key=key, **options, **network_of(architecture))
        return Residual(network, condition_shape=condition, **log_det)

    d, _ = vector_shapes(architecture, event)
    sized = replace(architecture, layers=by_size(architecture.layers, d, 32, 16))
    return layered(sized, layer, event, condition, key, after=(ActNorm,))


def continuous_flow(
    architecture: Any,
    field: Callable[..., AbstractField],
    event: Size,
    condition: Size | None,
    key: PRNGKeyArray,
    **options: Any,
) -> Flow:
    """Flow maps of fields `field(d, *, condition, key)`, solved to the architecture's tolerances. `options` are those
    of `FlowMap`."""
    solver = Solver(rtol=architecture.rtol, atol=architecture.atol)

    def layer(d: int, condition: Shape | None, *, key: PRNGKeyArray) -> FlowMap:
        return FlowMap(field(d, condition=condition, key=key), solver=solver, **options)

    return layered(architecture, layer, event, condition, key)
