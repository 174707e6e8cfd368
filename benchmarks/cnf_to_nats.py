"""Time to the same held-out nats: a continuous flow trained by pushforward and by torchdiffeq on two-dimensional toys.

The same in all three: field (tanh perceptron, two hidden layers of 64, time an input of each), its first weights, Adam
at 5e-3, the batches (512 rows), dopri5 at 1e-5, the exact trace (ours in closed form, torchdiffeq's by two products
with the Jacobian). The libraries take turns of a few steps in one process; the clock of each runs in its own turns
only, after one step that is not timed (ours compiles there; its seconds stand apart). After each turn the weights of
every library are judged on 2,000 held-out rows by one evaluator, outside of the clocks. The threshold is the least of
what the three reach at best, less 0.01 nats; the figure is the clock at the end of the first turn that reaches it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import harness

BATCH, WIDTH, RATE, TOL = 512, 64, 5e-3, 1e-5
TOYS = ("eight_gaussians", "moons", "checkerboard")


def first_weights() -> dict[str, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = {"w1": (2, WIDTH), "w2": (WIDTH, WIDTH), "w3": (WIDTH, 2)}
    found = {k: rng.uniform(-1, 1, s) / s[0] ** 0.5 for k, s in shapes.items()}
    found |= {k: rng.uniform(-1, 1, WIDTH) for k in ("b1", "b2", "c1", "c2")}
    found["b3"] = np.zeros(2)
    return {k: v.astype(np.float32) for k, v in found.items()}


def flow_of(w: dict[str, Any]) -> Any:
    """pushforward's flow with these weights."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    import pushforward as pf

    field = pf.fields.MLPField(2, width=WIDTH, time="concat", key=jax.random.key(0))
    w = {k: jnp.asarray(v) for k, v in w.items()}
    field = eqx.tree_at(
        lambda f: (f.first, f.hidden, f.last, f.bias, f.last_bias, f.clock[0]),
        field,
        (
            *(w["w1"], w["w2"][None], w["w3"], jnp.stack([w["b1"], w["b2"]]), w["b3"]),
            jnp.concatenate([w["c1"], w["c2"]])[None],
        ),
    )
    solver = pf.ode.Solver(rtol=TOL, atol=TOL)
    return pf.distributions.Flow(
        pf.distributions.StandardNormal(2), pf.bijections.FlowMap(field, solver=solver)
    )


def weights_of(flow: Any) -> dict[str, Any]:
    f = flow.bijection.field
    (b1, b2), clock = f.bias, f.clock[0][0]
    return {
        **{"w1": f.first, "w2": f.hidden[0], "w3": f.last, "b1": b1, "b2": b2, "b3": f.last_bias},
        **{"c1": clock[:WIDTH], "c2": clock[WIDTH:]},
    }


class Ours:
    """A trainer: `step(rows)`, `weights()`."""

    def __init__(self) -> None:
        import equinox as eqx
        import jax
        import optax

        self.flow, adam = flow_of(first_weights()), optax.adam(RATE)
        self.state = adam.init(eqx.filter(self.flow, eqx.is_inexact_array))

        @eqx.filter_jit
        def step(flow: Any, state: Any, x: Any) -> Any:
            loss = lambda f: -f.log_prob(x, key=jax.random.key(1)).mean()  # noqa: E731
            grads = eqx.filter_grad(loss)(flow)
            updates, state = adam.update(grads, state)
            return eqx.apply_updates(flow, updates), state

        self.update = step

    def step(self, x: Any) -> None:
        import jax

        self.flow, self.state = jax.block_until_ready(self.update(self.flow, self.state, x))

    def weights(self) -> dict[str, Any]:
        return weights_of(self.flow)


