"""A million rows from the command line: patches of BSDS300, held-out nats on patches of other images.

8 x 8 grey patches, (x + U[0, 1)) / 256, their mean subtracted, the last pixel dropped: 63 columns, as in the papers
(Papamakarios et al. 2017 and later); 1,000,000 training rows of the 200 training images, 250,000 of the 100 test
images. A full-covariance Gaussian fitted to 400,000 of them scores 96.5 nats.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import numpy as np
from datasets import Absent

SIDE = 8
DRAWS = 20_000
PUBLISHED = {
    "MAF (Papamakarios et al. 2017)": 155.69,
    "FFJORD (Grathwohl et al. 2019)": 157.40,
    "NSF (Durkan et al. 2019)": 157.54,
}
"""Nats on the papers' own patches of the test images."""


def patches(folder: Path, rows: int, seed: int) -> np.ndarray:
    """Random patches of a folder's images, `(rows, 63)` in single precision."""
    from PIL import Image

    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise Absent(f"no images in {folder}")
    rng = np.random.default_rng(seed)
    images = [np.asarray(Image.open(file).convert("L")) for file in files]
    of = rng.integers(0, len(images), rows)
    found = np.empty((rows, SIDE * SIDE - 1), np.float32)
    for number, image in enumerate(images):
        here = np.flatnonzero(of == number)
        windows = np.lib.stride_tricks.sliding_window_view(image, (SIDE, SIDE))
        i, j = (rng.integers(0, size, len(here)) for size in windows.shape[:2])
        block = windows[i, j].reshape(len(here), -1)
        block = (block + rng.random(block.shape)) / 256
        found[here] = (block - block.mean(1, keepdims=True))[:, :-1]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--test", type=int, default=250_000)
    parser.add_argument("--seconds", type=float, default=3600.0, help="what --max-time is given")
    parser.add_argument("--options", nargs="*", default=[], help="further options of `fit`")
    options = parser.parse_args()
    data = os.environ.get("PUSHFORWARD_DATA")
    if data is None:
        raise SystemExit("PUSHFORWARD_DATA is not set to the folder with the data")
    command = [str(Path(sys.executable).parent / "pushforward")]
    with tempfile.TemporaryDirectory() as folder:
        train, test, model = (Path(folder) / name for name in ("train.npy", "test.npy", "m"))
        np.save(train, patches(Path(data) / "bsds300" / "train", options.rows, 0))
        np.save(test, patches(Path(data) / "bsds300" / "test", options.test, 1))
        began = time.perf_counter()
        fit = [*command, "fit", str(train), "-o", str(model), "--max-time", f"{options.seconds:g}"]
        process = subprocess.Popen([*fit, *options.options])
        peak = peak_of(process)
        seconds = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(process.returncode)
        subprocess.run([*command, "inspect", str(model)], check=True, stdout=sys.stderr)
        scores = Path(folder) / "scores.npy"
        subprocess.run([*command, "score", str(model), str(test), "-o", str(scores)], check=True)
        nats = np.load(scores)[:, -1] if np.load(scores).ndim == 2 else np.load(scores)
        drawn = Path(folder) / "drawn.npy"
        sample = [*command, "sample", str(model), "-n", str(DRAWS), "-o", str(drawn)]
        subprocess.run(sample, check=True)
        answer = {
            "rows": options.rows,
            "nats": float(nats.mean()),
            "error": float(nats.std() / np.sqrt(len(nats))),
            "seconds": seconds,
            "peak_mib": peak,
            "table_mib": train.stat().st_size / 2**20,
            "furthest_draw": furthest(np.load(train, mmap_mode="r"), np.load(drawn)),
        }
    harness.record("bsds300", **answer)
    said = " ".join(
        ["pushforward fit train.npy -o m --max-time", f"{options.seconds:g}", *options.options]
    )
    ours = f"{answer['nats']:.2f} +- {answer['error']:.2f}"
    rows = [["BSDS300", f"`{said}`", ours, name, f"{nats:.2f}"] for name, nats in PUBLISHED.items()]
    print(harness.table(["data", "command", "ours", "published", "nats"], rows))
    print(harness.table(list(answer), [[f"{value:.6g}" for value in answer.values()]]))


def furthest(rows: np.ndarray, drawn: np.ndarray) -> float:
    """The largest robust deviation of draws in that of the rows, over the columns."""
    found = []
    for of_rows, of_draws in zip(rows.T, drawn.T, strict=True):
        low, middle, high = np.quantile(of_rows, (0.16, 0.5, 0.84))
        far = [np.abs(a - middle).max() / (high - low) for a in (of_draws, of_rows)]
        found.append(far[0] / far[1])
    return float(max(found))


def peak_of(process: subprocess.Popen) -> float:
    """The most anonymous memory of a process until it ends, in MiB: mapped files are no memory of its own."""
    most, status = 0.0, Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            lines = status.read_text().splitlines()
        except OSError:
            break
        held = [line.split()[1] for line in lines if line.startswith("RssAnon")]
        most = max([most, *(int(kib) / 1024 for kib in held)])
        time.sleep(0.05)
    process.wait()
    return most


if __name__ == "__main__":
    main()
