"""Saved, then loaded in a fresh process: the same model, bit for bit."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.architectures import Architecture
from pushforward.saving import load_flow, save_flow
from pushforward.testing.contract import ContractError
from pushforward.testing.evidence import log_prob
from pushforward.testing.subjects import Subject

CHECK = "saving"


def check_saving(built: Sequence[tuple[Subject, Architecture]]) -> None:
    """Save perturbed flows, load them in one fresh process, and compare log-densities bit for bit.

    Arguments:
        built: subjects with the architecture that built each.

    Raises `ContractError` for the first flow that comes back different, or that cannot be saved and loaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        for i, (subject, architecture) in enumerate(built):
            stem = Path(folder) / str(i)
            save_flow(stem.with_suffix(".safetensors"), subject.model, architecture)  # type: ignore[arg-type]
            rows = {"x": np.asarray(subject.x)}
            if subject.condition is not None:
                rows["condition"] = np.asarray(subject.condition)
            np.savez(stem.with_suffix(".rows.npz"), **rows)  # type: ignore[arg-type]
        done = subprocess.run(
            [sys.executable, "-m", "pushforward.testing.reload", folder],
            env=os.environ | _same_device(),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            names = ", ".join(subject.name for subject, _ in built)
            raise ContractError(names, CHECK, f"loading in a fresh process failed:\n{done.stderr}")
        for i, (subject, _) in enumerate(built):
            found = np.load(Path(folder) / f"{i}.scores.npy")
            expected = np.asarray(log_prob(subject.model, subject.x, subject.condition))
            if found.tobytes() != expected.tobytes():
                detail = (
                    f"log-densities differ by up to {abs(found - expected).max():g} after loading"
                )
                raise ContractError(subject.name, CHECK, detail)


def _same_device() -> dict[str, str]:
    """The parent's device and cache for the child. Settings that change bits, such as JAX_DISABLE_MOST_OPTIMIZATIONS,
    have to stand in the environment, which the child inherits."""
    folder = jax.config.values["jax_compilation_cache_dir"]
    cache = {"JAX_COMPILATION_CACHE_DIR": folder} if folder else {}
    return {"JAX_PLATFORMS": jax.default_backend(), **cache}


def _score_folder(folder: Path) -> None:
    for path in sorted(folder.glob("*.safetensors")):
        with np.load(path.with_suffix(".rows.npz")) as rows:
            given = {name: jnp.asarray(rows[name]) for name in rows.files}
        found = log_prob(load_flow(path), given["x"], given.get("condition"))
        np.save(path.with_suffix(".scores.npy"), np.asarray(found))


if __name__ == "__main__":
    _score_folder(Path(sys.argv[1]))
