"""The pictures of the docs: the gallery, RealNVP layer by layer, a continuous flow through time, the guides' pages.

Run: python benchmarks/zoo.py --data moons checkerboard --folder out/zoo     fits the models, 30 s each
     python docs/figures.py zoo out/zoo                                      draws the gallery of their densities
     python docs/figures.py layers                                           fits a RealNVP and draws its layers
     python docs/figures.py lines                                            fits an FFJORD and draws its flow lines
     python docs/figures.py points                                           where a solver evaluates the field
     python docs/figures.py toys                                             fits FFJORD on toys: density and samples
     python docs/figures.py planar                                           planar flows beside planar continuous ones
     python docs/figures.py probes                                           variance of the two noises of Hutchinson
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import pushforward as pf
from pushforward.data.toys import toy
from pushforward.ode.solver import holds_solver
from pushforward.testing import perturbed

IMAGES = Path(__file__).parent / "img"
GALLERY = IMAGES / "gallery"
POINTS, PANEL = 120, (160, 168)
BOXES = {"moons": (-1.5, 2.5, -1.2, 1.7), "checkerboard": (-4.6, 4.6, -4.6, 4.6)}


def density_on_grid(model: Any, box: tuple[float, ...], points: int = POINTS) -> np.ndarray:
    """The density at the middles of a grid's cells, `(points, points)`."""
    at = (np.arange(points) + 0.5) / points
    x, y = np.meshgrid(box[0] + (box[1] - box[0]) * at, box[2] + (box[3] - box[2]) * at)
    rows = np.stack([x, y], -1).reshape(-1, 2)
    return np.exp(model.score_samples(rows)).reshape(points, points)


def zoo(folder: Path) -> None:
    """A strip for each fitted model: its density of each toy. One more for the toys."""
    GALLERY.mkdir(exist_ok=True)
    counts = []
    for data, box in BOXES.items():
        x, y = toy(data, 500_000).T
        counts.append(np.histogram2d(x, y, bins=POINTS, range=[box[:2], box[2:]])[0].T)
    strip(counts, "data")
    names = [file.name.removesuffix("_moons.safetensors") for file in folder.glob("*_moons.*")]
    for name in names:
        files = {data: folder / f"{name}_{data}.safetensors" for data in BOXES}
        if all(file.is_file() for file in files.values()):
            strip([density_on_grid(pf.load(files[data]), BOXES[data]) for data in BOXES], name)


def strip(pictures: list[np.ndarray], name: str) -> None:
    """Pictures side by side, each coloured by its own largest value."""
    drawn = Image.new("RGB", (len(pictures) * (PANEL[0] + 4) - 4, PANEL[1]), "white")
    for i, picture in enumerate(pictures):
        colours = matplotlib.colormaps["magma"](picture[::-1] / picture.max(), bytes=True)
        panel = Image.fromarray(colours).convert("RGB").resize(PANEL, Image.Resampling.BILINEAR)
        drawn.paste(panel, (i * (PANEL[0] + 4), 0))
    # A palette: half the size.
    drawn.quantize(128).save(GALLERY / f"{name}.png", optimize=True)


def layers() -> None:
    """Draws of the base, after each pair of layers of a RealNVP, and the data beside them."""
    x = toy("moons", 10_000)
    scaled = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    flow = pf.architectures.RealNVP(layers=8, width=64).build(2, key=jax.random.key(0))
    training = pf.Training(max_steps=4000)
    flow = pf.fit(flow, jnp.asarray(scaled), key=jax.random.key(1), training=training).model
    z = flow.base.sample(jax.random.key(2), (4000,))
    stages, at = [("base", z)], z
    for i, layer in enumerate(_stacked(flow), 1):
        at = layer.forward(at)[0]
        if i % 2 == 0:
            stages.append((f"after {i} layers", at))
    stages.append(("data", scaled[:4000]))
    figure, axes = plt.subplots(1, len(stages), figsize=(2.2 * len(stages), 2.4))
    # The colour of a point is where it began: the angle of its draw from the base.
    colour = np.arctan2(np.asarray(z)[:, 1], np.asarray(z)[:, 0])
    for axis, (name, rows) in zip(axes, stages, strict=True):
        own = {"c": "0.4"} if name == "data" else {"c": colour, "cmap": "twilight"}
        axis.scatter(*np.asarray(rows).T, s=1, **own)
        axis.set_title(name, fontsize=9)
        axis.set_xlim(-3.5, 3.5)
        axis.set_ylim(-3.5, 3.5)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout(pad=0.4)
    figure.savefig(IMAGES / "realnvp_layers.png", dpi=110)


