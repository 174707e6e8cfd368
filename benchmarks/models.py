"""The same flow in each library, and one training step of it: 5 layers, two hidden layers, D=8."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

FEATURES, LAYERS, DEPTH, BINS = 8, 5, 2, 8
FLOWS = ("NSF autoregressive", "MAF", "NSF coupling", "RealNVP")


class Shape(NamedTuple):
    """What the conditioner of one layer multiplies: inputs -> width -> width -> outputs."""

    inputs: int
    width: int
    outputs: int


def shape(flow: str, width: int, features: int = FEATURES) -> Shape:
    """The conditioner's shape: 3K - 1 numbers a spline, 2 an affine map; coupling halves both."""
    numbers = 3 * BINS - 1 if flow.startswith("NSF") else 2
    known = features if flow in ("NSF autoregressive", "MAF") else features // 2
    return Shape(known, width, known * numbers)


def pushforward(flow: str, width: int, *, layers: int = LAYERS, features: int = FEATURES) -> Any:
    import jax

    import pushforward as pf

    sizes: dict[str, Any] = {"layers": layers, "width": width, "depth": DEPTH}
    zoo = pf.architectures
    architecture = {
        "NSF autoregressive": partial(zoo.NSF, bins=BINS, autoregressive=True),
        "NSF coupling": partial(zoo.NSF, bins=BINS, autoregressive=False),
        "MAF": zoo.MAF,
        "RealNVP": zoo.RealNVP,
    }[flow](**sizes)
    return architecture.build(features, key=jax.random.key(0))


def flowjax(flow: str, width: int, *, layers: int = LAYERS, features: int = FEATURES) -> Any:
    import jax
    import jax.numpy as jnp
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow

    make = masked_autoregressive_flow if flow in ("NSF autoregressive", "MAF") else coupling_flow
    # Its `knots` are the inner ones: one fewer than the bins.
    spline = RationalQuadraticSpline(knots=BINS - 1, interval=4) if "NSF" in flow else None
    return make(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(features)),
        transformer=spline,
        flow_layers=layers,
        nn_width=width,
        nn_depth=DEPTH,
    )


def zuko(flow: str, width: int, *, layers: int = LAYERS, features: int = FEATURES) -> Any:
    import torch
    import zuko as library
    from zuko.transforms import MonotonicRQSTransform

    torch.manual_seed(0)
    make = library.flows.MAF if flow in ("NSF autoregressive", "MAF") else library.flows.NICE
    spline = {
        "univariate": partial(MonotonicRQSTransform, slope=1e-3),
        "shapes": [(BINS,), (BINS,), (BINS - 1,)],
    }
    return make(
        features,
        transforms=layers,
        hidden_features=(width,) * DEPTH,
        **(spline if "NSF" in flow else {}),
    )


def jax_step(model: Any, log_prob: Callable[[Any, Any], Any], x: Any) -> Callable[[], object]:
    """A jitted Adam step on the mean negative log-likelihood that keeps its state."""
    import equinox as eqx
    import jax
    import optax

    parameters, static = eqx.partition(model, eqx.is_inexact_array)
    optimizer = optax.adam(5e-4)

    @jax.jit
    def step(parameters: Any, state: Any, x: Any) -> Any:
        def loss(parameters: Any) -> Any:
            return -log_prob(eqx.combine(parameters, static), x).mean()

        value, gradient = jax.value_and_grad(loss)(parameters)
        updates, state = optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, value

    carry = (parameters, optimizer.init(parameters))

    def task() -> object:
        nonlocal carry
        *new, value = step(*carry, x)
        carry = tuple(new)
        return jax.block_until_ready((carry, value))

    return task


def compiled(model: Any, method: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """`method(model, argument)` jitted, the model's arrays being arguments and not constants."""
    import equinox as eqx
    import jax

    arrays, static = eqx.partition(model, eqx.is_array)
    call = jax.jit(lambda arrays, argument: method(eqx.combine(arrays, static), argument))
    return lambda argument: jax.block_until_ready(call(arrays, argument))


def pushforward_step(model: Any, x: Any) -> Callable[[], object]:
    return jax_step(model, lambda model, x: model.log_prob(x), x)


def flowjax_step(model: Any, x: Any) -> Callable[[], object]:
    """The likelihood as in flowjax's own loss, in the step that pushforward is given too."""
    import paramax

    return jax_step(model, lambda model, x: paramax.unwrap(model).log_prob(x), x)


def flowjax_own_step(model: Any, x: Any) -> Callable[[], object]:
    """The step that flowjax's `fit_to_data` calls."""
    import equinox as eqx
    import jax
    import optax
    from flowjax.train.losses import MaximumLikelihoodLoss
    from flowjax.train.train_utils import step

    parameters, static = eqx.partition(model, eqx.is_inexact_array)
    optimizer, loss = optax.adam(5e-4), MaximumLikelihoodLoss()
    carry = (parameters, optimizer.init(parameters))

    def task() -> object:
        nonlocal carry
        parameters, state = carry
        *new, value = step(
            parameters, static, x, optimizer=optimizer, opt_state=state, loss_fn=loss
        )
        carry = tuple(new)
        return jax.block_until_ready((carry, value))

    return task


def zuko_step(model: Any, x: Any) -> Callable[[], object]:
    import numpy as np
    import torch

    rows = torch.from_numpy(np.array(x))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)

    def task() -> object:
        optimizer.zero_grad()
        loss = -model().log_prob(rows).mean()
        loss.backward()
        optimizer.step()
        return loss

    return task


def products_step(flow: str, width: int, x: Any) -> Callable[[], object]:
    """The floor: every matrix product of a step, forward and both backward, and nothing else.

    Data flows through all of them as in a network: a layer's outputs feed the next layer's input
    and its own cotangent, the cotangent of its input feeds the layer before, and every weight's
    cotangent is returned. So no product can be dropped, shared, shrunk or moved out.
    """
    import jax
    import jax.numpy as jnp

    inputs, width, outputs = shape(flow, width)
    sizes = [(inputs, width), (width, width), (width, outputs)]
    keys = iter(jax.random.split(jax.random.key(0), LAYERS * len(sizes)))
    weights = [
        [jax.random.normal(next(keys), size) / size[0] ** 0.5 for size in sizes]
        for _ in range(LAYERS)
    ]

    @jax.jit
    def products(weights: Any, x: Any) -> Any:
        kept = []
        for layer in weights:
            values = [x[:, :inputs]]
            for weight in layer:
                values.append(values[-1] @ weight)
            kept.append(values)
            x = values[-1]
        cotangent, gradients = jnp.zeros_like(x[:, :inputs]), []
        for layer, values in zip(weights[::-1], kept[::-1], strict=True):
            upstream = values[-1].at[:, :inputs].add(cotangent)
            for weight, value in zip(layer[::-1], values[-2::-1], strict=True):
                gradients.append(value.T @ upstream)
                upstream = upstream @ weight.T
            cotangent = upstream
        return gradients, cotangent

    return lambda: jax.block_until_ready(products(weights, x))
