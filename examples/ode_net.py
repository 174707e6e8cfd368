"""ODE-Net on MNIST: one neural ODE in place of a residual network's blocks, of the same width.

Images are squeezed to 7 by 7 pixels by two convolutions. Then come six residual blocks, or one block as the field of an
ODE, with twice the channels between its two convolutions. Both are trained alike. Source: Chen et al. 2018, arXiv
1806.07366, section 3.
"""

import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from experiment import Result, main, plots, say

from pushforward import InputError, Training, fit
from pushforward.data.images import mnist
from pushforward.networks import Conv, ConvBlock, GroupNorm, ResidualBlocks, squeeze
from pushforward.ode import ODELayer, Solver, with_solver

WIDTH, HIDDEN, BLOCKS, BATCH, EPOCHS = 16, 32, 6, 128, 8
# A block's change is of order one whatever its input is, because of its norms: the residual network has six.
TIME = 3.0
SOLVER = Solver(method="bosh3", rtol=1e-2, atol=1e-2, max_steps=48)


class Classifier(eqx.Module):
    stem: tuple[Conv, Conv]
    body: ResidualBlocks | ODELayer
    norm: GroupNorm
    head: eqx.nn.Linear

    def __init__(self, body, width, key):
        first, second, last = jax.random.split(key, 3)
        self.stem = (Conv(4, 16, key=first), Conv(64, width, key=second))
        self.body, self.norm = body, GroupNorm(width)
        self.head = eqx.nn.Linear(width, 10, key=last)

    def __call__(self, x):
        """Logits, and how often the body's field was called, forwards and with derivative."""
        h = self.stem[1](squeeze(jax.nn.relu(self.stem[0](squeeze(x)))))
        calls = jnp.zeros(2, jnp.int32)
        if isinstance(self.body, ODELayer):
            solution = self.body.solve(h)
            h, stats = solution.y1, solution.stats
            assert stats.backward_evaluations is not None
            calls = jnp.stack([stats.evaluations, stats.backward_evaluations])
        else:
            h = self.body(h)
        h = jax.nn.relu(self.norm(h)).mean((1, 2))
        return h @ self.head.weight.T + self.head.bias, calls


def trained(model, shares, epochs, key):
    """The model after training, and the mean calls of the field in each epoch."""
    seen, calls = [], []

    def loss(model, batch, key):
        x, label = batch
        logits, count = model(x)
        if key is not None:
            jax.debug.callback(lambda count: seen.append(np.asarray(count)), count)
        return -(jax.nn.log_softmax(logits) * label).sum(-1)

    def report(epoch):
        jax.effects_barrier()
        calls.append(np.mean(seen, 0))
        seen.clear()
        say(f"epoch {epoch.epoch}: {epoch.train_loss:.4f}, validation {epoch.validation_loss:.4f}, "
            f"{epoch.seconds:.0f} s")  # fmt: skip

    training = Training(batch=BATCH, max_epochs=epochs, learning_rate=1e-2, patience=0.999)
    options = {"loss": loss, "training": training, "validation": shares[1], "report": report}
    return fit(model, *shares[0], key=key, **options).model, np.array(calls)


@eqx.filter_jit
def predicted(model, batches):
    return jax.lax.map(lambda x: (lambda out: (out[0].argmax(-1), out[1]))(model(x)), batches)


def tested(model, images, labels):
    """Share of right answers, and calls of the field a batch."""
    answers, calls = predicted(model, jnp.asarray(images.reshape(-1, 250, 28, 28, 1)))
    return float((np.asarray(answers).ravel() == labels).mean()), float(calls[:, 0].mean())


def memory(body):
    """Megabytes of temporary arrays that the gradient of a batch needs."""
    arrays, rest = eqx.partition(body, eqx.is_inexact_array)
    gradient = jax.grad(lambda arrays, h: eqx.combine(arrays, rest)(h).sum())
    compiled = jax.jit(gradient).lower(arrays, jnp.zeros((BATCH, 7, 7, WIDTH))).compile()
    return compiled.memory_analysis().temp_size_in_bytes / 1e6


def size(model):
    return f"{sum(a.size for a in jax.tree.leaves(eqx.filter(model, eqx.is_array))):,}"