def lines() -> None:
    """A continuous flow of one coordinate: its paths over the density at every time, and the density at some times."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-1.5, 0.3, 4000), rng.normal(1, 0.5, 6000)])[:, None]
    flow = pf.architectures.FFJORD(width=32).build(1, key=jax.random.key(0))
    training = pf.Training(max_steps=2000)
    data = jnp.asarray(x, jnp.float32)
    flow = pf.fit(flow, data, key=jax.random.key(1), training=training).model
    (moving,) = _stacked(flow)
    times = np.linspace(0, 1, 101)[1:-1]

    def rows(t: Any, state: Any) -> Any:
        value, trace = pf.fields.divergence(moving.field, t, state[0])
        return value, -trace

    z = jnp.linspace(-3.5, 3.5, 400)[:, None]
    start = (z, flow.base.log_prob(z))
    found: Any = pf.ode.solve(rows, start, 0.0, 1.0, at=times, rtol=1e-5, atol=1e-5)
    paths = np.concatenate([z[None], found.ys[0], found.y1[0][None]])[..., 0]
    logs = np.concatenate([start[1][None], found.ys[1], found.y1[1][None]])
    at = np.linspace(-3.5, 3.5, 300)
    slices = [np.interp(at, path, np.exp(log)) for path, log in zip(paths, logs, strict=True)]
    picture = np.stack(slices, 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.2))
    left.imshow(picture, origin="lower", extent=(0, 1, -3.5, 3.5), aspect="auto", cmap="magma")
    drawn = np.linspace(0, 1, len(paths))
    some = np.searchsorted(np.asarray(z)[:, 0], np.linspace(-2.4, 2.4, 17))
    left.plot(drawn, paths[:, some], color="white", lw=0.6)
    left.set_xlabel("t")
    left.set_ylabel("x")
    for t, colour in zip((0, 25, 50, 75, 100), plt.cm.viridis(np.linspace(0, 0.9, 5)), strict=True):
        right.plot(paths[t], np.exp(logs[t]), color=colour, label=f"t = {t / 100:g}")
    right.hist(x[:, 0], 80, density=True, color="0.85", label="data")
    right.set_xlim(-3.5, 3.5)
    right.set_xlabel("x")
    right.set_ylabel("density")
    right.legend(frameon=False, fontsize=8)
    figure.tight_layout(pad=0.5)
    figure.savefig(IMAGES / "flow_lines.png", dpi=110)


def points() -> None:
    """A residual network of six layers, and the equation that it is a coarse solution of, with the solver's calls."""

    def slope(t: Any, y: Any) -> Any:
        return 1.5 * jnp.sin(2 * y + 6 * t) + 3 * jnp.exp(-100 * (t - 0.6) ** 2) * jnp.tanh(2 * y)

    starts, layers, seen = np.linspace(-2.1, 2.1, 7), 6, []

    def watched(t: Any, y: Any) -> Any:
        jax.debug.callback(lambda t, y: seen.append((float(t), float(y[0]))), t, y)
        return slope(t, y)

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.4))
    at = np.linspace(0, 1, 201)[1:-1]
    for start in starts:
        path = [start]
        for i in range(layers):
            path.append(float(path[-1] + slope(i / layers, path[-1]) / layers))
        left.plot(path, range(layers + 1), "o-", color="0.3", ms=4, lw=1)
        y = jnp.asarray([start], jnp.float32)
        seen.clear()
        pf.ode.solve(watched, y, 0.0, 1.0, rtol=1e-4, atol=1e-4)
        jax.effects_barrier()
        called = np.array(seen)
        ys = pf.ode.solve(slope, y, 0.0, 1.0, at=at, rtol=1e-5, atol=1e-5).ys
        right.plot(np.asarray(ys)[:, 0], at, color="0.3", lw=1)
        right.plot(called[:, 1], called[:, 0], "o", color="tab:red", ms=2)
        right.text(start, -0.1, str(len(called)), fontsize=6, ha="center")
    left.set_ylabel("depth")
    left.set_title(f"residual network, {layers} layers", fontsize=9)
    right.set_ylabel("time")
    right.set_title("neural ODE: where the solver calls the field, how often", fontsize=9)
    for axis in (left, right):
        axis.set_xlim(-4.2, 3)
    right.set_ylim(-0.15, 1.05)
    left.set_yticks(range(layers + 1))
    figure.tight_layout(pad=0.5)
    figure.savefig(IMAGES / "evaluation_points.png", dpi=110)


def fitted(flow: Any, name: str, steps: int) -> tuple[Any, np.ndarray, float]:
    """A flow fitted to a toy, the toy's rows, and held-out nats."""
    x, held = (toy(name, n, seed=seed).astype(np.float32) for n, seed in ((20_000, 0), (5_000, 1)))
    training = pf.Training(max_steps=steps, batch=512, patience=1.0)
    flow = pf.fit(flow, jnp.asarray(x), key=jax.random.key(1), training=training).model
    if holds_solver(flow):  # trained loosely, judged strictly
        flow = pf.ode.with_solver(flow, rtol=1e-5, atol=1e-5)
    return flow, x, float(jnp.mean(flow.log_prob(jnp.asarray(held))))


