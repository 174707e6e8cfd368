"""One training step of flow matching beside torchcfm, and what a coupling costs, on two cores.

The same tanh perceptron (time is an input of each hidden layer) with the same sizes: D=2, two hidden layers of 64;
D=43, two of 256. A step draws noise and times, forms the linear path and its velocity, and takes value, gradient and
one Adam update of the mean squared error, float32. torchcfm gives location and velocity
(`sample_location_and_conditional_flow`), PyTorch the rest, eagerly, as it is used. Exact OT couples 256 rows on both
sides; at batch 4,096 ours couples in blocks of 256 and torchcfm all at once, which is left out. "coupling" is our
coupling by itself, beside the step without one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from typing import Any

import harness

WIDTHS = {2: 64, 43: 256}


def ours(d: int, x: Any, coupling: str) -> Callable[[], object]:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    import pushforward as pf

    field = pf.fields.MLPField(d, width=WIDTHS[d], time="concat", key=jax.random.key(0))
    flow = pf.distributions.Flow(pf.distributions.StandardNormal(d), pf.bijections.FlowMap(field))
    loss = pf.paths.FlowMatchingLoss(coupling=coupling)
    parameters, static = eqx.partition(flow, eqx.is_inexact_array)
    optimizer, rows = optax.adam(1e-3), jnp.asarray(x)

    @jax.jit
    def step(parameters: Any, state: Any, key: Any) -> Any:
        key, own = jax.random.split(key)

        def mean(parameters: Any) -> Any:
            return loss(eqx.combine(parameters, static), rows, None, own).mean()

        value, gradient = jax.value_and_grad(mean)(parameters)
        updates, state = optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, key, value

    carry = (parameters, optimizer.init(parameters), jax.random.key(1))

    def task() -> object:
        nonlocal carry
        *new, value = step(*carry)
        carry = tuple(new)
        return jax.block_until_ready((carry, value))

    return task


def our_coupling(d: int, x: Any) -> Callable[[], object]:
    import jax
    import jax.numpy as jnp

    import pushforward as pf

    rows = jnp.asarray(x)

    @jax.jit
    def pair(key: Any) -> Any:
        z = jax.random.normal(key, rows.shape)
        return pf.paths.partners("exact_ot", z, rows, None, key)

    keys = iter(jax.random.split(jax.random.key(2), 100_000))
    return lambda: jax.block_until_ready(pair(next(keys)))


def torchcfm(d: int, x: Any, coupling: str) -> Callable[[], object]:
    import torch
    import torchcfm as library

    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width = WIDTHS[d]
            self.first = torch.nn.Linear(d, width)
            self.second = torch.nn.Linear(width, width)
            self.last = torch.nn.Linear(width, d)
            self.clock = torch.nn.Parameter(torch.rand(2, width))

        def forward(self, t: Any, x: Any) -> Any:
            h = torch.tanh(self.first(x) + t * self.clock[0])
            return self.last(torch.tanh(self.second(h) + t * self.clock[1]))

    torch.manual_seed(0)
    field, rows = Field(), torch.from_numpy(x.copy())
    kind = "ExactOptimalTransport" if coupling == "exact_ot" else ""
    matcher = getattr(library, f"{kind}ConditionalFlowMatcher")(sigma=0.0)
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-3)

    def task() -> object:
        optimizer.zero_grad()
        noise = torch.randn_like(rows)
        t, between, velocity = matcher.sample_location_and_conditional_flow(noise, rows)
        loss = ((field(t[:, None], between) - velocity) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return task


def run(d: int, batch: int, rounds: int) -> dict[str, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, d)) + 2 * rng.choice([-1, 1], (batch, 1))
    x = x.astype(np.float32)
    tasks = {
        "ours independent": ours(d, x, "independent"),
        "torchcfm independent": torchcfm(d, x, "independent"),
        "ours exact_ot": ours(d, x, "exact_ot"),
        "coupling": our_coupling(d, x),
    }
    if batch <= 256:
        tasks["torchcfm exact_ot"] = torchcfm(d, x, "exact_ot")
    first = {name: harness.seconds(task) for name, task in tasks.items()}
    return {"first": first, "figures": harness.interleaved(tasks, rounds=rounds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rows = []
    for d, batch in ((2, 256), (2, 4096), (43, 256), (43, 4096)):
        answer = harness.worker("flow_matching_step.py", d=d, batch=batch, rounds=options.rounds)
        if answer is None:
            rows.append([str(d), f"{batch:,}", "failed", *["-"] * 4])
            continue
        harness.record("flow_matching_step", d=d, batch=batch, **answer)
        figures = answer["figures"]
        for coupling in ("independent", "exact_ot"):
            mine, theirs = f"ours {coupling}", f"torchcfm {coupling}"
            peer = figures.get(theirs)
            share = harness.ratio(figures, "coupling", "ours independent")
            rows.append(
                [
                    *(str(d), f"{batch:,}", coupling),
                    harness.cell(1e3 * median(figures[mine]), 3),
                    harness.cell(None if peer is None else 1e3 * median(peer), 3),
                    harness.cell(harness.ratio(figures, theirs, mine), suffix=" x"),
                    harness.cell(None if coupling == "independent" else share, suffix=" x"),
                ]
            )
            harness.say(str(rows[-1]))
    header = ["D", "batch", "coupling", "pushforward, ms", "torchcfm, ms", "torchcfm / pushforward"]
    print(harness.table([*header, "coupling / step without"], rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
