"""Write the golden model files of this version: `make golden`, before a release that changes what files hold.

A folder for the version gets a file of each registered architecture, of a table with a condition, of a table of angles,
of one with every kind of column, of typed tables, of posteriors by simulations and from a log-density, of pictures and
of an equation of a series, and `expected.json`: inputs with what each model gave for them. Files that are there are
kept. Every later version must load all of them and give the same numbers: none is ever removed or written anew.
"""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

import pushforward as pf
from pushforward.architectures import ARCHITECTURES, MAF, NSF, CircularNSF, registered
from pushforward.architectures.images import ImageFlowPlusPlus, PixelSpline
from pushforward.architectures.products import Products
from pushforward.architectures.typed import Typed
from pushforward.bijections import initialised
from pushforward.columns import Angle, Bounded, Columns
from pushforward.columns.typed_columns import TypedColumns
from pushforward.data.frames import read_frame
from pushforward.distributions import Flow
from pushforward.estimators import Embedding
from pushforward.fitting.fit_images import fit_images
from pushforward.fitting.fit_typed import fit_typed
from pushforward.fitting.products import fit_products
from pushforward.models.image_file import save_image_model
from pushforward.models.table_file import save_table_model
from pushforward.models.table_flow import table_flow
from pushforward.models.table_model import TableModel
from pushforward.models.typed_file import save_typed_table
from pushforward.models.typed_table import TypedTable
from pushforward.testing import architecture_subject, perturbed, tiny
from pushforward.testing.evidence import log_prob
from pushforward.testing.examples import IMAGE

HERE = Path(__file__).parent
SHORT = pf.Training(max_epochs=1)


def flow_rows() -> tuple[np.ndarray, np.ndarray]:
    """Thirty rows of 3 columns and conditions of 2: sizes of the contract, whose programs then serve here."""
    rng = np.random.default_rng(5)
    rows = np.clip(rng.normal(0, 1.3, (30, 3)), -3, 3).round(4)
    return rows.astype(np.float32), rng.normal(0, 1, (30, 2)).round(4).astype(np.float32)


def write_flow(name: str, path: Path) -> dict[str, Any]:
    """A small flow of an architecture, perturbed: fresh layers are nearly the identity, which would hide a change."""
    architecture = tiny(ARCHITECTURES[name])
    flow = architecture_subject(name, architecture, 3, 2).model
    assert isinstance(flow, Flow)
    pf.save(path, flow)
    return {"log_prob": log_prob(flow, *map(jnp.asarray, flow_rows()))}


def image_rows() -> tuple[np.ndarray, np.ndarray]:
    """Ten images in grey levels, dark ones and others, and conditions of 2."""
    rng = np.random.default_rng(6)
    rows = 255.9 * rng.beta(0.5, 1.0, (10, *IMAGE))
    return rows.round(3).astype(np.float32), rng.normal(0, 1, (10, 2)).round(4).astype(np.float32)


def write_image_flow(name: str, path: Path) -> dict[str, Any]:
    """A small flow of an architecture of images, its scales set by the rows, perturbed."""
    architecture = replace(tiny(ARCHITECTURES[name]), width=8)
    rows, given = map(jnp.asarray, image_rows())
    built = architecture.build(IMAGE, 2, key=jax.random.key(7))
    started = Flow(built.base, initialised(built.bijection, rows, given), built.architecture)
    flow = perturbed(started, jax.random.key(1000), 0.3)
    pf.save(path, flow)
    return {"log_prob": log_prob(flow, rows, given)}


def write_pictures(path: Path) -> dict[str, Any]:
    """Pictures given their class."""
    rng = np.random.default_rng(8)
    pixels = rng.integers(0, 16, (120, *IMAGE)).astype(np.uint8)
    labels = ["dark", "light"] * 60
    pixels[::2] //= 2
    small = PixelSpline(width=8, layers=1, patch=2, hidden=8, reach=1, levels=16)
    fitted = fit_images(pixels, labels, architecture=small, training=SHORT, trust=False)
    model = replace(fitted, model=perturbed(fitted.model, jax.random.key(1), 0.3))
    save_image_model(model, path)
    probe = pixels[:20]
    return {"pixels": probe, "log_prob": model.log_prob_of_labels(probe)}


