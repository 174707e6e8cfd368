"""One training step of the less common flows beside the library that has them, D=8, batch 512, on two cores.

A step is value and gradient of the mean negative log-likelihood and one Adam update, float32. Sizes are the same on
both sides: layers, networks of two hidden layers of 64 units, components, degrees. PyTorch runs eagerly, as it is used.
normflows' and flowjax's planar maps have no inverse, so they push latent rows to data (the direction they have).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from typing import Any

import harness
import models

BATCH, D, LAYERS, WIDTH = 512, 8, 3, 64


def _zuko(name: str, **options: Any) -> Callable[[Any], Callable[[], object]]:
    def prepare(x: Any) -> Callable[[], object]:
        import torch
        import zuko

        torch.manual_seed(0)
        flow = getattr(zuko.flows, name)(D, transforms=LAYERS, **options)
        return models.zuko_step(flow, x)

    return prepare


def _torch_step(log_prob: Callable[[Any], Any], parameters: Any, x: Any) -> Callable[[], object]:
    import numpy as np
    import torch

    rows = torch.from_numpy(np.array(x))
    optimizer = torch.optim.Adam(list(parameters), lr=5e-4)

    def task() -> object:
        optimizer.zero_grad()
        loss = -log_prob(rows).mean()
        loss.backward()
        optimizer.step()
        return loss

    return task


def _nflows(kind: str) -> Callable[[Any], Callable[[], object]]:
    def prepare(x: Any) -> Callable[[], object]:
        import torch
        from nflows import distributions, flows, nn, transforms

        torch.manual_seed(0)
        parts: list[Any] = []
        for _ in range(LAYERS):
            if kind == "rational-quadratic":
                part = transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                    D, WIDTH, num_bins=8, tails="linear", tail_bound=5.0, num_blocks=1
                )
            else:
                part = transforms.PiecewiseCubicCouplingTransform(
                    torch.arange(D) % 2,
                    lambda a, b: nn.nets.ResidualNet(a, b, hidden_features=WIDTH, num_blocks=1),
                    num_bins=8,
                    tails="linear",
                    tail_bound=5.0,
                )
            parts += [part, transforms.LULinear(D)]
        flow = flows.Flow(transforms.CompositeTransform(parts), distributions.StandardNormal([D]))
        return _torch_step(flow.log_prob, flow.parameters(), x)

    return prepare


def _normflows(kind: str, layers: int) -> Callable[[Any], Callable[[], object]]:
    def prepare(x: Any) -> Callable[[], object]:
        import normflows as nf
        import torch

        torch.manual_seed(0)
        if kind == "planar":
            maps = [nf.flows.Planar((D,)) for _ in range(layers)]
            flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(D), maps)

            def log_det(rows: Any) -> Any:
                total = 0.0
                for each in flow.flows:
                    rows, one = each(rows)
                    total = total + one
                return total - 0.5 * (rows**2).sum(1)

            return _torch_step(log_det, flow.parameters(), x)
        maps = []
        for _ in range(layers):
            net = nf.nets.LipschitzMLP(
                [D, WIDTH, WIDTH, WIDTH, D], init_zeros=True, lipschitz_const=0.9
            )
            maps += [nf.flows.Residual(net, reduce_memory=True), nf.flows.ActNorm(D)]
        flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(D), maps)
        return _torch_step(flow.log_prob, flow.parameters(), x)

    return prepare


def _flowjax(kind: str, layers: int) -> Callable[[Any], Callable[[], object]]:
    def prepare(x: Any) -> Callable[[], object]:
        import jax
        import jax.numpy as jnp
        from flowjax import flows
        from flowjax.distributions import Normal

        base, key = Normal(jnp.zeros(D)), jax.random.key(0)
        if kind == "planar":
            model = flows.planar_flow(key, base_dist=base, flow_layers=layers, invert=True)
        else:
            model = flows.block_neural_autoregressive_flow(
                key, base_dist=base, flow_layers=layers, nn_depth=2, nn_block_dim=8, invert=True
            )
        return models.flowjax_step(model, x)

    return prepare


def _ours(name: str, **options: Any) -> Callable[[Any], Callable[[], object]]:
    def prepare(x: Any) -> Callable[[], object]:
        import jax

        from pushforward.architectures import ARCHITECTURES

        flow = ARCHITECTURES[name](**options).build(D, key=jax.random.key(0))
        key = jax.random.key(1) if name == "residual_flow" else None
        return models.jax_step(flow, lambda model, x: model.log_prob(x, key=key), x)

    return prepare


NETWORK = {"layers": LAYERS, "width": WIDTH, "depth": 2}
HIDDEN = {"hidden_features": (WIDTH, WIDTH)}
PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "zuko NSF, 8 bins": (_ours("nsf", bins=8, **NETWORK), _zuko("NSF", bins=8, **HIDDEN)),
    "zuko SOSPF, 3 of degree 4": (
        _ours("sos", degree=4, **NETWORK),
        _zuko("SOSPF", degree=4, polynomials=3, **HIDDEN),
    ),
    "zuko NAF, dense": (
        _ours("naf", dense=True, units=8, **NETWORK),
        _zuko("NAF", **HIDDEN, network={"hidden_features": (8, 8)}),
    ),
    "zuko UNAF": (
        _ours("umnn", **NETWORK),
        _zuko("UNAF", **HIDDEN, network={"hidden_features": (8, 8)}),
    ),
    "zuko BPF, degree 16": (_ours("bernstein", **NETWORK), _zuko("BPF", degree=16, **HIDDEN)),
    "zuko GF, 8 components": (
        _ours("gaussianization", layers=LAYERS),
        _zuko("GF", components=8),
    ),
    "nflows RQ, 8 bins": (_ours("nsf", bins=8, **NETWORK), _nflows("rational-quadratic")),
    "nflows cubic coupling, 8 bins": (
        _ours("cubic_spline", autoregressive=False, bins=8, **NETWORK),
        _nflows("cubic"),
    ),
    "normflows Planar, 32 maps": (_ours("planar", layers=32), _normflows("planar", 32)),
    "normflows Residual": (
        _ours("residual_flow", layers=LAYERS, width=WIDTH, depth=3),
        _normflows("residual", LAYERS),
    ),
    "flowjax BNAF, blocks of 8": (
        _ours("bnaf", layers=1, units=8, depth=2),
        _flowjax("bnaf", 1),
    ),
    "flowjax Planar, 32 maps": (_ours("planar", layers=32), _flowjax("planar", 32)),
}


def run(pair: str, rounds: int) -> dict[str, Any]:
    import jax

    x = jax.random.normal(jax.random.key(1), (BATCH, D))
    tasks = dict(zip(("ours", "peer"), (make(x) for make in PAIRS[pair]), strict=True))
    first = {name: harness.seconds(task) for name, task in tasks.items()}
    return {"first": first, "figures": harness.interleaved(tasks, rounds=rounds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rows = []
    for pair in options.pairs:
        answer = harness.worker("peer_steps.py", pair=pair, rounds=options.rounds)
        if answer is None:
            rows.append([pair, "-", "-", "-", "-"])
            continue
        harness.record("peer_steps", pair=pair, **answer)
        figures = answer["figures"]
        rows.append(
            [
                pair,
                *(harness.cell(1e3 * median(figures[name])) for name in ("ours", "peer")),
                harness.cell(harness.ratio(figures, "peer", "ours"), suffix=" x"),
                harness.cell(answer["first"]["ours"]),
            ]
        )
        harness.say(str(rows[-1]))
    header = ["peer", "pushforward, ms", "peer, ms", "peer / pushforward", "our first step, s"]
    print(harness.table(header, rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
