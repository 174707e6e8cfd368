"""MNIST, 28 x 28 in 256 levels: bits per dimension of all 10,000 test pictures after ten minutes of two cores.

Each row is what `pushforward fit mnist:train --flow NAME --max-time SECONDS` fits, seed 0, compilation included. Test
bits are by one fixed draw of the noise, with the standard error over pictures: a bound of the log-probability.
Published figures are of GPU days and compare in dequantization and test set, not in the time taken. Round trips are of
the first 500 test pictures, in uint8 at float32; draws are 64 at temperature 1 after compilation. Anchors are counted
in the training pictures: independent pixels, and pixels given four neighbours in seven classes.

Results are appended to `results/images.jsonl`: started again, it goes on where it stopped. `--folder` receives a grid
of each model's draws.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import harness

PUBLISHED = {
    "pixel_spline": "-",
    "subscale_spline": "-",
    "image_nsf": "-",
    "image_glow": "1.05 (Glow)",
    "image_realnvp": "1.06 (RealNVP)",
    "image_flow_plus_plus": "-",
    "image_residual_flow": "0.97 (Residual Flow)",
    "image_iresnet": "1.05 (i-ResNet)",
    "image_ffjord": "0.99 (FFJORD)",
    "tarflow": "-",
}
"""By Chen et al. 2019 (Table 1) and Grathwohl et al. 2019 (Table 2)."""
ROUND_TRIP, DRAWS = 500, 64


def run(name: str, seconds: int, rows: int, folder: str | None) -> dict[str, Any]:
    """Fit one architecture, and measure it."""
    from pushforward import Training
    from pushforward.data.pictures import read_pictures
    from pushforward.fitting.fit_images import fit_images

    train = read_pictures("mnist:train").pixels
    started = time.perf_counter()
    training = Training(max_time=seconds)
    model = fit_images(train, architecture=name, training=training, trust=False)
    taken = time.perf_counter() - started
    grid = None if folder is None else Path(folder) / f"{name}.png"
    return {"name": name, "budget": seconds, "taken": taken, **measured(model, train, rows, grid)}


def measured(model: Any, train: Any, rows: int, grid: Path | None) -> dict[str, Any]:
    """Figures of a fitted model on the test pictures, and a grid of its draws."""
    import math

    import equinox as eqx
    import jax
    import numpy as np

    from pushforward.data import pictures
    from pushforward.trust.pixels import anchors, wrong_pixels

    pixels = pictures.read_pictures("mnist:test").pixels[:rows]
    bits = model.bits_per_dim(pixels)
    some = pixels[:ROUND_TRIP]
    model.sample(DRAWS, 1)
    started = time.perf_counter()
    drawn = model.sample(DRAWS, 2)
    seconds = time.perf_counter() - started
    if grid is not None:
        grid.parent.mkdir(parents=True, exist_ok=True)
        pictures.write_picture(grid, pictures.grid(drawn), force=True)
    arrays = jax.tree.leaves(eqx.filter(model.model, eqx.is_inexact_array))
    return {
        "bits": float(bits.mean()),
        "error": float(bits.std() / math.sqrt(len(bits))),
        "wrong": round(wrong_pixels(model, some, None) * some.size),
        "draws": seconds,
        "draw_bits": float(np.mean(model.bits_per_dim(drawn))),
        "parameters": sum(a.size for a in arrays),
        "anchors": anchors(train, pixels, 256),
        "epochs": model.summary["epochs"],
        "pictures": model.summary["pictures"],
    }


def recorded(seconds: int, rows: int) -> dict[str, dict[str, Any]]:
    """The results that are there for this time and so many test pictures, by model."""
    path = harness.RESULTS / "images.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    results = [json.loads(line) for line in lines]
    return {one["name"]: one for one in results if (one["budget"], one["rows"]) == (seconds, rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=[*PUBLISHED], default=[*PUBLISHED])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--rows", type=int, default=10_000, help="test pictures; default all")
    parser.add_argument("--folder", type=Path, help="where to leave a grid of each model's draws")
    options = parser.parse_args()

    rows, anchors = [], dict[str, float]()
    done = recorded(options.seconds, options.rows)
    for name in options.models:
        answer = done.get(name) or harness.worker(
            "images.py",
            name=name,
            seconds=options.seconds,
            rows=options.rows,
            folder=options.folder and str(options.folder.resolve()),
        )
        if answer is None:
            continue
        if name not in done:
            harness.record("images", rows=options.rows, **answer)
            harness.say(str(answer))
        anchors = answer["anchors"]
        rows.append(
            [
                name,
                PUBLISHED[name],
                f"{answer['bits']:.3f} ± {answer['error']:.3f}",
                f"{answer['parameters']:,}",
                str(answer["wrong"]),
                harness.cell(answer["draws"], 1),
                harness.cell(answer["draw_bits"]),
            ]
        )
    header = ["model", "published", f"after {options.seconds / 60:g} minutes", "parameters"]
    print(harness.table([*header, "wrong pixels", "s, 64 draws", "bits of draws"], rows))
    counted = ", ".join(f"{name} {value:.3f}" for name, value in anchors.items())
    print(f"\n- anchors by counting, bits per dimension: {counted}")
    options_given = " ".join(sys.argv[1:])
    print(
        f"- command: `python benchmarks/images.py {options_given}`; bits of {options.rows:,} test pictures"
    )
    print(harness.provenance())


if __name__ == "__main__" and not harness.is_worker(run):
    main()
