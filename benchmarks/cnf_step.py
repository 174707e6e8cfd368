"""One training step of a continuous flow beside diffrax and torchdiffeq: value and gradient, batch 512, on two cores.

The same tanh perceptron (time is an input of each hidden layer), weights, rows, method (dopri5) and tolerances in every
library. D=2: two hidden layers of 64, exact trace everywhere (the peers by D products with the Jacobian). D=43: two of
256; ours still exact, by the closed form, the peers' one Hutchinson probe. Errors are those of the loss's gradient,
relative to a float64 solution at 1e-10, so that times can be compared at the error that they buy; where the trace is
estimated there is none.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import harness

BATCH = 512
SIZES = {2: 64, 43: 256}


def weights(d: int, width: int) -> dict[str, Any]:
    """Weights of a field that bends: twice the usual random ones."""
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = {"w1": (d, width), "w2": (width, width), "w3": (width, d)}
    found = {k: 2 * rng.uniform(-1, 1, s) / s[0] ** 0.5 for k, s in shapes.items()}
    found["w3"] = found["w3"] / 2
    found |= {"b1": rng.uniform(-1, 1, width), "b2": rng.uniform(-1, 1, width)}
    found |= {"c1": rng.uniform(-1, 1, width), "c2": rng.uniform(-1, 1, width)}
    return {k: v.astype(np.float32) for k, v in found.items()}


def ours(adjoint: str = "checkpoint") -> Callable[..., Any]:
    def prepare(d: int, tol: float, x: Any, dtype: Any = None) -> Callable[[], Any]:
        import equinox as eqx
        import jax
        import jax.numpy as jnp

        import pushforward as pf

        w = weights(d, SIZES[d])
        field = pf.fields.MLPField(d, width=SIZES[d], time="concat", key=jax.random.key(0))
        field = eqx.tree_at(
            lambda f: (f.first, f.hidden, f.last, f.bias, f.clock),
            field,
            (
                *(jnp.asarray(w["w1"]), jnp.asarray(w["w2"])[None], jnp.asarray(w["w3"])),
                jnp.stack([w["b1"], w["b2"]]),
                [jnp.concatenate([w["c1"], w["c2"]])[None]],
            ),
        )
        solver = pf.ode.Solver(rtol=tol, atol=tol, adjoint=adjoint)
        flow = pf.distributions.Flow(
            pf.distributions.StandardNormal(d), pf.bijections.FlowMap(field, solver=solver)
        )
        rows = jnp.asarray(x)
        if dtype is not None:
            cast = lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a  # noqa: E731
            flow, rows = jax.tree.map(cast, flow), rows.astype(dtype)

        @eqx.filter_jit
        def step(flow: Any) -> Any:
            # A key: training's way, one step size for the batch. The trace stays exact.
            loss = lambda f: -f.log_prob(rows, key=jax.random.key(1)).mean()  # noqa: E731
            return eqx.filter_value_and_grad(loss)(flow)

        def task() -> Any:
            value, grads = jax.block_until_ready(step(flow))
            f = grads.bijection.field
            return value, [f.first, f.hidden[0], f.last]

        return task

    return prepare


def diffrax(adjoint: str) -> Callable[..., Any]:
    def prepare(d: int, tol: float, x: Any) -> Callable[[], Any]:
        import diffrax as dfx
        import jax
        import jax.numpy as jnp

        w = {k: jnp.asarray(v) for k, v in weights(d, SIZES[d]).items()}
        rows = jnp.asarray(x)
        noise = jax.random.rademacher(jax.random.key(1), rows.shape, rows.dtype)

        def net(t: Any, x: Any, w: Any) -> Any:
            h = jnp.tanh(x @ w["w1"] + w["b1"] + t * w["c1"])
            h = jnp.tanh(h @ w["w2"] + w["b2"] + t * w["c2"])
            return h @ w["w3"]

        def field(t: Any, state: Any, w: Any) -> Any:
            x, _ = state
            f = lambda x: net(t, x, w)  # noqa: E731
            if d > 2:
                value, moved = jax.jvp(f, (x,), (noise,))
                return value, (moved * noise).sum(1)

            def along(v: Any) -> Any:
                value, moved = jax.jvp(f, (x,), (jnp.broadcast_to(v, x.shape),))
                return value, (moved * v).sum(1)

            value, traces = jax.vmap(along, out_axes=(None, 0))(jnp.eye(d))
            return value, traces.sum(0)

        how: dict[str, Any] = {
            "checkpoint": dfx.RecursiveCheckpointAdjoint,
            "backsolve": dfx.BacksolveAdjoint,
        }

        @jax.jit
        def step(w: Any) -> Any:
            def loss(w: Any) -> Any:
                found = dfx.diffeqsolve(
                    dfx.ODETerm(field), dfx.Dopri5(), 1.0, 0.0, None, (rows, jnp.zeros(len(rows))),
                    args=w, stepsize_controller=dfx.PIDController(rtol=tol, atol=tol),
                    adjoint=how[adjoint](), max_steps=1000,
                )  # fmt: skip
                z, log_det = (v[0] for v in found.ys)
                return (0.5 * (z**2).sum(1) + 0.5 * d * jnp.log(2 * jnp.pi) - log_det).mean()

            return jax.value_and_grad(loss)(w)

        def task() -> Any:
            value, grads = jax.block_until_ready(step(w))
            return value, [grads[k] for k in ("w1", "w2", "w3")]

        return task

    return prepare


def torchdiffeq(adjoint: bool) -> Callable[..., Any]:
    def prepare(d: int, tol: float, x: Any) -> Callable[[], Any]:
        import math

        import numpy as np
        import torch
        import torchdiffeq as tde

        class Field(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                for k, v in weights(d, SIZES[d]).items():
                    setattr(self, k, torch.nn.Parameter(torch.from_numpy(v.copy())))
                self.noise = torch.from_numpy(
                    np.random.default_rng(1).choice([-1.0, 1.0], x.shape).astype(np.float32)
                )

            def forward(self, t: Any, state: Any) -> Any:
                x, _ = state
                with torch.enable_grad():
                    x = x.requires_grad_(True)
                    h = torch.tanh(x @ self.w1 + self.b1 + t * self.c1)
                    h = torch.tanh(h @ self.w2 + self.b2 + t * self.c2)
                    f = h @ self.w3
                    if d > 2:
                        (e,) = torch.autograd.grad(f, x, self.noise, create_graph=True)
                        return f, (e * self.noise).sum(1)
                    trace = 0.0
                    for i in range(d):
                        (g,) = torch.autograd.grad(f[:, i].sum(), x, create_graph=True)
                        trace = trace + g[:, i]
                    return f, trace

        field = Field()
        rows = torch.from_numpy(np.array(x))
        run = tde.odeint_adjoint if adjoint else tde.odeint

        def task() -> Any:
            for p in field.parameters():
                p.grad = None
            state = (rows.clone(), torch.zeros(len(rows)))
            times = torch.tensor([1.0, 0.0])
            z, log_det = (
                v[-1] for v in run(field, state, times, rtol=tol, atol=tol, method="dopri5")
            )
            loss = (0.5 * (z**2).sum(1) + 0.5 * d * math.log(2 * math.pi) - log_det).mean()
            loss.backward()
            return loss, [field.w1.grad.numpy(), field.w2.grad.numpy(), field.w3.grad.numpy()]

        return task

    return prepare


SUBJECTS: dict[str, Callable[..., Any]] = {
    "pushforward checkpoint": ours(),
    "pushforward backsolve": ours("backsolve"),
    "pushforward reversible": ours("reversible"),
    "diffrax checkpoint": diffrax("checkpoint"),
    "diffrax backsolve": diffrax("backsolve"),
    "torchdiffeq direct": torchdiffeq(False),
    "torchdiffeq adjoint": torchdiffeq(True),
}


def _keep(task: Callable[[], Any], held: list[Any]) -> None:
    held.append(task())


def run(d: int, tol: float, rounds: int) -> dict[str, Any]:
    import jax
    import numpy as np

    x = np.random.default_rng(2).normal(size=(BATCH, d)).astype(np.float32)
    with jax.enable_x64(True):
        truth = [np.asarray(g) for g in ours()(d, 1e-10, x, np.float64)()[1]] if d == 2 else None
    tasks = {name: make(d, tol, x) for name, make in SUBJECTS.items()}
    first, errors = {}, {}
    for name, task in tasks.items():
        held: list[Any] = []
        first[name] = harness.seconds(partial(_keep, task, held))
        if truth is not None:
            found = [np.asarray(g, np.float64) for g in held[0][1]]
            top = sum(((a - b) ** 2).sum() for a, b in zip(found, truth, strict=True))
            errors[name] = float((top / sum((b**2).sum() for b in truth)) ** 0.5)
    return {"first": first, "errors": errors, "figures": harness.interleaved(tasks, rounds=rounds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rows = []
    for d, tol in ((2, 1e-3), (2, 1e-5), (2, 1e-6), (43, 1e-5)):
        answer = harness.worker("cnf_step.py", d=d, tol=tol, rounds=options.rounds)
        if answer is None:
            rows.append([str(d), f"{tol:g}", "failed", *["-"] * 4])
            continue
        harness.record("cnf_step", d=d, tol=tol, **answer)
        for name, times in answer["figures"].items():
            error = answer["errors"].get(name)
            rows.append(
                [
                    *(str(d), f"{tol:g}", name, harness.cell(1e3 * median(times))),
                    harness.cell(
                        harness.ratio(answer["figures"], name, "pushforward checkpoint"),
                        suffix=" x",
                    ),
                    "-" if error is None else f"{error:.0e}",
                    harness.cell(answer["first"][name]),
                ]
            )
            harness.say(str(rows[-1]))
    header = ["D", "rtol = atol", "library, adjoint", "ms", "time / ours", "gradient error"]
    print(harness.table([*header, "first step, s"], rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