def write_noisy_pictures(path: Path) -> dict[str, Any]:
    """Pictures under noise that is learned."""
    rng = np.random.default_rng(8)
    pixels = rng.integers(0, 16, (120, *IMAGE)).astype(np.uint8)
    small = ImageFlowPlusPlus(scales=1, steps=1, width=8, components=2, levels=16)
    fitted = fit_images(pixels, architecture=small, training=SHORT, trust=False)
    model = replace(fitted, model=perturbed(fitted.model, jax.random.key(1), 0.3))
    save_image_model(model, path)
    probe = pixels[:20]
    return {"pixels": probe, "log_prob": model.log_prob(probe, draws=2)}


def write_table(path: Path) -> dict[str, Any]:
    """A real and a whole-number column, given another one."""
    rng = np.random.default_rng(2026)
    given = rng.uniform(-1, 1, (300, 1)).round(4)
    rows = np.stack(
        [(3 + given[:, 0] + rng.normal(0, 2, 300)).round(4), rng.poisson(4, 300)], axis=1
    )
    architecture = NSF(layers=2, width=6, bins=4)
    model = pf.ConditionalFlowDensity(architecture, training=SHORT, random_state=0)
    model.fit(given, rows).save(path)
    probe, at = [*rows[:20].tolist(), [1e6, 4.0]], [*given[:20].tolist(), [0.5]]
    return {"rows": probe, "given": at, "log_prob": model.log_prob(at, probe)}


def write_angles(path: Path) -> dict[str, Any]:
    """A column of angles."""
    rows = np.random.default_rng(7).vonmises(0.5, 2.0, (300, 1)).round(4)
    architecture = CircularNSF(layers=2, width=6, bins=4)
    model = pf.FlowDensity(architecture, training=SHORT, random_state=0)
    model.fit(rows).save(path)
    probe = [*rows[:20].tolist(), [3.5], [-6.0]]
    return {"rows": probe, "log_prob": model.score_samples(probe)}


def write_equation(path: Path) -> dict[str, Any]:
    """A learned equation of one decaying series."""
    times = np.linspace(0, 2, 30)
    values = np.stack([np.exp(-times), 2 - np.exp(-times)], axis=1)
    model = pf.NeuralODERegressor(width=4, segments=(2,), training=SHORT, random_state=0)
    model.fit(times, values).save(path)
    at = np.linspace(0, 2, 11)
    return {"times": at, "values": model.predict(at)}


def write_kinds(path: Path) -> dict[str, Any]:
    """A column of every kind: it guards what files do not hold, the model of angles beside others."""
    rng = np.random.default_rng(2026)
    n, names = 200, ["share", "year", "count", "wind", "wait"]
    first = rng.beta(2, 3, n), np.full(n, 2013), rng.poisson(4, n), rng.uniform(0, 360, n)
    rows = np.stack([*first, rng.exponential(5, n)], axis=1)
    declared = {"share": Bounded(0, 1), "wind": Angle(360), "wait": Bounded(low=0)}
    columns = Columns.fit(rows, names, declared=declared)
    architecture = MAF(layers=1, width=4, depth=1)
    flow = table_flow(architecture, 4, None, jax.random.key(0), False, columns.angles)
    flow = perturbed(flow, jax.random.key(1), 0.2)
    model = TableModel(flow, architecture, columns, cells=True)
    save_table_model(model, path)
    probe = rows[:20].round(4)
    return {"rows": probe, "log_prob": model.log_prob(probe)}


def write_typed(path: Path) -> dict[str, Any]:
    """Cells of every kind, with gaps; the rows stand in a file beside."""
    rng = np.random.default_rng(2026)
    n, days = 400, np.datetime64("2024-01-01")
    frame = pl.DataFrame(
        {
            "city": rng.choice(["Oslo", "Rome", "Lima", "?"], n, p=[0.4, 0.3, 0.2, 0.1]),
            "size": rng.choice(["low", "mid", "high"], n),
            "late": rng.choice(["yes", "no"], n),
            "count": rng.poisson(4, n),
            "price": rng.uniform(1, 40, n).round(1),
            "weight": rng.normal(70, 9, n).round(5),
            "rain": np.where(rng.uniform(size=n) < 0.5, 0.0, rng.gamma(2.0, 3.0, n)).round(5),
            "share": rng.beta(2, 3, n).round(5),
            "wind": rng.uniform(0, 360, n).round(3),
            "day": np.datetime_as_string(days + rng.integers(0, 90, n), unit="D"),
            "at": [f"2024-03-0{1 + i % 9} {i % 24:02}:{i % 60:02}:00" for i in range(n)],
            "id": [f"t{i:03}" for i in range(n)],
            "net": ["north"] * n,
        }
    )
    rows = path.with_suffix(".csv")
    frame.write_csv(rows)
    declared = {"size": "ordinal:low,mid,high", "share": "bounded:0,1", "wind": "circular:360"}
    small = Typed(width=8, blocks=1, context=8, context_blocks=1, components=2)
    table = read_frame(rows)
    model = fit_typed(table, declared=declared, architecture=small, training=SHORT)
    save_typed_table(model, path)
    table.head(20).write_csv(rows)
    probe = read_frame(rows)
    return {
        "joint": model.log_prob(probe),
        "with_gaps": model.log_prob(probe, gaps=True),
        "given": model.log_prob(probe, ["city", "wind"]),
    }


