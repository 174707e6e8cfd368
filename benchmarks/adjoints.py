"""The four adjoints beside each other: error of the gradient, time, memory and calls of the field.

`MLPField`, 8 coordinates, two hidden layers of 64, 512 rows, from 0 to 1; the loss is the mean square of the end. With
1,000 and 10 equal steps of rk4 (float32): time, and temporary memory of the compiled gradient. With dopri5 at three
tolerances (float64): error of the gradient, relative to one of tolerance 1e-12 by `direct`, and calls of the field, of
the solve forwards and of the gradient backwards (calls with derivative). `backsolve` solves backwards with and without
its parameters' integral in the error of a step ("full" and seminorm).
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Any

import harness

NAMES = ("checkpoint", "direct", "reversible", "backsolve", "backsolve, full")
STEPS, TOLERANCES = (10, 1000), (1e-3, 1e-5, 1e-7)
D, WIDTH, ROWS = 8, 64, 512


def gradient(name: str, **options: Any) -> Any:
    """The compiled gradient by the field and the rows, and what it takes."""
    import equinox as eqx
    import jax

    import pushforward as pf
    from pushforward.testing import perturbed

    field = pf.fields.MLPField(D, width=WIDTH, key=jax.random.key(0))
    field = perturbed(field, jax.random.key(1), 0.3)
    x = jax.random.normal(jax.random.key(2), (ROWS, D))
    if jax.config.read("jax_enable_x64"):
        field = jax.tree.map(lambda a: a.astype("float64"), field)
    adjoint = pf.ode.Backsolve(seminorm=False) if name.endswith("full") else name
    params, static = eqx.partition(field, eqx.is_inexact_array)

    def loss(params: Any, x: Any) -> Any:
        found = pf.ode.solve(eqx.combine(params, static), x, 0.0, 1.0, adjoint=adjoint, **options)
        return (found.y1**2).mean(), found

    step = jax.jit(jax.grad(loss, (0, 1), has_aux=True)).lower(params, x).compile()
    return step, params, x


def run(steps: int | None, rounds: int) -> dict[str, Any]:
    """With a number of steps: seconds and bytes; with None: errors and calls."""
    import jax

    if steps is None:
        with jax.enable_x64(True):
            return accuracy()
    tasks, memory = {}, {}
    for name in NAMES:
        step, params, x = gradient(name, method="rk4", steps=steps)
        memory[name] = step.memory_analysis().temp_size_in_bytes
        tasks[name] = lambda step=step, params=params, x=x: jax.block_until_ready(step(params, x))
    return {"figures": harness.interleaved(tasks, rounds=rounds), "memory": memory}


def accuracy() -> dict[str, Any]:
    import jax
    import numpy as np

    import pushforward as pf

    def flat(tree: Any) -> Any:
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])

    step, params, x = gradient("direct", method="dopri8", rtol=1e-12, atol=1e-12, max_steps=256)
    truth = flat(step(params, x)[0])
    found: dict[str, Any] = {}
    for name in NAMES:
        for tol in TOLERANCES:
            options = {"rtol": tol, "atol": tol, "max_steps": 256}
            step, params, x = gradient(name, **options)
            grads, solution = step(params, x)
            error = np.linalg.norm(flat(grads) - truth) / np.linalg.norm(truth)
            backward = solution.stats.backward_evaluations
            if backward is None:
                end = solution.y1
                back = pf.ode.backsolve(
                    *(rebuilt(params), end, 2 * end / end.size, 0.0, 1.0),
                    seminorm=not name.endswith("full"),
                    **options,
                )
                backward = back.stats.evaluations
            calls = [int(solution.stats.evaluations), int(backward)]
            found[f"{name} {tol:g}"] = [float(error), *calls]
    return found


def rebuilt(params: Any) -> Any:
    """The field again from its arrays."""
    import equinox as eqx
    import jax

    import pushforward as pf

    field = pf.fields.MLPField(D, width=WIDTH, key=jax.random.key(0))
    return eqx.combine(params, eqx.filter(field, eqx.is_inexact_array, inverse=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    answers: dict[int | None, dict[str, Any]] = {}
    for n in (*STEPS, None):
        answer = harness.worker("adjoints.py", steps=n, rounds=options.rounds)
        if answer is None:
            raise SystemExit("a worker failed")
        answers[n] = answer
    harness.record("adjoints", **{str(n): answer for n, answer in answers.items()})
    few, many = (answers[n] for n in STEPS)
    rows = []
    for name in NAMES:
        sizes = [answer["memory"][name] / 1e6 for answer in (few, many)]
        rows.append(
            [
                name,
                *(harness.cell(size) for size in sizes),
                harness.cell(sizes[1] / sizes[0], suffix=" x"),
                *(harness.cell(1e3 * median(a["figures"][name]), 1) for a in (few, many)),
                harness.cell(harness.ratio(many["figures"], name, "checkpoint"), suffix=" x"),
            ]
        )
    header = ["adjoint", "10 steps, MB", "1,000 steps, MB", "ratio", "10 steps, ms"]
    print(harness.table([*header, "1,000 steps, ms", "time / checkpoint"], rows), end="\n\n")
    rows = []
    for name in NAMES:
        for tol in TOLERANCES:
            error, forward, backward = answers[None][f"{name} {tol:g}"]
            rows.append([name, f"{tol:g}", f"{error:.0e}", str(forward), str(backward)])
    header = ["adjoint", "rtol = atol", "gradient error", "calls forwards", "calls backwards"]
    print(harness.table(header, rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
