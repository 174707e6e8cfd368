"""One training step of a multi-scale Glow beside normflows and nflows: CPU time.

Images of 1 x 32 x 32, batch 64, 3 scales of 8 steps, affine couplings whose networks have convolutions of 3 x 3, 1 x 1
and 3 x 3 with 64 channels within. A step is value and gradient of the mean negative log-likelihood and one Adam update,
float32. Milliseconds are of CPU time, of all threads together; PyTorch runs eagerly with one thread, as more cost it
more. Here the first convolution has a bias of each place, and what leaves a scale is modelled given what stays; both
are more than the others do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import harness
import models

SIDE, BATCH, SCALES, STEPS, WIDTH = 32, 64, 3, 8, 64
ROUNDS, CALLS = 8, 3


def ours(x: Any) -> Callable[[], object]:
    import jax.numpy as jnp

    import pushforward as pf

    kind = pf.architectures.ImageGlow(scales=SCALES, steps=STEPS, width=WIDTH)
    images = jnp.asarray(x.transpose(0, 2, 3, 1))
    flow = kind.build(images.shape[1:], key=pf.draws.key_of(0))
    flow = pf.distributions.Flow(flow.base, pf.bijections.initialised(flow.bijection, images))
    return models.pushforward_step(flow, images)


def normflows(x: Any) -> Callable[[], object]:
    import normflows as nf
    import torch

    torch.manual_seed(0)
    bases, flows, merges = [], [], []
    for i in range(SCALES):
        blocks = [
            nf.flows.GlowBlock(2 ** (SCALES + 1 - i), WIDTH, split_mode="channel", scale=True)
            for _ in range(STEPS)
        ]
        flows.append([*blocks, nf.flows.Squeeze()])
        if i > 0:
            merges.append(nf.flows.Merge())
        side = SIDE // 2 ** (SCALES - i)
        channels = 2 ** (SCALES - i) if i > 0 else 2 ** (SCALES + 1)
        bases.append(nf.distributions.DiagGaussian((channels, side, side)))
    model = nf.MultiscaleFlow(bases, flows, merges)
    return _torch_step(lambda images: model.log_prob(images, None), model.parameters(), x)


def nflows(x: Any) -> Callable[[], object]:
    import torch
    from nflows import distributions, flows, transforms

    torch.manual_seed(0)

    def network(inputs: int, out: int) -> Any:
        return _Conditioned(
            torch.nn.Sequential(
                torch.nn.Conv2d(inputs, WIDTH, 3, padding=1),
                torch.nn.ReLU(),
                torch.nn.Conv2d(WIDTH, WIDTH, 1),
                torch.nn.ReLU(),
                torch.nn.Conv2d(WIDTH, out, 3, padding=1),
            )
        )

    class _Conditioned(torch.nn.Module):
        def __init__(self, inner: Any):
            super().__init__()
            self.inner = inner

        def forward(self, inputs: Any, context: Any = None) -> Any:
            return self.inner(inputs)

    multi = transforms.MultiscaleCompositeTransform(SCALES)
    shape = (1, SIDE, SIDE)
    for _ in range(SCALES):
        c, h, w = shape
        shape = (4 * c, h // 2, w // 2)
        parts: list[Any] = [transforms.SqueezeTransform()]
        for _ in range(STEPS):
            mask = torch.arange(shape[0]) % 2
            parts += [
                transforms.ActNorm(shape[0]),
                transforms.OneByOneConvolution(shape[0]),
                transforms.AffineCouplingTransform(mask, network),
            ]
        shape = multi.add_transform(transforms.CompositeTransform(parts), shape) or shape
    flow = flows.Flow(multi, distributions.StandardNormal([SIDE * SIDE]))
    return _torch_step(flow.log_prob, flow.parameters(), x)


def _torch_step(log_prob: Callable[[Any], Any], parameters: Any, x: Any) -> Callable[[], object]:
    import torch

    torch.set_num_threads(1)
    images = torch.from_numpy(x)
    log_prob(images)  # sets the normalisations by the first batch
    optimizer = torch.optim.Adam(list(parameters), lr=5e-4)

    def task() -> object:
        optimizer.zero_grad()
        loss = -log_prob(images).mean()
        loss.backward()
        optimizer.step()
        return loss

    return task


SYSTEMS = {"pushforward": ours, "normflows": normflows, "nflows": nflows}


def run() -> dict[str, Any]:
    """CPU seconds of a step of each system, one figure a round, interleaved; of the first step apart."""
    import numpy as np

    x = np.random.default_rng(0).normal(size=(BATCH, 1, SIDE, SIDE)).astype(np.float32)
    first: dict[str, float] = {}
    tasks: dict[str, Callable[[], object]] = {}
    for name, prepare in SYSTEMS.items():
        if name != "pushforward" and not harness.is_installed(name):
            continue
        tasks[name] = prepare(x)
        first[name] = _cpu_seconds(tasks[name], 1)
    figures: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            task()
            figures[name].append(_cpu_seconds(task, CALLS))
    return {"first": first, "figures": figures}


def _cpu_seconds(task: Callable[[], object], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        task()
    return (time.process_time() - start) / calls


def main() -> None:
    answer = harness.worker("glow_step.py")
    if answer is None:
        raise SystemExit("the benchmark failed")
    figures = answer["figures"]
    rows = [
        [
            name,
            harness.cell(1e3 * median(figures[name]), 0),
            harness.cell(harness.ratio(figures, name, "normflows"), suffix=" x"),
            harness.cell(answer["first"][name], 1),
        ]
        for name in figures
    ]
    harness.record("glow_step", **answer)
    print(harness.table(["", "CPU ms per step", "of normflows", "CPU s, first step"], rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
