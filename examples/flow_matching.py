"""Flow matching on the checkerboard: draws on their way from noise to data, and what densities by few steps are worth.

For each number of fixed steps: the mean log-density of held-out rows, its worst error against the exact density, the
integral over a box (1 for a density), and how far samples by as many steps are from data (energy distance of 2,000
draws; two sets of data are 0 apart but for their noise).
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from experiment import Result, main, plots, say

import pushforward as pf
from pushforward.data.toys import toy
from pushforward.ode import with_solver

TIMES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BOX = 5.0


def energy_distance(a: np.ndarray, b: np.ndarray) -> float:
    """`2 E|A - B| - E|A - A'| - E|B - B'|`, 0 for equal distributions (Szekely & Rizzo 2013)."""

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.linalg.norm(a[:, None] - b[None], axis=-1).mean())

    return 2 * mean(a, b) - mean(a, a) - mean(b, b)


def box(points: int) -> np.ndarray:
    """The middles of a grid's cells, `(points^2, 2)`."""
    at = BOX * (2 * (np.arange(points) + 0.5) / points - 1)
    return np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)


def scored(flow, rows: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Log-densities of rows, densities on the grid, and their integral over the box (midpoint rule)."""
    together = jnp.asarray(np.concatenate([rows, box(points)]), jnp.float32)
    found = np.asarray(flow.log_prob(together))
    density = np.exp(found[len(rows) :])
    return found[: len(rows)], density, float(density.sum() * (2 * BOX / points) ** 2)


def picture(flow, density: np.ndarray, draws: int):
    """Draws at six times, and the density on the grid."""
    plt = plots()
    figure, axes = plt.subplots(1, len(TIMES) + 1, figsize=(14, 2.4), layout="constrained")
    field, solver = flow.bijection.unstack()[0].field, pf.ode.Solver().options(per_row=True)
    z = flow.base.sample(jax.random.key(5), (draws,))
    stops = jnp.asarray(TIMES[1:-1])
    solved = pf.ode.solve(field, z, 0.0, 1.0, at=stops, **solver)
    for axis, t, rows in zip(axes, TIMES, [z, *solved.ys, solved.y1], strict=False):
        axis.scatter(*np.asarray(rows).T, s=1, c=np.arctan2(z[:, 1], z[:, 0]), cmap="twilight")
        axis.set_title(f"t = {t:g}")
    side = round(len(density) ** 0.5)
    extent = (-BOX, BOX, -BOX, BOX)
    axes[-1].imshow(density.reshape(side, side), origin="lower", extent=extent, cmap="magma")
    axes[-1].set_title("density")
    for axis in axes:
        axis.set(xlim=(-BOX, BOX), ylim=(-BOX, BOX), xticks=[], yticks=[], aspect="equal")
    return figure


def run(quick: bool) -> Result:
    train, test = toy("checkerboard", 20_000, seed=0), toy("checkerboard", 2_000, seed=1)
    architecture = pf.architectures.FlowMatching(width=16 if quick else 128, depth=2)
    flow = architecture.build(2, key=jax.random.key(0))
    training = pf.Training(max_steps=300 if quick else 20_000, average=0.99)
    said = say if not quick else lambda line: None
    fitted = pf.fit(
        flow, train.astype(np.float32), key=jax.random.key(1), loss=architecture.loss,
        training=training, report=lambda e: said(f"epoch {e.epoch}/{e.epochs}: {e.validation_loss:.4f}"),
    )  # fmt: skip
    flow, points = fitted.model, 20 if quick else 100
    rows = test[: 100 if quick else 2_000]
    exact, density, mass = scored(flow, rows, points)
    ways = [(f"{n} midpoint", n) for n in ((4,) if quick else (1, 2, 4, 8, 16, 32, 64))]
    table = []
    for name, steps in [*ways, ("adaptive 1e-5", None)]:
        some = flow if steps is None else with_solver(flow, method="midpoint", steps=steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that few steps are off is what the table is about
            found, _, whole = (
                (exact, density, mass) if steps is None else scored(some, rows, points)
            )
        drawn = np.asarray(some.sample(jax.random.key(2), (len(rows),)))
        table.append(
            [
                *(name, "-" if steps is None else f"{2 * steps}", f"{found.mean():.3f}"),
                "-" if steps is None else f"{np.abs(found - exact).max():.2g}",
                *(f"{whole:.4f}", f"{energy_distance(drawn, rows):.4f}"),
            ]
        )
    header = ["steps", "calls", "nats", "worst error, nats", "mass", "energy distance of samples"]
    note = f"{training.max_steps:,} training steps of 256 rows, {fitted.seconds:.0f} s"
    return Result(header, table, picture(flow, density, 300 if quick else 4_000), [note])


if __name__ == "__main__":
    main(__doc__, run)