def write_products(path: Path) -> dict[str, Any]:
    """A mixture of products; scored at the rows of `write_typed`."""
    rows = path.with_name("typed.csv")
    table = read_frame(rows).select("city", "late", "count", "price", "weight")
    columns = TypedColumns.fit(table, least=1)
    mixture = fit_products(columns.encode(columns.read(table)), columns, components=2, seed=0)
    model = TypedTable(mixture, Products(components=mixture.components), columns)
    save_typed_table(model, path)
    return {"joint": model.log_prob(table), "given": model.log_prob(table, ["city"])}


def write_posterior(path: Path) -> dict[str, Any]:
    """A posterior of numbers of several supports."""

    def log_density(p: Any) -> Any:
        return -0.5 * (p["m"] ** 2).sum() - p["s"] + jnp.log(p["w"]).sum()

    example = {"m": np.zeros(1), "s": 1.0, "w": np.array([0.3, 0.7])}
    support = {"s": "positive", "w": "simplex"}
    post = pf.fit_posterior(
        log_density, example, support=support, steps=125, draws=1000,
        architecture=pf.architectures.RealNVP(layers=2, width=6), stages=("starts", "affine"),
    )  # fmt: skip
    post = replace(post, u=post.u[:200], log_p=post.log_p[:200], log_q=post.log_q[:200])
    post.save(path)
    probe = {k: np.asarray(v).round(4) for k, v in post.sample(20, "flow").items()}
    probe["w"][:, 1] = 1 - probe["w"][:, 0]
    mean = post.expect(lambda p: p["s"]).value
    return {**probe, "log_prob": post.log_prob(probe), "mean": mean}


def write_amortized(path: Path, kind: str) -> dict[str, Any]:
    """Parameters of every support, given sets or series with gaps."""
    rng = np.random.default_rng(2026)
    n = 200
    theta = np.stack([rng.uniform(0, 2, n), rng.exponential(3, n), rng.normal(size=n)], axis=1)
    x = theta[:, None, :2] + rng.normal(size=(n, 4, 2))
    x[rng.random(x.shape) < 0.2] = np.nan
    embedding = Embedding(kind=kind, features=4, width=4, depth=1)
    model = pf.AmortizedPosterior(
        NSF(layers=1, width=6, bins=4),
        support=[(0, 2), "positive", "real"],
        embedding=embedding,
        training=SHORT,
        random_state=0,
    ).fit(theta, x)
    model.model_ = model.model_.with_flow(lambda flow: perturbed(flow, jax.random.key(1), 0.2))
    model.save(path)
    probe, given = theta[:20].round(4), np.nan_to_num(x[:20, :3]).round(4)
    return {"rows": probe, "given": given, "log_prob": model.model_.log_prob(probe, given)}


OTHERS = {
    "posterior_of_sets": partial(write_amortized, kind="set"),
    "posterior_of_series": partial(write_amortized, kind="series"),
    "typed": write_typed,
    "products": write_products,
    "table": write_table,
    "angles": write_angles,
    "kinds": write_kinds,
    "equation": write_equation,
    "pictures": write_pictures,
    "noisy_pictures": write_noisy_pictures,
    "posterior": write_posterior,
}


def main() -> None:
    """Write what the folder of this version lacks."""
    folder = HERE / pf.__version__
    folder.mkdir(exist_ok=True)
    record = folder / "expected.json"
    expected: dict[str, Any] = {}
    if record.exists():
        expected = json.loads(record.read_text())
    for what, (rows, given) in {"flows": flow_rows(), "images": image_rows()}.items():
        expected.setdefault(what, {"rows": rows.tolist(), "given": given.tolist()})
    of_images = registered(images=True)
    for name in (*ARCHITECTURES, *OTHERS):
        if name in expected:
            continue
        path = folder / f"{name}.safetensors"
        if name in OTHERS:
            found = OTHERS[name](path)
        else:
            found = (write_image_flow if name in of_images else write_flow)(name, path)
        expected[name] = {k: np.asarray(v, np.float64).tolist() for k, v in found.items()}
        record.write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