def run(quick: bool) -> Result:
    try:
        data = mnist()
    except InputError as error:
        say(str(error))
        sys.exit(77)
    held, taken, tests = (250, 1000, 250) if quick else (2000, len(data.train), 10_000)
    epochs = 1 if quick else EPOCHS
    x = data.train[:taken, ..., None].astype(np.float32) / 255
    labels = np.eye(10, dtype=np.float32)[data.train_labels[:taken]]
    shares = (x[held:], labels[held:]), (x[:held], labels[:held])
    test = data.test[:tests].astype(np.float32) / 255, data.test_labels[:tests]
    keys = jax.random.split(jax.random.key(0), 3)
    bodies = {
        f"ResNet, {BLOCKS} blocks": ResidualBlocks(WIDTH, BLOCKS, key=keys[0]),
        f"ODE-Net, {SOLVER.method}, tolerance {SOLVER.rtol:g}": ODELayer(
            ConvBlock(WIDTH, hidden=HIDDEN, time=True, key=keys[0]), t1=TIME, solver=SOLVER
        ),
    }
    rows, reached = [], []
    for name, body in bodies.items():
        say(name)
        model, calls = trained(Classifier(body, WIDTH, keys[1]), shares, epochs, keys[2])
        reached.append(tested(model, *test))
        each = f"{reached[-1][1]:.1f}" if calls.any() else f"{BLOCKS}"
        rows.append([name, size(model), size(model.body), f"{100 * reached[-1][0]:.2f} %", each])
    (reference, _), (own, _) = reached

    tolerances, steps = ((1.0,), ()) if quick else ((10.0, 1.0, 0.1, 1e-3), (1, 2, 4))
    ways: dict[str, dict[str, Any]] = {
        f"tolerance {tol:g}": {"rtol": tol, "atol": tol} for tol in tolerances
    }
    ways |= {f"Euler, {n}": {"method": "euler", "steps": n} for n in steps}
    points = {f"tolerance {SOLVER.rtol:g}": reached[1]}
    for name, changes in ways.items():
        accuracy, made = points[name] = tested(with_solver(model, **changes), *test)
        told = [f"the same, inference: {name}", "", "", f"{100 * accuracy:.2f} %", f"{made:.1f}"]
        rows.append(told)

    depths = (2,) if quick else (2, 8, 32, 128)
    stored = {"ResNet": [memory(ResidualBlocks(WIDTH, n, key=keys[0])) for n in depths]}
    for adjoint in () if quick else ("direct", "checkpoint", "backsolve", "reversible"):
        cases = [{"method": "midpoint", "steps": n, "adjoint": adjoint} for n in depths]
        stored[adjoint] = [memory(with_solver(model.body, **case)) for case in cases]
    sizes = "; ".join(f"{k} {', '.join(f'{v:.1f}' for v in m)}" for k, m in stored.items())
    notes = [
        f"ODE-Net is {100 * (own - reference):+.2f} % from the ResNet; width {WIDTH}, {epochs} epochs of "
        f"{taken - held:,} images in batches of {BATCH}, one seed; {tests:,} test images have a standard "
        f"error of about {100 * (own * (1 - own) / tests) ** 0.5:.2f} %",
        f"memory of a gradient through the blocks alone, MB at {depths} steps of midpoint, or blocks: {sizes}",
    ]
    header = ["model", "parameters", "of blocks", "test accuracy", "calls of a block, forwards"]
    return Result(header, rows, figure(calls, depths, stored, points, reference), notes)


def figure(calls, depths, stored, points, reference):
    made, axes = plots().subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    epochs = np.arange(1, len(calls) + 1)
    axes[0].plot(epochs, calls, marker="o", label=["forwards", "with derivative"])
    axes[0].set(title="calls of the field while training", xlabel="epoch", xticks=epochs)
    for name, values in stored.items():
        axes[1].loglog(depths, values, marker="o", label=name)
    axes[1].set(title="memory of a gradient, MB", xlabel="blocks, or steps")
    for name, (accuracy, count) in sorted(points.items(), key=lambda item: item[1][1]):
        axes[2].semilogx(count, 100 * accuracy, "o", label=name)
    axes[2].axhline(100 * reference, color="grey", ls=":", label="ResNet")
    axes[2].set(title="test accuracy by inference, %", xlabel="calls of the field")
    for axis in axes:
        axis.legend(fontsize=7)
    return made


if __name__ == "__main__":
    main(__doc__, run)
