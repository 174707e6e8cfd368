"""Every architecture on every data set, at one budget: held-out nats, seconds, sampling time, round-trip error.

Each cell is one fit in a fresh process, with the defaults of `pushforward fit --flow NAME` and a time limit; the
learning rate anneals towards the limit. `--jobs` fits run beside each other, each held to a core of its own; every
clock is the process's own CPU time, so that a busy machine changes little but the waiting. Finished cells are kept in
`results/zoo.jsonl` (a part of the repository): started again, it goes on where it stopped. Toys are six two-dimensional
densities (20,000 rows to fit, 20,000 others to judge by); tables are those of `nats.py`.

`--universal` makes a second table: the architectures that can come as close as one likes to any density, on the toys,
with four times the budget (60 s on two cores) wherever they are not close to the best of the first table already.
`--continuous` makes a third: flows of ODEs that are trained by their likelihood, with a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import Queue
from typing import Any

import harness

TOYS = ("moons", "eight_gaussians", "checkerboard", "spirals", "pinwheel", "rings")
TABLES = ("gas30k", "miniboone7k", "gw150914_posterior")
ROWS = 20_000
# What stands in the table besides the registry's names: options of an architecture that are models of their own.
VARIANTS: dict[str, dict[str, Any]] = {
    "linear_spline coupling": {"autoregressive": False},
    "quadratic_spline coupling": {"autoregressive": False},
    "cubic_spline coupling": {"autoregressive": False},
    "nsf coupling": {"autoregressive": False},
    "naf dense": {"dense": True},
    "made mixture": {"components": 8},
    "sylvester householder": {"kind": "householder"},
    "sylvester triangular": {"kind": "triangular"},
}
# Rows of the table of continuous flows alone: options and training other than the defaults.
SUITED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ot_flow suited": ({"rtol": 1e-4, "atol": 1e-4}, {"learning_rate": 0.01}),
}
# Seconds of CPU time of a fit.
BUDGET = 30.0
# Universal architectures, and the seconds of CPU time that they get in their own table.
UNIVERSAL = (
    *("linear_spline", "linear_spline coupling", "quadratic_spline", "quadratic_spline coupling"),
    *("cubic_spline", "cubic_spline coupling", "nsf", "nsf coupling", "naf", "naf dense"),
    *("bnaf", "sos", "umnn", "iresnet", "residual_flow"),
)
UNIVERSAL_BUDGET = 120.0
# Continuous flows that are trained by likelihood, the data and the seconds of CPU time of their own table.
CONTINUOUS = ("ffjord", "rnode", "ot_flow", "ot_flow suited")
CONTINUOUS_DATA = ("gas30k", "miniboone7k")
CONTINUOUS_BUDGET, SHORTER = 900.0, 300.0
# Nats within which a cell counts as one of the best in its column.
CLOSE = 0.05
# How far off 1 a density's mass may be before it is measured more carefully, and the margin of its box.
MASS_ERROR, MARGIN = 1e-3, 2.0
# Each table: its file, models (none: all), data, seconds, the seconds of cells that stand in for missing ones, and what
# its notes say of the best and of these.
_BEST = f", of this table or of all at {BUDGET:g} s; cells "
WHICH: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], float, tuple[float, ...], str]] = {
    "zoo": ("zoo.md", (), (*TOYS, *TABLES), BUDGET, (), ""),
    "universal": (
        *("zoo_universal.md", UNIVERSAL, TOYS, UNIVERSAL_BUDGET, (BUDGET,)),
        f"{_BEST}that are close there, or were not run again, show their {BUDGET:g} s",
    ),
    "continuous": (
        *("zoo_continuous.md", CONTINUOUS, CONTINUOUS_DATA, CONTINUOUS_BUDGET, (SHORTER, BUDGET)),
        f"{_BEST}without such a run show one of {SHORTER:g} s or {BUDGET:g} s\n"
        "- suited: tolerances of 1e-4 and a learning rate of 0.01; the others have the defaults",
    ),
}
# Architectures whose data are angles: they have no place in a table of data on the real line.
ANGLES = ("circular_nsf",)


def run(model: str, data: str, budget: float, folder: str | None, core: int) -> dict[str, Any]:
    """Fit one model to one data set on one core; the figures of its cell."""
    # Before XLA counts the cores: threads that wait for each other also use up CPU time.
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})
    time.perf_counter = time.process_time

    import jax
    import numpy as np

    import pushforward as pf
    from pushforward.data.toys import toy
    from pushforward.ode.solver import holds_solver

    if data in TOYS:
        train, test = toy(data, ROWS, seed=0), toy(data, ROWS, seed=1)
    else:
        from datasets import load

        train, test = load(data)
    kind = pf.architectures.ARCHITECTURES[model.split()[0]]
    options, settings = SUITED.get(model, (VARIANTS.get(model, {}), {}))
    architecture = kind(**options)
    training = pf.Training(max_steps=200_000, max_time=budget, patience=0.5, **settings)
    density = pf.FlowDensity(architecture, training=training, random_state=0)
    began = time.perf_counter()
    density.fit(train)
    seconds = time.perf_counter() - began
    nats = density.score_samples(test)
    flow = density.model_.flow
    rows = density.model_.columns.encode(test[:1000]).astype(np.float32)
    there = jax.jit(lambda x: flow.inverse(x)[0])
    back = jax.jit(lambda z: flow.forward(z)[0])
    again = back(there(rows))
    sampler = jax.jit(lambda key: flow.sample(key, (1000,)))
    drawn = jax.block_until_ready(sampler(jax.random.key(0)))
    sampling = min(
        harness.seconds(lambda: jax.block_until_ready(sampler(jax.random.key(1)))) for _ in range(3)
    )
    if folder:
        density.save(f"{folder}/{model.replace(' ', '-')}_{data}.safetensors")
    mass = _mass(density, test) if data in TOYS else None
    arrays = [a for a in jax.tree.leaves(flow) if hasattr(a, "dtype")]
    return {
        "nats": float(nats.mean()),
        "error": float(nats.std() / len(nats) ** 0.5),
        "seconds": seconds,
        "epochs": density.model_.summary["epochs"],
        "stopped": density.model_.summary["stopped"],
        "sampling": sampling,
        "mass": mass,
        "round_trip": float(np.abs(np.asarray(again) - rows).max()),
        "finite": bool(np.isfinite(nats).all() and np.isfinite(np.asarray(drawn)).all()),
        "parameters": int(sum(a.size for a in arrays if np.issubdtype(a.dtype, np.floating))),
        "calls": _calls(flow.bijection, rows)[0] if holds_solver(flow) else None,
    }


def _calls(bijection: Any, x: Any) -> tuple[int | None, Any]:
    """Calls of the field that the way back to the latent takes, None without a field; and where it leads."""
    from pushforward.bijections import FlowMap

    if inner := bijection.parts():
        total = None
        for part in reversed(inner):
            calls, x = _calls(part, x)
            total = total if calls is None else calls + (total or 0)
        return total, x
    calls = int(bijection.evaluations(x)) if isinstance(bijection, FlowMap) else None
    return calls, bijection.inverse(x)[0]


def _mass(density: Any, rows: Any) -> float:
    """What a two-dimensional density integrates to, by the midpoint rule on a box with a margin around the rows; where
    that is off, with more points, and with what lies around the box."""
    import numpy as np

    low, high = rows.min(0) - MARGIN, rows.max(0) + MARGIN

    def within(low: Any, high: Any, points: int, outside: Any = None) -> float:
        at = (np.arange(points) + 0.5) / points
        grid = np.stack(np.meshgrid(*(low + (high - low) * at[:, None]).T), -1).reshape(-1, 2)
        if outside is not None:
            grid = grid[((grid < outside[0]) | (grid > outside[1])).any(1)]
        return float(np.exp(density.score_samples(grid)).sum() * np.prod((high - low) / points))

    mass = within(low, high, 400)
    if abs(mass - 1) <= MASS_ERROR:
        return mass
    span = high - low
    return within(low, high, 1000) + within(low - span, high + span, 600, (low, high))


def models() -> list[str]:
    """The rows of the table: registered names, and the variants that are models of their own."""
    from pushforward.architectures import registered

    known = registered(images=False)
    names = [name for name in known if name not in ANGLES]
    names += [name for name in VARIANTS if name.split()[0] in known]
    return sorted(names)


def finished(budget: float) -> dict[tuple[str, str], dict[str, Any]]:
    """The cells that are done at this budget."""
    path = harness.RESULTS / "zoo.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    cells = [json.loads(line) for line in lines]
    return {(c["model"], c["data"]): c for c in cells if c["budget"] == budget}


def bests(budgets: tuple[float, ...]) -> dict[str, float]:
    """The best nats of any model on each data set, at any of the budgets."""
    found: dict[str, float] = {}
    for cell in (cell for budget in budgets for cell in finished(budget).values()):
        found[cell["data"]] = max(cell["nats"], found.get(cell["data"], cell["nats"]))
    return found


def fill(cells: Iterable[tuple[str, str]], budget: float, jobs: int, folder: str | None) -> None:
    """Run the cells that are missing, with progress on stderr."""
    todo = [cell for cell in cells if cell not in finished(budget)]
    harness.say(f"{len(todo)} cells to fit, {budget:g} s each, {jobs} at a time")
    os.environ.update(OMP_NUM_THREADS="1", XLA_FLAGS="--xla_cpu_multi_thread_eigen=false")
    began = time.perf_counter()

    cores: Queue[int] = Queue()
    for core in range(jobs):
        cores.put(core)

    def one(cell: tuple[str, str]) -> tuple[tuple[str, str], dict[str, Any] | None]:
        (model, data), core = cell, cores.get()
        options = {"budget": budget, "folder": folder, "core": core}
        found = harness.worker("zoo.py", model=model, data=data, **options)
        cores.put(core)
        return cell, found

    with ThreadPoolExecutor(jobs) as pool:
        for done, future in enumerate(as_completed(pool.submit(one, c) for c in todo), 1):
            (model, data), found = future.result()
            left = (time.perf_counter() - began) / done * (len(todo) - done) / 60
            nats = "failed" if found is None else f"{found['nats']:.3f} nats"
            harness.say(f"[{done}/{len(todo)}] {model} on {data}: {nats}; {left:.0f} min left")
            if found is not None:
                harness.record("zoo", model=model, data=data, budget=budget, **found)


COSTS = ("seconds", "parameters", "1,000 samples, ms", "round trip", "mass", "calls")


def _range(values: Iterable[float], form: str = ",.0f") -> str:
    """From the least to the largest."""
    found = sorted(values)
    ends = [format(end, form) for end in (found[0], found[-1])] if found else ["-"]
    return " to ".join(dict.fromkeys(ends))


def tables(names: list[str], data: tuple[str, ...], budgets: tuple[float, ...]) -> str:
    """The nats at the first of the budgets that a cell was run with, and what they cost; the best is that of all."""
    done = {key: cell for budget in reversed(budgets) for key, cell in finished(budget).items()}
    best = bests(budgets)

    def nats(model: str, d: str) -> str:
        cell = done.get((model, d))
        if cell is None:
            return "-"
        # One row far out can have any log-density: the mean is then its own.
        text = f"{cell['nats']:.3f}" if cell["nats"] > -1000 else "< -1000"
        return f"**{text}**" if cell["nats"] >= best[d] - CLOSE else text

    def costs(model: str) -> list[str]:
        cells = [done[model, d] for d in data if (model, d) in done]
        if not cells:
            return ["-"] * len(COSTS)
        masses = [abs(c["mass"] - 1) for c in cells if c["mass"] is not None]
        return [
            _range(c["seconds"] for c in cells),
            _range(c["parameters"] for c in cells),
            _range((c["sampling"] * 1e3 for c in cells), ".1f"),
            f"{max(c['round_trip'] for c in cells):.0e}",
            f"{max(masses):.0e}" if masses else "-",
            _range(c["calls"] for c in cells if c.get("calls")),
        ]

    head = ["model", *data, *COSTS]
    rows = [[m, *(nats(m, d) for d in data), *costs(m)] for m in names]
    if len(budgets) > 1:
        top = [f"{best[d]:.3f}" if d in best else "-" for d in data]
        rows.append(["best of all", *top, *["-"] * len(COSTS)])
    return harness.table(head, rows)


def notes(budget: float, jobs: int, others: str = "") -> str:
    """What the columns are, and where they were measured."""
    return (
        f"- budget: {budget:g} s of CPU time a fit, {jobs} beside each other, one core each, "
        "compilation and trust report included\n"
        f"- nats per row on held-out rows; bold: within {CLOSE} of the best in the column{others}\n"
        "- seconds: of the whole fit; what was begun when the time was up is finished\n"
        "- round trip: largest |f(f^-1(x)) - x| over 1,000 held-out rows in standardised units, float32, "
        "the worst of the row's data sets\n"
        "- mass: largest |integral - 1| of the fitted density, by the midpoint rule on 400 x 400 points in a box 2 "
        "wider than the data, or, where that is off by more than 1e-3, on 1,000 x 1,000 there and 600 x 600 in a box "
        "three times as wide around it, the worst of the toys; older cells have the first alone\n"
        "- calls: of the field of a continuous flow, for the densities of 1,000 held-out rows side by side; - where "
        "there is no field, or the run is older than the column\n" + harness.provenance()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--budget", type=float, help="seconds of a fit; default the table's: 30, 120, 900"
    )
    parser.add_argument("--jobs", type=int, default=2, help="fits beside each other; default 2")
    parser.add_argument("--models", nargs="*", help="default: the table's")
    parser.add_argument("--data", nargs="*", choices=[*TOYS, *TABLES], help="default: the table's")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--universal", action="store_true", help="the table of universal models")
    kinds.add_argument("--continuous", action="store_true", help="the table of continuous flows")
    parser.add_argument("--folder", help="keep the fitted models here; default: nowhere")
    parser.add_argument("--show", action="store_true", help="only print and write the tables")
    options = parser.parse_args()
    which = "universal" if options.universal else "continuous" if options.continuous else "zoo"
    file, whole, everything, usual, fallbacks, others = WHICH[which]
    every = list(whole) or models()
    names, data = options.models or every, tuple(options.data or everything)
    budget = options.budget or usual
    if options.folder:
        os.makedirs(options.folder, exist_ok=True)
    if not options.show:
        cells = [(m, d) for d in data for m in names]
        if options.universal:
            near, best = finished(BUDGET), bests((budget, BUDGET))
            cells = [c for c in cells if c not in near or near[c]["nats"] < best[c[1]] - CLOSE]
        fill(cells, budget, options.jobs, options.folder)
    budgets = (budget, *fallbacks)
    shown = [tuple(d for d in some if d in data) for some in (TOYS, TABLES)]
    parts = [tables(names, some, budgets) for some in shown if some]
    text = "\n\n".join([*parts, notes(budget, options.jobs, others)]) + "\n"
    print(text)
    if names == every and data == everything and budget == usual:
        (harness.RESULTS / file).write_text(text)


if __name__ == "__main__":
    if not harness.is_worker(run):
        main()
    sys.exit(0)
