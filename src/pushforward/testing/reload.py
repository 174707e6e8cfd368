"""A model that is saved and loaded in a fresh process is the same, bit for bit."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.architectures import ARCHITECTURES, Architecture
from pushforward.architectures.registry import register
from pushforward.distributions import Flow
from pushforward.saving import architecture_to_json, read_flow, write_flow
from pushforward.testing.contract import ContractError
from pushforward.testing.evidence import log_prob
from pushforward.testing.subjects import Subject

CHECK = "saving"


def check_saving(built: Sequence[tuple[Subject, Architecture]]) -> None:
    """Save perturbed flows, load them in one fresh process, and compare log-densities bit for bit.

    Arguments:
        built: subjects, each with the architecture that built it.

    Raises `ContractError` for the first flow that comes back different, or cannot be saved and loaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        for i, (subject, architecture) in enumerate(built):
            stem = Path(folder) / str(i)
            assert isinstance(subject.model, Flow)
            flow = Flow(subject.model.base, subject.model.bijection, architecture)
            write_flow(stem.with_suffix(".safetensors"), flow)
            rows = {"x": np.asarray(subject.x)}
            if subject.condition is not None:
                rows["condition"] = np.asarray(subject.condition)
            np.savez(stem.with_suffix(".rows.npz"), **rows)  # type: ignore[arg-type]
        strangers = [_importable(architecture) for _, architecture in built]
        if None in strangers:
            # One of a script or a function, which another process cannot import: load in this one.
            _score_folder(Path(folder))
        else:
            done = subprocess.run(
                [sys.executable, "-m", __name__, folder, *filter(None, strangers)],
                env=os.environ | _same_device(),
                capture_output=True,
                text=True,
            )
            if done.returncode:
                names = ", ".join(subject.name for subject, _ in built)
                detail = f"loading in a fresh process failed:\n{done.stderr}"
                raise ContractError(names, CHECK, detail)
        for i, (subject, _) in enumerate(built):
            found = np.load(Path(folder) / f"{i}.scores.npy")
            expected = np.asarray(log_prob(subject.model, subject.x, subject.condition))
            if found.tobytes() != expected.tobytes():
                apart = abs(found - expected).max()
                detail = f"log-densities differ by up to {apart:g} after loading"
                raise ContractError(subject.name, CHECK, detail)


def _importable(architecture: Architecture) -> str | None:
    """How a fresh process imports an architecture, `name=module:Class`: empty for one of this package, None if it
    cannot."""
    known = architecture_to_json(architecture)
    if "source" not in known:
        return ""
    module, _, name = known["source"].partition(":")
    home = sys.modules.get(module)
    same = getattr(home, name, None) is type(architecture) and module != "__main__"
    return f"{known['name']}={known['source']}" if same else None


def _register(stranger: str) -> None:
    """Import and register an architecture that the first process has registered by a call."""
    name, _, source = stranger.partition("=")
    module, _, kind = source.partition(":")
    found = getattr(import_module(module), kind)
    if name not in ARCHITECTURES:
        register(name, found)


def _same_device() -> dict[str, str]:
    """The parent's device and cache for the child. Settings that change bits, such as JAX_DISABLE_MOST_OPTIMIZATIONS,
    must be in the environment, which the child inherits."""
    folder = jax.config.values["jax_compilation_cache_dir"]
    cache = {"JAX_COMPILATION_CACHE_DIR": folder} if folder else {}
    # The child can import all that this process can.
    path = os.pathsep.join(part or os.curdir for part in sys.path)
    return {"JAX_PLATFORMS": jax.default_backend(), "PYTHONPATH": path, **cache}


def _score_folder(folder: Path) -> None:
    for path in sorted(folder.glob("*.safetensors")):
        with np.load(path.with_suffix(".rows.npz")) as rows:
            given = {name: jnp.asarray(rows[name]) for name in rows.files}
        found = log_prob(read_flow(path), given["x"], given.get("condition"))
        np.save(path.with_suffix(".scores.npy"), np.asarray(found))


if __name__ == "__main__":
    for word in sys.argv[2:]:
        _register(word)
    _score_folder(Path(sys.argv[1]))
