"""Every experiment of `examples/` runs in miniature and ends in a table and a figure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
# The demo has a target of its own and needs its data; `experiment` is what the others share.
EXPERIMENTS = sorted({path.stem for path in FOLDER.glob("*.py")} - {"flights", "experiment"})


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment(name, tmp_path):
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(FOLDER.parent / ".jax_cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--quick", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, **cache},
        check=False,
    )
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr[-2000:]
    table = (tmp_path / f"{name}.md").read_text()
    assert table.startswith("| ")
    assert "nan" not in table
    assert (tmp_path / f"{name}.png").stat().st_size > 1000
