"""How all tests run: on the CPU, with compiled programs kept between runs, and the same examples every time."""

import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

# In the environment, so that processes which tests start compile under the same conditions.
os.environ["JAX_PLATFORMS"] = "cpu"
# How tests compile, unless `PUSHFORWARD_TEST_COMPILER=default` leaves these options out: then programs are what users
# run. Tests compile much and run little: most of the compiler's optimisations cost more than they save.
# XLA's older emitters of CPU code take half the time to compile, for programs that run up to four times as long; one
# module of code instead of many suits two workers on two cores.
AS_USERS = os.environ.get("PUSHFORWARD_TEST_COMPILER") == "default"
QUICK_FLAGS = (
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_prefer_vector_width=128",
)
OWN_FLAGS = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag not in QUICK_FLAGS]
if not AS_USERS:
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    os.environ["XLA_FLAGS"] = " ".join((*OWN_FLAGS, *QUICK_FLAGS))
# Compiling is most of what the tests cost. The folder is safe to delete.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).parents[1] / ".jax_cache")

import jax
import numpy as np
import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from nightly import NIGHTLY

# Again for this process, where a plugin may have imported jax already.
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_disable_most_optimizations", not AS_USERS)
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
# What compiles sooner is not worth a file: writing all of them cost 7 % of a first run.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# No deadline: the first example of a test compiles. Derandomised: a run is a function of the code alone.
settings.register_profile("contract", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("contract")

MAPS = Path("/proc/self/maps")
MOST_MAPS = 10_000
"""Every compiled program takes memory maps, and about half a megabyte for each: 10,000 are some 5 GB. Linux allows a
process 65,530 of them; beyond, compiling ends in a segmentation fault."""
# glibc's: without it, freed memory stays with the process.
_give_back = getattr(ctypes.CDLL(None), "malloc_trim", None) if MAPS.is_file() else None
_done = 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that `nightly.py` lists."""
    for item in items:
        if item.nodeid.startswith(tuple(NIGHTLY)):
            item.add_marker(pytest.mark.nightly)


@pytest.fixture(autouse=True)
def few_programs() -> Iterator[None]:
    """Let compiled programs go before there are too many."""
    global _done
    yield
    _done += 1
    if _done % 5 == 0 and MAPS.is_file() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()
        if _give_back is not None:
            _give_back(0)


@pytest.fixture
def users_environment() -> dict[str, str]:
    """The environment for a process of tests that compiles with the default options."""
    if AS_USERS:
        pytest.skip("all of this run compiles as users do")
    changes = {"XLA_FLAGS": " ".join(OWN_FLAGS), "PUSHFORWARD_TEST_COMPILER": "default"}
    kept = {k: v for k, v in os.environ.items() if k != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    return {**kept, **changes}


@pytest.fixture
def rng() -> np.random.Generator:
    """A test's own random numbers: one generator for a module would make them depend on the tests run before."""
    return np.random.default_rng(11)


@pytest.fixture
def same_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten behind it."""
    from pushforward.architectures import ARCHITECTURES

    monkeypatch.setattr(ARCHITECTURES, "_kinds", dict(ARCHITECTURES._kinds))


class BySubject(LoadScopeScheduling):
    """One worker for all checks of a subject of the contract, so that its programs are compiled once."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.rsplit("-", 1)[0] if "::test_contract[" in nodeid else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> BySubject:
    # Not marks and `--dist loadgroup`: with pytest 9.2 xdist 3.8 lets every test go where it may, and says nothing.
    return BySubject(config, log)


@pytest.fixture
def run(here, capsys):
    """Runs a command in the folder `here`, a fixture of the module; gives its exit code and both outputs."""
    from pushforward.cli import main

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return run