def on_grid(flow: Any, reach: float) -> np.ndarray:
    """The density on a square's grid."""
    at = (np.arange(POINTS) + 0.5) / POINTS * 2 * reach - reach
    rows = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)
    return np.exp(flow.log_prob(jnp.asarray(rows, jnp.float32))).reshape(POINTS, POINTS)


def toys() -> None:
    """FFJORD's figure: data, density and samples of several toys."""
    names = ("eight_gaussians", "pinwheel", "spirals", "checkerboard")
    figure, axes = plt.subplots(3, len(names), figsize=(1.9 * len(names), 5.8))
    for column, name in zip(axes.T, names, strict=True):
        flow = pf.architectures.FFJORD(rtol=1e-3, atol=1e-3).build(2, key=jax.random.key(0))
        flow, x, nats = fitted(flow, name, 4000)
        print(f"| {name.replace('_', ' ')} | {nats:.3f} |", flush=True)
        drawn = np.asarray(flow.sample(jax.random.key(2), (10_000,)))
        extent = (-4.5, 4.5, -4.5, 4.5)
        for axis, rows in ((column[0], x[:10_000]), (column[2], drawn)):
            axis.hist2d(*rows.T, POINTS, range=[extent[:2], extent[2:]], cmap="magma")
        density = on_grid(flow, 4.5)
        most = np.quantile(density, 0.999)
        column[1].imshow(density, origin="lower", extent=extent, cmap="magma", vmax=most)
        column[0].set_title(f"{name.replace('_', ' ')}\n{nats:.2f} nats", fontsize=8)
    for axis, label in zip(axes[:, 0], ("data", "density", "samples"), strict=True):
        axis.set_ylabel(label, fontsize=8)
    _saved(figure, axes, "ffjord_toys.png")


def planar() -> None:
    """The neural-ODE paper's comparison: K planar maps one after the other, or M planar fields at the same time."""
    sizes, name = (2, 8, 32), "moons"
    figure, axes = plt.subplots(2, len(sizes), figsize=(2.3 * len(sizes), 4.6))
    for size, column in zip(sizes, axes.T, strict=True):
        models = (
            pf.architectures.ARCHITECTURES["planar"](layers=size),
            pf.architectures.PlanarCNF(width=size, rtol=1e-4, atol=1e-4),
        )
        for axis, model, what in zip(column, models, ("planar, K", "continuous, M"), strict=True):
            flow, _, nats = fitted(model.build(2, key=jax.random.key(0)), name, 6000)
            print(f"| {what} = {size} | {nats:.3f} |", flush=True)
            axis.imshow(on_grid(flow, 2.6), origin="lower", cmap="magma")
            axis.set_title(f"{what} = {size}: {nats:.2f} nats", fontsize=8)
    _saved(figure, axes, "planar_cnf.png")


def _stacked(flow: Any) -> Any:
    """The layers of a flow that is one stack."""
    return flow.bijection.unstack()


def _saved(figure: Any, axes: Any, name: str) -> None:
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout(pad=0.4)
    figure.savefig(IMAGES / name, dpi=100)


def probes() -> None:
    """Hutchinson's estimate with each noise: mean, standard deviation of one probe, and the exact trace, by size."""
    print(
        "| D | exact trace | mean, Rademacher | mean, Gaussian | deviation, Rademacher | deviation, Gaussian |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    draws = 10_000
    for d in (2, 8, 43):
        field = pf.fields.MLPField(d, width=64, key=jax.random.key(0))
        field = perturbed(field, jax.random.key(1), 0.5)
        x = jnp.broadcast_to(jax.random.normal(jax.random.key(2), (d,)), (draws, d))
        exact = float(pf.fields.divergence(field, 0.5, x[:1])[1][0])
        means, deviations = [], []
        for draw in (jax.random.rademacher, jax.random.normal):
            noise = draw(jax.random.key(3), x.shape, jnp.float32)
            found = np.asarray(pf.fields.divergence(field, 0.5, x, noise)[1])
            error = found.std() / draws**0.5
            means.append(f"{found.mean():.3f} +- {error:.3f}")
            deviations.append(f"{found.std():.2f}")
        print(f"| {d} | {exact:.3f} | {' | '.join([*means, *deviations])} |")


DRAWN = {function.__name__: function for function in (layers, lines, points, toys, planar, probes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["zoo", *DRAWN])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/zoo"))
    options = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    if options.what == "zoo":
        zoo(options.folder)
    else:
        DRAWN[options.what]()


if __name__ == "__main__":
    main()