class Torch:
    """The same by torchdiffeq, with its adjoint or through its steps."""

    def __init__(self, adjoint: bool):
        import torch
        import torchdiffeq

        class Field(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                for k, v in first_weights().items():
                    setattr(self, k, torch.nn.Parameter(torch.from_numpy(v)))

            def forward(self, t: Any, state: Any) -> Any:
                with torch.enable_grad():
                    x = state[0].requires_grad_(True)
                    h = torch.tanh(x @ self.w1 + self.b1 + t * self.c1)
                    h = torch.tanh(h @ self.w2 + self.b2 + t * self.c2)
                    f, trace = h @ self.w3 + self.b3, 0.0
                    for i in range(2):
                        (g,) = torch.autograd.grad(f[:, i].sum(), x, create_graph=True)
                        trace = trace + g[:, i]
                    return f, trace

        self.field = Field()
        self.adam = torch.optim.Adam(self.field.parameters(), lr=RATE)
        self.solve = torchdiffeq.odeint_adjoint if adjoint else torchdiffeq.odeint

    def step(self, x: Any) -> None:
        import torch

        rows = torch.from_numpy(x)
        times = torch.tensor([1.0, 0.0])
        options = {"rtol": TOL, "atol": TOL, "method": "dopri5"}
        z, log_det = (
            v[-1] for v in self.solve(self.field, (rows, torch.zeros(len(x))), times, **options)
        )
        self.adam.zero_grad()
        (0.5 * (z**2).sum(1) - log_det).mean().backward()
        self.adam.step()

    def weights(self) -> dict[str, Any]:
        return {k: v.detach().numpy() for k, v in self.field.named_parameters()}


TRAINERS: dict[str, Callable[[], Any]] = {
    "pushforward": Ours,
    "torchdiffeq direct": lambda: Torch(False),
    "torchdiffeq adjoint": lambda: Torch(True),
}


def run(name: str, turns: int, steps: int) -> dict[str, Any]:
    """`(clock, nats)` after each turn of each library."""
    import equinox as eqx
    import numpy as np

    from pushforward.data.toys import toy

    x = toy(name, 20_000, seed=0)
    centre, scale = x.mean(0), x.std(0)
    x, held = (((v - centre) / scale).astype(np.float32) for v in (x, toy(name, 2_000, seed=1)))
    rng = np.random.default_rng(3)
    batches = [x[rng.integers(len(x), size=BATCH)] for _ in range(turns * steps)]
    judge = eqx.filter_jit(lambda flow: flow.log_prob(held).mean() - np.log(scale).sum())
    trainers, first = {}, {}
    curves: dict[str, list[Any]] = {}
    for library, make in TRAINERS.items():
        # One step that is thrown away: ours compiles in it.
        trial = make()
        first[library] = harness.seconds(partial(trial.step, batches[0]))
        trainers[library], curves[library] = make(), []
        if library == "pushforward":
            trainers[library].update = trial.update
    clocks = dict.fromkeys(TRAINERS, 0.0)
    for turn in range(turns):
        for library, trainer in trainers.items():
            began = time.perf_counter()
            for batch in batches[turn * steps : (turn + 1) * steps]:
                trainer.step(batch)
            clocks[library] += time.perf_counter() - began
            nats = float(judge(flow_of(trainer.weights())))
            curves[library].append((clocks[library], nats))
    return {"first": first, "curves": curves}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=16)
    parser.add_argument("--steps", type=int, default=25, help="of a turn")
    options = parser.parse_args()
    rows = []
    for name in TOYS:
        answer = harness.worker(
            "cnf_to_nats.py", name=name, turns=options.turns, steps=options.steps
        )
        if answer is None:
            continue
        harness.record("cnf_to_nats", name=name, **answer)
        curves = answer["curves"]
        threshold = min(max(nats for _, nats in curve) for curve in curves.values()) - 0.01
        reached = {
            library: next((i, t) for i, (t, nats) in enumerate(curve, 1) if nats >= threshold)
            for library, curve in curves.items()
        }
        for library, (turn, clock) in reached.items():
            rows.append(
                [
                    *(name.replace("_", " "), f"{threshold:.3f}", library),
                    *(str(turn * options.steps), harness.cell(clock, 1)),
                    harness.cell(clock / reached["pushforward"][1], suffix=" x"),
                    *(harness.cell(answer["first"][library], 1), f"{curves[library][-1][1]:.3f}"),
                ]
            )
            harness.say(str(rows[-1]))
    header = ["data", "nats", "library", "steps", "seconds", "time / ours", "first step, s"]
    print(harness.table([*header, "nats at the end"], rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
