"""What published models share: layers of each structure, and plans, from which `Planned` builds a flow."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
"""Makes a layer: a class or a function `(d, *, condition_shape, key)`."""
After = Sequence[Callable[[int], AbstractBijection]]
"""Make what follows a layer, such as a permutation, from the number of coordinates."""

MIXED: After = (Reverse, LULinear)
"""The order of coordinates reversed, and a learned linear map."""
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


def bins_for(bins: int, d: int) -> int:
    """The bins of each spline; 0 stands for 16 up to 8 coordinates and 8 beyond (`benchmarks/zoo.py`: with 16, tables
    of 43 and 15 columns lose 0.2 to 0.7 nats that those of 2 and 8 gain)."""
    return by_size(bins, d, 16, 8, limit=8)


def network_of(architecture: object) -> dict[str, Any]:
    """The options of its networks that an architecture has: width, depth, residual, dropout."""
    names = ("width", "depth", "residual", "dropout")
    return {name: getattr(architecture, name) for name in names if hasattr(architecture, name)}


def autoregressive_layer(
    transformer: AbstractTransformer,
    d: int,
    condition_shape: Shape | None,
    *,
    key: PRNGKeyArray,
    **network: Any,
) -> Autoregressive:
    """An autoregressive layer with a masked MLP; `network` has its width, depth, residual, dropout."""
    size = condition_size(condition_shape)
    mlp = MaskedMLP(d, transformer.size, condition=size, key=key, **network)
    return Autoregressive(mlp, transformer, condition_shape)


def inverse_autoregressive_layer(*arguments: Any, **network: Any) -> Invert:
    """A layer that is autoregressive in the latent coordinates; arguments as `autoregressive_layer`."""
    return Invert(autoregressive_layer(*arguments, **network))


def coupling_layer(
    transformer: AbstractTransformer,
    d: int,
    condition_shape: Shape | None,
    *,
    key: PRNGKeyArray,
    **network: Any,
) -> Coupling:
    """A coupling layer that keeps the first half (the smaller one) and transforms the rest with an MLP."""
    kept = d // 2
    inputs, out = kept + condition_size(condition_shape), (transformer.size, d - kept)
    return Coupling(MLP(inputs, out, key=key, **network), transformer, kept, condition_shape)


def structure(autoregressive: bool) -> Make:
    """The layer that the option `autoregressive` asks for."""
    return autoregressive_layer if autoregressive else coupling_layer


def elementwise_layer(
    transformer: AbstractTransformer,
    d: int,
    condition_shape: Shape | None,
    *,
    key: PRNGKeyArray,
    **network: Any,
) -> Elementwise:
    """An elementwise layer; with a condition its parameters come from an MLP."""
    if condition_shape is None:
        return Elementwise(transformer, d)
    mlp = MLP(condition_size(condition_shape), (transformer.size, d), key=key, **network)
    return Elementwise(transformer, d, network=mlp, condition_shape=condition_shape)


def layer_of(
    architecture: object,
    transformer: AbstractTransformer,
    structure: Make = autoregressive_layer,
    **network: Any,
) -> Make:
    """Makes layers of a transformer in a structure. Their networks have the architecture's options, and `network`."""
    return partial(structure, transformer, **{**network_of(architecture), **network})


def next_turn(d: int) -> AbstractBijection:
    """The permutation after a coupling layer by which every coordinate is kept in turn.

    Reversing would leave the middle one of an odd number of coordinates transformed by every layer and seen by none,
    so that affine couplings could model it as a Gaussian only; those are rotated by the number kept.
    """
    return Reverse(d) if d % 2 == 0 else Permutation(np.roll(np.arange(d), d // 2))


def stacked(
    layers: int, make: Make, d: int, shape: Shape | None, key: PRNGKeyArray, after: After = ()
) -> Stack:
    """`layers` equal layers, each followed by what `after` makes."""

    def layer(key: PRNGKeyArray) -> AbstractBijection:
        made = make(d, condition_shape=shape, key=key)
        return Chain([made, *(follow(d) for follow in after)]) if after else made

    return Stack(layer, layers, key=key)


@dataclass(frozen=True)
class Plan:
    """A flow of equal layers over the base that an architecture names.

    Arguments:
        make: makes a layer.
        after: make what follows each layer; default nothing.
        soft: whether a normal base is `softened`; default False. It is for layers that scale what lies beyond the data
            by factors without a small bound: each throws a row far from the data further out, until that row alone
            decides the mean log-density of thousands.
        layers: how many; default None, the architecture's option.
        first: a map before all layers, seen from the latents; default None.
    """

    make: Make
    after: After = ()
    soft: bool = False
    layers: int | None = None
    first: AbstractBijection | None = None


class Planned(ABC):
    """An architecture that is a plan, with an option `base`, and `layers` unless the plan says how many."""

    layers: int
    base: str

    @abstractmethod
    def plan(self, d: int) -> Plan:
        """The plan for events of d coordinates."""

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        """A flow with fresh parameters, see `Architecture`."""
        d, shape = vector_shapes(self, event, condition)
        plan = self.plan(d)
        base_key, layer_key = spawn(key, 2)
        base = base_named(self.base, (d,), base_key)
        layers = self.layers if plan.layers is None else plan.layers
        stack = stacked(layers, plan.make, d, shape, layer_key, plan.after)
        bijection = stack if plan.first is None else Chain([plan.first, stack])
        return Flow(softened(base) if plan.soft else base, bijection)


def softened(base: AbstractDistribution) -> AbstractDistribution:
    """A normal base with logarithmic tails where it has no mass that 32 bits could draw; any other as it is."""
    if not isinstance(base, StandardNormal):
        return base
    return Flow(base, SoftTails(base.event_shape[0], SOFT))


def residual(architecture: Any, d: int, activation: str, **log_det: Any) -> Plan:
    """Residual maps of contractive networks, each followed by an activation normalisation. `log_det` says how training
    finds the log-dets, see `Residual`."""
    options = {"lipschitz": architecture.lipschitz, **network_of(architecture)}

    def make(d: int, *, condition_shape: Shape | None, key: PRNGKeyArray) -> Residual:
        size = condition_size(condition_shape)
        network = LipschitzMLP(d, d, condition=size, activation=activation, key=key, **options)
        return Residual(network, condition_shape=condition_shape, **log_det)

    return Plan(make, (ActNorm,), layers=by_size(architecture.layers, d, 32, 16))


def continuous(
    architecture: Any,
    field: Callable[..., AbstractField],
    layers: int | None = None,
    **options: Any,
) -> Plan:
    """Flow maps of fields `field(d, *, condition, key)`, solved to the architecture's tolerances. `options` are those
    of `FlowMap`."""
    solver = Solver(rtol=architecture.rtol, atol=architecture.atol)

    def make(d: int, *, condition_shape: Shape | None, key: PRNGKeyArray) -> FlowMap:
        return FlowMap(field(d, condition=condition_shape, key=key), solver=solver, **options)

    return Plan(make, layers=layers)
